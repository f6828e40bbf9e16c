"""Lines to answer: what a user types, names, or pipes in; and how many of them have been answered already."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from elman.data.text.lines import decoded_lines, file_lines
from elman.errors import DataError

T = TypeVar("T")

STANDARD_INPUT = "standard input"


class InputLine(NamedTuple):
    """A line to answer, where it stands, and whether it must be answered before the next one comes."""

    text: str
    where: str
    typed: bool


def spoken_lines(inputs: Sequence[str | Path], after: int = 0) -> Iterator[InputLine]:
    """Yield lines to answer: the inputs themselves, the lines of files, or of standard input.

    Args:
        inputs: a line, the name of a file, or "-" for standard input, whose lines come one by one as they are typed.
        after: so many lines are passed over first.

    Raises:
        DataError: a file cannot be read, or there is no input, or there are fewer lines than to be passed over.
    """
    if not inputs:
        raise DataError("there is nothing to answer", should="lines, files, or - for standard input", found="no input")
    lines = (line for name in inputs for line in _spoken(name))
    passed = sum(1 for _ in islice(lines, after))
    if passed < after:
        raise DataError(
            "there are more answers than lines",
            should=f"at most {passed} answers, one to each line",
            found=str(after),
            hint="they answer other lines: begin a new file",
        )
    yield from lines


def _spoken(name: str | Path) -> Iterator[InputLine]:
    """Yield the lines that an input stands for."""
    typed = str(name) == "-"
    if not typed and not isinstance(name, Path) and not is_file(name):
        yield InputLine(name.strip(), "the line", typed=False)
        return
    where = STANDARD_INPUT if typed else str(name)
    for number, line in enumerate(decoded_lines(sys.stdin.buffer, where) if typed else file_lines(Path(name)), 1):
        yield InputLine(line, f"{where}, line {number}", typed)


def together(lines: Iterable[T], most: int, alone: Callable[[T], bool]) -> Iterator[list[T]]:
    """Yield lines some at a time, all that came before a mistake before it is raised, and `alone` ones at once."""
    some: list[T] = []
    try:
        for line in lines:
            some.append(line)
            if len(some) == most or alone(line):
                yield some
                some = []
    except DataError:
        if some:
            yield some
        raise
    if some:
        yield some


def count_lines(path: Path) -> int:
    """Return how many lines a text file has, each of which must be whole.

    Raises:
        DataError: it cannot be read, or its last line was cut off.
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
            f"{path}, line {count + 1} is not whole",
            should="a line end behind each answer",
            found="none behind the last one, which was cut off",
            hint=f"sed -i '$ d' {path}",
        )
    return count


def is_file(name: str) -> bool:
    """Return whether a file has this name."""
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # too long for a name, or a zero byte
        return False
