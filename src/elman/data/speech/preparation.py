"""Sentences as the data of a run: features, vocabulary, scale and texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.notes import FileNotes
from elman.data.skipped import SkippedRows
from elman.data.speech.ctc_length import known_symbols, numbers_that_fit
from elman.data.speech.dataset import FeatureScale, save_extractor
from elman.data.speech.eigenlips import Lips
from elman.data.speech.features import extract_features, keep_sentences, write_features
from elman.data.speech.normalisation import Moments
from elman.data.speech.readers import TranscribedFile
from elman.data.speech.utterance import SoundFeatures
from elman.data.text.documents import Document
from elman.data.text.vocabularies import build_vocabulary
from elman.storage import records
from elman.storage.files import write_json
from elman.storage.ragged import RaggedArrays

MAX_STEP = 0.04  # seconds of a step of the network, where no stride is set
STEPS_PER_SYMBOL = 2.5  # of the network at least, but in the twentieth of the sentences that is spoken fastest
MAX_UNKNOWN = 100  # symbols of validation alone that are shown


def prepare_speech(
    folder: Path,
    training: Iterable[TranscribedFile],
    validation: Iterable[TranscribedFile],
    features: SoundFeatures | Lips,
    *,
    vocabulary: str,
    norm: str,
    vocabulary_size: int | None = None,
    skip_bad: bool = False,
    copies: int = 1,
    stride: int | None = None,
) -> dict[str, Any]:
    """Compute the features file by file, and write the data of a run.

    Args:
        folder: of the run.
        training: the training sentences, which are read once.
        validation: the validation sentences, which are read once.
        features: computes the features.
        vocabulary: a name in `elman.data.text.vocabularies.VOCABULARIES`.
        norm: what the features are normalised by, as in `FeatureScale`.
        vocabulary_size: the maximum number of symbols.
        skip_bad: broken files, and those that are too short for their text, are skipped; else the first of them is an
            error.
        copies: of each training video, shifted a little.
        stride: input steps of one step of the network; None: as `stride_for`.

    Returns:
        What config.json says about the data.

    Raises:
        DataError: a file is broken or too short for its text and `skip_bad` is false, or all of a part are.
        SettingError: the vocabulary cannot have this size.
    """
    skipped, notes = SkippedRows(), FileNotes()
    of = partial(extract_features, features=features, skip_bad=skip_bad, on_skip=skipped.add, notes=notes)
    speech, moments = write_features(folder, of(training, copies=copies), by_speaker=norm == "speaker")
    (folder / "validation").mkdir()
    held_out, _ = write_features(folder / "validation", of(validation), by_speaker=norm == "speaker")
    texts = Document("the texts", "".join(f"{text}\n" for text in speech.texts))
    symbols = build_vocabulary(vocabulary, [texts], size=vocabulary_size)
    symbols.save(folder)
    save_extractor(folder, features)
    target = RaggedArrays.write(folder, "target", (symbols.encode(text).astype(np.int64) for text in speech.texts))
    stride = stride or stride_for(speech.input.lengths, target.lengths, features.step)
    fit = partial(numbers_that_fit, stride=stride, skip_bad=skip_bad, on_skip=skipped.add)
    numbers = fit(speech.names, speech.input.lengths, (target[n] for n in range(len(target))))
    if len(numbers) < len(speech):
        target = RaggedArrays.write(folder, "target", (target[n] for n in numbers))
        speech = keep_sentences(folder, speech, numbers)
        moments = Moments.of(speech.input[n] for n in range(len(speech)))
    known = (known_symbols(symbols, text) for text in held_out.texts)
    held_out = keep_sentences(folder / "validation", held_out, fit(held_out.names, held_out.input.lengths, known))
    write_json(folder / "texts.json", {"training": speech.texts, "validation": held_out.texts})
    steps = speech.input.lengths
    scale = FeatureScale(moments.mean.tolist(), moments.deviation.tolist(), stride, norm, int(steps.max()))
    records.write(folder / "scale.json", scale)
    unknown = sorted(_units(held_out.texts, vocabulary) - _units(speech.texts, vocabulary))
    lines = skipped.lines()
    return {
        "vocabulary": f"{symbols.size} {symbols.kind}",
        "seconds_per_step": round(stride * features.step, 3),
        "training_seconds": round(int(steps.sum()) * features.step),
        "skipped_rows": skipped.count,
        **({"skipped": lines} if lines else {}),
        **({"notes": notes.lines()} if notes else {}),
        **({"only_in_validation": unknown[:MAX_UNKNOWN]} if unknown else {}),
    }


def stride_for(steps: NDArray[np.int64], symbols: NDArray[np.int64], seconds: float) -> int:
    """Return how many input steps one step of the network may stand for.

    The fewer steps of the network there are, the sooner CTC learns; but each symbol needs one, and so does the blank
    between two that are alike.

    Args:
        steps: the number of input steps of each sentence.
        symbols: the number of symbols of each sentence.
        seconds: of an input step.
    """
    steps_per_symbol = steps / symbols.clip(min=1)
    return max(1, min(round(MAX_STEP / seconds), int(np.quantile(steps_per_symbol, 0.05) / STEPS_PER_SYMBOL)))


def _units(texts: Sequence[str], vocabulary: str) -> set[str]:
    """Return the words, or the characters, of texts."""
    return {unit for text in texts for unit in (text.split() if vocabulary == "words" else text)}
