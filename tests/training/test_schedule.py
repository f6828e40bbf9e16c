"""The learning rate at known places, and the plateau rule."""

import pytest

from elman.training.schedule import SCHEDULES, Budget, Schedule
from elman.training.settings import TrainingSettings


def test_every_schedule_can_be_chosen() -> None:
    for name in SCHEDULES:
        assert TrainingSettings(schedule=name).schedule == name


@pytest.mark.parametrize(
    ("done", "rate"),
    [(0.05, 0.5), (0.1, 1.0), (0.55, 0.6), (1.0, 0.2), (1.5, 0.2), (0.0, 0.001)],
)
def test_cosine(done: float, rate: float) -> None:
    settings = TrainingSettings(learning_rate=1.0, schedule="cosine", warmup=0.1, final_rate=0.2)
    assert Schedule(settings).rate(done) == pytest.approx(rate)


def test_constant_rises_and_stays() -> None:
    schedule = Schedule(TrainingSettings(learning_rate=2.0, schedule="constant", warmup=0.5))
    assert [schedule.rate(done) for done in (0.25, 0.5, 0.9)] == [1.0, 2.0, 2.0]


def test_plateau_falls_after_evaluations_without_a_new_best() -> None:
    settings = TrainingSettings(
        learning_rate=1.0, schedule="plateau", warmup=0.0, plateau_patience=2, plateau_factor=0.1
    )
    schedule = Schedule(settings)
    rates = []
    for improved in (True, False, True, False, False, False, False):
        schedule.update(improved)
        rates.append(schedule.rate(0.5))
    assert rates == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize(
    ("settings", "done"), [({"steps": 40}, 0.25), ({"epochs": 8}, 0.5), ({"minutes": 2}, 0.75), ({}, 0.75)]
)
def test_the_budget_counts_what_it_is_given_in(settings: dict, done: float) -> None:
    budget = Budget(TrainingSettings(**settings))
    assert budget.done(step=10, epoch=4.0, seconds=90.0) == done
    assert budget.timed == ("minutes" in settings or not settings)
