"""Answers in a file that grows as they are made, so that a measurement that is stopped can be gone on with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from elman.errors import RunError
from elman.storage.files import disk_errors, write_bytes


class ResumableAnswers:
    """Inputs and their answers, a JSON object on each line; what an earlier one left in the same place is added to.

    Args:
        file: where; a last line that was cut off is dropped.
        names: of the texts in each object.

    Attributes:
        done: the texts of each line, in the order of the names.

    Raises:
        RunError: the file is another one, or cannot be read or written.
    """

    def __init__(self, file: Path, names: Sequence[str]) -> None:
        self.done: list[tuple[str, ...]] = []
        self.names = tuple(names)
        try:
            raw = file.read_bytes() if file.exists() else b""
            whole = raw[: raw.rfind(b"\n") + 1]
            for line in whole.decode().split("\n")[:-1]:
                row = json.loads(line)
                self.done.append(tuple(row[name] for name in self.names))
            if not all(isinstance(text, str) for texts in self.done for text in texts):
                raise ValueError("something else than text")
        except OSError as error:
            raise RunError(f"{file} cannot be used", found=error.strerror, hint="another --out") from error
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise RunError(
                f"{file} holds no answers",
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
        """Write the texts of a line at once."""
        self.done.append(texts)
        self._file.write(json.dumps(dict(zip(self.names, texts, strict=True)), ensure_ascii=False) + "\n")
        self._file.flush()
