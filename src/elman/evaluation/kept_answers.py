"""Answers in a file that grows as they are made, so that a measurement that is stopped can be gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Self

from elman.data.files import disk_errors, write_bytes
from elman.errors import RunError


class KeptAnswers:
    """The answer to each input, a JSON object on each line; what an earlier one left in the same place is added to.

    Args:
        file: where; a last line that was cut off is dropped.

    Attributes:
        done: the answer to each input that has one.

    Raises:
        RunError: the file is another one, or cannot be read or written.
    """

    def __init__(self, file: Path) -> None:
        self.done: dict[str, str] = {}
        try:
            raw = file.read_bytes() if file.exists() else b""
            whole = raw[: raw.rfind(b"\n") + 1]
            for line in whole.decode().split("\n")[:-1]:
                row = json.loads(line)
                self.done[row["input"]] = row["answer"]
            if not all(isinstance(text, str) for pair in self.done.items() for text in pair):
                raise ValueError("something else than text")
        except OSError as error:
            raise RunError(f"{file} cannot be used", found=error.strerror, hint="another --out") from error
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise RunError(
                f"{file} holds no answers",
                should="a JSON object with an input and an answer on each line",
                found=str(error)[:200],
                hint="another --out",
            ) from error
        if whole != raw:
            write_bytes(file, whole)
        with disk_errors(file):
            self._file = file.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, source: str, answer: str) -> None:
        """Write an answer at once."""
        self.done[source] = answer
        self._file.write(json.dumps({"input": source, "answer": answer}, ensure_ascii=False) + "\n")
        self._file.flush()
