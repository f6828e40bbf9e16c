"""The scale of series: mean and standard deviation of the training part, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from elman.data.moments import moments_of
from elman.data.series.dataset import Panel
from elman.errors import DataError

FARTHEST = 1e12  # standard deviations: squares of more of them overflow in the sums of float32


@dataclass(frozen=True)
class Scaler:
    """Mean and standard deviation of every series and every known column, of the training part.

    Attributes:
        mean: (G, C), of what is forecast.
        deviation: (G, C), the standard deviation of it.
        known_mean: (K,), of what is known ahead, over all groups.
        known_deviation: (K,), the standard deviation of it.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    known_mean: NDArray[np.float64]
    known_deviation: NDArray[np.float64]

    @classmethod
    def fit(cls, training: Panel, *, constants: str = "refuse") -> Scaler:
        """Measure a training part.

        Args:
            training: nothing but it.
            constants: "refuse" series that do not move, or "keep" them, with a deviation of 1.

        Raises:
            DataError: a series has no value there, or does not move and is refused.
        """
        mean, deviation = [], []
        for n, values_TC in enumerate(training.values_of_groups()):
            for c in range(len(training.columns)):
                name = training.series[n * len(training.columns) + c]
                there = values_TC[:, c][~np.isnan(values_TC[:, c])]
                if not len(there):
                    raise DataError(
                        f"the series {name} has no value in the training part",
                        should="values before the validation part",
                        found="none",
                        hint="--set target_columns=A,B without it, or a smaller validation",
                    )
                level, spread = map(float, moments_of(there))
                if not spread:
                    if constants == "refuse":
                        raise DataError(
                            f"the series {name} does not move in the training part",
                            should="values that differ by more than the rounding of float64",
                            found=f"{level:.15g} at all {len(there):,} times",
                            hint="--set constant_series=keep, or --set target_columns=A,B without it",
                        )
                    spread = 1.0
                mean.append(level)
                deviation.append(spread)
        shape = (len(training.groups), len(training.columns))
        known = np.asarray(training.ahead.values)
        level_K, spread_K = moments_of(known) if known.size else np.zeros((2, len(training.known)))
        return cls(
            np.reshape(mean, shape), np.reshape(deviation, shape), level_K, np.where(spread_K > 0, spread_K, 1.0)
        )

    def check_range(self, panel: Panel, numbers: Sequence[int] | None = None) -> None:
        """Check that float32 carries the scaled values of a panel.

        Args:
            panel: the series.
            numbers: of the scaler's groups that the panel's groups stand for; None: all of them.

        Raises:
            DataError: a value lies too far from the training part.
        """
        for n, group in enumerate(numbers if numbers is not None else range(len(panel.groups))):
            scales = (self.mean[group], self.deviation[group], panel.values[n], panel.columns)
            known = (self.known_mean, self.known_deviation, panel.ahead[n], panel.known)
            for mean_C, deviation_C, values_TC, names in (scales, known):
                with np.errstate(over="ignore"):
                    distance_TC = np.abs(values_TC / deviation_C - mean_C / deviation_C)
                far = np.argwhere(distance_TC > FARTHEST)
                if len(far):
                    row, c = map(int, far[0])
                    time = panel.clock.text(int(panel.starts[n]) + row * panel.clock.every)
                    raise DataError(
                        " ".join(["the value of", *panel.groups[n].split(), names[c], "at", time, "is too far off"]),
                        should=f"less than {FARTHEST:.0e} standard deviations from the mean of the training part, "
                        f"{float(mean_C[c])!r}, which are {float(deviation_C[c])!r} each",
                        found=repr(float(values_TC[row, c])),
                        hint="fix the value, or name what stands for a missing one: --set missing_values=-999",
                    )

    def only(self, groups: list[int]) -> Scaler:
        """Return the scaler of these groups."""
        return Scaler(self.mean[groups], self.deviation[groups], self.known_mean, self.known_deviation)

    def as_json(self) -> dict[str, Any]:
        """Return the numbers as JSON knows them; `from_json` undoes it."""
        return {name: getattr(self, name).tolist() for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, found: dict[str, Any], groups: int, columns: int, known: int) -> Self:
        """Read what `as_json` made.

        Raises:
            ValueError: it has other sizes, or is not all numbers.
        """
        arrays = {name: np.asarray(found[name], np.float64) for name in cls.__dataclass_fields__}
        shapes = [(groups, columns)] * 2 + [(known,)] * 2
        for array, shape in zip(arrays.values(), shapes, strict=True):
            if array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"numbers of shape {array.shape} where {shape} should be")
        if (arrays["deviation"] <= 0).any() or (arrays["known_deviation"] <= 0).any():
            raise ValueError("a deviation that is not positive")
        return cls(**arrays)
