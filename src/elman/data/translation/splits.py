"""Splits of parallel text into training and validation pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from elman.data.batching import count_held_out
from elman.data.skipped import SkippedRows
from elman.data.translation.builtin import dates_in_words
from elman.data.translation.readers import lowercased, numbered_pairs
from elman.data.translation.spool import SpooledPairs

DATES = 6000
"""Pairs of the default data."""


def split_parallel(
    sources: Sequence[Path],
    folder: Path,
    *,
    share: float,
    validation_data: Sequence[Path],
    seed: int,
    lowercase: bool = False,
    skipped: SkippedRows,
    skip_bad: bool,
) -> tuple[SpooledPairs, SpooledPairs]:
    """Return the pairs for training and for validation, which are read once, into a folder.

    Args:
        sources: see `numbered_pairs`; none: dates in words.
        folder: where the pairs go.
        share: of the pairs, at the end, for validation.
        validation_data: sources for validation instead.
        seed: of the dates.
        lowercase: whether sources are in lower case.
        skipped: counts broken pairs.
        skip_bad: whether broken pairs are skipped.

    Raises:
        DataError: they cannot be read, or there are too few of them.
    """

    def spooled(name: str, files: Sequence[Path]) -> SpooledPairs:
        dates = enumerate(dates_in_words(DATES, seed=seed), 1)
        rows = numbered_pairs(files, skipped=skipped, skip_bad=skip_bad) if files else dates
        rows = lowercased(rows) if lowercase else rows
        return SpooledPairs.write(folder / name, tuple(map(str, files)) or ("dates in words",), rows)

    pairs = spooled("pairs", sources)
    if validation_data:
        return pairs, spooled("validation", validation_data)
    return pairs.cut(len(pairs) - count_held_out(len(pairs), share, "pairs", hint="SOURCE,TARGET"))
