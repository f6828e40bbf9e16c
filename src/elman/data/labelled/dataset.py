"""Data set of labelled sequences in the folder of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.labelled.labels import Labels
from elman.errors import BrokenRun, DataError
from elman.storage import records
from elman.storage.ragged import RaggedArrays, read_array

FILE, HELD, EXAMPLES, VALIDATION, LABELS = "examples.json", "held.npy", "examples", "validation", "-labels"
KINDS = ("symbols", "features", "frames")
CONTENTS = ("", "text", "pixels", "sound", "numbers")
LARGEST = 1 << 24  # of a size that is read
LIMIT = float(np.finfo(np.float32).max)
COMMON = 1 << 12  # a common part that is so many times the spread leaves float32 too few digits
ORDINARY = 1e30  # numbers larger than this, or smaller than its inverse, are divided by a unit


@dataclass(frozen=True, eq=False)
class LabelledPart:
    """Labelled sequences of one part of the data.

    Attributes:
        input: the sequences, among others.
        target: their labels as arrays; see `elman.data.labelled.labels.Labels.encode`.
        chosen: which of them belong to the part.
    """

    input: RaggedArrays
    target: RaggedArrays
    chosen: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all sequences and labels, those of the other part included."""
        return hashlib.sha256((self.input.fingerprint + self.target.fingerprint).encode()).hexdigest()

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of steps of each chosen sequence."""
        return self.input.lengths[self.chosen]


@dataclass(frozen=True)
class Recentring:
    """From the numbers of files to float32, which has seven digits: a common part is subtracted in float64.

    Attributes:
        offset: of each feature; none: 0.
        unit: a power of two, of each feature, by which the rest is divided; none: 1.
    """

    offset: tuple[float, ...] = ()
    unit: tuple[float, ...] = ()

    @classmethod
    def fit(cls, extremes: Sequence[NDArray[np.float64]]) -> Recentring:
        """Choose offsets and units where float32 would lose digits of the training part; for ordinary numbers none.

        Args:
            extremes: the least and the greatest value of each feature in each sequence, (2, I) each.
        """
        if not extremes or len({each.shape for each in extremes}) > 1:
            return cls()
        low, high = np.min([each[0] for each in extremes], 0), np.max([each[1] for each in extremes], 0)
        size, spread = np.maximum(np.abs(low), np.abs(high)), high - low
        common = (size > COMMON * spread) & ((spread > 0) | (size > LARGEST))
        offset = np.where(common, low + spread / 2, 0.0)
        rest = np.where(common, spread, size)
        odd = (rest > 0) & ((rest < 1 / ORDINARY) | (rest > ORDINARY))
        unit = np.where(odd, np.ldexp(1.0, np.frexp(rest)[1]), 1.0)
        if not (common.any() or odd.any()):
            return cls()
        return cls(tuple(map(float, offset)), tuple(map(float, unit)))

    def to_float32(self, name: str, steps: NDArray[Any]) -> NDArray[Any]:
        """Return numbers as float32; bytes stay bytes where nothing is subtracted.

        Raises:
            DataError: one is too large.
        """
        if not self.offset:
            return steps.astype(np.float32) if steps.dtype == np.float64 else steps
        if steps.shape[-1] != len(self.offset):
            return steps.astype(np.float32)  # of the wrong shape, which is refused by its name
        with np.errstate(over="ignore"):
            recentred = ((steps.astype(np.float64) - self.offset) / self.unit).astype(np.float32)
        if not np.isfinite(recentred).all():
            raise DataError(
                f"{name} has a number that is far from those of the training data",
                should=f"about {self.offset[0]!r}",
                found=f"{steps.min()!r} to {steps.max()!r}",
                hint="fix it, or skip such examples with --skip-bad",
            )
        return recentred


NO_RECENTRING = Recentring()


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
        offset: of `Recentring`.
        unit: of `Recentring`.
        content: what the files hold: "text", "pixels" (uint8), "sound" or "numbers"; empty in runs of earlier versions.
    """

    kind: str = field(metadata={"choices": KINDS})
    shape: tuple[int, ...] = field(metadata={"low": 1, "high": LARGEST - 1})
    mean: tuple[float, ...] = field(metadata={"low": None})
    deviation: tuple[float, ...] = field(metadata={"low": None})
    labels: Labels
    reader: str
    offset: tuple[float, ...] = field(default=(), metadata={"low": None, "later": True})
    unit: tuple[float, ...] = field(default=(), metadata={"later": True})
    content: str = field(default="", metadata={"later": True, "choices": CONTENTS})

    @property
    def recentring(self) -> Recentring:
        """What is done to numbers before they become float32."""
        return Recentring(self.offset, self.unit)

    def save(self, folder: Path) -> None:
        """Write the form into a run's folder."""
        records.write(folder / FILE, self)

    @classmethod
    def open(cls, folder: Path) -> LabelledFormat:
        """Read the form out of a run's folder.

        Raises:
            RunError: it is missing or broken.
        """
        return records.read(folder / FILE, cls, "the format of labelled sequences")

    def check(self) -> None:
        """Check that the fields fit each other.

        Raises:
            ValueError: they do not.
        """
        if len(self.shape) not in {"symbols": (0,), "features": (1,), "frames": (2, 3)}[self.kind]:
            raise ValueError(f"the shape {self.shape} of {self.kind}")
        if len(self.mean) != len(self.deviation) or len(self.mean) not in (1, *self.shape[:1]):
            raise ValueError(f"{len(self.mean)} means and {len(self.deviation)} deviations of the shape {self.shape}")
        if not all(self.deviation) or not all(self.unit):
            raise ValueError("a deviation or a unit of 0")
        if len(self.offset) != len(self.unit) or len(self.offset) not in (0, *self.shape[:1]):
            raise ValueError(f"{len(self.offset)} offsets and {len(self.unit)} units of the shape {self.shape}")

    def check_steps(self, name: str, shape: tuple[int, ...]) -> None:
        """Check the shape of the steps of a sequence, `name` in the message.

        Raises:
            DataError: the model reads steps of another shape.
        """
        if shape != self.shape:
            raise DataError(
                f"{name} is not what the model reads",
                should=f"steps of shape {self.shape}",
                found=str(shape),
                hint="sequences as those of the training data",
            )


