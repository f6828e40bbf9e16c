"""Inputs of `elman predict`: texts, names of files, or "-" for standard input."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from elman.data.in_memory import RowText
from elman.data.pairs.readers import PairTable, ScoredPair
from elman.data.text.documents import TEXT_SUFFIXES, read_text
from elman.data.text.lines import decoded_line, document_lines, file_lines, raw_lines
from elman.errors import DataError, nearest
from elman.storage.files import absence, exists, is_dir, is_file, temporary_folder

T = TypeVar("T")

STDIN = "-"
"""The input that stands for standard input."""

STANDARD_INPUT = "standard input"
"""What messages call it."""

MAX_PAIRS = 64
"""Pairs that are read at a time."""

_OTHER_SUFFIXES = (
    *(".gz", ".tsv", ".csv", ".json", ".jsonl", ".pdf", ".docx", ".html"),
    *(".wav", ".mp3", ".mp4", ".png", ".jpg"),
)
FILE_SUFFIXES = frozenset((*TEXT_SUFFIXES, *_OTHER_SUFFIXES))
"""A word that ends in one of these is a file name, also where there is no such file."""


class InputLine(NamedTuple):
    """A line to answer.

    Attributes:
        text: the line, without white space at its ends.
        where: its file and number, for messages.
        interactive: whether it must be answered before the next one comes, as on standard input.
    """

    text: str
    where: str
    interactive: bool


def input_lines(inputs: Sequence[str | Path], skip: int = 0) -> Iterator[InputLine]:
    """Yield the lines of the inputs: texts, the lines of files, and those of standard input as they come.

    Args:
        inputs: texts, names of files, or "-"; `resolved` tells texts from misspelt names.
        skip: so many lines are skipped first.

    Raises:
        DataError: a file cannot be read, or there is no input, or there are fewer lines than are to be skipped.
    """
    if not inputs:
        raise DataError("there is nothing to answer", should="lines, files, or - for standard input", found="no input")
    rest = (line for name in inputs for line in _lines_of(name))
    skipped = sum(1 for _ in islice(rest, skip))
    if skipped < skip:
        raise DataError(
            "there are more answers than lines",
            should=f"at most {skipped} answers, one to each line",
            found=str(skip),
            hint="they answer other lines: begin a new file",
        )
    yield from rest


def _lines_of(name: str | Path) -> Iterator[InputLine]:
    interactive = is_stdin(name)
    if not interactive and not isinstance(name, Path) and not names_file(name):
        yield InputLine(name.strip(), "the line", interactive=False)
        return
    where = STANDARD_INPUT if interactive else str(name)
    rows = stdin_text() if interactive else file_lines(Path(name))
    for number, line in enumerate(rows, 1):
        yield InputLine(line, f"{where}, line {number}", interactive)


def batched(items: Iterable[T], size: int, alone: Callable[[T], bool] = lambda item: False) -> Iterator[list[T]]:
    """Yield items in lists of `size`, and an `alone` item at once; an error comes after all items before it."""
    batch: list[T] = []
    try:
        for item in items:
            batch.append(item)
            if len(batch) == size or alone(item):
                yield batch
                batch = []
    except DataError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def count_lines(path: Path) -> int:
    """Return the number of lines of a text file, each of which must be complete.

    Raises:
        DataError: it cannot be read, or its last line has no end.
    """
    count, last = 0, b"\n"
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                count, last = count + block.count(b"\n"), block[-1:]
    except OSError as error:
        raise DataError(f"{path} cannot be read", should="the answers so far", found=error.strerror) from error
    if last != b"\n":
        raise DataError(
            f"{path}, line {count + 1} is not complete",
            should="a line end after each answer",
            found="none after the last one, which was cut off",
            hint=f"sed -i '$ d' {path}",
        )
    return count


def input_texts(inputs: Sequence[str | Path], encoding: str = "utf-8") -> Iterator[str]:
    """Yield the texts of the inputs: the lines of files and of standard input, and other inputs as they are.

    Raises:
        DataError: there is no input, or a file cannot be read.
    """
    if not inputs:
        raise DataError("there is no text", should="a text, a file, or - for standard input", found="no input")
    for name in inputs:
        if is_stdin(name):
            yield from stdin_text()
        elif names_file(name):
            (document,) = read_text(Path(name), encoding=encoding)
            yield from (line.rstrip("\r\n") for line in document_lines(document))
        else:
            yield str(name)


def input_pairs(
    inputs: Sequence[str | Path], read: Callable[[Path], PairTable], skipped: list[str], *, skip_bad: bool = False
) -> Iterator[list[ScoredPair]]:
    """Yield the pairs of the inputs, in lists: two texts, texts with a tab, the rows of files and of standard input.

    Args:
        inputs: two texts, or any number of texts with a tab between the two of a pair, files, and "-".
        read: opens the table in a file.
        skipped: the broken rows of files and of standard input are appended, a line each, where they are skipped.
        skip_bad: skip the broken lines of standard input; `read` says it of files.

    Raises:
        DataError: an input is not a pair of texts, or a file cannot be read.
    """
    if len(inputs) == 2 and not any(is_stdin(name) or "\t" in str(name) or names_file(name) for name in inputs):
        yield [ScoredPair(str(inputs[0]), str(inputs[1]), float("nan"))]
        return
    if not inputs:
        raise _not_a_pair("no input")
    for name in inputs:
        if is_stdin(name):
            yield from ([pair] for pair in _stdin_pairs(skipped, skip_bad))
        elif "\t" in str(name):
            yield [_pair_of(str(name))]
        elif names_file(name):
            table = read(Path(name))
            yield from batched(table, MAX_PAIRS)
            skipped += table.skipped.lines()
        else:
            raise _not_a_pair(repr(str(name)[:60]))


def _stdin_pairs(skipped: list[str], skip_bad: bool) -> Iterator[ScoredPair]:
    for number, line in enumerate(stdin_lines(), 1):
        try:
            if line.strip():
                yield _pair_of(decoded_line(line, number, STANDARD_INPUT))
        except DataError as error:
            if not skip_bad:
                raise
            skipped.append(f"{error.what}: {error.found}")


def _pair_of(line: str) -> ScoredPair:
    cells = line.strip().split("\t")
    if len(cells) < 2 or not all(cell.strip() for cell in cells[:2]):
        raise _not_a_pair(repr(line[:60]))
    return ScoredPair(cells[0], cells[1], float("nan"))


def _not_a_pair(found: str) -> DataError:
    return DataError(
        "an input is not a pair of texts",
        should="two texts, or texts with a tab between the two, or a TSV or CSV file, or - for standard input",
        found=found,
        hint='elman predict RUN "one text" "another text"',
    )


@contextmanager
def input_file(name: str | Path) -> Iterator[Path]:
    """Give an input as a file; standard input is copied into a temporary one."""
    if str(name) != STDIN:
        yield Path(name)
        return
    with temporary_folder() as folder:
        path = folder / "standard input"
        with path.open("wb") as file, _readable(standard_input()) as stream:
            shutil.copyfileobj(stream, file)
        yield path


def standard_input() -> BinaryIO:
    """Return the bytes of standard input.

    Raises:
        DataError: it is closed.
    """
    if sys.stdin is None or getattr(sys.stdin, "closed", False):
        raise DataError("standard input is closed", should="text that is piped in", found="none", hint="name a file")
    return getattr(sys.stdin, "buffer", None) or io.BytesIO(sys.stdin.read().encode("utf-8", "surrogateescape"))


def stdin_lines() -> Iterator[bytes]:
    """Yield the lines of standard input as they come, as bytes; `elman.data.text.lines.decoded_line` decodes each.

    The locale does not count: text on standard input is UTF-8, as that of files.

    Raises:
        DataError: standard input is closed or cannot be read, or a line is too long.
    """
    with _readable(standard_input()) as stream:
        yield from raw_lines(stream, STANDARD_INPUT)


def stdin_text() -> Iterator[str]:
    """Yield the lines of standard input as text, as they come, without white space at their ends.

    Raises:
        DataError: as `stdin_lines`, or a line is not valid UTF-8.
    """
    return (decoded_line(line, number, STANDARD_INPUT) for number, line in enumerate(stdin_lines(), 1))


@contextmanager
def _readable(stream: BinaryIO) -> Iterator[BinaryIO]:
    try:
        yield stream
    except OSError as error:
        found = error.strerror or str(error)
        raise DataError("standard input cannot be read", should="a file or a pipe", found=found) from error


def is_stdin(name: str | Path) -> bool:
    """Return whether an input stands for standard input."""
    return str(name) == STDIN and not isinstance(name, RowText)


def names_file(name: str | Path) -> bool:
    """Return whether there is a file of this name; a long text is none."""
    return names_something(name) and is_file(name)


def names_something(name: str | Path) -> bool:
    """Return whether there is a file or folder of this name; a long text and one of a row in memory are none."""
    return not isinstance(name, RowText) and exists(name)


def resolved(inputs: Sequence[str | Path], *, folders: bool = False) -> list[str | Path]:
    """Return the inputs, those that name a file or a pipe as paths; texts and "-" stay as they are.

    Args:
        inputs: texts, names of files, or "-".
        folders: whether a folder is an input too.

    A word without a file is a misspelt name, not a text, if it has no white space and either a slash, or an ending
    that text files have or another file beside it has. A blank before it makes it a text.

    Raises:
        DataError: an input is a misspelt name, or a folder.
    """
    return [name if isinstance(name, Path | RowText) or is_stdin(name) else _resolved(name, folders) for name in inputs]


def _resolved(name: str, folders: bool) -> str | Path:
    path, is_folder = Path(name), is_dir(name)
    if exists(name) and (folders or not is_folder):
        return path
    slash = any(sign in name for sign in (os.sep, os.altsep) if sign)
    if any(map(str.isspace, name)) or not (slash or path.suffix):
        return name
    beside = _names_in(path.parent)
    if not slash and path.suffix not in FILE_SUFFIXES.union(Path(other).suffix for other in beside):
        return name
    if is_folder:
        raise DataError(
            f"{name} is a folder", should="a file of lines, or a text", found="a folder", hint="name its files"
        )
    near = nearest(path.name, beside)
    guess = f"did you mean {path.parent / near}? " if near else ""
    raise DataError(
        f"{name} does not exist",
        should="a file of lines, or a text",
        found=absence(name),
        hint=f"{guess}A text that looks like a name takes a blank before it: ' {name}'",
    )


def _names_in(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except (OSError, ValueError):
        return []
