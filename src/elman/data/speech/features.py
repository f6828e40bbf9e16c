"""Feature extraction, utterance by utterance, streamed to a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elman.data.notes import FileNotes
from elman.data.speech.dataset import SpeechDataset
from elman.data.speech.eigenlips import Lips
from elman.data.speech.normalisation import Moments
from elman.data.speech.readers import TranscribedFile
from elman.data.speech.utterance import SoundFeatures
from elman.errors import DataError
from elman.storage.ragged import RaggedArrays

RAW = "raw"  # the name of the features of a part before they are normalised by speaker

ExtractedFeatures = tuple[TranscribedFile, NDArray[np.float16]]
"""A sentence and its features, (T, F)."""


def extract_features(
    rows: Iterable[TranscribedFile],
    features: SoundFeatures | Lips,
    *,
    skip_bad: bool,
    on_skip: Callable[[str], object],
    notes: FileNotes,
    copies: int = 1,
) -> Iterator[ExtractedFeatures]:
    """Yield sentences with their features, in the memory of one.

    Args:
        rows: the sentences.
        features: how they are computed.
        skip_bad: broken files are skipped instead of refused.
        on_skip: called with what is wrong with each of them.
        notes: counts what was done to files, and warnings about them.
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
                hint = f"{error.hint or 'fix the file'}, or --skip-bad"
                raise error.amended(hint=hint) from error
            on_skip(error.what)
            first = first or error.what
            continue
        count += 1
        notes.update(several[0].notes, str(row.source) if isinstance(row.source, Path) else f"sample {count}")
        for utterance in several:
            yield row, utterance.features
    if not count:
        raise DataError("every file is broken", should="files that can be read", found=first or "no files")


def write_features(
    folder: Path, sentences: Iterable[ExtractedFeatures], *, by_speaker: bool = False
) -> tuple[SpeechDataset, Moments]:
    """Write the features of sentences into a folder, as the sequences `input`, as they come; texts alone are held.

    Args:
        folder: where they go.
        sentences: what `extract_features` yields.
        by_speaker: the features are normalised over all sentences of a speaker, which takes a second pass over them.

    Returns:
        The sentences, and the moments of their features over all steps.

    Raises:
        DataError: as `extract_features`.
        RunError: the files cannot be written.
    """
    texts: list[str] = []
    names: list[str] = []
    speakers: list[str] = []
    moments: dict[str, Moments] = {}

    def noted() -> Iterator[NDArray[np.float16]]:
        for row, values in sentences:
            texts.append(row.text)
            names.append(str(row.source) if isinstance(row.source, Path) else "")
            speakers.append(row.speaker if by_speaker else "")
            moments.setdefault(speakers[-1], Moments(values.shape[1])).add(values)
            yield values

    if not by_speaker:
        features = RaggedArrays.write(folder, "input", noted())
        return SpeechDataset(features, texts, names), moments[""]
    raw = RaggedArrays.write(folder, RAW, noted())
    whole = Moments(raw.values.shape[1])

    def normalised() -> Iterator[NDArray[np.float16]]:
        for n, speaker in enumerate(speakers):
            values = moments[speaker].normalise(raw[n]).astype(np.float16)
            whole.add(values)
            yield values

    features = RaggedArrays.write(folder, "input", normalised())
    RaggedArrays.remove(folder, RAW)
    return SpeechDataset(features, texts, names), whole


def keep_sentences(folder: Path, sentences: SpeechDataset, numbers: Sequence[int]) -> SpeechDataset:
    """Write the features that `write_features` wrote again, with the sentences of these numbers alone, if they differ.

    Raises:
        RunError: the files cannot be written.
    """
    if len(numbers) == len(sentences):
        return sentences
    features = RaggedArrays.write(folder, "input", (sentences.input[n] for n in numbers))
    return SpeechDataset(features, [sentences.texts[n] for n in numbers], [sentences.names[n] for n in numbers])
