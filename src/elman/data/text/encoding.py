"""Encoding of lines to token ids, and decoding to symbols."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from elman.data.text.documents import PIECE
from elman.data.text.vocabularies import Vocabulary
from elman.errors import DataError


def in_pieces(lines: Iterable[str]) -> Iterator[str]:
    """Yield the joined text of lines, a million characters at a time."""
    buffer: list[str] = []
    count = 0
    for line in lines:
        buffer.append(line)
        count += len(line)
        while count >= PIECE:
            text = "".join(buffer)
            yield text[:PIECE]
            buffer, count = [text[PIECE:]], count - PIECE
    if count:
        yield "".join(buffer)


def encode_line(vocabulary: Vocabulary, line: str) -> NDArray[np.int64]:
    """Return the token ids of a line after a space, so that the first word is encoded like the others.

    Raises:
        DataError: the vocabulary has no symbol for a character.
    """
    try:
        return vocabulary.encode(f" {line}").astype(np.int64)
    except DataError:
        vocabulary.encode(line)  # raises the error with the position in the line itself
        raise


def symbols_of(vocabulary: Vocabulary, token_ids: Iterable[int]) -> list[str]:
    """Return the text of each symbol; a character of several symbols stands at the last of them.

    Unknown symbols, whose ids are not below the size of the vocabulary, are U+FFFD.
    """
    decoder = vocabulary.decoder()
    size = len(vocabulary)
    pieces = [decoder.push(int(token_id)) if token_id < size else "\ufffd" for token_id in token_ids]
    return [*pieces[:-1], pieces[-1] + decoder.finish()] if pieces else []
