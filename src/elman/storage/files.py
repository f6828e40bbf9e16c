"""Writing files so that a crash at any moment leaves the old content or the new one, never a part.

Everything that is kept goes through here: the bytes are written beside the file, forced to the disk, renamed over it,
and the folder is forced to the disk too. What a kill leaves has a fixed name, so the next write replaces it. A file of
lines alone may grow in place, by `append_line`: there a kill leaves a last line without its end, which readers leave
out.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from elman.errors import BrokenRun, RunError

BESIDE = ".new"
"""What the name of a file that is being written ends in."""

LARGEST_JSON = 16 * 2**20
"""Bytes of JSON that are read; ours are far smaller."""

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_APPEND = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def written_beside(path: Path) -> Iterator[BinaryIO]:
    """Give an open file that takes the place of `path` on success, and goes on failure.

    Raises:
        RunError: the disk is full, the folder cannot be written to, or another process writes the same file. What was
            at `path` is untouched.
    """
    with _replacing(path) as handle, open(handle, "wb", closefd=False) as file:
        yield file


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the file at `path` by `content`, whole or not at all.

    Raises:
        RunError: as `written_beside`.
    """
    with _replacing(path) as handle:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a file that is there, and force it to the disk; a crash may leave a part of it, without its end.

    Raises:
        RunError: the disk is full, or the file is not there or cannot be written to.
    """
    with disk_errors(path):
        handle = os.open(path, _APPEND)
        try:
            rest = memoryview(line + b"\n")
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON with one key a line, so that a person can read it and a diff shows what changed."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def checked_json(text: bytes) -> Any:
    """Read JSON in UTF-8, and check that it can be written again.

    Raises:
        ValueError, RecursionError: it is no JSON, or holds a number that is not finite or half a character.
    """
    content = json.loads(text.decode())
    json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    return content


def checked_object(text: bytes) -> dict[str, Any]:
    """Read a JSON object as `checked_json` does.

    Raises:
        ValueError, RecursionError: as `checked_json`, or it is not an object.
    """
    content = checked_json(text)
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__}, not a JSON object")
    return content


def read_checked(
    path: Path, should: str, understand: Callable[[bytes], Any] = checked_json, *, largest: int = LARGEST_JSON
) -> Any:
    """Read a file of a run, which a stranger may have made.

    Args:
        path: the file.
        should: what it holds, for the message.
        understand: makes something of its bytes; a ValueError, TypeError or LookupError says that they are broken.
        largest: bytes that are read.

    Raises:
        RunError: it is missing, too large, or broken.
    """
    try:
        size = path.stat().st_size
        if size > largest:
            raise BrokenRun(f"{path} is too large", should=f"at most {largest:,} bytes", found=f"{size:,} bytes")
        return understand(path.read_bytes())
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        if isinstance(error, RunError):
            raise
        raise BrokenRun(f"{path} is broken", should=should, found=str(error)[:200]) from error
    except OSError as error:
        raise BrokenRun(f"{path} cannot be read", should="a file", found=error.strerror) from error


@contextmanager
def _replacing(path: Path) -> Iterator[int]:
    """Give the descriptor of a new file that is renamed to `path` at the end."""
    beside = path.with_name(path.name + BESIDE)
    with disk_errors(path):
        handle, ours = _create(beside), True
        try:
            try:
                yield handle
                os.fsync(handle)
            finally:
                ours = _is_at(beside, handle)
                os.close(handle)
            if not ours:
                raise RunError(
                    f"{path} was not written: another process writes it too",
                    should="one process at a time",
                    found=f"another {beside.name}",
                    hint="wait for the other process, or choose another folder with --out",
                )
            os.replace(beside, path)  # noqa: PTH105 - the operation that everything here rests on, by its own name
        except BaseException:
            if ours:
                beside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def _create(beside: Path) -> int:
    """Open a file that nobody else has open: one that a kill left, or another process is at, loses its name."""
    try:
        return os.open(beside, _CREATE, 0o644)
    except FileExistsError:
        if beside.is_symlink():
            raise
        beside.unlink(missing_ok=True)
        return os.open(beside, _CREATE, 0o644)


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False


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
    """Turn what the system says about a write to `path` into a message for the user.

    Raises:
        RunError: the disk is full, or `path` cannot be written.
    """
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
        forbidden = error.errno in _FORBIDDEN
        raise RunError(
            f"{path} cannot be written",
            should="a folder that you may write to" if forbidden else "a folder that exists, on a disk that works",
            found=error.strerror or str(error),
            hint="choose another folder with --out",
        ) from error
