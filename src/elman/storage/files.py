"""Atomic file writes: a crash at any moment leaves the old content or the new one, never a part.

Every file of a run is written here: the bytes go to a temporary file beside it, are flushed to the disk, and renamed
over it, and the folder is flushed too. The temporary file has a fixed name, so the next write replaces what a crash
left. Only a file of lines may grow in place, by `append_line`: there a crash leaves an incomplete last line, which
readers skip.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from elman.errors import BrokenRun, ElmanError, RunError, first_line, valid_unicode

BESIDE = ".new"
"""The suffix of a file that is being written."""

LARGEST_JSON = 16 * 2**20
"""The most bytes of JSON that are read, where a file has no limit of its own; files of elman are far smaller."""

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_APPEND = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def exists(path: str | Path) -> bool:
    """Return whether something is at a path; false where the system refuses to look, as for a name that is too long.

    The methods of `Path` differ between versions of Python: some raise an OSError.
    """
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: str | Path) -> bool:
    """Return whether a regular file is at a path, or a link to one; false as `exists`."""
    return os.path.isfile(path)  # noqa: PTH113


def is_dir(path: str | Path) -> bool:
    """Return whether a folder is at a path, or a link to one; false as `exists`."""
    return os.path.isdir(path)  # noqa: PTH112


def is_link(path: str | Path) -> bool:
    """Return whether a symbolic link is at a path; false as `exists`."""
    return os.path.islink(path)  # noqa: PTH114


def absence(path: str | Path, missing: str = "no file of this name") -> str:
    """Return why `exists` is false: `missing`, or what the system says, such as "Permission denied"."""
    try:
        os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return missing
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:  # a zero byte, or a name that the file system cannot have
        return str(error)
    return "something that appeared meanwhile"


@contextmanager
def temporary_folder(within: Path | None = None) -> Iterator[Path]:
    """Give a folder that is removed at the end, in `within` or in the system's folder for temporary files.

    Raises:
        RunError: there is no such folder that can be written to.
    """
    try:
        folder = TemporaryDirectory(dir=within, ignore_cleanup_errors=True)
    except OSError as error:
        raise RunError(
            "there is no folder for temporary files",
            should=f"a writable folder {within or 'such as /tmp, or the one that TMPDIR names'}",
            found=error.strerror or str(error),
            hint="free some space" if error.errno in _FULL else "TMPDIR=FOLDER elman ...",
        ) from error
    with folder as name:
        try:
            yield Path(name)
        except RunError as error:
            if name in error.what and isinstance(error.__cause__, OSError):
                raise error.amended(hint="free some space there, or TMPDIR=FOLDER elman ...") from error.__cause__
            raise


@contextmanager
def written_beside(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` on success and is deleted on failure.

    Raises:
        RunError: the disk is full, the folder cannot be written to, or another process writes the same file. The old
            file at `path` is unchanged.
    """
    with _replacing(path) as handle, open(handle, "wb", closefd=False) as file:
        yield file


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the file at `path` by `content` atomically.

    Raises:
        RunError: as `written_beside`.
    """
    with _replacing(path) as handle:
        _write_all(handle, content)


def append_line(path: Path, line: bytes) -> None:
    """Append a line to an existing file and flush it to the disk; a crash may leave an incomplete line.

    Raises:
        RunError: the disk is full, or the file is missing or cannot be written to.
    """
    with disk_errors(path):
        handle = os.open(path, _APPEND)
        try:
            _write_all(handle, line + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)


def _write_all(handle: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(handle, rest) :]


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON with a key on each line, so that people and diffs can read it."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path` by a text in UTF-8; what UTF-8 cannot encode in the name of a file becomes U+FFFD.

    Raises:
        RunError: as `written_beside`.
    """
    write_bytes(path, valid_unicode(text).encode())


def checked_json(text: bytes) -> Any:
    """Read JSON in UTF-8, and check that it can be written again.

    Raises:
        ValueError: it is not JSON, or holds a number that is not finite or a lone surrogate.
        RecursionError: it is nested too deeply.
    """
    content = json.loads(text.decode())
    json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    return content


def checked_object(text: bytes) -> dict[str, Any]:
    """Read a JSON object as `checked_json` does.

    Raises:
        ValueError: as `checked_json`, or it is not an object.
        RecursionError: as `checked_json`.
    """
    content = checked_json(text)
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__}, not a JSON object")
    return content


def read_checked(
    path: Path, should: str, parse: Callable[[bytes], Any] = checked_json, *, largest: int = LARGEST_JSON
) -> Any:
    """Read an untrusted file of a run, which holds what `should` says, of at most `largest` bytes.

    What `parse`, which converts the bytes, raises for unexpected values means that they are broken.

    Raises:
        BrokenRun: it is missing, too large, or broken.
    """
    with refused(path, should):
        size = path.stat().st_size
        if size > largest:
            raise BrokenRun(f"{path} is too large", should=f"at most {largest:,} bytes", found=f"{size:,} bytes")
        return parse(path.read_bytes())


@contextmanager
def refused(path: Path, should: str) -> Iterator[None]:
    """Turn what reading an untrusted file of a run raises into one error.

    Raises:
        BrokenRun: the file is missing or broken, or memory is too small for it.
    """
    try:
        yield
    except OSError as error:
        raise BrokenRun(f"{path} cannot be read", should="a file", found=error.strerror or str(error)) from error
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RuntimeError, MemoryError) as error:
        if isinstance(error, ElmanError):
            raise
        raise BrokenRun(f"{path} is broken", should=should, found=first_line(error)) from error


@contextmanager
def _replacing(path: Path) -> Iterator[int]:
    """Open the descriptor of a new file that is renamed to `path` at the end."""
    beside = path.with_name(path.name + BESIDE)
    with disk_errors(path):
        handle, ours = _create(beside), True
        try:
            try:
                yield handle
                os.fsync(handle)
            finally:
                ours = is_at(beside, handle)
                os.close(handle)
            if not ours:
                raise RunError(
                    f"{path} was not written: another process is writing it",
                    should="one process at a time",
                    found=f"another {beside.name}",
                    hint="wait for the other process, or choose another folder with --out",
                )
            os.replace(beside, path)  # noqa: PTH105 - the atomic operation, by its own name
        except BaseException:
            if ours:
                beside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def _create(beside: Path) -> int:
    """Open a file that no other process has open; a leftover, or the file of another process, is unlinked."""
    try:
        return os.open(beside, _CREATE, 0o644)
    except FileExistsError:
        if is_link(beside):
            raise
        beside.unlink(missing_ok=True)
        return os.open(beside, _CREATE, 0o644)


def is_at(path: Path, handle: int) -> bool:
    """Return whether the file or folder that is open is the one at `path`."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the system supports it."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of a write to `path` into a message for the user.

    Raises:
        RunError: the disk is full, or `path` cannot be written.
    """
    try:
        yield
    except ValueError as error:
        if isinstance(error, ElmanError):
            raise
        raise RunError(  # a zero byte in the name, or a letter that the file system cannot have
            f"{path} cannot be written", should="a valid name", found=str(error), hint="choose another name with --out"
        ) from error
    except OSError as error:
        if error.errno in _FULL:
            raise RunError(
                f"the disk is full, {path} was not written",
                should="room for the new file beside the old one",
                found=error.strerror,
                hint="free some space, then resume with --resume, or choose another folder with --out",
            ) from error
        forbidden = error.errno in _FORBIDDEN
        raise RunError(
            f"{path} cannot be written",
            should="a writable folder" if forbidden else "an existing folder on a working disk",
            found=error.strerror or str(error),
            hint="choose another folder with --out",
        ) from error
