"""Answers in a growing file, so that an interrupted evaluation can be resumed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from elman.errors import RunError
from elman.storage.files import disk_errors, exists, write_bytes


class ResumableAnswers:
    """Inputs and their answers, a JSON object on each line; an existing file is continued.

    Args:
        file: the file; an incomplete last line is dropped.
        names: the keys of each object.

    Attributes:
        done: the values of each line, in the order of the names.
        names: the keys of each object.

    Raises:
        RunError: the file is not such a file, or cannot be read or written.
    """

    def __init__(self, file: Path, names: Sequence[str]) -> None:
        self.done: list[tuple[str, ...]] = []
        self.names = tuple(names)
        try:
            raw = file.read_bytes() if exists(file) else b""
            whole = raw[: raw.rfind(b"\n") + 1]
            for line in whole.decode().split("\n")[:-1]:
                row = json.loads(line)
                self.done.append(tuple(row[name] for name in self.names))
            if not all(isinstance(text, str) for texts in self.done for text in texts):
                raise ValueError("a value that is not a string")
        except OSError as error:
            raise RunError(f"{file} cannot be used", found=error.strerror, hint="another --out") from error
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise RunError(
                f"{file} is not a file of answers",
                should=f"a JSON object with {', '.join(self.names)} on each line",
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

    def add(self, *texts: str) -> None:
        """Write a line and flush it."""
        self.done.append(texts)
        self._file.write(json.dumps(dict(zip(self.names, texts, strict=True)), ensure_ascii=False) + "\n")
        self._file.flush()
