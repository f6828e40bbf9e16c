"""Labels: one class, several classes, a number, or a tag for each step; and their arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.magnitudes import LARGEST, SMALLEST
from elman.errors import DataError

OFFSET = 1000.0
"""Deviations that the mean of numbers may be from 0 until float32 would round them too much."""

MANY_NUMBERS = 20
"""Classes that are numbers, from which on they look like numbers to predict."""

TARGETS = ("class", "classes", "number", "tags")


@dataclass(frozen=True)
class Labels:
    """The labels that a model can give.

    Attributes:
        target: a name in `TARGETS`.
        classes: their names, in the order of the model's outputs; none for numbers.
        counts: how often each stands in the training part.
        examples: how many sequences the training part has.
        mean: of the numbers in the training part; 0 for classes.
        deviation: the standard deviation of them; 1 for classes.
    """

    target: str = field(metadata={"choices": TARGETS})
    classes: tuple[str, ...] = ()
    counts: tuple[int, ...] = field(default=(), metadata={"low": 1})
    examples: int = field(default=0, metadata={"low": 1})
    mean: float = field(default=0.0, metadata={"low": None})
    deviation: float = 1.0

    @classmethod
    def of(cls, target: str, labels: Sequence[Any]) -> Labels:
        """Collect the labels of the training part.

        Raises:
            DataError: there are fewer than two classes, or a number is none.
        """
        if target == "number":
            values = np.array([label_number(label, "a label") for label in labels])
            if 0 < np.abs(values).max() < SMALLEST:
                raise DataError(
                    "the labels are too small",
                    should=f"numbers of which one is at least {SMALLEST:g}",
                    found=f"at most {np.abs(values).max():g}",
                    hint="write them in a larger unit",
                )
            return cls(target, examples=len(labels), mean=float(values.mean()), deviation=float(values.std()) or 1.0)
        counted = Counter(name for label in labels for name in class_names(label, target))
        if len(counted) < 2:
            raise DataError(
                "the training data has a single class" if counted else "the training data has no labels",
                should="at least two classes",
                found=", ".join(f"{name!r} {count} times" for name, count in counted.items()) or "none",
                hint="other data, or --set target=number where labels are numbers",
            )
        classes = sorted(counted, key=_natural)
        _check_names(target, classes, sum(counted.values()))
        return cls(target, tuple(classes), tuple(counted[name] for name in classes), len(labels))

    @property
    def outputs(self) -> int:
        """How many outputs a model needs."""
        return len(self.classes) or 1

    def notes(self) -> list[str]:
        """Return what was guessed of the labels, a line each."""
        if len(self.classes) <= MANY_NUMBERS or not are_numbers(self.classes):
            return []
        return [f"the labels are {len(self.classes)} different numbers, taken for classes (target={self.target})"]

    @property
    def precision(self) -> type[np.float32] | type[np.float64]:
        """The type of numbers: float64 where float32 would round off much of how they differ from their mean."""
        return np.float64 if abs(self.mean) > OFFSET * self.deviation else np.float32

    def encode(self, label: Any, name: str, steps: int) -> NDArray[Any]:
        """Return a label as an array: (1,) for a class or a number, (1, C) for several classes, (T,) for tags.

        Raises:
            DataError: there is none, it was not in the training data, or there are not as many tags as steps.
        """
        if self.target == "number":
            number = label_number(label, name)
            return np.array([number], self.precision)
        found = class_names(label, self.target, name)
        unseen = [one for one in found if one not in self.classes]
        if unseen:
            raise unseen_label_error(unseen, self.classes, name)
        places = np.array([self.classes.index(one) for one in found], np.int32)
        if self.target == "classes":
            row = np.zeros((1, len(self.classes)), np.uint8)
            row[0, places] = 1
            return row
        if self.target == "tags" and len(places) != steps:
            raise DataError(f"{name} has not as many tags as steps", should=f"{steps} tags", found=str(len(places)))
        return places

    def check(self) -> None:
        """Check that the fields fit each other.

        Raises:
            ValueError: they do not.
        """
        if len(set(self.classes)) != len(self.classes) or len(self.counts) != len(self.classes):
            raise ValueError("classes are not different names with a count each")
        if (len(self.classes) >= 2) != (self.target != "number"):
            raise ValueError(f"{len(self.classes)} classes for the target {self.target}")
        if not self.deviation > 0:
            raise ValueError("a deviation of 0")


def class_names(label: Any, target: str, name: str = "an example") -> list[str]:
    """Return the classes that a label names: one, several (a list, or a text with ; between), or one for each step.

    Of several classes there may be none: an empty list, or an empty text as a table has it in an empty cell.

    Raises:
        DataError: there is no label, or a sequence that wants one class has several.
    """
    if label is None or (label == "" and target != "classes"):
        raise DataError(f"{name} has no label", should="a label for every example", found="none", hint="--skip-bad")
    if target == "tags":
        parts = label if isinstance(label, list) else str(label).split()
    elif isinstance(label, list):
        parts = label if target == "classes" else list(dict.fromkeys(map(str, label)))
    else:
        parts = [part.strip() for part in str(label).split(";")] if target == "classes" else [label]
    names = [str(part) for part in parts if part not in (None, "")]
    if len(names) != len(parts) and target == "tags":
        raise DataError(f"{name} has a step without a tag", should="a tag for every step", found="none")
    if target == "class" and len(names) != 1:
        raise DataError(
            f"{name} has several labels",
            should="one class",
            found=", ".join(names[:5]) or "none",
            hint="--set target=classes, or target=tags where each step has its own",
        )
    return names


def label_number(label: Any, name: str) -> float:
    """Return a label that is a number.

    Raises:
        DataError: it is none, or not finite.
    """
    try:
        value = float(label[0] if isinstance(label, list) and len(set(label)) == 1 else label)
    except (TypeError, ValueError, OverflowError):
        value = np.nan
    if LARGEST < abs(value) < np.inf:
        raise DataError(
            f"{name} has a label that is too large",
            should=f"a number of magnitude {LARGEST:g} or less",
            found=repr(label)[:60],
            hint="write the labels in another unit, or skip such examples with --skip-bad",
        )
    if not np.isfinite(value):
        raise DataError(
            f"{name} has a label that is not a number",
            should="a finite number",
            found=repr(label)[:60],
            hint="--set target=class where labels are names, or skip it with --skip-bad",
        )
    return value


def _check_names(target: str, classes: Sequence[str], count: int) -> None:
    """Check that classes are not measurements: many different numbers with fractions, hardly one of which occurs twice.

    Raises:
        DataError: they are.
    """
    if len(classes) > MANY_NUMBERS and 2 * len(classes) > count and are_numbers(classes):
        whole = all(float(name).is_integer() for name in classes)
        if not whole:
            raise DataError(
                "the labels are numbers, not classes",
                should=f"names of classes, or {MANY_NUMBERS} different numbers at most",
                found=f"{len(classes)} different numbers in {count} labels, such as {classes[0]} and {classes[-1]}",
                hint=f"--set target=number, which predicts the number{'s of each step' if target == 'tags' else ''}",
            )


def are_numbers(classes: Sequence[str]) -> bool:
    """Return whether the names of all classes are finite numbers."""
    return all(not _natural(name)[0] for name in classes)


def unseen_label_error(unseen: Sequence[str], known: Sequence[str], name: str) -> DataError:
    """Build the error for labels that the training data does not have."""
    return DataError(
        f"{name} has a label that is not in the training data",
        should=f"one of {', '.join(map(str, known[:20]))}{' ...' if len(known) > 20 else ''}",
        found=", ".join(map(repr, unseen[:5])),
        hint="skip such examples with --skip-bad, or train on data that has the label",
    )


def _natural(name: str) -> tuple[bool, float, str]:
    """Return a key that sorts numbers by their value, before names."""
    try:
        value = float(name)
    except ValueError:
        value = np.nan
    return (False, value, name) if np.isfinite(value) else (True, 0.0, name)


def split_examples(labels: Sequence[Any], target: str, share: float, seed: int) -> NDArray[np.bool_]:
    """Return which examples are for validation, (N,): about a share of each class, and never all of one.

    Several labels and tags are split without a look at them; an example whose label is in no other then goes back to
    the training part.
    """
    names = [set() if target == "number" else set(class_names(label, target)) for label in labels]
    rng = np.random.Generator(np.random.Philox(key=seed % (1 << 64)))
    places: dict[str, list[int]] = {}
    for n in rng.permutation(len(names)).tolist():
        places.setdefault(next(iter(names[n])) if target == "class" else "", []).append(n)
    held_out = np.zeros(len(names), bool)
    for group in places.values():
        held_out[group[: min(round(share * len(group)), len(group) - 1)]] = True
    known = {name for one, out in zip(names, held_out, strict=True) if not out for name in one}
    for n in np.flatnonzero(held_out):
        if not names[n] <= known:
            held_out[n] = False
            known |= names[n]
    return held_out
