"""Validation of an untrusted run directory before it is used."""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from elman.errors import BrokenRun, RunError
from elman.storage.files import checked_json, is_file
from elman.storage.records import is_number

FORMAT = 2
"""The version of the layout. A run with a higher one was made by a newer elman and is refused."""

LARGEST_NAMES = 1 << 20
"""The most bytes of the names in a run of few weights."""

LONGEST_ROW, MOST_NORMS = 1 << 16, 1 << 10
"""The most bytes of a line of metrics.jsonl, and gradient norms in it."""

_NUMBERS = ("epoch", "training_loss", "gradient_norm", "share_clipped")


def refuse_extraordinary(folder: Path) -> None:
    """Check that a run holds regular files and folders only: links lead outside, and pipes block for ever.

    Raises:
        RunError: it holds something else.
    """
    folders = [folder]
    while folders:
        try:
            entries = list(folders.pop().iterdir())
        except OSError as error:
            found = f"{error.filename}: {error.strerror}"
            raise BrokenRun(f"{folder} cannot be read", should="readable folders", found=found) from error
        for entry in entries:
            with suppress(FileNotFoundError):  # a temporary file of a running training
                mode = entry.lstat().st_mode
                if stat.S_ISDIR(mode):
                    folders.append(entry)
                elif not stat.S_ISREG(mode):
                    raise extraordinary(entry, "a link" if stat.S_ISLNK(mode) else "a pipe, socket or device")


def extraordinary(path: Path, found: str) -> RunError:
    """Build the error for an entry of a run that is neither a regular file nor a folder."""
    return RunError(
        f"{path} is {found}",
        should="a regular file, so that a run cannot lead outside of itself",
        found=found,
        hint="replace it by the file itself, or delete it",
    )


def check_config(folder: Path, config: Any) -> None:
    """Check the content of config.json.

    Raises:
        RunError: it is not elman's, incomplete, or of a newer version.
    """
    path = folder / "config.json"
    made = config.get("format") if isinstance(config, dict) else None
    if type(made) is not int or made < 1 or "recipe" not in config:
        raise BrokenRun(
            f"{path} is not elman's",
            should="the config.json that `elman train` wrote",
            found="no format or no recipe in it",
        )
    if made > FORMAT:
        raise RunError(
            f"{folder} was made by a newer version of elman",
            should=f"a run of format {FORMAT} or less",
            found=f"format {made}, written by elman {config.get('elman', '?')}",
            hint="pip install --upgrade elman",
        )
    kinds = {"settings": dict, "data": dict, "recipe": str, "elman": str, "torch": str}
    wrong = [name for name, kind in kinds.items() if not isinstance(config.get(name), kind)]
    if wrong:
        raise BrokenRun(f"{path} is broken", should=", ".join(kinds), found=f"no {' and no '.join(wrong)} in it")


def largest_by_weights(path: Path, largest: int) -> int:
    """Return the most bytes of a file with a name for each row of weights, such as a vocabulary, of a run.

    A row has a weight at least, 4 bytes, and a name is seldom longer than 64. Before a run has weights it is `largest`.
    """
    for run in (path.parent, path.parent.parent):
        weights = [run / name for name in ("model.safetensors", "checkpoint/state.safetensors")]
        if sizes := [file.stat().st_size for file in weights if is_file(file)]:
            return min(largest, LARGEST_NAMES + 16 * max(sizes))
    return largest


def checked_rows(content: bytes) -> list[dict[str, Any]]:
    """Return the complete lines of metrics.jsonl, each checked for every value that is read anywhere.

    Raises:
        ValueError: as `checked_json`, or a row is not an evaluation.
        RecursionError: as `checked_json`.
    """
    lines = content.split(b"\n")[:-1]
    if any(len(line) > LONGEST_ROW for line in lines):
        raise ValueError(f"a line of more than {LONGEST_ROW:,} bytes")
    rows = [checked_json(line) for line in lines if line]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or type(row.get("step")) is not int:
            raise ValueError(f"line {number} has no step")
        wrong = [name for name in _NUMBERS if not is_number(row.get(name))]
        metrics = row.get("validation")
        if not isinstance(metrics, dict) or not all(value is None or is_number(value) for value in metrics.values()):
            wrong.append("validation")
        norms = row.get("gradient_norms", [])
        if not isinstance(norms, list) or len(norms) > MOST_NORMS or not all(is_number(norm) for norm in norms):
            wrong.append("gradient_norms")
        if wrong:
            raise ValueError(f"line {number} has no numbers for {', '.join(wrong)}")
    return rows
