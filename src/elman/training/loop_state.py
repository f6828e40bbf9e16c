"""What a run remembers from step to step, and reading it back out of a checkpoint that a stranger may have made."""

from __future__ import annotations

from dataclasses import dataclass, field

from elman.training.optimiser import Norms

RECENT = 50
"""Steps whose gradient norms are stored one by one."""


@dataclass
class RunningStats:
    """What happened since the last evaluation."""

    loss: float = 0.0  # sum over symbols
    count: int = 0
    steps: int = 0
    norm: float = 0.0  # sums over steps
    norm_after: float = 0.0
    norm_max: float = 0.0
    clipped: int = 0
    # Norms before clipping of the last steps; the checkpoints of earlier versions do without.
    recent: list[float] = field(default_factory=list, metadata={"later": True, "length": RECENT})

    def add(self, loss: float, count: int, norms: Norms) -> None:
        """Take note of one step."""
        self.loss += loss * count
        self.count += count
        self.steps += 1
        self.norm += norms.before
        self.norm_after += norms.after
        self.norm_max = max(self.norm_max, norms.before)
        self.clipped += norms.after < norms.before
        self.recent = [*self.recent[1 - RECENT :], float(f"{norms.before:.4g}")]

    def row(self) -> dict[str, float | list[float]]:
        """Return the means, and the norms of the last steps, as metrics.jsonl shows them."""
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
    """What a run remembers from step to step; all of it is in the checkpoint, as JSON."""

    step: int = 0
    symbols: int = 0
    seconds: float = 0.0  # of training, over all processes
    done: float = 0.0  # share of the budget when the last step began
    rows: int = 0  # of metrics.jsonl
    best: float | None = field(default=None, metadata={"low": None})
    best_step: int | None = None
    stale: int = 0  # evaluations since the best
    evaluated: int = field(default=-1, metadata={"low": -1})  # step of the last evaluation
    evaluation_seconds: float = 0.0  # how long it took
    tally: RunningStats = field(default_factory=RunningStats)
    probes: dict[str, float] = field(default_factory=dict)
