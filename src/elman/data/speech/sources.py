"""What a transcriber learns from: the sentences of tables, or those of the default data, and their features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from elman.data.speech import builtin as default_morse
from elman.data.speech.eigenlips import Lips
from elman.data.speech.readers import TranscribedFile, read_transcripts, split_rows
from elman.data.speech.utterance import SoundFeatures
from elman.errors import DataError, SettingError

if TYPE_CHECKING:
    from elman.recipes.transcribe import TranscribeSettings

RATE = 16000  # samples a second of files


def sentences(
    sources: Sequence[Path], settings: TranscribeSettings
) -> tuple[Iterable[TranscribedFile], Iterable[TranscribedFile]]:
    """Return the sentences for training and for validation; those of the default data come once, as they are made.

    Raises:
        DataError: a table cannot be read, or there are too few sentences.
        SettingError: as `refuse_settings_of_files`.
    """
    if not sources:
        if settings.input == "video":
            raise DataError("there is no video to learn from", should="a table of videos", found="no DATA")
        refuse_settings_of_files(settings)
        return default_morse.morse_sentences(settings.seed)
    rows = [row for path in sources for row in read_transcripts(path, columns=settings.columns)]
    if settings.validation_data:
        return rows, list(read_transcripts(Path(settings.validation_data), columns=settings.columns))
    return split_rows(rows, settings.validation, settings.seed)


def features_for(rows: Iterable[TranscribedFile], settings: TranscribeSettings, *, files: bool) -> SoundFeatures | Lips:
    """Return how features are computed; those of video are learned from the sentences for training.

    Args:
        rows: the sentences for training.
        settings: of the run.
        files: whether they are files, not the default data.

    Raises:
        DataError: as `Lips.fit`.
    """
    if settings.input == "video":
        return Lips.fit(
            (row.source for row in rows if isinstance(row.source, Path)),
            count=settings.components,
            crop=(settings.crop[0], settings.crop[-1]),
            longest=settings.longest,
            skip_bad=settings.skip_bad,
        )
    trim = settings.trim if settings.trim is not None else not settings.streaming
    rate = (settings.rate or RATE) if files else default_morse.RATE
    return SoundFeatures(rate, settings.bands, trim and files, settings.longest)


def refuse_settings_of_files(settings: TranscribeSettings) -> None:
    """Refuse settings that the default data, which are made at their own rate and by nobody, would have to pass over.

    Raises:
        SettingError: there is such a one.
    """
    told = {
        "rate": settings.rate not in (None, default_morse.RATE),
        "trim": bool(settings.trim),
        "normalise": settings.scaled_by == "speaker",
        "validation_data": settings.validation_data is not None,
    }
    found = [f"{name}={str(getattr(settings, name)).lower()}" for name, wrong in told.items() if wrong]
    if found:
        raise SettingError(
            "the default data are not files",
            should=f"rate={default_morse.RATE}, no trimming, no speakers, and no other validation data",
            found=", ".join(found),
            hint="leave that out, or name DATA",
        )
