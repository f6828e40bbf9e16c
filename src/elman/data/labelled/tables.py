"""Tables of examples: CSV, TSV and JSON lines, with a column for text, for numbers or for the path of a file.

A row is an example; or, with a group column, a step of one. A manifest is a table with the columns path and label.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from elman.data.labelled.example import Example, Reader, Reading, Values
from elman.data.labelled.file_formats import load_file
from elman.data.labelled.ts_archive import numbers
from elman.errors import DataError, nearest

SUFFIXES = (".csv", ".tsv", ".jsonl")
KNOWN = {
    "path": ("path", "file", "filename"),
    "text": ("text", "sentence"),
    "series": ("series", "values"),
    "label": ("label", "class", "target"),
}
"""The columns that are taken where the settings name none, the first that is there."""


class Row(NamedTuple):
    """A row of a table: its name in messages, its cells by column, and what is wrong with it."""

    name: str
    cells: Mapping[str, Any]
    wrong: str | None = None


def takes(sources: Sequence[Path]) -> bool:
    """Return whether all sources are tables."""
    return bool(sources) and all(path.suffix.lower() in SUFFIXES for path in sources)


def read(sources: Sequence[Path], reading: Reading) -> Iterator[Example]:
    """Yield the examples of tables, in constant memory.

    Raises:
        DataError: a table cannot be read or is empty, or a column is missing.
    """
    for path in sources:
        rows = table_rows(path, reading)
        first = next(rows, None)
        if first is None:
            raise DataError(f"{path} has no rows", should="at least one example", found="none")
        columns = Columns.choose(path, first, reading)
        examples = _grouped if reading.group_column else _single
        yield from examples(path, chain([first], rows), columns, reading)


def table_rows(path: Path, reading: Reading) -> Iterator[Row]:
    """Yield the rows of a CSV, TSV or JSON-lines file.

    Raises:
        DataError: the file cannot be read.
    """
    read = _json_rows if path.suffix.lower() == ".jsonl" else _cell_rows
    try:
        with path.open(newline="", encoding="utf-8-sig" if reading.encoding == "utf-8" else reading.encoding) as file:
            yield from read(path, file, reading.columns)
    except (OSError, UnicodeError, csv.Error) as error:
        raise DataError(
            f"cannot read {path}",
            should=f"a table in {reading.encoding}",
            found=str(error)[:200],
            hint="another --set encoding, or another file",
        ) from error


def _cell_rows(path: Path, file: Any, columns: tuple[str, ...]) -> Iterator[Row]:
    csv.field_size_limit(1 << 30)  # a cell may hold a long text or series
    plain = path.suffix.lower() == ".tsv"
    start = file.readline()
    file.seek(0)
    delimiter = "\t" if plain else max(",;\t", key=start.count)
    # In TSV a quotation mark is one.
    rows = csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL)
    names = list(columns) or [name.strip() for name in next(rows, [])]
    for row in rows:
        if row:
            wrong = None if len(row) == len(names) else f"{len(row)} cells"
            cells = {**dict.fromkeys(names), **dict(zip(names, row, strict=False))}
            yield Row(f"{path.name}:{rows.line_num}", cells, wrong)


def _json_rows(path: Path, file: Any, columns: tuple[str, ...]) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            good = isinstance(row, dict)
            yield Row(f"{path.name}:{number}", row if good else {}, None if good else line.strip()[:40])


class Columns(NamedTuple):
    """Which columns are what."""

    kind: str  # "text", "series" or "path"
    values: list[str]
    label: str | None

    @classmethod
    def choose(cls, path: Path, first: Row, reading: Reading) -> Columns:
        """Choose columns by the settings, or by their usual names.

        Raises:
            DataError: one is missing.
        """
        names = list(first.cells)
        usual = next((name for name in KNOWN["label"] if name in names), None)
        label = reading.label_column or usual
        if label not in names and reading.labelled:
            raise _missing(path, names, "label", reading.label_column)
        label = label if label in names else None
        for kind, asked in (("path", reading.path_column), ("text", reading.text_column)):
            if asked:
                if asked not in names:
                    raise _missing(path, names, kind, asked)
                return cls(kind, [asked], label)
        if reading.series_columns:
            chosen = [name for name in names if any(fnmatchcase(name, asked) for asked in reading.series_columns)]
            absent = [a for a in reading.series_columns if not any(fnmatchcase(name, a) for name in names)]
            if absent:
                raise _missing(path, names, "series", absent[0])
            return cls("series", [name for name in chosen if name != label], label)
        for kind in ("path", "text", "series"):
            found = next((name for name in KNOWN[kind] if name in names), None)
            if found:
                return cls(kind, [found], label)
        if reading.group_column:
            return cls("series", [name for name in names if name not in (label, reading.group_column)], label)
        raise _missing(path, names, "text", None)


def _missing(path: Path, names: list[str], kind: str, asked: str | None) -> DataError:
    guess = nearest(asked, names) if asked else None
    other = "label_column" if kind == "label" else "text_column=NAME, series_columns=NAMES or path_column"
    return DataError(
        f"{path} has no column {asked!r}" if asked else f"{path} has no column for the {kind}",
        should="a column of the table"
        if asked
        else " or ".join(n for k in KNOWN for n in KNOWN[k] if (k == "label") == (kind == "label")),
        found=f"{len(names)} columns: {', '.join(name[:40] for name in names[:20])}",
        hint=f"did you mean {guess!r}?"
        if guess
        else f"--set {other}=NAME; where the first line names no columns, --set columns=text,label",
    )


def _single(path: Path, rows: Iterator[Row], columns: Columns, reading: Reading) -> Iterator[Example]:
    for row in rows:
        label = row.cells.get(columns.label) if columns.label else None
        yield Example(row.name, partial(_row_values, path, row, columns, reading), label)


def _row_values(path: Path, row: Row, columns: Columns, reading: Reading) -> Values:
    _check(row, [*columns.values, *([columns.label] if columns.label else [])])
    values = [row.cells[name] for name in columns.values]
    if columns.kind == "path":
        return load_file(path.parent / str(values[0]), reading)
    if columns.kind == "text":
        text = values[0]
        return [str(part) for part in text] if isinstance(text, list) else str(text)
    if len(values) > 1:
        return numbers(row.name, values)[:, None]
    return _series(row.name, values[0])


def _series(name: str, cell: Any) -> Values:
    """Return a cell of numbers, (T, 1), or a list of lists of them, (T, I)."""
    if not isinstance(cell, list):
        cell = str(cell).replace(",", " ").replace(";", " ").split()
    if not (cell and isinstance(cell[0], list)):
        return numbers(name, cell)[:, None]
    if not all(isinstance(step, list) and len(step) == len(cell[0]) for step in cell):
        raise DataError(f"{name}: the steps differ in size", should=f"{len(cell[0])} numbers each", found="others")
    return numbers(name, [number for step in cell for number in step]).reshape(len(cell), -1)


def _grouped(path: Path, rows: Iterator[Row], columns: Columns, reading: Reading) -> Iterator[Example]:
    """Yield a sequence for each run of rows with the same value in the group column."""
    group: Any = None
    steps: list[Row] = []
    seen: set[Any] = set()
    for row in rows:
        found = row.cells.get(reading.group_column or "")
        if found is None:
            raise _missing(path, list(row.cells), "series", reading.group_column)
        if found != group and steps:
            yield _sequence(path, str(group), steps, columns)
            steps = []
        if not steps and found in seen:
            raise DataError(
                f"{row.name}: the sequence {found!r} begins a second time",
                should="all rows of a sequence together",
                found="other rows between them",
                hint=f"sort the table by {reading.group_column}",
            )
        group = found
        seen.add(found)
        steps.append(row)
    yield _sequence(path, str(group), steps, columns)


def _sequence(path: Path, group: str, steps: list[Row], columns: Columns) -> Example:
    label = [step.cells.get(columns.label) for step in steps] if columns.label else None
    return Example(f"{path.name}, {group}", partial(_step_values, steps, columns), label)


def _step_values(steps: list[Row], columns: Columns) -> Values:
    for step in steps:
        _check(step, columns.values)
    if columns.kind == "text":
        return [str(step.cells[columns.values[0]]) for step in steps]
    return np.stack([numbers(step.name, [step.cells[name] for name in columns.values]) for step in steps])


def _check(row: Row, needed: list[str]) -> None:
    absent = [name for name in needed if row.cells.get(name) is None]
    if row.wrong or absent:
        found = row.wrong or f"no {absent[0]}"
        raise DataError(
            f"{row.name} is broken", should="a cell for every column", found=found, hint="mend it, or --skip-bad"
        )


READER = Reader("tables", takes, read)
