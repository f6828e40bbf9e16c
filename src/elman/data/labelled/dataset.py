"""Data set of labelled sequences in the folder of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from elman.data.labelled.labels import Labels
from elman.errors import AGAIN, RunError
from elman.storage.files import write_json
from elman.storage.ragged import RaggedArrays, read_array

FILE, HELD, EXAMPLES, VALIDATION, LABELS = "examples.json", "held.npy", "examples", "validation", "-labels"
KINDS = ("symbols", "features", "frames")
LARGEST = 1 << 24  # of a size that is read


class LabelledPart(NamedTuple):
    """Labelled sequences of one part of the data.

    Attributes:
        input: the sequences, among others.
        target: their labels as arrays; see `elman.data.labelled.labels.Labels.encode`.
        chosen: which of them belong to the part.
    """

    input: RaggedArrays
    target: RaggedArrays
    chosen: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many steps each chosen sequence has."""
        return self.input.lengths[self.chosen]


@dataclass(frozen=True)
class LabelledFormat:
    """What the sequences of a run are.

    Attributes:
        kind: "symbols" (token ids), "features" (T, I) or "frames" (T, H, W[, C]).
        shape: of a step: () for symbols, (I,), or (H, W[, C]).
        mean: of the training part, (1,) or (I,), by which numbers are standardised.
        deviation: the standard deviation of it, likewise.
        labels: what the model can answer.
        reader: the name of the training data's reader.
    """

    kind: str
    shape: tuple[int, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    labels: Labels
    reader: str

    def save(self, folder: Path) -> None:
        """Write the form into a run's folder."""
        fields = {**vars(self), "labels": self.labels.to_json()}
        write_json(folder / FILE, {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()})

    @classmethod
    def open(cls, folder: Path) -> LabelledFormat:
        """Read the form out of a run's folder.

        Raises:
            RunError: it is missing or broken.
        """
        try:
            fields = json.loads((folder / FILE).read_text(encoding="utf-8"))
            labels = Labels.from_json(fields.pop("labels"))
            known: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
            form = cls(labels=labels, **known)
            wrong = form._wrong()
        except (OSError, ValueError, TypeError, AttributeError, RecursionError, KeyError) as error:
            wrong = str(error)[:120]
        if wrong:
            raise RunError(f"{folder / FILE} is broken", should="what training wrote", found=wrong, hint=AGAIN)
        return form

    def _wrong(self) -> str | None:
        if self.kind not in KINDS or type(self.reader) is not str:
            return f"the kind {self.kind!r}"
        ranks = {"symbols": (0,), "features": (1,), "frames": (2, 3)}[self.kind]
        if len(self.shape) not in ranks or not all(type(size) is int and 0 < size < LARGEST for size in self.shape):
            return f"the shape {self.shape}"
        numbers = (*self.mean, *self.deviation)
        finite = all(type(x) in (int, float) and np.isfinite(x) for x in numbers) and all(self.deviation)
        if not finite or len(self.mean) != len(self.deviation) or len(self.mean) not in (1, *self.shape[:1]):
            return "an invalid mean or deviation"
        return None


def open_parts(folder: Path) -> tuple[LabelledPart, LabelledPart]:
    """Return the training and the validation part of a run.

    Raises:
        RunError: the files are missing or broken.
    """
    examples, labels = RaggedArrays.open(folder, EXAMPLES), RaggedArrays.open(folder, EXAMPLES + LABELS)
    held_out = np.asarray(read_array(folder / HELD))
    if held_out.dtype != bool or held_out.shape != (len(examples),) or len(labels) != len(examples) or held_out.all():
        raise RunError(
            f"{folder / HELD} does not fit the examples",
            should=f"which of {len(examples)} examples are for validation",
            found=f"{held_out.dtype} {held_out.shape}",
            hint=AGAIN,
        )
    training = LabelledPart(examples, labels, np.flatnonzero(~held_out))
    if held_out.any():
        return training, LabelledPart(examples, labels, np.flatnonzero(held_out))
    return training, whole_part(RaggedArrays.open(folder, VALIDATION), RaggedArrays.open(folder, VALIDATION + LABELS))


def whole_part(input: RaggedArrays, target: RaggedArrays) -> LabelledPart:
    """Return all sequences as a part."""
    return LabelledPart(input, target, np.arange(len(input)))
