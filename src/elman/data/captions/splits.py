"""Splits of captioned pictures: training, validation and held out; read one picture at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from elman.data.batching import count_held_out
from elman.data.captions.builtin import scenes
from elman.data.captions.dataset import normalise_caption
from elman.data.captions.image_features import PictureSource, picture_source
from elman.data.captions.readers import TEST, TRAINING, VALIDATION, Album, CaptionedPicture, read_album
from elman.data.notes import FileNotes
from elman.data.skipped import SkippedRows
from elman.errors import DataError

Stream = Iterator[tuple[NDArray[Any], str, list[str]]]
"""Pictures as numbers, their names, and their captions as `normalise_caption` returns them."""

SIDE = 128
"""Height and width of pictures by default."""

SCENES, EVALUATED = 8000, 300
"""Of the default data: for training, and for each of validation and held-out combinations."""


class CaptionSplits(NamedTuple):
    """What a run is made of."""

    training: Stream
    validation: Stream
    held_out: Stream | None


@dataclass
class PictureReading:
    """Options for reading pictures, and counts of what was skipped.

    Attributes:
        side: height and width that they are brought to.
        skip_bad: missing and broken ones are skipped.
        max_symbols: symbols of a caption in training at most.
        by_words: whether symbols are counted as words; else as characters.
        skipped: pictures that were missing or broken.
        too_long: how many captions were.
        notes: what was guessed about pictures.
    """

    side: int = SIDE
    skip_bad: bool = False
    max_symbols: int = 1 << 30
    by_words: bool = True
    skipped: SkippedRows = field(default_factory=SkippedRows)
    too_long: int = 0
    notes: FileNotes = field(default_factory=FileNotes)


def split_scenes(seed: int) -> CaptionSplits:
    """Return the default data."""

    def made(count: int, seed: int, held_out: bool = False) -> Stream:
        for n, scene in enumerate(scenes(count, seed=seed, held_out=held_out)):
            yield scene.image, f"scene {n}", [normalise_caption(text) for text in scene.captions]

    held_out = made(EVALUATED, seed + (2 << 64), held_out=True)
    return CaptionSplits(made(SCENES, seed), made(EVALUATED, seed + (1 << 64)), held_out)


def split_album(
    sources: Sequence[Path], reading: PictureReading, *, share: float, validation_data: Sequence[Path]
) -> CaptionSplits:
    """Return the pictures of DATA for training and validation.

    Args:
        sources: see `elman.data.captions.readers.read_album`.
        reading: how to read them.
        share: of the pictures, at the end, that is for validation where neither a list nor a file says which are.
        validation_data: sources for validation instead.

    Raises:
        DataError: see `read_album` and `read_pictures`; or there are too few.
    """
    album, rows, source = _album(sources, reading, TRAINING)
    validation = read_evaluation_pictures(validation_data, reading) if validation_data else None
    if validation is None:
        listed = None if album.only else album.part(VALIDATION)
        if listed is None:
            cut = len(rows) - count_held_out(len(rows), share, "pictures", least=2, hint="CAPTIONS")
            rows, listed = rows[:cut], rows[cut:]
        validation = read_pictures(listed, source, album, reading)
    return CaptionSplits(_short(read_pictures(rows, source, album, reading), reading), validation, None)


def read_evaluation_pictures(sources: Sequence[Path], reading: PictureReading) -> Stream:
    """Yield the pictures of DATA to evaluate on: the test part where there is a list of it, else all.

    Raises:
        DataError: see `read_album` and `read_pictures`.
    """
    album, rows, source = _album(sources, reading, TEST)
    return read_pictures(rows, source, album, reading)


def _album(
    sources: Sequence[Path], reading: PictureReading, part: str
) -> tuple[Album, list[CaptionedPicture], PictureSource]:
    """Return the captions, the rows of a part (all where there is no list of it), and what reads their pictures."""
    album = read_album(sources)
    rows = album.part(album.only or part) or list(album.rows.values())
    return album, rows, picture_source(sources[1] if len(sources) > 1 else None, reading.side, reading.notes)


def read_pictures(
    rows: Sequence[CaptionedPicture], source: PictureSource, album: Album, reading: PictureReading
) -> Stream:
    """Yield pictures with name and captions.

    Raises:
        DataError: one is missing or broken and `reading.skip_bad` is false, or all are.
    """
    count = 0
    for row in rows:
        try:
            values = source(row)
            if values is None:
                raise DataError(
                    f"{album.file} has captions of {row.name}, which is missing",
                    should=f"a picture at {row.path}",
                    found="nothing there",
                )
        except DataError as error:
            if not reading.skip_bad:
                hint = "fix it, or remove its captions; --skip-bad skips such pictures"
                raise error.amended(hint=hint) from error
            reading.skipped.add(f"{error.what}: {error.found}")
            continue
        count += 1
        yield values, row.name, [normalise_caption(text) for text in row.captions]
    if not count:
        raise DataError("every picture is missing or broken", should=f"such as {rows[0].path}", found="none")


def _short(pictures: Stream, reading: PictureReading) -> Stream:
    """Skip captions that are too long, and pictures without another."""
    count = 0
    for values, name, captions in pictures:
        sizes = [len(text.split() if reading.by_words else text) for text in captions]
        short = [text for text, size in zip(captions, sizes, strict=True) if size <= reading.max_symbols]
        reading.too_long += len(captions) - len(short)
        if short:
            count += 1
            yield values, name, short
    if not count:
        raise DataError(
            "every caption is too long",
            should=f"at most {reading.max_symbols} symbols",
            found="more in all of them",
            hint="--set max_symbols=200",
        )
