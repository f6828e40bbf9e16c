"""The sentences that a transcriber is trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from elman.data.speech import builtin
from elman.data.speech.readers import TranscribedFile, read_transcripts, split_rows
from elman.errors import SettingError

Sentences = Iterable[TranscribedFile]

SAMPLE_RATE = 16_000
"""Hz, of files, if no other is set."""


def sentences(
    sources: Sequence[Path], *, columns: tuple[str, ...], validation_data: Sequence[str], share: float, seed: int
) -> tuple[Sentences, Sentences]:
    """Return the training and the validation sentences; those of the default data come once, as they are generated.

    Args:
        sources: tables; none for the default data.
        columns: of the files, of the texts, and perhaps of the speakers.
        validation_data: tables of validation sentences; none for a part of `sources`.
        share: of the sentences, for validation.
        seed: of the default data, or of the random split.

    Raises:
        DataError: a table cannot be read, or there are too few sentences.
    """
    if not sources:
        return builtin.morse_sentences(seed)
    rows = list(rows_of(sources, columns))
    return (rows, list(rows_of(validation_data, columns))) if validation_data else split_rows(rows, share, seed)


def rows_of(tables: Iterable[str | Path], columns: tuple[str, ...]) -> Sentences:
    """Yield the rows of tables, one after the other."""
    for table in tables:
        yield from read_transcripts(Path(table), columns=columns)


def check_default_data(settings: Mapping[str, Any]) -> None:
    """Check that no setting contradicts the default data, which are sound of one sample rate without speakers.

    Args:
        settings: the settings of the run, by name.

    Raises:
        SettingError: a setting contradicts them.
    """
    allowed: dict[str, list[Any]] = {
        "input": ["sound"],
        "sample_rate": [None, builtin.RATE],
        "trim_silence": [None, False],
        "feature_norm": ["auto", "utterance", "training", "level"],
        "validation_data": [()],
    }
    wrong = {name: settings[name] for name, values in allowed.items() if settings[name] not in values}
    if wrong:
        texts = (f"{name}={','.join(value) if isinstance(value, tuple) else value}" for name, value in wrong.items())
        raise SettingError(
            "the default data are not files",
            should=f"sound, sample_rate={builtin.RATE}, no trimming, no speakers, and no other validation data",
            found=", ".join(texts).lower(),
            hint="omit that, or name DATA",
        )
