"""The state of the training loop, and the statistics between evaluations."""

from __future__ import annotations

from dataclasses import dataclass, field

from elman.training.optimiser import Norms

RECENT = 50
"""Steps whose gradient norms are stored one by one."""


@dataclass
class RunningStats:
    """Statistics of the steps since the last evaluation.

    Attributes:
        loss: the sum over symbols.
        count: the symbols.
        steps: the steps.
        norm: the sum over steps of the norm of the gradient.
        norm_after: the same after clipping.
        norm_max: the largest norm before clipping.
        clipped: the steps whose gradient was clipped.
        recent: the norms before clipping of the last steps; checkpoints of earlier versions lack it.
    """

    loss: float = 0.0
    count: int = 0
    steps: int = 0
    norm: float = 0.0
    norm_after: float = 0.0
    norm_max: float = 0.0
    clipped: int = 0
    recent: list[float] = field(default_factory=list, metadata={"later": True, "length": RECENT})

    def add(self, loss: float, count: int, norms: Norms) -> None:
        """Add a step."""
        self.loss += loss * count
        self.count += count
        self.steps += 1
        self.norm += norms.before
        self.norm_after += norms.after
        self.norm_max = max(self.norm_max, norms.before)
        self.clipped += norms.after < norms.before
        self.recent = [*self.recent[1 - RECENT :], float(f"{norms.before:.4g}")]

    def row(self) -> dict[str, float | list[float]]:
        """Return the means and the norms of the last steps, as in metrics.jsonl."""
        steps = max(1, self.steps)
        return {
            "training_loss": self.loss / max(1, self.count),
            "gradient_norm": self.norm / steps,
            "gradient_norm_clipped": self.norm_after / steps,
            "gradient_norm_largest": self.norm_max,
            "share_clipped": self.clipped / steps,
            "gradient_norms": self.recent,
        }


@dataclass
class LoopState:
    """State of the training loop, which the checkpoint holds as JSON.

    Attributes:
        step: steps so far.
        symbols: symbols trained on so far.
        seconds: training time, over all processes.
        done: share of the budget at the beginning of the last step.
        rows: rows of metrics.jsonl.
        best: the best value of the metric.
        best_step: its step.
        best_tie: its value of the metric that decides between equals; checkpoints of earlier versions lack it.
        stale: evaluations since the best.
        evaluated: step of the last evaluation, -1 before the first.
        evaluation_seconds: duration of the last evaluation.
        tally: statistics since the last evaluation.
        probes: the last measurements of the probes.
    """

    step: int = 0
    symbols: int = 0
    seconds: float = 0.0
    done: float = 0.0
    rows: int = 0
    best: float | None = field(default=None, metadata={"low": None})
    best_step: int | None = None
    best_tie: float | None = field(default=None, metadata={"later": True, "low": None})
    stale: int = 0
    evaluated: int = field(default=-1, metadata={"low": -1})
    evaluation_seconds: float = 0.0
    tally: RunningStats = field(default_factory=RunningStats)
    probes: dict[str, float] = field(default_factory=dict)
