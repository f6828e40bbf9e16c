"""The parity report: what passes, what fails, and what it looks like."""

import json
import math

import numpy as np
import pytest

from elman.errors import ExportError
from elman.exporters.parity import ParityReport, ParityRow, ParityTime, compare, microseconds


def report(*rows: ParityRow, precision: str = "float32") -> ParityReport:
    return ParityReport(
        "onnx", precision, rows, (ParityTime("step", 1.5, 3.0), ParityTime("whole", 2.0, None)), ("Hm.",)
    )


def test_differences_are_relative_to_the_largest_number() -> None:
    row = compare("y", "random", [100.0, 0.5, math.nan, math.inf], [101.0, 0.501, math.nan, math.inf], 0.011)
    assert (row.numbers, row.absolute, row.relative) == (4, 1.0, 0.01) and row.passed
    assert not compare("y", "random", [0.5], [0.6], 0.011).passed


@pytest.mark.parametrize("size", [1e-30, 1e-5, 0.02, 1.0, 1e6])
def test_small_numbers_can_fail(size: float) -> None:
    original = size * np.array([0.3, -1.0])
    assert compare("y", "random", original, 1.001 * original, 0.0011).passed
    for wrong in (0 * original, -original, 1.02 * original):
        assert not compare("y", "random", original, wrong, 0.01).passed


def test_rounding_of_numbers_that_are_zero_or_below_the_arithmetic_passes() -> None:
    assert compare("y", "zeros", [0.0, 0.0], [1e-8, 0.0], 1e-5).passed
    assert not compare("y", "zeros", [0.0, 0.0], [1e-4, 0.0], 1e-5).passed
    assert compare("y", "small", [1e-30], [1e-8], 1e-5, least_size=0.1).passed
    assert not compare("y", "small", [1e-30], [1e-5], 1e-5, least_size=0.1).passed
    assert not compare("y", "small", [0.5], [0.0], 0.1, least_size=0.1).passed


@pytest.mark.parametrize(
    ("original", "export"),
    [([1.0], [math.nan]), ([math.nan], [1.0]), ([1.0], [math.inf]), ([math.inf], [-math.inf]), ([[1.0]], [1.0])],
)
def test_what_is_not_a_number_or_has_another_shape_fails(original: list, export: list) -> None:
    row = compare("y", "random", original, export, 1e30)
    assert not row.passed and row.relative == math.inf
    assert json.dumps(report(row).as_dict(), allow_nan=False)


def test_nothing_is_equal_to_nothing() -> None:
    nothing = compare("y", "T = 0", np.zeros((0, 2)), np.zeros((0, 2)), 0.0)
    assert nothing.passed and report(nothing, compare("y", "T = 1", [1.0], [1.0], 0.0)).passed


def test_a_report_over_nothing_fails() -> None:
    with pytest.raises(ExportError, match="nothing of the export to onnx was compared"):
        report(compare("y", "T = 0", np.zeros((0, 2)), np.zeros((0, 2)), 0.0)).check()


def test_a_report_names_its_worst_row() -> None:
    good, bad = ParityRow("y", "a", 1, 0.1, 1e-7, 1e-5), ParityRow("h", "b", 1, 0.1, 1e-2, 1e-5)
    report(good).check()
    with pytest.raises(ExportError, match=r"1\.0e-02 in h \(b\); 1 of 2"):
        report(good, bad).check()
    with pytest.raises(ExportError, match="precision=float32"):
        report(bad, precision="int8").check()
    with pytest.raises(ExportError, match="nothing"):
        report().check()


def test_a_report_is_a_table_and_json() -> None:
    row = compare("y", "random", [1.0], [1.0], 1e-5)
    lines = report(row).table().splitlines()
    assert lines[0].split() == ["compared", "inputs", "numbers", "absolute", "relative", "bound", "worst", "input"]
    assert lines[1].endswith("passed") and "1.5 us" in lines[4] and lines[-1] == "Hm."
    content = report(row).as_dict()
    assert content["passed"] and content["rows"][0]["passed"] and content["times"][1]["original_microseconds"] is None


def test_times_are_of_one_call() -> None:
    calls = []
    assert 0 < microseconds(lambda: calls.append(1), seconds=0.001) < 1000
    assert len(calls) >= 4
