"""Writing files so that a crash at any moment leaves the old content or the new one, never a part.

Everything that a run writes goes through here: the bytes are written beside the file, forced to the disk, renamed over
it, and the folder is forced to the disk too.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from elman.errors import RunError

BESIDE = ".new"
"""What the name of a file that is being written ends in; a leftover of a crash is overwritten by the next write."""

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the file at `path` by `content`, whole or not at all.

    Raises:
        RunError: the disk is full, or the folder cannot be written to. The old file is untouched.
    """
    beside = path.with_name(path.name + BESIDE)
    with disk_errors(path):
        try:
            handle = os.open(beside, _CREATE, 0o644)
            try:
                rest = memoryview(content)
                while rest:
                    rest = rest[os.write(handle, rest) :]
                os.fsync(handle)
            finally:
                os.close(handle)
            os.replace(beside, path)  # noqa: PTH105 - the operation that everything here rests on, by its own name
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON with one key a line, so that a person can read it and a diff shows what changed."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk, where the system can do that."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the system says about a write to `path` into a message for the user."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise RunError(
                f"the disk is full, {path} was not written",
                should="room for the new file beside the old one",
                found=error.strerror,
                hint="free some space, then go on with --resume, or choose another folder with --out",
            ) from error
        if error.errno in _FORBIDDEN:
            raise RunError(
                f"{path} cannot be written",
                should="a folder that you may write to",
                found=error.strerror,
                hint="choose another folder with --out",
            ) from error
        raise RunError(f"{path} cannot be written", found=error.strerror or str(error)) from error
