"""Lines as a translator reads them: as symbols, or named with what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from elman.data.skipped import SkippedRows
from elman.data.text.encoding import encode_line
from elman.data.text.vocabularies import Vocabulary
from elman.data.translation.readers import SentencePair
from elman.data.translation.vocabularies import VocabularyPair
from elman.errors import DataError


def encoded(
    vocabulary: Vocabulary, text: str, where: str, longest: int, *, skip: str, settable: bool = False
) -> NDArray[np.int64]:
    """Return the token ids of a line.

    Args:
        vocabulary: of its language.
        text: the line.
        where: it stands, for the message.
        longest: symbols at the most.
        skip: what else than mending it can be tried, for the message.
        settable: whether --set longest= is a thing to try.

    Raises:
        DataError: it has a character without a symbol, or too many symbols.
    """
    try:
        ids = encode_line(vocabulary, text)
    except DataError as error:
        what, hint = f"{where}: {error.what}", f"{error.hint or 'leave it out'}; {skip}"
        raise error.amended(what, hint=hint) from error
    if len(ids) > longest:
        raise DataError(
            f"{where} is too long",
            should=f"at most {longest} symbols",
            found=f"{len(ids)}: {text[:40]!r} ...",
            hint=f"cut it into sentences{f', or --set longest={len(ids)}' if settable else ''}; {skip}",
        )
    return ids


def measurable(
    pairs: Sequence[SentencePair], languages: VocabularyPair, longest: int, *, skip_bad: bool
) -> tuple[list[SentencePair], SkippedRows]:
    """Return the pairs that a translator can be measured on, and what was left out of them.

    Args:
        pairs: all of them.
        languages: their vocabularies.
        longest: symbols of a line at the most.
        skip_bad: the others are left out; else one is refused.

    Raises:
        DataError: `encoded` refuses a line and `skip_bad` is false, or it refuses one in every pair.
    """
    kept, left_out, first = [], SkippedRows(), None
    for number, pair in enumerate(pairs, 1):
        try:
            for vocabulary, line in zip(languages, pair, strict=True):
                encoded(vocabulary, line, f"pair {number}", longest, skip="--skip-bad leaves such pairs out")
        except DataError as error:
            if not skip_bad:
                raise
            first = first or error
            left_out.add(f"{error.what}: {error.found}")
        else:
            kept.append(pair)
    if first and not kept:
        raise first
    return kept, left_out
