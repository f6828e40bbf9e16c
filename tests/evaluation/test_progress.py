"""Progress lines of evaluations."""

import pytest

from elman.evaluation import progress
from elman.evaluation.progress import progress_lines, reported


def test_a_line_comes_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    lines: list[str] = []
    with progress_lines(lines.append):
        assert list(reported("abcdefgh", 8, "letters")) == list("abcdefgh")
        assert list(reported([[1, 2], [3, 4]], 4, "numbers", len)) == [[1, 2], [3, 4]]
    # Line by line: the clock moves four seconds between two letters.
    assert lines == [
        "evaluated 3 of 8 letters, about 13 s left",
        "evaluated 6 of 8 letters, about 7 s left",
        "evaluated 2 of 4 numbers",
    ]


def test_nobody_needs_to_listen() -> None:
    assert list(reported([1, 2], 2, "numbers")) == [1, 2]
    lines: list[str] = []
    with progress_lines(lines.append):
        list(reported([1, 2], 2, "numbers"))
    assert lines == [], "an evaluation of a moment says nothing"
