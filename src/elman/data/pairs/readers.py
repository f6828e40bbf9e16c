"""Pairs of texts with a score, or with yes or no, from tables: TSV and CSV files."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from elman.data.skipped import SkippedRows
from elman.data.text.documents import Document, read_text
from elman.data.text.lines import document_lines
from elman.errors import DataError, nearest

SUFFIXES = (".tsv", ".csv", ".txt")
"""The files that are taken from a folder."""

NAMES: dict[str, tuple[str, ...]] = {
    "first": ("a", "first", "sentence_a", "sentence1", "text_a", "text1", "question1", "source", "left"),
    "second": ("b", "second", "sentence_b", "sentence2", "text_b", "text2", "question2", "target", "right"),
    "score": ("score", "relatedness_score", "similarity", "relatedness", "label", "is_duplicate"),
}
"""The names by which a column is found, in any case, blanks and hyphens as `_`."""

YES, NO = {"yes", "y", "true", "t", "same", "similar"}, {"no", "n", "false", "f", "different", "dissimilar"}
LONGEST_FIELD = 1 << 24


class ScoredPair(NamedTuple):
    """Two texts, and how alike they are; yes is 1 and no is 0. The score is nan where none was asked for."""

    first: str
    second: str
    score: float


@dataclass(frozen=True)
class PairTable:
    """Where the pairs are.

    Attributes:
        documents: the files.
        first, second, score: the columns by name, or by number from 1; None for those that `NAMES` knows, or the only
            three that there are.
        scored: whether a score is wanted.
        skip_bad: leave out broken rows and count them in `skipped`.
    """

    documents: Sequence[Document]
    first: str | None = None
    second: str | None = None
    score: str | None = None
    scored: bool = True
    skip_bad: bool = False
    skipped: SkippedRows = field(default_factory=SkippedRows)

    def __iter__(self) -> Iterator[ScoredPair]:
        """Read all pairs from the beginning, in constant memory.

        Raises:
            DataError: a file cannot be read, a column is not there, or a row is broken.
        """
        self.skipped.clear()
        for document in self.documents:
            yield from self._read(document)

    def _read(self, document: Document) -> Iterator[ScoredPair]:
        lines = document_lines(document)
        opening = next(lines, "")
        tabs = "\t" in opening
        csv.field_size_limit(LONGEST_FIELD)
        options = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"delimiter": ",", "strict": True}
        reader = csv.reader(_chained(opening, lines), **options)  # type: ignore[arg-type]
        places: list[int] | None = None
        width = 0
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                self._bad(f"{document.name}, line {reader.line_num}", "a row of the table", str(error))
                continue
            if row is None:
                return
            if not any(cell.strip() for cell in row):
                continue
            where = f"{document.name}, line {reader.line_num}"
            if places is None:
                places, header = self._columns(document.name, row)
                # Columns named by number in a file without a header may be followed by any others.
                width = len(row) if header or len(row) == len(places) else 0
                if header:
                    continue
            pair = self._pair(where, row, places, width, "tabs" if tabs else "commas")
            if pair is not None:
                yield pair

    def _pair(self, where: str, row: list[str], places: list[int], width: int, signs: str) -> ScoredPair | None:
        if (width and len(row) != width) or len(row) <= max(places):
            should = f"{width or f'more than {max(places)}'} cells with {signs} between them"
            self._bad(where, should, f"{len(row)} cells: {' | '.join(row)[:80]}")
            return None
        first, second = (" ".join(row[place].split()) for place in places[:2])
        if not first or not second:
            self._bad(where, "two texts", f"an empty {'first' if not first else 'second'} text")
            return None
        score = score_of(row[places[2]]) if self.scored else math.nan
        if score is None:
            self._bad(where, "a number, or yes or no, as the score", repr(row[places[2]][:40]))
            return None
        return ScoredPair(first, second, score)

    def _bad(self, where: str, should: str, found: str) -> None:
        """Count a broken row.

        Raises:
            DataError: broken rows are not to be left out.
        """
        if not self.skip_bad:
            raise DataError(f"{where} is broken", should=should, found=found, hint="mend it, or --skip-bad")
        self.skipped.add(f"{where}: {found}")

    def _columns(self, name: str, row: list[str]) -> tuple[list[int], bool]:
        """Return the places of the columns, and whether this first row is their names.

        Raises:
            DataError: they are not to be found.
        """
        wanted = {key: getattr(self, key) for key in ("first", "second", "score")[: 3 if self.scored else 2]}
        names = [_plain(cell) for cell in row]
        found: dict[str, int] = {}
        for key, asked in wanted.items():
            known = NAMES[key] if asked is None else (_plain(asked),)
            fitting = [column for column in known if column in names]
            if fitting:
                found[key] = names.index(fitting[0])
        if len(found) == len(wanted):
            return list(found.values()), True
        if all(asked is not None and asked.isdecimal() and 1 <= int(asked) <= len(row) for asked in wanted.values()):
            places = [int(str(asked)) - 1 for asked in wanted.values()]
            header = self.scored and score_of(row[places[2]]) is None
            return places, header
        if not self.scored and len(row) == 2:
            return [0, 1], False
        if len(row) == 3 and not any(wanted.values()) and score_of(row[2]) is not None:
            return list(range(len(wanted))), False
        missing = [key for key in wanted if key not in found]
        lacking = ", ".join(f"for the {key}" + (f" ({wanted[key]!r})" if wanted[key] else "") for key in missing)
        near = {key: nearest(_plain(wanted[key] or ""), names) for key in missing}
        example = " ".join(f"--set {key}={near[key] or 'NAME'}" for key in missing)
        raise DataError(
            f"{name} has no column {lacking}",
            should="names of columns in the first line, or two texts and a score in every line",
            found=f"{len(row)} columns: {', '.join(cell[:20] for cell in row[:8])}",
            hint=f"{example}, with names or numbers (from 1) of columns",
        )


def read_pairs(
    sources: Iterable[Path],
    *,
    encoding: str = "utf-8",
    first: str | None = None,
    second: str | None = None,
    score: str | None = None,
    scored: bool = True,
    skip_bad: bool = False,
) -> PairTable:
    """Find the tables in files and folders; nothing is read yet. Arguments as in `PairTable`.

    Raises:
        DataError: a file is missing, empty or no file.
        SettingError: the encoding is unknown.
    """
    documents = read_text(sources, encoding=encoding, suffixes=SUFFIXES)
    return PairTable(documents, first, second, score, scored, skip_bad)


def score_of(cell: str) -> float | None:
    """Return the number in a cell, 1 for yes and 0 for no, or None."""
    text = cell.strip().lower()
    if text in YES | NO:
        return float(text in YES)
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _chained(opening: str, lines: Iterator[str]) -> Iterator[str]:
    yield opening
    yield from lines


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")
