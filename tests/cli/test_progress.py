"""The progress of a training on standard error."""

from dataclasses import replace
from typing import Any

import pytest

from elman.cli.progress import Progress
from elman.training.loop import TrainingProgress
from elman.training.optimiser import Norms


def test_the_speed_has_the_unit_of_the_training(capsys: pytest.CaptureFixture) -> None:
    progress = Progress(lambda metrics: "good")
    for symbols, seconds in ((100, 1.0), (700, 3.0)):
        row = {"validation": {}}
        moment = TrainingProgress(5, 0.5, 0.5, 0.25, Norms(1.0, 1.0), 0.1, symbols, seconds, row=row, unit="pairs")
        progress.watch(moment)
    first, second = capsys.readouterr().err.splitlines()
    assert "/s" not in first, "no speed yet"
    assert "300 pairs/s" in second


def test_the_line_has_the_mean_loss_and_the_time_left(capsys: pytest.CaptureFixture, monkeypatch: Any) -> None:
    monkeypatch.setattr("elman.cli.progress.PLAIN_PERIOD", 0.0)
    progress = Progress(lambda metrics: "good")
    moment = TrainingProgress(5, 0.5, 0.5, 9.0, Norms(1.0, 1.0), 0.1, 100, 60.0, mean_loss=0.25, left=61.0)
    progress.watch(moment)
    progress.watch(replace(moment, row={"validation": {}}, left=None))
    line, row = capsys.readouterr().err.splitlines()
    assert "loss 0.2500" in line and line.endswith("1:01 left")
    assert "loss 9.0000" in row and "left" not in row
