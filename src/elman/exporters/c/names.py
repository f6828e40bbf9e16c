"""Names of generated C: what a run or a person calls a model, as an identifier and a file name that are safe."""

from __future__ import annotations

import re

from elman.errors import SettingError

DEFAULT = "model"
LONGEST = 25
"""The most letters of a name: C99 promises to tell 31 apart in names that a linker sees, and functions add up to 6."""

_VALID = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)

# A header of the same name would take the place of one of the system, on systems that ignore case too; main.c is the
# program, and Windows has no files of the last four names.
_TAKEN = frozenset((
    "main", "assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "iso646", "limits", "locale", "math",
    "setjmp", "signal", "stdarg", "stdbool", "stddef", "stdint", "stdio", "stdlib", "string", "tgmath", "time",
    "wchar", "wctype", "alloca", "endian", "features", "malloc", "pthread", "sched", "unistd", "con", "prn", "aux",
    "nul",
))  # fmt: skip


def is_name(text: str) -> bool:
    """Return whether a text can name the functions and files of a model as it is."""
    return bool(_VALID.fullmatch(text)) and len(text) <= LONGEST and text.lower() not in _TAKEN


def check_name(text: str) -> str:
    """Return a name that a person has chosen.

    Raises:
        SettingError: it is not an identifier of C, or would hide a file of the system.
    """
    if not is_name(text):
        raise SettingError(
            f"the name {text!r} cannot name functions and files in C",
            should=f"a letter, then letters, digits and _, at most {LONGEST}, not that of a header of the system",
            found=repr(text),
            hint=f"--set name={name_of(text)}",
        )
    return text


def name_of(text: str) -> str:
    """Return the name that stands for any text, such as the name of a run: what C does not allow becomes _."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:LONGEST].rstrip("_")
    if name and not name[0].isalpha():
        name = f"{DEFAULT}_{name}"[:LONGEST].rstrip("_")
    if name.lower() in _TAKEN:
        name = f"{name}_{DEFAULT}"
    return name or DEFAULT
