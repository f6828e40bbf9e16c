"""Every example runs, and ends where it says it does."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    runpy.run_path(str(EXAMPLES / name))
    return capsys.readouterr().out


def test_every_example_has_its_test() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == ["drop_in.py", "equations.py", "own_cell.py"]


def test_equations(capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("equations.py", capsys)
    nats = [float(n) for n in re.findall(r"step +\d+ +([\d.]+) nats", printed)]
    assert nats[0] > 0.6
    assert nats[-1] < 0.2
    norms = [float(n) for n in re.findall(r"steps back +([\d.]+)", printed)]
    assert len(norms) == 3 * 7
    assert norms[-4] > 2 * norms[-3], "the answer lies three steps back, and nothing beyond"


def test_drop_in(capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("drop_in.py", capsys)
    assert "lstm: now elman's LSTM(16, 32, bidirectional=True)" in printed
    assert "beyond its end a row is zero: 0.0" in printed
    for what in ("largest difference", "the last step against the whole"):
        found = re.search(rf"{what}: (\S+)", printed)
        assert found and float(found[1]) < 1e-6
    assert "l0: runs on the kernel" in printed


def test_own_cell(capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("own_cell.py", capsys)
    assert "the cell keeps the laws" in printed
    losses = [float(n) for n in re.findall(r"running sum: ([\d.]+)", printed)]
    assert losses[-1] < 0.2 * losses[0]
