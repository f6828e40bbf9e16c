"""Standard output and standard error of the command line: all that a command prints goes through here.

Names and texts of untrusted files are in most of it. A terminal gets no character that could move its cursor, overwrite
what stands there or mislead its reader.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, TextIO, cast

from elman.errors import ElmanError, NonFiniteError, printable


class ClosedOutput(Exception):  # noqa: N818 - not an error; typer would make a failure of a BrokenPipeError
    """The reader of standard output has closed it."""


class PrintedStream:
    """Standard output or standard error, of a command.

    Args:
        stream: where the text goes; None where the command was started without the stream.
        name: what messages call it.
        raw: whether a stream that is no terminal gets the text as it is, for programs that read it.

    Attributes:
        stream: as given.
        trusted: whether all that is written now is our own, with its colours.
    """

    def __init__(self, stream: TextIO | None, name: str, *, raw: bool) -> None:
        self.stream, self._name, self._raw = stream, name, raw
        self.trusted = False

    def write(self, text: str) -> int:
        """Write a text; what the encoding lacks becomes a question mark.

        Raises:
            ClosedOutput: the reader has closed the stream.
            ElmanError: the stream is missing, or cannot be written to.
        """
        if not self.trusted and (not self._raw or self.isatty()):
            text = printable(text)
        with self._writable() as stream:
            encoding = stream.encoding or "utf-8"
            stream.write(text.encode(encoding, "replace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Write what waits in memory; raises as `write`."""
        with self._writable() as stream:
            stream.flush()

    def isatty(self) -> bool:
        """Return whether a person looks at the stream."""
        return self.stream is not None and self.stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    @contextmanager
    def _writable(self) -> Iterator[TextIO]:
        if self.stream is None:
            raise ElmanError(f"{self._name} is closed", should="an open stream", hint=">/dev/null, or | less")
        try:
            yield self.stream
        except BrokenPipeError:
            raise ClosedOutput from None
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise ClosedOutput from None
            raise ElmanError(
                f"{self._name} cannot be written",
                should="a terminal, a pipe or a file on a disk with room",
                found=error.strerror or str(error),
            ) from error


class ErrorStream(PrintedStream):
    """Standard error; where it cannot be written the exit code alone says what happened."""

    def write(self, text: str) -> int:
        """Write a text, if that is possible."""
        with suppress(ElmanError, ClosedOutput):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Write what waits in memory, if that is possible."""
        with suppress(ElmanError, ClosedOutput):
            super().flush()


@contextmanager
def printed_streams() -> Iterator[None]:
    """Put `PrintedStream` in the place of standard output and standard error."""
    before = sys.stdout, sys.stderr
    sys.stdout = cast(TextIO, PrintedStream(sys.stdout, "standard output", raw=True))
    sys.stderr = cast(TextIO, ErrorStream(sys.stderr, "standard error", raw=False))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


@contextmanager
def trusted_output() -> Iterator[None]:
    """Let standard output have control sequences, for texts that quote nothing."""
    if not isinstance(sys.stdout, PrintedStream):
        yield
        return
    sys.stdout.trusted = True
    try:
        yield
    finally:
        sys.stdout.trusted = False


def abandon_output() -> None:
    """Point standard output and standard error at nothing where they cannot be flushed, as Python does at its end."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            try:
                stream.flush()
            except (OSError, ValueError):
                with suppress(OSError, ValueError):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def warn(line: str) -> None:
    """Print one line on standard error."""
    sys.stderr.write(printable(line, allowed="") + "\n")
    sys.stderr.flush()


def print_json(content: Any) -> None:
    """Print one JSON object on standard output, in ASCII, whatever the terminal's encoding.

    Raises:
        NonFiniteError: it holds a number that JSON does not have.
    """
    try:
        text = json.dumps(content, allow_nan=False)
    except ValueError as error:
        raise NonFiniteError(
            "the answer has numbers that are not finite", should="numbers that JSON has", found=str(error),
            hint="omit --json to see them",
        ) from error  # fmt: skip
    write_text(text.replace("\x7f", "\\u007f") + "\n")


def write_table(text: str) -> None:
    """Write a text for persons to standard output, wherever that leads."""
    write_text(printable(text))


def write_text(text: str) -> None:
    """Write to standard output at once: a terminal gets what is printable, a file or pipe the text as it is.

    Raises:
        ClosedOutput: the reader has closed standard output.
        ElmanError: standard output is closed, or its disk is full.
    """
    with nullcontext() if isinstance(sys.stdout, PrintedStream) else printed_streams():
        sys.stdout.write(text)
        sys.stdout.flush()
