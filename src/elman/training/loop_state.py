"""What a run remembers from step to step, and reading it back out of a checkpoint that a stranger may have made."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from elman.training.optimiser import Norms

Record = TypeVar("Record")

RECENT = 50  # steps whose gradient norms are kept one by one
HIGHEST = 1e300  # of a number that is read; ours are far smaller, and so are sums and products of them


@dataclass
class Tally:
    """What happened since the last evaluation."""

    loss: float = 0.0  # sum over symbols
    count: int = 0
    steps: int = 0
    norm: float = 0.0  # sums over steps
    norm_after: float = 0.0
    norm_max: float = 0.0
    clipped: int = 0
    # Norms before clipping of the last steps; the checkpoints of earlier versions do without.
    recent: list[float] = field(default_factory=list, metadata={"later": True})

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
class Memory:
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
    tally: Tally = field(default_factory=Tally)
    probes: dict[str, float] = field(default_factory=dict)


def read_record(kind: type[Record], values: Any) -> Record:
    """Make a dataclass of JSON, each field checked for its type and, as nothing here is negative, for its sign.

    A field's metadata may hold another lowest value under "low", None for none, and "later" where it may be missing.

    Raises:
        ValueError: a field is missing, unknown, or no such value.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    least = {name for name, field in fields.items() if not field.metadata.get("later")}
    if not isinstance(values, Mapping) or not least <= values.keys() <= fields.keys():
        raise ValueError(f"a {kind.__name__} has the fields {', '.join(fields)}")
    kinds = typing.get_type_hints(kind)
    low = {name: field.metadata.get("low", 0) for name, field in fields.items()}
    return kind(**{name: _read(name, kinds[name], value, low[name]) for name, value in values.items()})


def _read(name: str, kind: Any, value: Any, low: float | None) -> Any:
    if dataclasses.is_dataclass(kind):
        return read_record(typing.cast(type, kind), value)
    if typing.get_origin(kind) is dict:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise ValueError(f"{name} is {str(value)[:80]!r}")
        return {key: _read(key, typing.get_args(kind)[1], number, None) for key, number in value.items()}
    if typing.get_origin(kind) is list:
        if not isinstance(value, list) or len(value) > RECENT:
            raise ValueError(f"{name} is {str(value)[:80]!r}")
        return [_read(name, typing.get_args(kind)[0], number, low) for number in value]
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if value is None and types.NoneType in options:
        return None
    if (int in options and type(value) is not int) or not is_number(value) or (low is not None and value < low):
        raise ValueError(f"{name} is {str(value)[:80]!r}")
    return value


def is_number(value: Any) -> bool:
    """Return whether `value`, read from JSON, is a finite number of a size that can be reckoned with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -HIGHEST < value < HIGHEST
