"""Tables of what is spoken: files, what is said in them and by whom, parted into training and validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from elman.data.text.lines import file_lines
from elman.errors import DataError

LONGEST_PATH, LONGEST_TEXT = 1 << 12, 1 << 16  # characters; an hour of speech has fewer


class TranscribedFile(NamedTuple):
    """What is said, and where: a file, or samples at hand."""

    source: Path | NDArray[np.float32]
    text: str
    speaker: str = ""


def read_table(path: Path, *, columns: tuple[str, ...] = ("path", "text")) -> Iterator[TranscribedFile]:
    """Yield the rows of a table with tabs whose first line names its columns; paths are relative to its folder.

    Args:
        path: the table.
        columns: of the files and of what is said in them; a third one says who speaks.

    Raises:
        DataError: the table is missing, or has no such columns, a row is short, or a text is empty or absurdly long;
            file and line are named.
    """
    lines = file_lines(path)
    first = next(lines, None)
    if first is None:
        raise DataError(f"{path} is empty", should="a table of files and what is said in them", found="0 lines")
    head = first.split("\t")
    missing = [name for name in columns if name not in head]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]!r}",
            should=f"a first line with {', '.join(columns[:-1])} and {columns[-1]}, tabs between",
            found=", ".join(head)[:200] or "an empty first line",
            hint=" ".join(f"--set {name}_column=NAME" for name in ("path", "text", "speaker")[: len(columns)]),
        )
    places = [head.index(name) for name in columns]
    count = 0
    for number, line in enumerate(lines, 2):
        if not line:
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) <= max(places) or not all(cells[place] for place in places):
            raise DataError(
                f"{path}, line {number}: a cell is missing",
                should=", tab, ".join(columns),
                found=repr(line[:80]),
                hint="mend or remove the line",
            )
        file, text, *speaker = (cells[place] for place in places)
        _refuse_absurd(f"{path}, line {number}", file, text, *speaker)
        count += 1
        yield TranscribedFile(path.parent / file, " ".join(text.split()), *speaker)
    if not count:
        raise DataError(f"{path} has no rows", should="files and what is said in them", found="none")


def _refuse_absurd(where: str, file: str, text: str, speaker: str = "") -> None:
    """Refuse what would fill the memory: paths, texts and speakers are held, row by row."""
    for what, cell, most in (
        ("path", file, LONGEST_PATH),
        ("text", text, LONGEST_TEXT),
        ("speaker", speaker, LONGEST_PATH),
    ):
        if len(cell) > most:
            raise DataError(
                f"{where}: the {what} is too long",
                should=f"at most {most} characters",
                found=f"{len(cell)}: {cell[:40]!r} ...",
                hint="mend or remove the line",
            )


def parted(
    rows: Sequence[TranscribedFile], share: float, seed: int
) -> tuple[list[TranscribedFile], list[TranscribedFile]]:
    """Draw about `share` of the rows for validation; return the others, and those, in their order.

    Raises:
        DataError: one of the two would be empty.
    """
    count = max(1, round(len(rows) * share))
    if not 0 < share < 1 or count == len(rows):
        raise DataError(
            "there are too few sentences to keep a part for validation",
            should="at least 2, and a share between 0 and 1",
            found=f"{len(rows)}, validation={share}",
            hint="--set validation_data=TABLE",
        )
    held = set(np.random.default_rng(seed).permutation(len(rows))[:count].tolist())
    return [row for n, row in enumerate(rows) if n not in held], [rows[n] for n in sorted(held)]
