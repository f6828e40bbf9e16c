"""Preparation of transcribed sentences: features, symbols, scale and transcripts in the folder of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from elman.data.skipped import SkippedRows
from elman.data.speech.dataset import SpeechDataset, save_extractor
from elman.data.speech.eigenlips import Lips
from elman.data.speech.features import extract_features, write_features
from elman.data.speech.readers import TranscribedFile
from elman.data.speech.utterance import SoundFeatures
from elman.data.text.documents import Document
from elman.data.text.vocabularies import build_vocabulary
from elman.storage.files import write_json

WIDEST = 0.04  # seconds of a step of the network, where none is set
STEPS_A_SYMBOL = 2.5  # of the network at the least, but in the twentieth of the sentences that is spoken fastest
NOTES, UNKNOWN = 20, 100  # kinds of what is odd about files, and symbols of validation alone, in messages


def prepare_speech(
    folder: Path,
    training: Iterable[TranscribedFile],
    validation: Iterable[TranscribedFile],
    features: SoundFeatures | Lips,
    *,
    vocabulary: str,
    vocabulary_size: int | None = None,
    skip_bad: bool = False,
    by_speaker: bool = False,
    copies: int = 1,
    stride: int | None = None,
) -> dict[str, Any]:
    """Compute the features file by file, and put them and all else that a run needs of its sentences into its folder.

    Args:
        folder: of the run.
        training: the sentences for training, read once.
        validation: the sentences for validation, read once.
        features: how they are computed.
        vocabulary: a name in `elman.data.text.vocabularies.VOCABULARIES`.
        vocabulary_size: most symbols.
        skip_bad: broken files are skipped instead of refused.
        by_speaker: the features are normalised over all sentences of a speaker.
        copies: of each video for training, a little moved.
        stride: steps of the input for one of the network; None: as `stride_for`.

    Returns:
        What config.json says about the data.

    Raises:
        DataError: a file is broken and `skip_bad` is false, or all of a part are.
        SettingError: the vocabulary cannot have this size.
    """
    skipped, notes = SkippedRows(), Counter[str]()
    of = partial(extract_features, features=features, skip_bad=skip_bad, on_skip=skipped.add, notes=notes)
    written = write_features(folder, of(training, copies=copies), by_speaker=by_speaker)
    (folder / "validation").mkdir()
    held_out = write_features(folder / "validation", of(validation), by_speaker=by_speaker)
    texts = Document("the texts", "".join(f"{text}\n" for text in written.texts))
    symbols = build_vocabulary(vocabulary, [texts], size=vocabulary_size)
    symbols.save(folder)
    save_extractor(folder, features)
    write_json(folder / "texts.json", {"training": written.texts, "validation": held_out.texts})
    SpeechDataset.complete(folder / "validation", [""] * len(held_out.texts), symbols)
    speech = SpeechDataset.complete(folder, written.texts, symbols)
    stride = stride or stride_for(speech, features.step)
    write_json(folder / "scale.json", {**written.scale, "stride": stride})
    unknown = sorted(_units(held_out.texts, vocabulary) - _units(written.texts, vocabulary))
    return {
        "fingerprint": speech.fingerprint,
        "vocabulary": f"{symbols.size} {symbols.kind}",
        "seconds_of_a_step": round(stride * features.step, 3),
        "training_sentences": len(written.texts),
        "training_seconds": round(len(speech.input.values) * features.step),
        "validation_sentences": len(held_out.texts),
        "left_out_as_broken": skipped.lines(),
        **({"notes": [f"{count} files: {note}" for note, count in notes.most_common(NOTES)]} if notes else {}),
        **({"only_in_validation": unknown[:UNKNOWN]} if unknown else {}),
    }


def stride_for(speech: SpeechDataset, step: float) -> int:
    """Return how many steps of the input, of `step` seconds, one of the network may stand for.

    The fewer steps of the network there are, the sooner CTC learns; but each symbol needs one, and so does the blank
    between two equal ones.
    """
    steps_a_symbol = speech.input.lengths / speech.target.lengths.clip(min=1)
    return max(1, min(round(WIDEST / step), int(np.quantile(steps_a_symbol, 0.05) / STEPS_A_SYMBOL)))


def _units(texts: Sequence[str], vocabulary: str) -> set[str]:
    """Return the words, or the characters, of texts."""
    return {unit for text in texts for unit in (text.split() if vocabulary == "words" else text)}
