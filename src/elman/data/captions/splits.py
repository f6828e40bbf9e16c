"""The parts of captioned pictures: for training, for validation, and held out; read one picture at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from elman.data.captions.builtin import scenes
from elman.data.captions.dataset import spoken
from elman.data.captions.image_features import PictureSource, picture_source
from elman.data.captions.readers import TEST, TRAINING, VALIDATION, Album, Captioned, read_album
from elman.data.skipped import SkippedRows
from elman.errors import DataError

Stream = Iterator[tuple[NDArray[Any], str, list[str]]]
"""Pictures as numbers, their names, and their captions as `elman.data.captions.dataset.spoken` returns them."""

SIDE = 128
"""Height and width of pictures, where nothing else is said."""

SCENES, JUDGED = 8000, 300
"""Of the default data: for training, and for each of validation and held-out combinations."""


class CaptionSplits(NamedTuple):
    """What a run is made of."""

    training: Stream
    validation: Stream
    held_out: Stream | None


@dataclass
class Rejected:
    """How pictures are to be read, and what was left out.

    Attributes:
        side: height and width that they are brought to.
        skip_bad: missing and broken ones are left out.
        longest: symbols of a caption in training.
        by_words: whether symbols are counted as words; else as characters.
        left_out: pictures that were missing or broken.
        too_long: how many captions were.
    """

    side: int = SIDE
    skip_bad: bool = False
    longest: int = 1 << 30
    by_words: bool = True
    left_out: SkippedRows = field(default_factory=SkippedRows)
    too_long: int = 0


def scene_parts(seed: int) -> CaptionSplits:
    """Return the default data."""

    def made(count: int, seed: int, held_out: bool = False) -> Stream:
        for n, scene in enumerate(scenes(count, seed=seed, held_out=held_out)):
            yield scene.image, f"scene {n}", [spoken(text) for text in scene.captions]

    held_out = made(JUDGED, seed + (2 << 64), held_out=True)
    return CaptionSplits(made(SCENES, seed), made(JUDGED, seed + (1 << 64)), held_out)


def album_parts(
    sources: Sequence[Path], told: Rejected, *, share: float, validation_data: Sequence[Path]
) -> CaptionSplits:
    """Return the pictures of DATA for training and validation.

    Args:
        sources: see `elman.data.captions.readers.read_album`.
        told: how to read them.
        share: of the pictures, at the end, that is for validation where neither a list nor a file says which are.
        validation_data: sources for validation instead.

    Raises:
        DataError: see `read_album` and `readable`; or there are too few.
    """
    album = read_album(sources)
    rows = album.part(album.only or TRAINING) or list(album.rows.values())
    judged = readable_of(validation_data, told) if validation_data else None
    source = picture_source(sources[1] if len(sources) > 1 else None, told.side)
    if judged is None:
        listed = None if album.only else album.part(VALIDATION)
        if listed is None:
            cut = len(rows) - max(2, round(len(rows) * share))
            if not 0 < share < 1 or cut < 1:
                raise DataError(
                    "there are too few pictures to keep a part for validation",
                    should="at least 3, and a share between 0 and 1",
                    found=f"{len(rows)}, validation={share}",
                    hint="--set validation_data=CAPTIONS",
                )
            rows, listed = rows[:cut], rows[cut:]
        judged = readable(listed, source, album, told)
    return CaptionSplits(_short(readable(rows, source, album, told), told), judged, None)


def readable_of(sources: Sequence[Path], told: Rejected) -> Stream:
    """Yield the pictures of DATA to judge on: those for the test where a list says which, else all.

    Raises:
        DataError: see `read_album` and `readable`.
    """
    album = read_album(sources)
    rows = album.part(album.only or TEST) or list(album.rows.values())
    return readable(rows, picture_source(sources[1] if len(sources) > 1 else None, told.side), album, told)


def readable(rows: Sequence[Captioned], source: PictureSource, album: Album, told: Rejected) -> Stream:
    """Yield pictures with name and captions.

    Raises:
        DataError: one is missing or broken and `told.skip_bad` is false, or all are.
    """
    count = 0
    for row in rows:
        try:
            if not source.has(row):
                raise DataError(
                    f"{album.file} has captions of {row.name}, which is missing",
                    should=f"a picture at {row.path}",
                    found="nothing there",
                )
            values = source.read(row)
        except DataError as error:
            if not told.skip_bad:
                hint = "mend it, or remove its captions; --skip-bad leaves such pictures out"
                raise error.amended(hint=hint) from error
            told.left_out.add(f"{error.what}: {error.found}")
            continue
        count += 1
        yield values, row.name, [spoken(text) for text in row.captions]
    if not count:
        raise DataError("every picture is missing or broken", should=f"such as {rows[0].path}", found="none")


def _short(pictures: Stream, told: Rejected) -> Stream:
    """Leave out captions that are too long; a picture without another goes too."""
    count = 0
    for values, name, captions in pictures:
        kept = [text for text in captions if (len(text.split()) if told.by_words else len(text)) <= told.longest]
        told.too_long += len(captions) - len(kept)
        if kept:
            count += 1
            yield values, name, kept
    if not count:
        raise DataError(
            "every caption is too long",
            should=f"at most {told.longest} symbols",
            found="more in all of them",
            hint="--set longest=200",
        )
