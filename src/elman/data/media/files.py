"""Pictures, sound and video as files: the checks before one is opened, and one error for any that is broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from elman.errors import DataError, ElmanError


@contextmanager
def decoding(path: Path, kind: str, suffixes: tuple[str, ...]) -> Iterator[None]:
    """Check that there is a file to decode, and name it in whatever goes wrong while it is decoded.

    Decoders of foreign files fail in more ways than they document, so that every exception counts as a broken file but
    the ones that are messages already, and a lack of memory.

    Args:
        path: the file.
        kind: "an image", "a sound" or "a video".
        suffixes: the endings that such files have.

    Raises:
        DataError: the file is missing, empty, no file, or cannot be decoded.
    """
    try:
        if not path.exists():
            raise DataError(
                f"{path} does not exist", should=kind, found="nothing there", hint="check the spelling and the folder"
            )
        if not path.is_file():
            found = "a folder" if path.is_dir() else "a device or pipe"
            raise DataError(f"{path} is not a file", should=kind, found=found, hint="name a file")
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty", should=kind, found="0 bytes", hint="leave it out")
        yield
    except (ElmanError, MemoryError):
        raise
    except Exception as error:
        known = path.suffix.lower() in suffixes
        called = f"one that ends in {', '.join(suffixes)}"
        raise DataError(
            f"{path} cannot be read as {kind}",
            should="a file that is whole" if known else called,
            found=(str(error) or type(error).__name__).splitlines()[0][:200],
            hint="make it anew, or leave it out" if known else f"name {kind}, or leave it out",
        ) from error


def files_of(path: Path, suffixes: Sequence[str], *, kind: str) -> list[Path]:
    """Return a file, or the files of a folder in the order of their names.

    Args:
        path: the file or folder; what the system cannot look at counts as a file, so that reading it will tell.
        suffixes: the endings of the files that are taken from a folder, in small letters.
        kind: what they are, for the message.

    Raises:
        DataError: a folder may not be read, or has no such file.
    """
    try:
        folder = path.is_dir()
    except OSError:  # too long a name, a folder that is forbidden
        folder = False
    if not folder:
        return [path]
    try:
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read",
            should="a folder that you may read",
            found=error.strerror,
            hint=f"ls -ld {path} says who may",
        ) from error
    if not files:
        raise DataError(
            f"{path} holds no {kind}",
            should=f"files that end in {', '.join(suffixes)}",
            found="none",
            hint="name the files, or the folder that they lie in",
        )
    return files
