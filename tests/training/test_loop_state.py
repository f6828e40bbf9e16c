"""What a checkpoint remembers is read back as it was, and refused where it is something else."""

import json
from dataclasses import asdict
from typing import Any

import pytest

from elman.storage.records import read_record
from elman.training.loop_state import LoopState, RunningStats
from elman.training.optimiser import Norms
from elman.training.schedule import ScheduleState


def some() -> LoopState:
    tally = RunningStats()
    tally.add(2.5, 4, Norms(2.0, 1.0))
    return LoopState(step=7, best=-1.5, best_step=3, seconds=0.25, tally=tally, probes={"horizon, 0": 3.0})


@pytest.mark.parametrize("record", [LoopState(), some(), ScheduleState(0.25, 1)])
def test_it_comes_back(record: Any) -> None:
    assert read_record(type(record), json.loads(json.dumps(asdict(record)))) == record


@pytest.mark.parametrize(
    "change",
    [
        {"step": "abc"},
        {"step": None},
        {"step": 1.5},
        {"step": True},
        {"step": -1},
        {"step": 10**400},
        {"evaluated": -2},
        {"seconds": float("nan")},
        {"seconds": "1"},
        {"best": [1]},
        {"best": float("-inf")},
        {"tally": None},
        {"tally": {}},
        {"tally": {**asdict(RunningStats()), "loss": "x"}},
        {"tally": {**asdict(RunningStats()), "recent": 1.0}},
        {"tally": {**asdict(RunningStats()), "recent": ["x"]}},
        {"tally": {**asdict(RunningStats()), "recent": [1.0] * 51}},
        {"probes": [1]},
        {"probes": {"horizon": "far"}},
        {"unknown": 1},
    ],
)
def test_other_values_are_refused(change: dict) -> None:
    with pytest.raises(ValueError, match=r" is | has the fields "):
        read_record(LoopState, {**asdict(some()), **change})


@pytest.mark.parametrize("values", [{}, [], None, {"scale": 1.0}, {"scale": "1", "stale": 0}])
def test_another_record_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="scale"):
        read_record(ScheduleState, values)


def test_a_tally_of_an_earlier_version_is_read() -> None:
    tally = asdict(some())["tally"]
    assert tally.pop("recent") == [2.0]
    assert read_record(RunningStats, tally).recent == []


def test_a_tally_keeps_the_norms_of_the_last_steps() -> None:
    tally = RunningStats()
    for step in range(60):
        tally.add(1.0, 1, Norms(step + 0.123456, 1.0))
    assert len(tally.recent) == 50
    assert tally.row()["gradient_norms"] == [float(f"{step + 0.123456:.4g}") for step in range(10, 60)]
