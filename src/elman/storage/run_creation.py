"""Creation of a run directory: it is claimed, locked and filled so that there is a complete run or none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from elman.errors import RunError
from elman.storage.files import disk_errors, is_at, sync_folder

UNFINISHED = ".unfinished"
"""The name of the staging folder in an empty directory, or the suffix of one beside a new directory."""

_FREE = "a new or an empty directory"


def refuse_occupied(path: Path) -> None:
    """Check that a new run can be created at `path`.

    Raises:
        RunError: `path` holds a run or anything else.
    """
    if not path.exists() and not path.is_symlink():
        return
    if not path.is_dir():
        raise RunError(
            f"--out {path} is {'a file' if path.exists() else 'a link to nothing'}",
            should=_FREE,
            found="a file" if path.exists() else f"a link to {path.readlink()}",
            hint="choose another --out",
        )
    if (path / "config.json").exists():
        raise RunError(
            f"--out {path} holds a run already",
            should=_FREE,
            found="its config.json",
            hint=f"resume it with --out {path} --resume, or choose another --out",
        )
    names = sorted(entry.name for entry in path.iterdir())
    if any(name != UNFINISHED for name in names):
        raise RunError(
            f"--out {path} is not empty", should=_FREE, found=", ".join(names[:5]), hint="choose another --out"
        )


@contextmanager
def staged(path: Path, folder: Path) -> Iterator[None]:
    """Create and lock an empty staging folder for a run at `path`, and remove it on failure.

    The leftovers of a crash are removed. Of two processes, one is refused.

    Raises:
        RunError: another process creates a run at `path`, or has created one, or it cannot be written.
    """
    while True:
        with _nothing_to_resume(), disk_errors(path):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                folder.mkdir()
        with folder_lock(folder) as ours:
            if ours is None:
                continue  # another process finished, or failed, meanwhile
            if not ours:
                raise RunError(
                    f"another process is creating a run at {path}",
                    should="one process at a time",
                    found=f"a lock of another process on {folder.name}",
                    hint="wait for it, or choose another --out",
                )
            try:
                refuse_occupied(path)
                with _nothing_to_resume():
                    with disk_errors(path):
                        empty(folder)
                    yield
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            return


def empty(folder: Path) -> None:
    """Remove the contents of a folder, but not the folder, which is locked."""
    for entry in list(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def move_into(folder: Path, path: Path) -> None:
    """Move the contents of `folder` up into `path`, config.json last: without it there is no run."""
    names = sorted((entry.name for entry in folder.iterdir()), key=lambda name: name == "config.json")
    for name in names:
        (folder / name).rename(path / name)
    folder.rmdir()
    sync_folder(path)


@contextmanager
def folder_lock(folder: Path) -> Iterator[bool | None]:
    """Lock a folder, and yield whether that worked: None if the folder was removed meanwhile.

    The lock ends with the process. On systems without such locks every process gets it.
    """
    if os.name != "posix":
        yield True
        return
    import fcntl

    try:
        with disk_errors(folder):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except RunError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        yield None
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours: bool | None = True if is_at(folder, handle) else None
        except BlockingIOError:
            ours = False
        yield ours
    finally:
        os.close(handle)


@contextmanager
def _nothing_to_resume() -> Iterator[None]:
    """Remove the hint to resume from the message of a full disk, because there is no run yet."""
    try:
        yield
    except RunError as error:
        if error.hint is None or "--resume" not in error.hint or not isinstance(error.__cause__, OSError):
            raise
        raise error.amended(hint="free some space, or choose another folder with --out") from error.__cause__
