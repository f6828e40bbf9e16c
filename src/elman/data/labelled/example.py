"""Labelled examples, their readers, and the options of readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from elman.data.labelled.labels import TARGETS
from elman.data.notes import FileNotes
from elman.errors import SettingError
from elman.settings import Settings, setting

Values = str | list[str] | NDArray[Any]
"""Text; words or other symbols; (T, I) numbers, float64, float32 or the uint8 of pixels; or frames, uint8, of shape
(T, H, W[, 3])."""


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
class ReaderSettings(Settings):
    """Settings of readers; each looks at its own."""

    target: str = setting("class", "what a label is", choices=TARGETS, fixed=True)
    column_names: tuple[str, ...] = setting((), "names of the columns of a table without a header", fixed=True)
    text_column: str | None = setting(None, "column of the text; none: text or sentence", fixed=True)
    series_columns: tuple[str, ...] = setting((), "columns of numbers, by name or patterns such as x*", fixed=True)
    path_column: str | None = setting(None, "column of the path of a file; none: path or file", fixed=True)
    label_column: str | None = setting(None, "column of the label; none: label, class or target", fixed=True)
    group_column: str | None = setting(None, "rows with the same value here are one sequence", fixed=True)
    encoding: str = setting("utf-8", "encoding of text files and tables", fixed=True)
    pixel_order: str = setting(
        "auto", "auto: pixels up to 256 of them", choices=("auto", "rows", "pixels", "permuted"), fixed=True
    )
    image_size: tuple[int, ...] = setting((), "height,width that images and video are resized to", low=1, fixed=True)
    colour: bool = setting(False, "images and video in colour", fixed=True)
    crop: tuple[int, ...] = setting((), "height,width of a window around the motion in a video", low=1, fixed=True)
    keep_mean_frame: bool = setting(False, "do not subtract the mean frame from a video", fixed=True)
    time_range: tuple[float, ...] = setting((), "begin,end in seconds of the part of sound and video", fixed=True)
    max_seconds: float = setting(600.0, "maximum length of sound and video, in seconds", low=0, fixed=True)
    sample_rate: int = setting(16000, "sample rate (Hz) of sound", low=100, high=1_000_000, fixed=True)
    mel_bands: int = setting(40, "number of mel bands of sound", low=1, high=1000, fixed=True)
    trim_silence: bool = setting(False, "trim silence at the beginning and end of sound", fixed=True)

    def check(self) -> None:
        """Check the numbers of values."""
        super().check()
        parse_size("image_size", self.image_size)
        parse_size("crop", self.crop)
        parse_span(self.time_range)


@dataclass(frozen=True, kw_only=True)
class ReaderOptions(ReaderSettings):
    """Settings of readers, and what depends on the use.

    Attributes:
        labelled: whether every example must have a label.
        notes: what was guessed, what is not used, what was done to files to make them alike, and what may be wrong.
    """

    labelled: bool = True
    notes: FileNotes = field(default_factory=FileNotes, compare=False)


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


def parse_size(name: str, values: tuple[int, ...]) -> tuple[int, int] | None:
    """Return (height, width) out of a setting, None where it is empty.

    Raises:
        SettingError: it is not a pair of positive integers.
    """
    if not values:
        return None
    if len(values) == 2 and min(values) >= 1:
        return values[0], values[1]
    raise SettingError(
        f"invalid value for {name}",
        should="a height and a width, such as 24,40",
        found=",".join(map(str, values)),
        hint=f"--set {name}=24,40",
    )


def parse_span(seconds: tuple[float, ...]) -> tuple[float, float | None]:
    """Return where the part that is read begins and ends; None for the end of the file.

    Raises:
        SettingError: it is not a beginning and a later end.
    """
    if not seconds:
        return 0.0, None
    if len(seconds) == 2 and 0 <= seconds[0] < seconds[1]:
        return seconds[0], seconds[1]
    raise SettingError(
        "invalid value for time_range",
        should="a beginning and a later end, such as 0.5,2",
        found=",".join(f"{number:g}" for number in seconds),
        hint="--set time_range=0.5,2",
    )
