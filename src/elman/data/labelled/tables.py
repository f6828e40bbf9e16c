"""Tables of examples: CSV, TSV and JSON lines, with a column for text, for numbers or for the path of a file.

A row is an example; or, with a group column, a step of one. A manifest is a table with the columns path and label.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from elman.data.compressed import read_errors
from elman.data.delimited import Table, find_column, has_name, missing_column, read_table
from elman.data.labelled.example import Example, Reader, ReaderOptions, Values
from elman.data.labelled.file_formats import load_file
from elman.data.labelled.ts_archive import parse_numbers
from elman.data.text.documents import Document
from elman.data.text.lines import document_lines
from elman.errors import DataError

SUFFIXES = (".csv", ".tsv", ".jsonl")
KNOWN_NAMES = {
    "path": ("path", "file", "filename"),
    "text": ("text", "sentence"),
    "series": ("series", "values"),
    "label": ("label", "class", "target"),
}
"""The columns that are taken where the settings name none, the first that is there."""
VALUES = ("path", "text", "series")
SAMPLE = 32
"""The JSON lines whose keys are the columns."""

MOST_KEYS = 20
"""The most keys of JSON lines that are named as not used."""


class TableRow(NamedTuple):
    """A row of a table.

    Attributes:
        name: what messages call it.
        cells: its cells by column.
        fault: what is wrong with it; empty where nothing is.
    """

    name: str
    cells: Mapping[str, Any]
    fault: str = ""


def _accepts(sources: Sequence[Path]) -> bool:
    """Return whether all sources are tables."""
    return bool(sources) and all(path.suffix.lower() in SUFFIXES for path in sources)


def _read(sources: Sequence[Path], reading: ReaderOptions) -> Iterator[Example]:
    """Yield the examples of tables, in constant memory."""
    for path in sources:
        is_json = path.suffix.lower() == ".jsonl"
        table = None if is_json else _table(path, reading)
        rows = _rows(path, table) if table else _json_rows(path, reading.encoding)
        head = list(islice(rows, SAMPLE))
        if not head:
            raise DataError(f"{path} has no rows", should="at least one example", found="none")
        names = list(dict.fromkeys(name for row in head for name in row.cells))
        if not names:
            raise _broken(head[0], head[0].fault or "no keys")
        columns, rows = Columns.choose(path, names, reading), chain(head, rows)
        reading.notes.add(columns.settings, str(path))
        if table:
            _note_columns(table, columns, reading)
        else:
            rows = _noted_keys(str(path), rows, columns, reading)
        yield from _grouped(path, rows, columns) if columns.group else _single(path, rows, columns, reading)


def _table(path: Path, reading: ReaderOptions) -> Table:
    """Open a CSV or TSV file."""
    quoted_tabs = path.suffix.lower() != ".tsv"
    return read_table(path, encoding=reading.encoding, columns=reading.column_names, quoted_tabs=quoted_tabs)


def _rows(path: Path, table: Table) -> Iterator[TableRow]:
    """Yield the rows of a table."""
    for line, cells, fault in table.rows:
        if not fault and len(cells) != len(table.header):
            fault = f"{len(cells)} cells"
        named = {**dict.fromkeys(table.header), **dict(zip(table.header, cells, strict=False))}
        yield TableRow(f"{path.name}:{line}", named, fault)


def _json_rows(path: Path, encoding: str) -> Iterator[TableRow]:
    for number, line in enumerate(document_lines(Document(str(path), path, encoding)), 1):
        if line.strip():
            name, row, fault = f"{path.name}:{number}", {}, ""
            try:
                row = _json_object(name, line)
            except DataError as error:
                fault = f"{line.strip()[:40]} ({error.found})"
            yield TableRow(name, row, fault)


def _json_object(name: str, line: str) -> dict[str, Any]:
    with read_errors(name, "a JSON object"):
        row = json.loads(line)
        if not isinstance(row, dict):
            raise TypeError(f"a {type(row).__name__}, not an object")
        if "\\u" in line:
            json.dumps(row, ensure_ascii=False).encode()  # refuses half of a surrogate pair
    return row


def _noted_keys(name: str, rows: Iterator[TableRow], columns: Columns, reading: ReaderOptions) -> Iterator[TableRow]:
    """Yield the rows, and note the keys that are not used."""
    unused: dict[str, None] = {}
    for row in rows:
        unused.update(dict.fromkeys(key for key in row.cells if key not in columns.used and len(unused) < MOST_KEYS))
        yield row
    if unused:
        reading.notes.add(f"unused keys: {', '.join(key[:40] for key in unused)}", name)


def _note_columns(table: Table, columns: Columns, reading: ReaderOptions) -> None:
    """Note which columns are used and which are not.

    Raises:
        DataError: two columns have the name of one that is used.
    """
    twice = next((name for name in columns.used if table.header.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"{table.name} has several columns {twice!r}",
            should="one column of each name that is used",
            found=", ".join(table.header[:20]),
            hint="rename the others, or name other columns with text_column, series_columns or label_column",
        )
    places = [place for place, name in enumerate(table.header) if name in columns.used]
    reading.notes.update(table.reading_notes(places), table.name)


class Columns(NamedTuple):
    """The columns of a table.

    Attributes:
        kind: what the values are: "text", "series" or "path".
        values: the columns of the values.
        label: the column of the label; None for none.
        group: the column that tells sequences apart, whose steps are rows; None where each row is an example.
    """

    kind: str
    values: list[str]
    label: str | None
    group: str | None = None

    @property
    def used(self) -> set[str]:
        """The columns that are read."""
        return {name for name in (*self.values, self.label, self.group) if name is not None}

    @property
    def settings(self) -> str:
        """The columns as the settings that name them."""
        setting = "series_columns" if self.kind == "series" else f"{self.kind}_column"
        shown = ",".join(self.values[:20]) + (",..." if len(self.values) > 20 else "")
        names = {setting: shown, "label_column": self.label, "group_column": self.group}
        return ", ".join(f"{key}={name}" for key, name in names.items() if name is not None)

    @classmethod
    def choose(cls, path: Path, names: list[str], reading: ReaderOptions) -> Columns:
        """Choose columns by the settings, or by their usual names.

        Raises:
            DataError: one is missing.
        """

        def missing(kind: str, name: str | None) -> DataError:
            known = [other for key in (("label",) if kind == "label" else VALUES) for other in KNOWN_NAMES[key]]
            setting = "series_columns" if kind == "series" else f"{kind}_column"
            hint = "; or --set column_names=text,label for a file without a header"
            return missing_column(str(path), names, setting, name, known, hint=hint)

        def column(kind: str, name: str | None) -> str:
            place = find_column(names, name) if name else None
            if place is None:
                raise missing(kind, name)
            return names[place]

        usual = {kind: next((name for name in KNOWN_NAMES[kind] if name in names), None) for kind in KNOWN_NAMES}
        label = reading.label_column or usual["label"]
        label = column("label", label) if reading.labelled or label in names else None
        group = column("group", reading.group_column) if reading.group_column else None
        for kind, name in (("path", reading.path_column), ("text", reading.text_column)):
            if name:
                return cls(kind, [column(kind, name)], label, group)
        if reading.series_columns:
            for pattern in reading.series_columns:
                if not any(fnmatchcase(name, pattern) for name in names):
                    raise missing("series", pattern)
            chosen = [name for name in names if any(fnmatchcase(name, p) for p in reading.series_columns)]
            return cls("series", [name for name in chosen if name != label], label, group)
        for kind in VALUES:
            if name := usual[kind]:
                return cls(kind, [name], label, group)
        if group:
            return cls("series", [n for n in names if n not in (label, group) and has_name(n)], label, group)
        raise missing("text", None)


def _single(path: Path, rows: Iterator[TableRow], columns: Columns, reading: ReaderOptions) -> Iterator[Example]:
    for row in rows:
        label = row.cells.get(columns.label) if columns.label else None
        yield Example(row.name, partial(_row_values, path, row, columns, reading), label)


def _row_values(path: Path, row: TableRow, columns: Columns, reading: ReaderOptions) -> Values:
    _check(row, [*columns.values, *([columns.label] if columns.label else [])])
    values = [row.cells[name] for name in columns.values]
    if columns.kind == "path":
        return load_file(path.parent / str(values[0]), reading)
    if columns.kind == "text":
        text = values[0]
        return [str(part) for part in text] if isinstance(text, list) else str(text)
    if len(values) > 1:
        return parse_numbers(row.name, values)[:, None]
    return _series(row.name, values[0])


def _series(name: str, cell: Any) -> Values:
    """Return a cell of numbers, (T, 1), or a list of lists of them, (T, I)."""
    if not isinstance(cell, list):
        cell = str(cell).replace(",", " ").replace(";", " ").split()
    if not (cell and isinstance(cell[0], list)):
        return parse_numbers(name, cell)[:, None]
    if not all(isinstance(step, list) and len(step) == len(cell[0]) for step in cell):
        raise DataError(f"{name}: the steps differ in size", should=f"{len(cell[0])} numbers each", found="others")
    return parse_numbers(name, [number for step in cell for number in step]).reshape(len(cell), -1)


def _grouped(path: Path, rows: Iterator[TableRow], columns: Columns) -> Iterator[Example]:
    """Yield a sequence for each run of rows with the same value in the group column."""
    group: Any = None
    steps: list[TableRow] = []
    seen: set[Any] = set()
    for row in rows:
        value = row.cells.get(columns.group or "")
        if value is None:
            raise _broken(row, f"no {columns.group}")
        if value != group and steps:
            yield _sequence(path, str(group), steps, columns)
            steps = []
        if not steps and value in seen:
            raise DataError(
                f"{row.name}: the sequence {value!r} begins a second time",
                should="all rows of a sequence together",
                found="other rows between them",
                hint=f"sort the table by {columns.group}",
            )
        group = value
        seen.add(value)
        steps.append(row)
    yield _sequence(path, str(group), steps, columns)


def _sequence(path: Path, group: str, steps: list[TableRow], columns: Columns) -> Example:
    label = [step.cells.get(columns.label) for step in steps] if columns.label else None
    return Example(f"{path.name}, {group}", partial(_step_values, steps, columns), label)


def _step_values(steps: list[TableRow], columns: Columns) -> Values:
    for step in steps:
        _check(step, columns.values)
    if columns.kind == "text":
        return [str(step.cells[columns.values[0]]) for step in steps]
    return np.stack([parse_numbers(step.name, [step.cells[name] for name in columns.values]) for step in steps])


def _check(row: TableRow, columns: list[str]) -> None:
    absent = [name for name in columns if row.cells.get(name) is None]
    if row.fault or absent:
        raise _broken(row, row.fault or f"no {absent[0]}")


def _broken(row: TableRow, fault: str) -> DataError:
    hint = "fix the row, or skip such rows with --skip-bad"
    return DataError(f"{row.name} is broken", should="a cell for every column", found=fault, hint=hint)


READER = Reader("tables", _accepts, _read)
