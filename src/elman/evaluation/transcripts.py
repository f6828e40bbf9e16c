"""Transcripts in a table that grows as they are made, so that a measurement that is stopped can be gone on with."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from elman.data.files import write_bytes
from elman.errors import RunError

HEAD = "path\ttext\theard\tby_beam"


class Transcript(NamedTuple):
    """What was said in a file, and what was heard, greedily and by beam search."""

    path: str
    text: str
    heard: str
    by_beam: str


class Transcripts:
    """A table of transcripts; what an earlier one left in the same place is read, and added to.

    Args:
        file: the table. A last line that was cut off is dropped.

    Attributes:
        done: what stands in it already.

    Raises:
        RunError: the file is another one, or cannot be read or written.
    """

    def __init__(self, file: Path) -> None:
        self.done: list[Transcript] = []
        try:
            text = file.read_text(encoding="utf-8") if file.exists() else ""
            head, *lines = text[: text.rfind("\n") + 1].splitlines() or [HEAD]
            rows = [line.split("\t") for line in lines]
            if head != HEAD or any(len(row) != len(Transcript._fields) for row in rows):
                raise RunError(f"{file} is no table of transcripts", should=HEAD, found=text[:80], hint="another --out")
            self.done = [Transcript(*row) for row in rows]
            whole = "".join(f"{line}\n" for line in [head, *lines])
            if whole != text:
                write_bytes(file, whole.encode())
            self._file = file.open("a", encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"{file} cannot be used", found=str(error)[:200], hint="another --out") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, transcript: Transcript) -> None:
        """Write a transcript, whose parts hold no tabs or line ends, at once."""
        self._file.write("\t".join(transcript) + "\n")
        self._file.flush()
