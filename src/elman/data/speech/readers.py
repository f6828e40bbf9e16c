"""Tables of transcribed sound and video files, and their split into training and validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from elman.data.batching import count_held_out
from elman.data.delimited import read_table
from elman.data.text.lines import LONGEST_LINE
from elman.errors import DataError

MAX_PATH, MAX_TEXT = 1 << 12, 1 << 16  # characters; an hour of speech has fewer


class TranscribedFile(NamedTuple):
    """A recording and its transcript.

    Attributes:
        source: a file, or samples at hand.
        text: the transcript.
        speaker: who speaks; empty if unknown.
    """

    source: Path | NDArray[np.float32]
    text: str
    speaker: str = ""


def read_transcripts(path: Path, *, columns: tuple[str, ...] = ("path", "text")) -> Iterator[TranscribedFile]:
    """Yield the rows of a table whose header names its columns; paths are relative to its folder.

    Args:
        path: the table.
        columns: of the files and of their transcripts; a third one is of the speakers.

    Raises:
        DataError: the table is missing, empty or lacks a column, or a cell is empty or too long; file and line are
            named.
    """
    table = read_table(path, max_line=LONGEST_LINE)
    roles = {"path": MAX_PATH, "text": MAX_TEXT, "speaker": MAX_PATH}
    places = [table.column(f"{role}_column", name) for role, name in zip(roles, columns, strict=False)]

    def convert(cells: list[str]) -> TranscribedFile:
        if len(cells) <= max(places):
            raise DataError("a cell is missing", should=", ".join(columns), found=" | ".join(cells)[:80])
        values = [cells[place].strip() for place in places]
        for (role, limit), cell in zip(roles.items(), values, strict=False):
            if not cell:
                raise DataError(f"the {role} is empty", should=", ".join(columns), found=" | ".join(cells)[:80])
            if len(cell) > limit:  # all rows are held in memory
                found = f"{len(cell)}: {cell[:40]!r} ..."
                raise DataError(f"the {role} is too long", should=f"at most {limit} characters", found=found)
        file, text, *speaker = values
        return TranscribedFile(path.parent / file, " ".join(text.split()), *speaker)

    empty = True
    for _, row in table.parse(convert, width=0):
        empty = False
        yield row
    if empty:
        raise DataError(f"{path} has no rows", should="files and their transcripts", found="none")


def split_rows(
    rows: Sequence[TranscribedFile], share: float, seed: int
) -> tuple[list[TranscribedFile], list[TranscribedFile]]:
    """Draw about `share` of the rows for validation; return the training rows and those, in their order.

    Raises:
        DataError: one of the two would be empty.
    """
    count = count_held_out(len(rows), share, "sentences", hint="TABLE")
    held_out = set(np.random.default_rng(seed).permutation(len(rows))[:count].tolist())
    return [row for n, row in enumerate(rows) if n not in held_out], [rows[n] for n in sorted(held_out)]
