"""Panel data: series on one regular grid of times, in mapped files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from elman.data.series.timestamps import Clock
from elman.errors import BrokenRun
from elman.storage.ragged import RaggedArrays


@dataclass(frozen=True)
class Panel:
    """Groups of series, each group with its own span of time, all with the same columns and the same step.

    A file in wide form is one group with a column for each series; one in long form is a group for each series. What
    is forecast is every column of every group: `series` numbers them, group after group.

    Attributes:
        groups: their names; one empty name where the file has none.
        columns: names of what is forecast, C.
        known: names of the columns that are known ahead, K.
        clock: the step, and how times are written.
        starts: the tick of the first row of each group.
        values: (T_n, C) float64 of each group; nan where missing.
        ahead: (T_n, K) float64 of each group, whose rows may go on beyond the last value.
    """

    groups: tuple[str, ...]
    columns: tuple[str, ...]
    known: tuple[str, ...]
    clock: Clock
    starts: NDArray[np.int64]
    values: RaggedArrays
    ahead: RaggedArrays

    @property
    def series(self) -> list[str]:
        """The name of each series: its group, its column, or both."""
        if len(self.columns) == 1 and self.groups != ("",):
            return list(self.groups)
        return [f"{group} {column}".strip() for group in self.groups for column in self.columns]

    def end(self, group: int) -> int:
        """Return the tick after the last row of a group."""
        return int(self.starts[group]) + len(self.values[group]) * self.clock.every

    def cut_at(self, share: float) -> int:
        """Return the tick before which the given share of the whole span of time lies, on the grid of the first row."""
        first = int(self.starts.min())
        steps = (max(self.end(n) for n in range(len(self.groups))) - first) // self.clock.every
        return first + round(steps * share) * self.clock.every

    def before(self, tick: int) -> Self:
        """Return the part of every group before a time. What comes after it is not in there, so nothing can see it."""
        counts = [max(0, -((int(start) - tick) // self.clock.every)) for start in self.starts]
        values = [self.values[n][:count] for n, count in enumerate(counts)]
        ahead = [self.ahead[n][:count] for n, count in enumerate(counts)]
        return self._with(self.groups, self.starts, values, ahead)

    def only(self, groups: list[int]) -> Self:
        """Return the panel of these groups."""
        names = tuple(self.groups[n] for n in groups)
        values, ahead = [self.values[n] for n in groups], [self.ahead[n] for n in groups]
        return self._with(names, self.starts[groups], values, ahead)

    def _with(self, groups: tuple[str, ...], starts: Any, values: Any, ahead: Any) -> Self:
        joined = (RaggedArrays.of(values), RaggedArrays.of(ahead))
        return type(self)(groups, self.columns, self.known, self.clock, starts, *joined)

    def save(self, folder: Path) -> None:
        """Write the numbers into a run's folder; `facts` go elsewhere."""
        RaggedArrays.write(folder, "values", self.values_of_groups())
        RaggedArrays.write(folder, "ahead", (self.ahead[n] for n in range(len(self.ahead))))

    def values_of_groups(self) -> list[NDArray[np.float64]]:
        """Return the values of each group."""
        return [self.values[n] for n in range(len(self.values))]

    def facts(self) -> dict[str, Any]:
        """Return names, clock and starts as JSON knows them."""
        return {
            "groups": list(self.groups),
            "columns": list(self.columns),
            "known": list(self.known),
            "clock": asdict(self.clock),
            "starts": [int(start) for start in self.starts],
        }

    @classmethod
    def open(cls, folder: Path, facts: Mapping[str, Any]) -> Self:
        """Map the series that `save` wrote.

        Raises:
            RunError: a file is missing or broken, or does not fit the facts.
        """
        values, ahead = RaggedArrays.open(folder, "values"), RaggedArrays.open(folder, "ahead")
        try:
            groups, columns, known = (tuple(map(str, facts[name])) for name in ("groups", "columns", "known"))
            clock = Clock(**facts["clock"])
            if not all(type(start) is int for start in facts["starts"]):
                raise ValueError("starts that are not integers")
            starts = np.asarray(facts["starts"], np.int64)
            shapes = [values.values.shape[1:], ahead.values.shape[1:], starts.shape]
            fits = shapes == [(len(columns),), (len(known),), (len(groups),)] and len(groups) == len(values)
            fits = fits and len(ahead) == len(values) and bool((ahead.lengths >= values.lengths).all())
            kinds = values.values.dtype == ahead.values.dtype == np.float64 and clock.every > 0
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise BrokenRun(f"what {folder} says of its series is broken", found=str(error)[:200]) from error
        if not (fits and kinds):
            raise BrokenRun(
                f"the series in {folder} are not those that it says",
                should=f"{len(groups)} groups of {len(columns)} columns",
                found=f"{len(values)} groups of shape {values.values.shape[1:]}",
            )
        return cls(groups, columns, known, clock, starts, values, ahead)
