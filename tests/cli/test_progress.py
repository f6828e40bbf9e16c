"""The progress of a training on standard error."""

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
