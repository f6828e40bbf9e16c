"""Creation of a run directory: it is claimed, locked and filled so that there is a complete run or none."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from elman.errors import RunError
from elman.storage.files import disk_errors, exists, is_at, is_dir, is_link, sync_folder

UNFINISHED = ".unfinished"
"""The name of the staging folder in an empty directory, or the suffix of one beside a new directory."""

_FREE = "a new or an empty directory"


def refuse_occupied(path: Path) -> None:
    """Check that a new run can be created at `path`.

    Raises:
        RunError: `path` holds a run or anything else.
    """
    if not exists(path) and not is_link(path):
        return
    if not is_dir(path):
        raise RunError(
            f"--out {path} is {'a file' if exists(path) else 'a link to nothing'}",
            should=_FREE,
            found="a file" if exists(path) else f"a link to {path.readlink()}",
            hint="choose another --out",
        )
    if exists(path / "config.json"):
        raise RunError(
            f"--out {path} holds a run already",
            should=_FREE,
            found="its config.json",
            hint=f"resume it with --out {path} --resume, or choose another --out",
        )
    if names := listed(path):
        raise RunError(f"--out {path} is not empty", should=_FREE, found=names, hint="choose another --out")


def listed(folder: Path) -> str:
    """Return some names of what is in a folder but for the staging folder, empty for none.

    Raises:
        RunError: the folder cannot be read.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.name != UNFINISHED)
    except OSError as error:
        raise RunError(f"{folder} cannot be read", should="a readable folder", found=error.strerror) from error
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")


@contextmanager
def created_folder(path: Path) -> Iterator[Path]:
    """Give a staging folder, which becomes `path` on success and is removed on failure.

    `path` is new or an empty folder; that one stays, because it may be a mount, or the working directory of a shell.

    Raises:
        RunError: `path` is not empty, cannot be written, or another process creates it.
    """
    refuse_occupied(path)
    with disk_errors(path):
        path = Path(os.path.realpath(path))
    inside = is_dir(path)
    beside = path / UNFINISHED if inside else path.with_name(f".{path.name}{UNFINISHED}")
    with staged(path, beside):
        yield beside
        with disk_errors(path):
            if inside:
                move_into(beside, path)
            else:
                beside.rename(path)
            sync_folder(path.parent)


@contextmanager
def staged(path: Path, folder: Path) -> Iterator[None]:
    """Create and lock an empty staging folder for a run at `path`, and remove it on failure.

    The leftovers of a crash are removed. Of two processes, one is refused. Signals that end the process (SIGTERM,
    SIGHUP) end it after the folder is removed; after SIGKILL it stays until a run is created at `path` again.

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
            with _removed_first(folder):
                refuse_occupied(path)
                with _nothing_to_resume():
                    with disk_errors(path):
                        empty(folder)
                    yield
            return


class _Ended(BaseException):
    """The process is to end by a signal."""


@contextmanager
def _removed_first(folder: Path) -> Iterator[None]:
    """Remove a folder after an error, and before a signal ends the process."""
    number = 0

    def end(received: int, frame: FrameType | None) -> None:
        nonlocal number
        number = received
        raise _Ended

    main = threading.current_thread() is threading.main_thread()
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if main and hasattr(signal, name)]
    ours = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for each in ours:
        signal.signal(each, end)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)
        if number:
            signal.raise_signal(number)


def empty(folder: Path) -> None:
    """Remove the contents of a folder, but not the folder, which is locked."""
    for entry in list(folder.iterdir()):
        if is_dir(entry) and not is_link(entry):
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
