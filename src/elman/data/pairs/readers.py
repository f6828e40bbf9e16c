"""Scored pairs of texts from tables: TSV and CSV files with two texts and a score, or yes or no, in a row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from elman.data.delimited import Table, column_label, find_column, read_table, wrong_width
from elman.data.magnitudes import LARGEST
from elman.data.skipped import SkippedRows
from elman.data.text.documents import Document, read_text
from elman.errors import DataError

SUFFIXES = (".tsv", ".csv", ".txt")
"""The files that are taken from a folder."""

KNOWN_NAMES: dict[str, tuple[str, ...]] = {
    "first": ("a", "first", "sentence_a", "sentence1", "text_a", "text1", "question1", "source", "left"),
    "second": ("b", "second", "sentence_b", "sentence2", "text_b", "text2", "question2", "target", "right"),
    "score": ("score", "relatedness_score", "similarity", "relatedness", "label", "is_duplicate"),
}
"""The names by which a column is found; letters and digits count, case does not."""

YES, NO = {"yes", "y", "true", "t", "same", "similar"}, {"no", "n", "false", "f", "different", "dissimilar"}


class ScoredPair(NamedTuple):
    """Two texts and their similarity.

    Attributes:
        first: a text.
        second: another.
        score: their similarity; yes is 1 and no is 0; nan where none was asked for.
    """

    first: str
    second: str
    score: float


@dataclass(frozen=True)
class PairTable:
    """Tables of pairs, which can be read again and again.

    Attributes:
        documents: the files.
        first: the column of the first texts by name, or by number from 1; None for one of `KNOWN_NAMES`, or the only
            three columns that there are.
        second: the column of the second texts, likewise.
        score: the column of the scores, likewise.
        scored: whether a score is wanted.
        skip_bad: skip broken rows and count them in `skipped`.
        skipped: the broken rows of the last reading.
        notes: grows: what was guessed, and what is not used.
    """

    documents: Sequence[Document]
    first: str | None = None
    second: str | None = None
    score: str | None = None
    scored: bool = True
    skip_bad: bool = False
    skipped: SkippedRows = field(default_factory=SkippedRows)
    notes: set[str] = field(default_factory=set)

    def __iter__(self) -> Iterator[ScoredPair]:
        """Read all pairs from the beginning, in constant memory.

        Raises:
            DataError: a file cannot be read, a column is missing, or a row is broken.
        """
        self.skipped.clear()
        for document in self.documents:
            table = read_table(Path(document.name), encoding=document.encoding, strict=True)
            table, places = self._columns(table)
            keys = ("first", "second", "score")
            chosen = (f"{key}_column={column_label(table.header, n)}" for key, n in zip(keys, places, strict=False))
            self.notes.update([", ".join(chosen), *table.reading_notes(places)])
            if not table.first:
                self.notes.add("no header: the first line is a pair")
            # Columns of a file without a header may be followed by any others.
            width = len(table.header) if table.first or len(table.header) == len(places) else 0

            pair = partial(self._pair, places=places)
            yield from (row for _, row in table.parse(pair, width=width, skipped=self.skipped, skip_bad=self.skip_bad))

    def _pair(self, cells: list[str], places: list[int]) -> ScoredPair:
        if len(cells) <= max(places):
            raise wrong_width(cells, f"more than {max(places)}")
        first, second = (" ".join(cells[place].split()) for place in places[:2])
        if not first or not second:
            raise DataError(f"an empty {'second' if first else 'first'} text", should="two texts")
        score = score_of(cells[places[2]]) if self.scored else math.nan
        if score is None:
            found = repr(cells[places[2]][:40])
            too_large = cells[places[2]].strip().lstrip("+-")[:1].isdigit()
            should = f"a number of magnitude {LARGEST:g} or less" if too_large else "a number, or yes or no"
            raise DataError("invalid score", should=should, found=found)
        return ScoredPair(first, second, score)

    def _columns(self, table: Table) -> tuple[Table, list[int]]:
        """Return the table, without a header where its first line is a pair, and the places of the columns."""
        names = {key: getattr(self, key) for key in ("first", "second", "score")[: 3 if self.scored else 2]}
        assert table.first is not None
        cells = table.first[1]
        plain = table.without_header()
        if all(name is not None and name.isdecimal() for name in names.values()):
            places = [plain.column(f"{key}_column", name) for key, name in names.items()]
            return (table if self.scored and score_of(cells[places[2]]) is None else plain), places
        if not all(find_column(table.header, name, KNOWN_NAMES[key]) is not None for key, name in names.items()):
            if len(cells) == 2 and not self.scored:
                return plain, [0, 1]
            if len(cells) == 3 and not any(names.values()) and score_of(cells[2]) is not None:
                return plain, list(range(len(names)))
        return table, [table.column(f"{key}_column", name, KNOWN_NAMES[key]) for key, name in names.items()]


def read_pairs(sources: Iterable[Path], *, encoding: str = "utf-8", **options: Any) -> PairTable:
    """Find the tables in files and folders; nothing is read yet. The options are the fields of `PairTable`.

    Raises:
        DataError: a file is missing, empty or not a file.
        SettingError: the encoding is unknown.
    """
    return PairTable(read_text(sources, encoding=encoding, suffixes=SUFFIXES), **options)


def score_of(cell: str) -> float | None:
    """Return the number in a cell, 1 for yes and 0 for no; None where there is none, or one that is too large."""
    text = cell.strip().lower()
    if text in YES | NO:
        return float(text in YES)
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) <= LARGEST else None
