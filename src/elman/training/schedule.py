"""Training budgets and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from elman.training.settings import TrainingSettings


class Budget:
    """The training budget in steps, epochs or minutes.

    Args:
        settings: give at most one of the three.
        default_minutes: the budget if they give none.
    """

    def __init__(self, settings: TrainingSettings, default_minutes: float = 2.0) -> None:
        self.steps, self.epochs, self.minutes = settings.steps, settings.epochs, settings.minutes
        if self.steps is None and self.epochs is None and self.minutes is None:
            self.minutes = default_minutes

    def done(self, *, step: int, epoch: float, seconds: float) -> float:
        """Return the share of the budget that is used, at least 1 at the end."""
        if self.steps is not None:
            return step / self.steps
        if self.epochs is not None:
            return epoch / self.epochs
        assert self.minutes is not None
        return seconds / (60 * self.minutes)

    @property
    def timed(self) -> bool:
        """Whether the budget is a time, so that two runs differ."""
        return self.minutes is not None

    def left(self, *, done: float, seconds: float) -> float | None:
        """Return the seconds that are left: of a time budget exactly, else at the pace so far; None if it is unknown.

        Args:
            done: the share of the budget that is used.
            seconds: of training so far.
        """
        if self.steps is None and self.epochs is None and self.minutes is not None:
            return max(0.0, 60 * self.minutes - seconds)
        return seconds / done * max(0.0, 1 - done) if done > 0 and seconds > 0 else None

    def __str__(self) -> str:
        pairs = (("steps", self.steps), ("epochs", self.epochs), ("minutes", self.minutes))
        return next(f"{value:g} {name}" for name, value in pairs if value is not None)


class RunningMean:
    """The exponentially weighted mean of a number, about the last `span` of them, without bias at the beginning."""

    def __init__(self, span: int) -> None:
        self._keep = 1 - 1 / span
        self._sum = self._weight = 0.0

    def add(self, number: float) -> None:
        """Add a number."""
        self._sum = self._keep * self._sum + (1 - self._keep) * number
        self._weight = self._keep * self._weight + (1 - self._keep)

    @property
    def mean(self) -> float:
        """The mean; 0 of no numbers."""
        return self._sum / self._weight if self._weight else 0.0


class EndOfRun:
    """How long the end of a timed run takes: the step at hand, the last evaluation, and what is saved after it.

    A machine that is busier than at the last evaluation is as much slower in the next one as in its steps.
    """

    def __init__(self) -> None:
        self._step = RunningMean(10)
        self._step_then = 0.0  # at the last evaluation
        self._evaluation = 0.0

    def add_step(self, seconds: float) -> None:
        """Count a step."""
        self._step.add(seconds)

    def set_evaluation(self, seconds: float) -> None:
        """Count an evaluation, with what is saved after it."""
        self._evaluation, self._step_then = seconds, self._step.mean

    def seconds(self, evaluation: float) -> float:
        """Return the seconds to reserve.

        Args:
            evaluation: of the last evaluation, where this process has made none.
        """
        slower = self._step.mean / self._step_then if self._step_then else 1.0
        return self._step.mean + (self._evaluation or evaluation) * min(4.0, max(1.0, slower))


def constant(done: float, settings: TrainingSettings) -> float:
    """Constant rate: 1, after a linear warm-up."""
    return min(1.0, done / settings.warmup) if settings.warmup > 0 else 1.0


def cosine(done: float, settings: TrainingSettings) -> float:
    """Cosine annealing from 1 to `final_rate`, after a linear warm-up."""
    if done < settings.warmup:
        return done / settings.warmup
    phase = min(1.0, (done - settings.warmup) / max(1e-9, 1 - settings.warmup))
    return settings.final_rate + (1 - settings.final_rate) * 0.5 * (1 + math.cos(math.pi * phase))


# Plateau is constant but for the scale that `Schedule.update` reduces.
SCHEDULES: dict[str, Callable[[float, TrainingSettings], float]] = {
    "constant": constant,
    "cosine": cosine,
    "plateau": constant,
}

_LEAST = 1e-3  # share of the learning rate, so that the first step of a warm-up is not lost


@dataclass
class ScheduleState:
    """State of a schedule, which the checkpoint holds as JSON.

    Attributes:
        scale: factor of the learning rate.
        stale: evaluations since the best, or since the last reduction of the rate.
    """

    scale: float = 1.0
    stale: int = 0


class Schedule:
    """The learning rate over a run.

    Attributes:
        settings: the settings of the run.
        state: what changes from evaluation to evaluation.
    """

    def __init__(self, settings: TrainingSettings) -> None:
        self.settings = settings
        self.state = ScheduleState()

    def rate(self, done: float) -> float:
        """Return the learning rate at the share `done` of the budget."""
        factor = SCHEDULES[self.settings.schedule](done, self.settings)
        return self.settings.learning_rate * max(_LEAST, factor) * self.state.scale

    def update(self, improved: bool) -> None:
        """Count an evaluation; the plateau schedule reduces the rate after too many without a new best."""
        if self.settings.schedule != "plateau":
            return
        self.state.stale = 0 if improved else self.state.stale + 1
        if self.state.stale >= self.settings.plateau_patience:
            self.state.scale *= self.settings.plateau_factor
            self.state.stale = 0
