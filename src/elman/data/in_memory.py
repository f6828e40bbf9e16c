"""Data in memory, written as files that readers take: texts, rows, arrays, and DataFrames (pandas is not imported)."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from elman.errors import DataError, ElmanError
from elman.storage.files import exists, temporary_folder


class RowText(str):
    """A text from a row in memory. It is never the name of a file, nor "-" for standard input."""

    __slots__ = ()


@dataclass(frozen=True)
class RowFormat:
    """The form of the rows that an application takes, and of the file that they are written to.

    Attributes:
        columns: the columns, in the order of the values of a row; a row may end early.
        suffix: of the file.
        header: whether its first line names the columns.
        files: the column in place of the first one where that holds arrays or paths; empty: there is none.
        counter: a column of the numbers of the rows, or of the index of a DataFrame; empty: there is none. A row then
            has any number of values.
        by_place: whether inputs in columns of other names are taken in their order, with one more column at most.
    """

    columns: tuple[str, ...]
    suffix: str = ".csv"
    header: bool = True
    files: str = ""
    counter: str = ""
    by_place: bool = False

    def __str__(self) -> str:
        row = ", ".join(self.columns) if not self.counter else "numbers"
        frame = f", or a DataFrame with the columns {row}" if self.header else ""
        return f"rows ({row}){frame}" if len(self.columns) > 1 or self.counter else "a list of texts"


def is_frame(data: Any) -> bool:
    """Return whether data is a DataFrame of pandas, or like one."""
    return hasattr(data, "itertuples") and hasattr(data, "columns")


def as_frame(data: Any) -> Any:
    """Return a Series of pandas as a DataFrame of one column; None for what is neither."""
    if hasattr(data, "to_frame") and not hasattr(data, "columns"):
        return data.to_frame()
    return data if is_frame(data) else None


@contextmanager
def source_files(data: Any, rows: RowFormat | None, recipe: str) -> Iterator[tuple[list[Path], str]]:
    """Give DATA as files, which last as long as the context.

    Args:
        data: None; a path or several; or data in memory.
        rows: what the recipe takes in memory; None: nothing.
        recipe: its name, for messages.

    Yields:
        The files, none for None; and the name of data in memory, empty for files.

    Raises:
        DataError: the recipe does not take such data.
    """
    paths = _paths(data, rows)
    if paths is not None:
        yield paths, ""
        return
    kind = type(data).__name__
    if rows is None or not isinstance(data, Iterable):
        takes = f"{rows}, or files" if rows else "files"
        raise DataError(f"{recipe} does not take data of this type", should=takes, found=kind)
    with temporary_folder() as folder, _named(str(folder)):
        yield [write_table(data, folder, rows)], f"{kind} in memory"


@contextmanager
def input_files(inputs: Any, rows: RowFormat | None) -> Iterator[tuple[Sequence[str | Path | None], str]]:
    """Give the inputs of a prediction as texts and files, which last as long as the context.

    Args:
        inputs: a text or path, several, or data in memory, one input in each row; further columns are ignored.
        rows: what the application takes in memory; None: nothing.

    Yields:
        The texts and files, None for a row with a missing value; and the folder of temporary files, empty where there
        are none.

    Raises:
        DataError: the application does not take such inputs.
    """
    if isinstance(inputs, str | Path):
        yield [inputs], ""
        return
    frame = as_frame(inputs)
    values = inputs if frame is not None else list(inputs)
    if frame is None and all(isinstance(value, str | Path) for value in values):
        yield values, ""
        return
    if rows is None:
        found = type(inputs if frame is not None else values[0]).__name__
        raise DataError("an input has a type that cannot be read", should="texts or files", found=found)
    with temporary_folder() as folder, _named(str(folder)):
        if rows.counter:
            yield [write_table(values, folder, rows)], str(folder)
        else:
            yield list(_row_inputs(values, frame, rows, folder)), str(folder)


def _row_inputs(values: Any, frame: Any, rows: RowFormat, folder: Path) -> Iterator[str | Path | None]:
    """Yield the input of each row, by the columns of ROWS alone; None for one with a missing value."""
    count = len(rows.columns)
    if frame is not None:
        names = [str(name) for name in frame.columns]
        places = _input_places(names, rows)
        is_file = names[places[0]] == rows.files
        for number, row in enumerate(frame.iloc[:, places].itertuples(index=False, name=None)):
            yield _row_input(row, rows, folder, number, is_file=is_file)
        return
    for number, value in enumerate(values):
        if isinstance(value, Mapping):
            names = [str(name) for name in value]
            places, cells = _input_places(names, rows), list(value.values())
            is_file = names[places[0]] == rows.files
            yield _row_input([cells[n] for n in places], rows, folder, number, is_file=is_file)
        elif isinstance(value, tuple):
            if len(value) < count:
                raise DataError(f"row {number} has {len(value)} values", should=_takes(rows), found=repr(value)[:80])
            yield _row_input(value[:count], rows, folder, number, is_file=rows.columns[0] == rows.files)
        elif isinstance(value, str) and value.strip():
            yield value
        else:
            yield _row_input([value], rows, folder, number, is_file=False)


def _input_places(names: Sequence[str], rows: RowFormat) -> list[int]:
    """Return the places of the columns that are inputs.

    Raises:
        DataError: they are not known.
    """
    count = len(rows.columns)
    if all(name in names for name in rows.columns):
        return [names.index(name) for name in rows.columns]
    if rows.files in names:
        return [names.index(rows.files)]
    if len(names) == 1:
        return [0]
    if rows.by_place and count <= len(names) <= count + 1:
        return list(range(count))
    raise DataError("the columns of the inputs are not known", should=_takes(rows), found=", ".join(names))


def _takes(rows: RowFormat) -> str:
    names = " and ".join(rows.columns) + (f", or {rows.files}" if rows.files not in ("", *rows.columns) else "")
    return f"the column{'s' if len(rows.columns) > 1 else ''} {names}"


def _row_input(cells: Sequence[Any], rows: RowFormat, folder: Path, number: int, *, is_file: bool) -> str | Path | None:
    if any(_is_missing(cell) for cell in cells):
        return None
    if len(cells) > 1:
        if not all(isinstance(cell, str) for cell in cells):
            raise DataError(f"row {number} is not a row of texts", should=_takes(rows), found=repr(cells)[:80])
        return RowText("\t".join(map(_on_one_line, cells)))
    (value,) = cells
    if not isinstance(value, str):
        return _saved(value, folder, number)
    if is_file:
        return Path(value)
    return RowText(value if rows.header or len(rows.columns) > 1 else _on_one_line(value))


def _is_missing(value: Any) -> bool:
    """Return whether a value is None, not a number, or a blank text."""
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, list | tuple | set | Path) or _is_array(value):
        return False
    try:
        return value is None or bool(value != value)
    except TypeError:  # pandas.NA
        return True


@contextmanager
def _named(folder: str) -> Iterator[None]:
    """Remove the name of a temporary folder from errors."""
    try:
        yield
    except ElmanError as error:
        parts = without_folder(
            {"what": error.what, "should": error.should, "found": error.found, "hint": error.hint}, folder
        )
        raise error.amended(**parts) from error


def without_folder(value: Any, folder: str) -> Any:
    """Return JSON-like content with the name of a temporary folder removed from its texts."""
    if isinstance(value, Mapping):
        return {key: without_folder(part, folder) for key, part in value.items()}
    if isinstance(value, list):
        return [without_folder(part, folder) for part in value]
    return value.replace(f"{folder}/", "") if isinstance(value, str) else value


def _paths(data: Any, rows: RowFormat | None) -> list[Path] | None:
    """Return the paths that data is; None where it is data in memory.

    Strings in a list are paths, but for an application of texts, where each of them must exist to be one.
    """
    if data is None:
        return []
    if isinstance(data, str | Path):
        return [Path(data)]
    if not isinstance(data, list | tuple) or not all(isinstance(item, str | Path) for item in data):
        return None
    if not data:
        raise DataError("there is no data", should="paths, or rows", found=f"an empty {type(data).__name__}")
    are_texts = rows is not None and len(rows.columns) == 1 and not any(isinstance(item, Path) for item in data)
    return None if are_texts and not all(map(_exists, data)) else [Path(item) for item in data]


def _exists(name: str) -> bool:
    return exists(name)


def write_table(data: Any, folder: Path, rows: RowFormat) -> Path:
    """Write a DataFrame, a Series, or an iterable of rows as a table, and its arrays as files beside it.

    Raises:
        DataError: there are no rows, or one does not have the form.
    """
    frame = as_frame(data)
    names, values = _frame_rows(data, frame, rows) if frame is not None else _listed_rows(data, rows)
    path = folder / f"data{rows.suffix}"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        if rows.header:
            writer.writerow(names)
        for number, row in enumerate(values):
            cells = [_cell(value, folder, number) for value in row]
            if rows.header:
                writer.writerow(cells)
            else:
                file.write("\t".join(map(_on_one_line, cells) if len(cells) > 1 else cells) + "\n")
    return path


def _frame_rows(data: Any, frame: Any, rows: RowFormat) -> tuple[list[str], Iterator[Sequence[Any]]]:
    names = [str(name) for name in frame.columns]
    if not is_frame(data) and data.name is None:
        names = [rows.columns[0]]
    if not rows.header:
        chosen = [name for name in rows.columns if name in names] or names
        if len(chosen) != len(rows.columns):
            raise DataError(
                "the columns of the DataFrame are not known", should=", ".join(rows.columns), found=", ".join(names)
            )
        frame = frame.iloc[:, [names.index(name) for name in chosen]]
    elif rows.counter and type(frame.index).__name__ != "RangeIndex":
        frame, names = frame.reset_index(), [rows.counter, *names]
    return names, frame.itertuples(index=False, name=None)


def _listed_rows(data: Iterable[Any], rows: RowFormat) -> tuple[list[str], Iterator[Sequence[Any]]]:
    items = iter(data)
    first = next(items, None)
    if first is None:
        raise DataError("there is no data", should=str(rows), found="no rows")
    if isinstance(first, Mapping):
        names = [str(name) for name in first]
        return names, ([row.get(name) for name in first] for row in chain([first], items))
    values = _values(first)
    if rows.counter:
        name, width = rows.columns[0], len(values)
        names = [name] if width == 1 else [f"{name}{number}" for number in range(1, width + 1)]
        cells = ([number, *_values(row)] for number, row in enumerate(chain([first], items)))
        return [rows.counter, *names], (_checked(row, len(values) + 1, row[0], rows) for row in cells)
    names = list(rows.columns[: len(values)])
    if rows.files and not isinstance(values[0], str):
        names[0] = rows.files
    return names, (_checked(_values(row), len(names), n, rows) for n, row in enumerate(chain([first], items)))


def _values(row: Any) -> list[Any]:
    """Return the values of a row: those of a tuple, of a list, or of a row of numbers; else the one value."""
    return list(row) if isinstance(row, list | tuple) or _is_array(row) else [row]


def _is_array(value: Any) -> bool:
    """Return whether a value is an array of one dimension or more."""
    return bool(getattr(value, "ndim", 0))


def _checked(row: list[Any], width: int, number: int, rows: RowFormat) -> list[Any]:
    if len(row) != width:
        raise DataError(f"row {number} has {len(row)} values", should=str(rows), found=repr(row)[:80])
    return row


def _cell(value: Any, folder: Path, number: int) -> str:
    """Return a value as the text of a cell; an array or path as the name of a file; a missing value as nothing."""
    if isinstance(value, str):
        return value
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, list) or _is_array(value):
        return _saved(value, folder, number).name
    return "" if _is_missing(value) else str(value)


def _saved(value: Any, folder: Path, number: int) -> Path:
    """Return the file of an array; a path as it is.

    Raises:
        DataError: it is neither.
    """
    if isinstance(value, Path):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or not array.ndim:
        raise DataError(f"row {number} is not an array of numbers", should="numbers", found=repr(value)[:80])
    path = folder / f"{number:08}.npy"
    np.save(path, array, allow_pickle=False)
    return path


def _on_one_line(text: Any) -> str:
    return re.sub(r"[\t\r\n]+", " ", str(text))
