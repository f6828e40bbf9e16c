"""Sentences whose text is longer than their sound: connectionist temporal classification (CTC) has no path for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from elman.data.text.vocabularies import Vocabulary
from elman.errors import DataError


def known_symbols(vocabulary: Vocabulary, text: str) -> NDArray[np.int64]:
    """Return the symbols of a text, (S,); characters that have none are skipped."""
    try:
        return vocabulary.encode(text).astype(np.int64)
    except DataError:
        parts = [known_symbols(vocabulary, character) for character in text] if len(text) > 1 else []
        return np.concatenate([np.zeros(0, np.int64), *parts])


def steps_needed(symbols: NDArray[np.int64]) -> int:
    """Return the fewest network steps that hold symbols, (S,): one each, and a blank between two that are alike."""
    return len(symbols) + int((symbols[1:] == symbols[:-1]).sum())


def numbers_that_fit(
    names: Sequence[str],
    lengths: NDArray[np.int64],
    symbols: Iterable[NDArray[np.int64]],
    stride: int,
    *,
    skip_bad: bool,
    on_skip: Callable[[str], object],
    trained: bool = False,
) -> list[int]:
    """Return the numbers of the sentences whose sound is long enough for their text.

    Args:
        names: of the sentences; copies of one follow each other, and are skipped as one.
        lengths: input steps of each sentence.
        symbols: of each sentence, (S,).
        stride: input steps of one step of the network.
        skip_bad: the others are skipped instead of refused.
        on_skip: called with what is wrong with each of them.
        trained: whether the network is trained already, so that its stride is fixed.

    Raises:
        DataError: a sentence does not fit and `skip_bad` is false, or none does.
    """
    numbers: list[int] = []
    first, skipped = "", ""
    for n, (name, length, row) in enumerate(zip(names, lengths.tolist(), symbols, strict=True)):
        needed, steps = steps_needed(row), length // stride
        if needed <= steps:
            numbers.append(n)
            continue
        what = f"{name or f'sentence {n + 1}'}: the text is longer than its sound allows"
        found = (
            f"{len(row):,} symbols, which need {needed:,} network steps, and {steps:,} steps of {stride} input steps"
        )
        if not skip_bad:
            should = "at least a network step for each symbol, and one more between two that are alike (CTC)"
            raise DataError(what, should=should, found=found, hint=f"{_remedy(length, needed, trained)}, or --skip-bad")
        if name != skipped or not name:
            on_skip(f"{what}: {found}")
        first, skipped = first or found, name
    if not numbers:
        what, hint = "every text is longer than its sound allows", "check that texts and files belong together"
        raise DataError(what, should="a network step for each symbol", found=first, hint=hint)
    return numbers


def _remedy(length: int, needed: int, trained: bool) -> str:
    """Return what makes room for a text of this need in a sound of this length."""
    if length < needed:
        return "correct the row: no stride makes room for so long a text"
    return f"{'train with ' if trained else ''}--set stride={length // needed}"
