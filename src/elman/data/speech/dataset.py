"""The sentences of a run: their features, how these are computed, and their texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from elman.data.speech.eigenlips import Lips
from elman.data.speech.normalisation import level_of
from elman.data.speech.utterance import SoundFeatures
from elman.errors import BrokenRun, RunError
from elman.storage import records
from elman.storage.files import checked_object, exists, read_checked
from elman.storage.ragged import RaggedArrays

LARGEST = 1 << 29
"""The most bytes of texts.json that are read."""

LONGEST_TEXT = 1 << 16
"""The most bytes of texts.json for each sentence of a run, on average."""

SAMPLE = 256
"""The most training sentences, about, that a sample has."""

NORMS = ("utterance", "speaker", "training", "level")
"""What features may be normalised by."""

MAX_STRIDE = 16
"""Input steps of one step of the network."""


class SpeechDataset:
    """Sentences: their features and texts, and in training the symbols of the texts.

    Args:
        input: the features of each sentence, float16, (T, I).
        texts: the transcript of each sentence, the reference of an evaluation.
        names: of the sentences, such as their files.
        target: the symbols of each sentence, int64, (S,); None where no model is trained on them.
    """

    def __init__(
        self, input: RaggedArrays, texts: Sequence[str], names: Sequence[str], target: RaggedArrays | None = None
    ) -> None:
        self.input, self.texts, self.names, self.target = input, texts, names, target

    @classmethod
    def open(cls, folder: Path, part: str, symbols: int) -> Self:
        """Map the training or the validation part of a run.

        Args:
            folder: of the run.
            part: "training" or "validation".
            symbols: the number of symbols.

        Raises:
            RunError: it is missing or broken.
        """
        features = RaggedArrays.open(folder if part == "training" else folder / part, "input")
        count = len(RaggedArrays.open(folder, "input")) + len(RaggedArrays.open(folder / "validation", "input"))
        largest = min(LARGEST, LONGEST_TEXT * (1 + count))
        texts = read_checked(folder / "texts.json", "a JSON object", checked_object, largest=largest).get(part)
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise BrokenRun(f"{folder}/texts.json is broken", should=f"texts for {part}", found=repr(texts)[:80])
        target = RaggedArrays.open(folder, "target") if part == "training" else None
        counts = [len(texts), len(features), *([len(target)] if target else [])]
        fits = features.values.ndim == 2 and features.values.dtype == np.float16
        if target is not None:
            fits = fits and target.values.ndim == 1 and target.values.dtype == np.int64
            fits = fits and target.within(0, symbols - 1)
        if len({*counts}) > 1 or not fits:
            raise BrokenRun(
                f"the {part} sentences in {folder} are broken",
                should=f"as many texts as features (T, I) in float16 and rows of symbols below {symbols}",
                found=f"{', '.join(map(str, counts))}, {features.values.dtype} of shape {features.values.shape[1:]}",
            )
        return cls(features, texts, [f"{part} sentence {n}" for n in range(1, len(texts) + 1)], target)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the features, and of the symbols if there are any."""
        return self.input.fingerprint + (self.target.fingerprint if self.target else "")

    def features(self, numbers: Iterable[int]) -> list[NDArray[np.float16]]:
        """Return the features of sentences, (T, I) each."""
        return [self.input[n] for n in numbers]


@dataclass(frozen=True)
class FeatureScale:
    """The scale of the features of a run, in scale.json.

    Attributes:
        mean: of each feature over all training steps.
        deviation: of each feature over all training steps.
        stride: input steps of one step of the network.
        norm: what the features are normalised by: "utterance", "speaker", "training" or "level"; empty in a run of an
            earlier version: by its settings.
        longest: steps of the longest training sentence; 0 in a run of an earlier version: unknown.
    """

    mean: list[float] = field(metadata={"low": None})
    deviation: list[float]
    stride: int = field(metadata={"low": 1, "high": MAX_STRIDE})
    norm: str = field(default="", metadata={"later": True, "choices": ("", *NORMS)})
    longest: int = field(default=0, metadata={"later": True})

    def check(self) -> None:
        """Check that the fields fit each other.

        Raises:
            ValueError: they do not.
        """
        if not 0 < len(self.mean) == len(self.deviation) or not all(self.deviation):
            raise ValueError(f"{len(self.mean)} means and {len(self.deviation)} deviations, or a deviation of 0")

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read the scale of a run.

        Raises:
            RunError: it is missing or broken.
        """
        return records.read(folder / "scale.json", cls, "the scale of the features")


def save_extractor(folder: Path, features: SoundFeatures | Lips) -> None:
    """Keep how features are computed."""
    if isinstance(features, Lips):
        features.save(folder)
    else:
        records.write(folder / "features.json", features)


def load_extractor(folder: Path) -> SoundFeatures | Lips:
    """Return what `save_extractor` kept.

    Raises:
        RunError: it is missing or broken.
    """
    if exists(folder / Lips.filename):
        return Lips.load(folder)
    return records.read(folder / "features.json", SoundFeatures, "how features are computed")


def longest_sentence(folder: Path) -> int:
    """Return the input steps of the longest training sentence of a run; 0 where nothing says it.

    Raises:
        RunError: the run is broken.
    """
    if longest := FeatureScale.open(folder).longest:
        return longest
    try:
        return int(RaggedArrays.open(folder, "input").lengths.max())
    except RunError as error:
        if isinstance(error.__cause__, FileNotFoundError):  # an earlier version, and it came without its data
            return 0
        raise


def usual_levels(folder: Path) -> tuple[float, float] | None:
    """Return the 1st and 99th percentile of the levels of training sentences (dB), of a sample; None without the data.

    Raises:
        RunError: the data are broken.
    """
    if not (folder / "input.ends.npy").exists():
        return None
    features = RaggedArrays.open(folder, "input")
    levels = [level_of(features[n]) for n in range(0, len(features), max(1, len(features) // SAMPLE))]
    low, high = np.percentile(levels, [1, 99])
    return float(low), float(high)