def open_parts(folder: Path, form: LabelledFormat, symbols: int) -> tuple[LabelledPart, LabelledPart]:
    """Return the training and the validation part of a run.

    Args:
        folder: of the run.
        form: what the sequences and labels are, against which they are checked.
        symbols: the number of symbols of a model of text.

    Raises:
        RunError: the files are missing or broken.
    """
    examples, labels = _open_checked(folder, EXAMPLES, form, symbols)
    held_out = np.asarray(read_array(folder / HELD))
    if held_out.dtype != bool or held_out.shape != (len(examples),) or len(labels) != len(examples) or held_out.all():
        raise BrokenRun(
            f"{folder / HELD} does not fit the examples",
            should=f"which of {len(examples)} examples are for validation",
            found=f"{held_out.dtype} {held_out.shape}",
        )
    training = LabelledPart(examples, labels, np.flatnonzero(~held_out))
    if held_out.any():
        return training, LabelledPart(examples, labels, np.flatnonzero(held_out))
    return training, whole_part(*_open_checked(folder, VALIDATION, form, symbols))


def _open_checked(folder: Path, name: str, form: LabelledFormat, symbols: int) -> tuple[RaggedArrays, RaggedArrays]:
    """Map sequences and their labels, and check their types and numbers."""
    examples, labels = RaggedArrays.open(folder, name), RaggedArrays.open(folder, name + LABELS)
    kinds, low, high = (("i4",), 0, symbols - 1) if form.kind == "symbols" else (("u1", "f4"), -LIMIT, LIMIT)
    if not (
        examples.values.dtype in map(np.dtype, kinds)
        and examples.values.shape[1:] == form.shape
        and bool(examples.lengths.all())
        and examples.within(low, high)
    ):
        raise BrokenRun(
            f"{folder}/{name}.values.npy is broken",
            should=f"{form.kind} of shape {form.shape}" + (f" below {symbols}" if form.kind == "symbols" else ""),
            found=f"{examples.values.dtype} of shape {examples.values.shape[1:]}, or other numbers",
        )
    target = form.labels.target
    dtypes, shape, low, high = {
        "class": (("i4",), (), 0, form.labels.outputs - 1),
        "tags": (("i4",), (), 0, form.labels.outputs - 1),
        "classes": (("u1",), (form.labels.outputs,), 0, 1),
        "number": (("f4", "f8"), (), -records.HIGHEST, records.HIGHEST),
    }[target]
    lengths = examples.lengths if target == "tags" else np.ones(len(examples), np.int64)
    if not (
        labels.values.dtype in map(np.dtype, dtypes)
        and labels.values.shape[1:] == shape
        and np.array_equal(labels.lengths, lengths)
        and labels.within(low, high)
    ):
        raise BrokenRun(
            f"{folder}/{name}{LABELS}.values.npy is broken",
            should=f"labels of {len(examples)} sequences, from {low} to {high}",
            found=f"{labels.values.dtype} of shape {labels.values.shape}, or other numbers",
        )
    return examples, labels


def whole_part(input: RaggedArrays, target: RaggedArrays) -> LabelledPart:
    """Return all sequences as a part."""
    return LabelledPart(input, target, np.arange(len(input)))
