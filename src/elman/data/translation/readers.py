"""Parallel text: aligned lines of two files, plain or compressed, or of one file with a tab between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from elman.data.delimited import read_table
from elman.data.skipped import SkippedRows
from elman.data.text.lines import LONGEST_LINE, file_lines
from elman.errors import DataError


class SentencePair(NamedTuple):
    """A line and its translation.

    Attributes:
        source: the line.
        target: its translation.
    """

    source: str
    target: str


def read_parallel(
    sources: Sequence[Path],
    *,
    lowercase: bool = False,
    skipped: SkippedRows | None = None,
    skip_bad: bool = False,
) -> Iterator[SentencePair]:
    """Yield the pairs of `numbered_pairs` alone, on demand with the sources in lower case."""
    rows = numbered_pairs(sources, skipped=skipped, skip_bad=skip_bad)
    return (pair for _, pair in (lowercased(rows) if lowercase else rows))


def lowercased(rows: Iterable[tuple[int, SentencePair]]) -> Iterator[tuple[int, SentencePair]]:
    """Yield numbered pairs with their sources in lower case."""
    return ((number, SentencePair(pair.source.lower(), pair.target)) for number, pair in rows)


def numbered_pairs(
    sources: Sequence[Path], *, skipped: SkippedRows | None = None, skip_bad: bool = False
) -> Iterator[tuple[int, SentencePair]]:
    """Yield the pairs of two aligned files, or of one file of lines `source TAB target`, with their lines' numbers.

    Memory is constant, and each file is read once, so that a pipe serves too. A file whose name ends in .gz is
    decompressed. White space at the ends of lines is stripped; pairs of two empty lines are ignored.

    Args:
        sources: the files.
        skipped: counts broken pairs: an empty line beside a full one, or not one tab in a line.
        skip_bad: whether broken pairs are skipped.

    Raises:
        DataError: a file is missing, empty or not UTF-8, a pair is broken and such pairs are not skipped, all pairs
            are broken, or the files have different numbers of lines. The message names file and line.
    """
    if len(sources) not in (1, 2):
        raise DataError(
            "parallel text comes as one file or two",
            should="SOURCE TARGET, two files of aligned lines, or one file with a tab in each line",
            found=f"{len(sources)} files",
        )
    skipped = SkippedRows() if skipped is None else skipped
    count, before = 0, skipped.count
    for number, source, target in _rows(sources, skipped, skip_bad):
        if not source and not target:
            continue
        if not source or not target:
            side = 0 if not source else -1
            what = f"{sources[side]}, line {number}: a line is empty and its partner is not"
            found = f"{source[:40] or 'nothing'!r} beside {target[:40] or 'nothing'!r}"
            if skip_bad:
                skipped.add(f"{what}: {found}")
                continue
            hint = "remove the line from both files, or skip such lines with --skip-bad"
            raise DataError(what, should="text in both", found=found, hint=hint)
        count += 1
        yield number, SentencePair(source, target)
    if not count:
        what = f"every pair of {sources[0]} is broken" if skipped.count > before else f"{sources[0]} has no lines"
        raise DataError(what, should="pairs of lines", found=skipped.first[-1] if skipped.count > before else "none")


def _rows(sources: Sequence[Path], skipped: SkippedRows, skip_bad: bool) -> Iterator[tuple[int, str, str]]:
    if len(sources) == 1:
        table = read_table(sources[0], separators="\t", max_line=LONGEST_LINE).without_header()
        rows = table.parse(_two_cells, width=0, skipped=skipped, skip_bad=skip_bad)
        yield from ((line, source, target) for line, (source, target) in rows)
        return
    left, right = file_lines(sources[0]), file_lines(sources[1])
    number = 0
    while True:
        number += 1
        source, target = next(left, None), next(right, None)
        if source is None or target is None:
            if source is not None or target is not None:
                short, long = sources if source is None else reversed(sources)
                if number == 1:
                    raise DataError(f"{short} is empty", should=f"as many lines as in {long}", found="none")
                raise DataError(
                    "the two files have different numbers of lines",
                    should=f"as many lines in {short} as in {long}",
                    found=f"{short} ends after line {number - 1}",
                    hint="align them again",
                )
            return
        yield number, source, target


def _two_cells(cells: list[str]) -> tuple[str, str]:
    source, target, *more = (*(cell.strip() for cell in cells), "")
    if len(cells) < 2:
        hint = "name two files if source and target are apart"
        raise DataError("there is no tab", should="source, a tab, target", found=repr(source[:60]), hint=hint)
    if any(more):
        hint = "take two of the columns: cut -f1,2"
        raise DataError("there is more than one tab", should="source, a tab, target", found=more[0][:60], hint=hint)
    return source, target
