"""The features of spoken sentences, computed one by one: collected, or kept in a folder as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from elman.data.speech.eigenlips import Lips
from elman.data.speech.normalisation import Moments, normalise_speakers
from elman.data.speech.table import TranscribedFile
from elman.data.speech.utterance import SoundFeatures
from elman.errors import DataError
from elman.storage.ragged import RaggedArrays

RAW = "raw"  # the name of the features of a part before they are normalised by speaker

Featured = tuple[TranscribedFile, NDArray[np.float16]]
"""A sentence and its features, (T, F)."""


def featured(
    rows: Iterable[TranscribedFile],
    features: SoundFeatures | Lips,
    *,
    skip_bad: bool,
    leave_out: Callable[[str], object],
    notes: Counter[str],
    copies: int = 1,
) -> Iterator[Featured]:
    """Yield sentences with their features, in the memory of one.

    Args:
        rows: the sentences.
        features: how they are computed.
        skip_bad: broken files are left out instead of refused.
        leave_out: is told what is wrong with each of them.
        notes: counts what was done to files, or is odd about them.
        copies: of each video, a little moved.

    Raises:
        DataError: a file is broken and `skip_bad` is false, or all are.
    """
    count = 0
    first: str | None = None
    for row in rows:
        try:
            several = features.varied(row.source, copies)  # type: ignore[arg-type]
        except DataError as error:
            if not skip_bad:
                hint = f"{error.hint or 'mend the file'}, or --skip-bad"
                raise error.amended(hint=hint) from error
            leave_out(error.what)
            first = first or error.what
            continue
        count += 1
        notes.update(several[0].notes)
        for utterance in several:
            yield row, utterance.features
    if not count:
        raise DataError("every file is broken", should="files that can be read", found=first or "no files")


class Collected(NamedTuple):
    """Sentences with their features.

    Attributes:
        features: (T, F) each.
        rows: the sentences, as many.
        bad: the messages of the files that were left out.
    """

    features: list[NDArray[np.float16]]
    rows: list[TranscribedFile]
    bad: list[str]


def collected(
    rows: Iterable[TranscribedFile], features: SoundFeatures | Lips, *, skip_bad: bool, by_speaker: bool = False
) -> Collected:
    """Hold the features of some sentences.

    Args:
        rows: the sentences.
        features: how they are computed.
        skip_bad: broken files are left out instead of refused.
        by_speaker: the features are normalised over all sentences of a speaker.

    Raises:
        DataError: as `featured`.
    """
    found = Collected([], [], [])
    for row, values in featured(rows, features, skip_bad=skip_bad, leave_out=found.bad.append, notes=Counter()):
        found.rows.append(row)
        found.features.append(values)
    if by_speaker:
        found.features[:] = normalise_speakers(found.features, [row.speaker for row in found.rows])
    return found


class FeatureWriter(NamedTuple):
    """What is known of a part whose features are in a folder.

    Attributes:
        texts: what is said in each sentence.
        scale: the mean and the deviation of each feature over all steps.
    """

    texts: list[str]
    scale: dict[str, list[float]]


def keep(folder: Path, sentences: Iterable[Featured], *, by_speaker: bool = False) -> FeatureWriter:
    """Write the features of sentences into a folder, as the sequences `input`, as they come; texts alone are held.

    Args:
        folder: where they go.
        sentences: what `featured` yields.
        by_speaker: the features are normalised over all sentences of a speaker, which takes a second pass over them.

    Raises:
        DataError: as `featured`.
        RunError: the files cannot be written.
    """
    texts: list[str] = []
    speakers: list[str] = []
    moments: dict[str, Moments] = {}

    def noted() -> Iterator[NDArray[np.float16]]:
        for row, values in sentences:
            texts.append(row.text)
            speakers.append(row.speaker if by_speaker else "")
            moments.setdefault(speakers[-1], Moments(values.shape[1])).add(values)
            yield values

    if not by_speaker:
        RaggedArrays.write(folder, "input", noted())
        return FeatureWriter(texts, _scale(moments[""]))
    raw = RaggedArrays.write(folder, RAW, noted())
    whole = Moments(raw.values.shape[1])

    def normalised() -> Iterator[NDArray[np.float16]]:
        for n, speaker in enumerate(speakers):
            values = moments[speaker].normalise(raw[n]).astype(np.float16)
            whole.add(values)
            yield values

    RaggedArrays.write(folder, "input", normalised())
    RaggedArrays.remove(folder, RAW)
    return FeatureWriter(texts, _scale(whole))


def _scale(moments: Moments) -> dict[str, list[float]]:
    return {"mean": moments.mean.tolist(), "deviation": moments.deviation.tolist()}
