"""How far a run is in its budget, and the learning rate that belongs there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from elman.training.settings import TrainingSettings


class Budget:
    """How much training there is to do: steps, epochs or minutes, whichever the settings give."""

    def __init__(self, settings: TrainingSettings, default_minutes: float = 2.0) -> None:
        self.steps, self.epochs = settings.steps, settings.epochs
        self.minutes = settings.minutes
        if self.steps is None and self.epochs is None and self.minutes is None:
            self.minutes = default_minutes

    def done(self, *, step: int, epoch: float, seconds: float) -> float:
        """Return the share of the budget that is used, 1 or more at the end."""
        if self.steps is not None:
            return step / self.steps
        if self.epochs is not None:
            return epoch / self.epochs
        assert self.minutes is not None
        return seconds / (60 * self.minutes)

    @property
    def timed(self) -> bool:
        """Whether the clock decides, so that two runs are never quite the same."""
        return self.minutes is not None

    def __str__(self) -> str:
        pairs = (("steps", self.steps), ("epochs", self.epochs), ("minutes", self.minutes))
        return next(f"{value:g} {name}" for name, value in pairs if value is not None)


def constant(done: float, settings: TrainingSettings) -> float:
    """Return 1, after a straight rise over the warm-up."""
    return min(1.0, done / settings.warmup) if settings.warmup > 0 else 1.0


def cosine(done: float, settings: TrainingSettings) -> float:
    """Return half a cosine wave from 1 down to `final_rate`, after a straight rise over the warm-up."""
    if done < settings.warmup:
        return done / settings.warmup
    place = min(1.0, (done - settings.warmup) / max(1e-9, 1 - settings.warmup))
    return settings.final_rate + (1 - settings.final_rate) * 0.5 * (1 + math.cos(math.pi * place))


# Plateau is constant but for the scale that `Schedule.judge` lowers.
SCHEDULES: dict[str, Callable[[float, TrainingSettings], float]] = {
    "constant": constant,
    "cosine": cosine,
    "plateau": constant,
}

_LEAST = 1e-3  # of the learning rate: the first step of a warm-up is small, and not lost


@dataclass
class ScheduleMemory:
    """What a schedule remembers from evaluation to evaluation; it is in the checkpoint, as JSON."""

    scale: float = 1.0  # of the learning rate
    stale: int = 0  # evaluations since the best, or since the rate was lowered


class Schedule:
    """The learning rate at each moment of a run."""

    def __init__(self, settings: TrainingSettings) -> None:
        self.settings = settings
        self.memory = ScheduleMemory()

    def rate(self, done: float) -> float:
        """Return the learning rate where the share `done` of the budget is used."""
        factor = SCHEDULES[self.settings.schedule](done, self.settings)
        return self.settings.learning_rate * max(_LEAST, factor) * self.memory.scale

    def judge(self, improved: bool) -> None:
        """Take note of an evaluation; the plateau schedule lowers the rate after too many without a new best."""
        if self.settings.schedule != "plateau":
            return
        self.memory.stale = 0 if improved else self.memory.stale + 1
        if self.memory.stale >= self.settings.plateau_patience:
            self.memory.scale *= self.settings.plateau_factor
            self.memory.stale = 0
