"""The parity report: how far what an export computes is from what the original does. It is beside every export."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import ExportError

FILE = "parity.json"
"""The name of the report in the folder of an export."""


@dataclass(frozen=True)
class ParityRow:
    """The largest differences of one output over some inputs.

    Attributes:
        compared: what was compared, such as "y of whole.onnx".
        inputs: which inputs, such as "random, T = 7, B = 3".
        numbers: how many numbers were compared.
        absolute: the largest absolute difference.
        relative: the largest absolute difference, divided by the size of the largest number of the original.
        bound: the largest `relative` that passes.
    """

    compared: str
    inputs: str
    numbers: int
    absolute: float
    relative: float
    bound: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within the bound."""
        return self.relative <= self.bound


@dataclass(frozen=True)
class ParityTime:
    """The time of one step.

    Attributes:
        measured: what ran, such as "step.onnx, B = 1".
        microseconds: of a step of the export.
        original_microseconds: of the same step of the original; None where it has none.
    """

    measured: str
    microseconds: float
    original_microseconds: float | None


@dataclass(frozen=True)
class ParityReport:
    """All comparisons of an export with its original.

    Attributes:
        target: the target's name.
        precision: of the weights.
        rows: the comparisons.
        times: the measured times.
        remarks: what a reader should know, such as what was not compared.
    """

    target: str
    precision: str
    rows: tuple[ParityRow, ...]
    times: tuple[ParityTime, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether at least one number was compared and everything is within its bound."""
        return any(row.numbers for row in self.rows) and all(row.passed for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Return the report in types that JSON has; a difference that is no number is None."""
        rows = [{**asdict(row), "passed": row.passed} for row in self.rows]
        finite = [{name: None if _is_odd(value) else value for name, value in row.items()} for row in rows]
        return {
            "target": self.target,
            "precision": self.precision,
            "passed": self.passed,
            "rows": finite,
            "times": [asdict(each) for each in self.times],
            "remarks": list(self.remarks),
        }

    def table(self) -> str:
        """Return the report as a table for a terminal: for each output the inputs of its worst row."""
        header = ("compared", "inputs", "numbers", "absolute", "relative", "bound", "worst input", "")
        outputs = dict.fromkeys(row.compared for row in self.rows)
        lines = [header, *(_cells([row for row in self.rows if row.compared == name]) for name in outputs)]
        text = _aligned(lines)
        if self.times:
            times = [("time per step", "export", "original"), *(_time_cells(each) for each in self.times)]
            text += "\n" + _aligned(times)
        return text + "".join(f"{remark}\n" for remark in self.remarks)

    def check(self) -> None:
        """Check that everything is within its bound.

        Raises:
            ExportError: it is not; the message names the worst row.
        """
        if self.passed:
            return
        failures = [row for row in self.rows if not row.passed]
        if not failures:
            raise ExportError(f"nothing of the export to {self.target} was compared", should="at least one comparison")
        worst = _worst(failures)
        raise ExportError(
            f"the export to {self.target} computes other numbers than the original, and was removed",
            should=f"a relative difference of at most {worst.bound:.1e}",
            found=f"{worst.relative:.1e} in {worst.compared} ({worst.inputs}); "
            f"{len(failures)} of {len(self.rows)} comparisons fail",
            hint="precision=float32" if self.precision != "float32" else "another target",
        )


def compare(
    compared: str, inputs: str, original: ArrayLike, export: ArrayLike, bound: float, *, least_size: float = 0.0
) -> ParityRow:
    """Return the largest differences of an output of the export from that of the original.

    They are relative to the size of the largest number of the original. One of zeros alone has no size: its differences
    are absolute. A shape that differs, or a number that is not finite in one of them alone, is an infinite difference.

    Args:
        compared: what is compared.
        inputs: which inputs it was computed from.
        original: the numbers that should be.
        export: the numbers that are.
        bound: the largest relative difference that passes.
        least_size: what the differences are divided by where the size is less, for numbers that are far below the
            intermediate ones of the same arithmetic, whose rounding is then all that differs.
    """
    expected, actual = np.asarray(original, np.float64), np.asarray(export, np.float64)
    if expected.shape != actual.shape:
        return ParityRow(f"{compared}: {actual.shape}, not {expected.shape}", inputs, 0, math.inf, math.inf, bound)
    same = (expected == actual) | (np.isnan(expected) & np.isnan(actual))
    with np.errstate(invalid="ignore", over="ignore"):
        differences = np.where(same, 0.0, np.abs(expected - actual))
    differences[~same & ~(np.isfinite(expected) & np.isfinite(actual))] = math.inf
    absolute = float(differences.max(initial=0.0))
    size = max(float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0)), least_size) or 1.0
    return ParityRow(compared, inputs, expected.size, absolute, absolute / size, bound)


def microseconds(run: Callable[[], Any], *, seconds: float = 0.1) -> float:
    """Return the time of one call: the least mean of three rounds, each of a third of `seconds` or of one call."""
    run()
    best = math.inf
    for _ in range(3):
        begin, calls = time.perf_counter(), 0
        while calls == 0 or time.perf_counter() - begin < seconds / 3:
            run()
            calls += 1
        best = min(best, (time.perf_counter() - begin) / calls)
    return best * 1e6


def _is_odd(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _worst(rows: list[ParityRow]) -> ParityRow:
    return max(rows, key=lambda row: row.relative / max(row.bound, 1e-300))


def _cells(rows: list[ParityRow]) -> tuple[str, ...]:
    worst = _worst(rows)
    differences = (f"{value:.1e}" for value in (max(row.absolute for row in rows), worst.relative, worst.bound))
    numbers, state = f"{sum(row.numbers for row in rows):,}", "passed" if worst.passed else "FAILED"
    return (worst.compared, f"{len(rows):,}", numbers, *differences, worst.inputs, state)


def _time_cells(each: ParityTime) -> tuple[str, ...]:
    original = "-" if each.original_microseconds is None else f"{each.original_microseconds:,.1f} us"
    return each.measured, f"{each.microseconds:,.1f} us", original


def _aligned(lines: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numeric = {"inputs", "numbers", "absolute", "relative", "bound", "export", "original"}
    right = [name in numeric for name in lines[0]]
    rows = []
    for line in lines:
        cells = (
            f"{cell:>{width}}" if flag else f"{cell:<{width}}"
            for cell, width, flag in zip(line, widths, right, strict=True)
        )
        rows.append("  ".join(cells).rstrip() + "\n")
    return "".join(rows)
