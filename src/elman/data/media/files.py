"""Image, audio and video files: checks before decoding, and one error for every broken file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from elman.data.folders import visible_entries
from elman.data.media.container_extent import CONTAINER_EXTENTS
from elman.data.media.extent import SOUNDS, Extent, after_id3
from elman.errors import DataError, ElmanError, first_line
from elman.storage.files import absence, exists, is_dir, is_file

EXPORT = "export it again, or remove it"


@contextmanager
def decoding(path: Path, kind: str, suffixes: tuple[str, ...]) -> Iterator[None]:
    """Check that a file can be decoded, and name it in the error of its decoder.

    The one place where exceptions of PyAV, Pillow, libsndfile and NumPy become ours. Decoders of untrusted files fail
    in more ways than they document, so every exception counts as a broken file, except for `ElmanError`.

    Args:
        path: the file.
        kind: "an image", "a sound" or "a video".
        suffixes: the suffixes of such files.

    Raises:
        DataError: the file is missing, empty, not a file, takes more memory than there is, or cannot be decoded.
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
    except ElmanError:
        raise
    except MemoryError as error:
        should, found = f"{kind} that fits into memory", "more than there is, or a header that asks for it"
        raise DataError(f"{path} is too large", should=should, found=found, hint=EXPORT) from error
    except Exception as error:
        known = path.suffix.lower() in suffixes
        raise DataError(
            f"{path} cannot be read as {kind}",
            should="a complete file" if known else f"a file with the suffix {', '.join(suffixes)}",
            found=first_line(error),
            hint=EXPORT if known else f"name {kind}, or remove it",
        ) from error


def check_whole(path: Path, file: BinaryIO) -> Extent | None:
    """Check that an open file of sound or video has as many bytes as its headers declare, and rewind it.

    Returns:
        The extent of its content; None: its format declares none.

    Raises:
        DataError: the file is truncated.
    """
    size, start = path.stat().st_size, after_id3(file)
    extents = (extent_of(file, size, start) for extent_of in (*SOUNDS, *CONTAINER_EXTENTS))
    extent = next((extent for extent in extents if extent is not None), None)
    file.seek(0)
    if extent is None or extent.declared is None or extent.declared <= extent.held:
        return extent
    should, found = f"{extent.declared:,} bytes of {extent.part}, as in its header", f"{extent.held:,} bytes"
    raise DataError(f"{path} is truncated", should=should, found=found, hint=EXPORT)


def files_of(path: Path, suffixes: Sequence[str], *, kind: str) -> list[Path]:
    """Return a file, or the files of a folder with suffixes in lower case, sorted by name; the message names the kind.

    Hidden files of a folder are passed over. A path that the system refuses counts as a file, so that reading it raises
    the error.

    Raises:
        DataError: a folder cannot be read, or has no such file.
    """
    if not is_dir(path):
        return [path]
    try:
        files = [file for file in visible_entries(path) if file.suffix.lower() in suffixes]
    except OSError as error:
        should, hint = "a readable folder", f"ls -ld {path} shows its permissions"
        raise DataError(f"{path} cannot be read", should=should, found=error.strerror, hint=hint) from error
    if not files:
        should, hint = f"files with the suffix {', '.join(suffixes)}", "name the files, or their folder"
        raise DataError(f"{path} has no {kind}", should=should, found="none", hint=hint)
    return files
