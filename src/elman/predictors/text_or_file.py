"""What an input of a command is: a text, or the name of a file with texts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from elman.data.text.documents import TEXT_SUFFIXES
from elman.errors import DataError, nearest

STANDARD = "-"
OTHER_FILES = (
    ".gz",
    ".tsv",
    ".csv",
    ".json",
    ".jsonl",
    ".pdf",
    ".docx",
    ".html",
    ".wav",
    ".mp3",
    ".mp4",
    ".png",
    ".jpg",
)
ENDINGS = frozenset((*TEXT_SUFFIXES, *OTHER_FILES))
"""Of names that are taken for a file's also where there is none."""


def texts_and_files(inputs: Sequence[str | Path]) -> list[str | Path]:
    """Return the inputs, those that name a file or a pipe as paths; texts and "-" stay as they are.

    A word that is no file is taken for a misspelt name, not for a text, if it has no white space and either a slash, or
    an ending that texts have or another file beside it has. White space before it makes a text of it.

    Raises:
        DataError: an input is a misspelt name, or a folder.
    """
    return [given if isinstance(given, Path) or given == STANDARD else _understood(given) for given in inputs]


def _understood(given: str) -> str | Path:
    path = Path(given)
    try:
        there, folder = path.exists(), path.is_dir()
    except (OSError, ValueError):  # too long for a name, a folder that is forbidden
        there = folder = False
    slash = any(sign in given for sign in (os.sep, os.altsep) if sign)
    if there and not folder:
        return path
    if any(map(str.isspace, given)) or not (slash or path.suffix):
        return given
    beside = _names_in(path.parent)
    if not slash and path.suffix not in ENDINGS.union(map(_ending, beside)):
        return given
    if folder:
        raise DataError(
            f"{given} is a folder", should="a file of lines, or a text", found="no file", hint="name its files"
        )
    near = nearest(path.name, beside)
    guess = f"did you mean {path.parent / near}? " if near else ""
    raise DataError(
        f"{given} does not exist",
        should="a file of lines, or a text",
        found="a name that leads nowhere",
        hint=f"{guess}A text that looks like a name takes a blank before it: ' {given}'",
    )


def _names_in(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except (OSError, ValueError):
        return []


def _ending(name: str) -> str:
    return Path(name).suffix
