"""Delimited text tables such as CSV and TSV: a header, and rows with the numbers of their lines, in constant memory.

The separator (comma, semicolon, tab or bar) is recognised by the first lines. Where it is a comma, semicolon or bar, a
cell may stand in quotation marks. In a table with tabs a quotation mark is text.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Literal, TypeVar

from elman.data.compressed import PIECE, opened
from elman.data.skipped import SkippedRows
from elman.data.text.documents import Document
from elman.errors import DataError, nearest

SEPARATORS = ",;\t|"
MAX_CELL = 1 << 24
"""Characters of a cell; a longer one is an open quotation mark, and would swallow the file."""

MAX_LINE = 1 << 26
"""Characters of a line, where a reader does not set fewer."""

SEPARATOR_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SAMPLE = 32  # lines by which the separator is recognised

T = TypeVar("T")


Row = tuple[int, list[str], str]
"""The number of the first line of a row, from 1; its cells; and why it cannot be split into cells, or nothing."""


@dataclass(frozen=True)
class Table:
    """A table whose rows are read one by one, once.

    Attributes:
        name: what messages call it.
        header: the names of its columns, without white space around them.
        rows: its rows; those without any text are skipped.
        first: the row that the header is; None where the names were given.
        separator: what stands between its cells.
    """

    name: str
    header: list[str]
    rows: Iterator[Row]
    first: Row | None = None
    separator: str = ","

    def reading_notes(self, used: Iterable[int]) -> list[str]:
        """Return what was guessed of a table and what is not used of it, a line each.

        Args:
            used: the places of the columns that are used.
        """
        unused = [column_label(self.header, place) for place in sorted({*range(len(self.header))} - {*used})]
        names = [f"unused columns: {', '.join(unused[:20])}{' ...' if len(unused) > 20 else ''}"] if unused else []
        return [*names, *([f"separator: {SEPARATOR_NAMES[self.separator]}"] if self.separator != "," else [])]

    def without_header(self) -> Table:
        """Return the table with its first line as a row; the names of the columns are their numbers."""
        rows = self.rows if self.first is None else chain([self.first], self.rows)
        return replace(self, header=[str(n + 1) for n in range(len(self.header))], rows=rows, first=None)

    def column(self, setting: str, name: str | None = None, known: Sequence[str] = (), *, hint: str = "") -> int:
        """Return the place of a column as `find_column` does.

        Raises:
            DataError: as `missing_column`.
        """
        place = find_column(self.header, name, known)
        if place is None:
            raise missing_column(self.name, self.header, setting, name, known, hint=hint)
        return place

    def parse(
        self,
        convert: Callable[[list[str]], T],
        *,
        width: int | None = None,
        skipped: SkippedRows | None = None,
        skip_bad: bool = False,
    ) -> Iterator[tuple[int, T]]:
        """Yield the number of the line of each row, and what its cells mean.

        Args:
            convert: the meaning of the cells; raises DataError where they have none.
            width: the number of cells of a row; None: as many as there are columns; 0: any.
            skipped: counts broken rows.
            skip_bad: whether broken rows are skipped.

        Raises:
            DataError: a row is broken, and such rows are not skipped.
        """
        width = len(self.header) if width is None else width
        for line, cells, fault in self.rows:
            try:
                if fault:
                    raise DataError("the row is broken", should="cells with separators between them", found=fault)
                if width and len(cells) != width:
                    raise wrong_width(cells, f"{width} cells")
                value = convert(cells)
            except DataError as error:
                what = f"{self.name}, line {line}: {error.what}"
                if skipped is not None:
                    skipped.add(f"{what}: {error.found}" if error.found else what)
                if skip_bad:
                    continue
                hint = "fix the row" if skipped is None else "fix the row, or skip such rows with --skip-bad"
                raise DataError(what, should=error.should, found=error.found, hint=error.hint or hint) from error
            yield line, value


def read_table(
    path: Path,
    *,
    encoding: str | None = None,
    columns: Sequence[str] = (),
    separators: str = SEPARATORS,
    strict: bool = False,
    quoted_tabs: bool = False,
    max_line: int = MAX_LINE,
) -> Table:
    """Open a table, compressed where its name ends in .gz; its rows are read when they are asked for.

    Args:
        path: the file.
        encoding: of the file, where a setting names it; None: UTF-8.
        columns: the names of the columns of a file without a header.
        separators: those that are recognised.
        strict: whether text behind a closing quotation mark is an error.
        quoted_tabs: whether cells may stand in quotation marks in a table with tabs too; tabs and ends of lines within
            them only where all cells of the first line do.
        max_line: characters of a line, give or take a piece; no longer one is held.

    Raises:
        DataError: the file cannot be read or is empty; also while rows are read.
    """
    lines = _lines(path, encoding, max_line)
    sample = list(islice(lines, _SAMPLE))
    separator = _separator(path, sample, separators)
    rows = _rows(chain(sample, lines), separator, strict, quoted_tabs)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path} is empty", should="a table", found="no rows")
    if columns:
        return Table(str(path), list(columns), chain([first], rows), separator=separator)
    line, cells, fault = first
    if fault:
        raise DataError(f"{path}, line {line}: the row is broken", should="a header", found=fault)
    return Table(str(path), [cell.strip() for cell in cells], rows, first, separator)


def wrong_width(cells: list[str], should: str) -> DataError:
    """Return the error for a row with too few or too many cells."""
    return DataError("wrong number of cells", should=should, found=f"{len(cells)} cells: {' | '.join(cells)[:80]}")


def find_column(header: Sequence[str], name: str | None, known: Iterable[str] = ()) -> int | None:
    """Return the place of a column, from 0; None where there is no such column.

    Args:
        header: the names of the columns.
        name: of the column, or its number from 1; None for the first of the known names that is there.
        known: names that such a column usually has. Of names only letters and digits count, in any case.
    """
    if name in header:
        return header.index(name)
    names = [_plain(column) for column in header]
    for other in known if name is None else [name]:
        if _plain(other) in names and _plain(other):
            return names.index(_plain(other))
    if name is not None and name.isdecimal() and 1 <= int(name) <= len(names):
        return int(name) - 1
    return None


def has_name(column: str) -> bool:
    """Return whether a column has a name: those of row numbers have none, or one as pandas gives them."""
    return bool(column) and re.fullmatch(r"Unnamed: \d+", column) is None


def column_label(header: Sequence[str], place: int) -> str:
    """Return what messages call a column: its name, or its number from 1 where it has none."""
    return header[place][:40] or f"column {place + 1}, which has no name"


def missing_column(
    table: str, header: Sequence[str], setting: str, name: str | None, known: Sequence[str] = (), *, hint: str = ""
) -> DataError:
    """Return the error for a column that is not there.

    Args:
        table: what the message calls the table.
        header: the columns that there are.
        setting: that names the column.
        name: that was asked for; None where none was.
        known: names by which it would have been found.
        hint: what else to try.
    """
    near = nearest(name, header) if name else None
    role = setting.split("_")[0]
    return DataError(
        f"{table} has no column {name!r} for the {role}" if name else f"{table} has no column for the {role}",
        should="a column of the table" if name else f"a column named {' or '.join(known)}",
        found=f"{len(header)} columns: {', '.join(column[:40] for column in header[:20])}",
        hint=f"--set {setting}={near}" if near else f"--set {setting}=NAME, or the number of a column{hint}",
    )


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _lines(path: Path, encoding: str | None, max_line: int) -> Iterator[str]:
    """Yield the lines of a file with their ends: line feed, carriage return, or both."""
    document = Document(str(path), path, encoding or "utf-8")
    number, carried = 1, ""  # a \r at the end of a piece may be half of an end
    held: list[str] = []  # what there is of the line
    try:
        for piece in document.decoded(_chunks(path)):
            text = carried + piece
            carried = "\r" if text.endswith("\r") else ""
            lines = list(io.StringIO(text.removesuffix(carried), newline=""))
            last = [lines.pop()] if lines and lines[-1][-1] not in "\r\n" else []
            if lines:
                yield "".join([*held, lines[0]])
                yield from lines[1:]
                number, held = number + len(lines), []
            held += last
            if sum(map(len, held)) > max_line:
                what = f"{path}, line {number} is too long"
                raise DataError(what, should=f"at most {max_line} characters", found="more")
    except DataError as error:
        hint = error.hint or ""
        if "--set encoding" in hint:
            named = re.search(r"encoding=([\w-]+)", hint)
            source = named[1] if named and named[1] != "latin-1" else "latin1"
            hint = hint.partition(", or --set vocabulary")[0] if encoding else f"iconv -f {source} -t utf-8 {path}"
        elif "--set vocabulary" in hint:
            hint = "another file, one of text"
        raise DataError(error.what, should=error.should, found=error.found, hint=hint or None) from error
    if held or carried:
        yield "".join([*held, carried])


def _chunks(path: Path) -> Iterator[bytes]:
    with opened(path, "a table as text, plain or .gz") as file:
        while chunk := file.read(PIECE):
            yield chunk


def _separator(path: Path, sample: list[str], separators: str) -> str:
    """Return the separator by which most lines have as many cells as the first; a tab before all others."""
    sizes = {separator: [len(cells) for _, cells, _ in _rows(iter(sample), separator)] for separator in separators}
    candidates = [separator for separator in separators if sizes[separator] and sizes[separator][0] > 1]
    if "\t" in candidates and (len(sizes["\t"]) == 1 or max(sizes["\t"][1:]) > 1):
        return "\t"

    def agreement(separator: str) -> tuple[float, int]:
        first, *others = sizes[separator]
        return sum(size == first for size in others) / max(1, len(others)), first

    default = "\t" if "\t" in separators and (".tsv" in path.name.lower() or separators == "\t") else ","
    return max(candidates, key=agreement, default=default)


def _rows(lines: Iterator[str], separator: str, strict: bool = False, quoted_tabs: bool = False) -> Iterator[Row]:
    """Yield the rows that hold text."""
    csv.field_size_limit(MAX_CELL)  # one for the whole process, which other code may have set
    first = next(lines, "")
    names = first.strip().split("\t")
    quoted = separator != "\t" or (quoted_tabs and all(name[:1] == name[-1:] == '"' for name in names))
    ended = False

    def end() -> Iterator[str]:
        nonlocal ended
        ended = True
        yield from ()

    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(chain([first], lines, end()), delimiter=separator, quoting=quoting, strict=strict)
    line = 1
    while not ended:
        fault = ""
        try:
            cells = next(reader, [])
        except csv.Error as error:
            cells, fault = [], str(error)
        if ended and (cells or fault):  # the reader asked for more within a row
            fault = "a quotation mark that is not closed"
        if quoted_tabs and not quoted:
            cells = [_unquoted(cell) for cell in cells]
        if fault or "".join(cells).strip():
            yield line, cells, fault
        line = reader.line_num + 1


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if re.fullmatch('"(?:[^"]|"")*"', cell) else cell
