"""Labelled examples: what the readers of all kinds of data give, and what they can be told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

Values = str | list[str] | NDArray[Any]
"""Text; words or other symbols; (T, I) numbers, float32 or the uint8 of pixels; or (T, H, W[, 3]) frames, uint8."""


class Example(NamedTuple):
    """One sequence with its label.

    Attributes:
        name: what messages call it: a file, or a file and a line.
        load: returns the values, when they are needed.
            Raises DataError where they are broken, so that a reader can go on with the next example.
        label: a text or number, or a list of them; None where there is none.
    """

    name: str
    load: Callable[[], Values]
    label: Any


@dataclass(frozen=True, kw_only=True)
class ReaderOptions:
    """What readers can be told; each looks at what concerns it."""

    columns: tuple[str, ...] = ()  # names of the columns of a table whose first line does not name them
    text_column: str | None = None
    series_columns: tuple[str, ...] = ()  # names or patterns such as x*
    path_column: str | None = None
    label_column: str | None = None
    group_column: str | None = None  # rows with the same value here are the steps of one sequence
    order: str = "auto"  # in which the pixels of a picture are read: a name in `elman.data.labelled.pixel_scan.ORDERS`
    encoding: str = "utf-8"
    picture_size: tuple[int, ...] = ()  # (height, width) that pictures and frames of video are brought to
    colour: bool = False  # of pictures and video
    crop: tuple[int, ...] = ()  # (height, width) of a window around what moves in a video
    still: bool = False  # whether the mean frame of a video stays in it
    seconds: tuple[float, ...] = ()  # (begin, end) of the part of sounds and videos that is read
    longest: float = 600.0  # seconds of a sound, or of a video at 25 frames a second
    rate: int = 16000  # samples a second that sound is brought to
    bands: int = 40  # of the mel scale
    trim: bool = False  # leave out what is quiet at the beginning and end of a sound
    labelled: bool = True  # whether every example must have a label
    notes: set[str] = field(default_factory=set, compare=False)  # grows: what was done to files to make them alike


@dataclass(frozen=True)
class Reader:
    """A kind of DATA.

    Attributes:
        what: its name in messages.
        takes: whether it reads these sources.
        read: gives the examples one by one. Raises DataError where the whole cannot be read.
    """

    what: str
    takes: Callable[[Sequence[Path]], bool]
    read: Callable[[Sequence[Path], ReaderOptions], Iterator[Example]]
