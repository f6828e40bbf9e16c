"""Lines to token ids, and token ids to text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from elman.data.text.documents import PIECE
from elman.data.text.vocabularies import Vocabulary
from elman.errors import DataError


def in_pieces(lines: Iterable[str]) -> Iterator[str]:
    """Yield the text that lines make up, a million characters at a time."""
    some: list[str] = []
    count = 0
    for line in lines:
        some.append(line)
        count += len(line)
        while count >= PIECE:
            text = "".join(some)
            yield text[:PIECE]
            some, count = [text[PIECE:]], count - PIECE
    if count:
        yield "".join(some)


def encode_line(vocabulary: Vocabulary, line: str) -> NDArray[np.int64]:
    """Return the token ids of a line; a space goes before, so that the first word is like all others.

    Raises:
        DataError: it has a character that the vocabulary does not know.
    """
    try:
        return vocabulary.encode(f" {line}").astype(np.int64)
    except DataError:
        vocabulary.encode(line)  # fails too, and tells the place in the line as it stands there
        raise


def symbols_of(vocabulary: Vocabulary, token_ids: Iterable[int]) -> list[str]:
    """Return the text of each symbol; a character that several make up stands at the last of them."""
    decoder = vocabulary.decoder()
    pieces = [decoder.push(int(token_id)) for token_id in token_ids]
    return [*pieces[:-1], pieces[-1] + decoder.finish()] if pieces else []
