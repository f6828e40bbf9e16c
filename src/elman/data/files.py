"""Writing files so that a reader never meets a half-written one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from elman.errors import DataError


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Give a name beside `path` to write to; on success the file takes the place of `path`, on failure it goes.

    The file is flushed to the disk before it is renamed, so that after a crash `path` is either the old file, whole,
    or the new one, whole.

    Raises:
        DataError: the file cannot be written, for example because the disk is full.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}",
            should="a folder that exists, with write permission and free space",
            hint="free some space, or choose another folder with --out",
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
