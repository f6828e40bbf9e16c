"""Image, audio and video files: checks before decoding, and one error for every broken file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from elman.errors import DataError, ElmanError
from elman.storage.files import absence, exists, is_dir, is_file


@contextmanager
def decoding(path: Path, kind: str, suffixes: tuple[str, ...]) -> Iterator[None]:
    """Check that a file can be decoded, and name it in the error of its decoder.

    Decoders of untrusted files fail in more ways than they document, so every exception counts as a broken file, except
    for `ElmanError` and a lack of memory.

    Args:
        path: the file.
        kind: "an image", "a sound" or "a video".
        suffixes: the suffixes of such files.

    Raises:
        DataError: the file is missing, empty, not a file, or cannot be decoded.
    """
    try:
        if not exists(path):
            found, hint = absence(path, "nothing there"), "check the spelling and the folder"
            what = "does not exist" if found == "nothing there" else f"cannot be read as {kind}"
            raise DataError(f"{path} {what}", should=kind, found=found, hint=hint)
        if not is_file(path):
            found = "a folder" if is_dir(path) else "a device or pipe"
            raise DataError(f"{path} is not a file", should=kind, found=found, hint="name a file")
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty", should=kind, found="0 bytes", hint="remove it")
        yield
    except (ElmanError, MemoryError):
        raise
    except Exception as error:
        known = path.suffix.lower() in suffixes
        raise DataError(
            f"{path} cannot be read as {kind}",
            should="a complete file" if known else f"a file with the suffix {', '.join(suffixes)}",
            found=(str(error) or type(error).__name__).splitlines()[0][:200],
            hint="export it again, or remove it" if known else f"name {kind}, or remove it",
        ) from error


def files_of(path: Path, suffixes: Sequence[str], *, kind: str) -> list[Path]:
    """Return a file, or the files of a folder with suffixes in lower case, sorted by name; the message names the kind.

    A path that the system refuses counts as a file, so that reading it raises the error.

    Raises:
        DataError: a folder cannot be read, or has no such file.
    """
    try:
        folder = is_dir(path)
    except OSError:  # too long a name, a folder that is forbidden
        folder = False
    if not folder:
        return [path]
    try:
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes)
    except OSError as error:
        should, hint = "a readable folder", f"ls -ld {path} shows its permissions"
        raise DataError(f"{path} cannot be read", should=should, found=error.strerror, hint=hint) from error
    if not files:
        should, hint = f"files with the suffix {', '.join(suffixes)}", "name the files, or their folder"
        raise DataError(f"{path} has no {kind}", should=should, found="none", hint=hint)
    return files
