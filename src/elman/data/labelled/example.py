"""Labelled examples, their readers, and the options of readers."""

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
    """What readers can be asked for; each looks at its own options.

    Attributes:
        column_names: names of the columns of a table without a header.
        text_column: the column of the texts.
        series_columns: the columns of numbers, by name or by patterns such as x*.
        path_column: the column of the paths of files.
        label_column: the column of the labels.
        group_column: rows with the same value in this column are the steps of one sequence.
        pixel_order: the order of the pixels of a picture: a name in `elman.data.labelled.pixel_scan.ORDERS`.
        encoding: of text files.
        image_size: (height, width) that pictures and frames of video are resized to.
        colour: whether pictures and video keep their colours.
        crop: (height, width) of a window around the motion in a video.
        keep_mean_frame: whether the mean frame of a video stays in it.
        time_range: (begin, end) of the part of sounds and videos that is read.
        max_seconds: maximum length of a sound, or of a video at 25 frames a second, in seconds.
        sample_rate: sample rate (Hz) that sound is resampled to.
        mel_bands: number of mel bands.
        trim_silence: whether silence at the beginning and end of a sound is trimmed.
        labelled: whether every example must have a label.
        notes: grows: what was done to files to make them alike.
    """

    column_names: tuple[str, ...] = ()
    text_column: str | None = None
    series_columns: tuple[str, ...] = ()
    path_column: str | None = None
    label_column: str | None = None
    group_column: str | None = None
    pixel_order: str = "auto"
    encoding: str = "utf-8"
    image_size: tuple[int, ...] = ()
    colour: bool = False
    crop: tuple[int, ...] = ()
    keep_mean_frame: bool = False
    time_range: tuple[float, ...] = ()
    max_seconds: float = 600.0
    sample_rate: int = 16000
    mel_bands: int = 40
    trim_silence: bool = False
    labelled: bool = True
    notes: set[str] = field(default_factory=set, compare=False)


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
