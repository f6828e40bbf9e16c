"""Files and folders inside a folder, without those that are hidden."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from elman.storage.files import is_dir, is_file, is_link

SYSTEM_NAMES = {"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information"}
"""Names, in lower case, of what macOS and Windows write into folders and archives and do not show."""


def is_hidden(name: str) -> bool:
    """Return whether a name is hidden: it begins with a dot (.git, .DS_Store, ._photo.png), or the system made it."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def visible_entries(folder: Path) -> list[Path]:
    """Return the files and folders in a folder that are not hidden, sorted by name.

    Raises:
        OSError: the folder cannot be read.
    """
    return sorted(path for path in folder.iterdir() if not is_hidden(path.name))


def visible_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of the folders in it that are not hidden; links to folders are not followed.

    Raises:
        OSError: a folder cannot be read.
    """
    for path in visible_entries(folder):
        if is_dir(path):
            if not is_link(path):
                yield from visible_files(path)
        elif is_file(path):
            yield path
