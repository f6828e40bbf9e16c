"""During training: the horizon every so many steps, and which sequences made a number infinite."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from elman.inspection import flow
from elman.inspection.record import LossFunction, Passage, Strand, record
from elman.inspection.trace import Linear, replay

LAGS = 128  # how far back a probe looks
SEQUENCES = 2  # how many sequences of the batch a probe looks at
PAIRS = 32  # how many error steps, in all of them, it follows back


@dataclass(frozen=True)
class Probe:
    """A cheap measurement on the batch that is about to be trained on.

    It costs a forward and a backward pass, and a walk of at most 128 lags for 32 error steps of two sequences. Weights,
    `.grad` and random states are as before afterwards.
    """

    every: int  # steps between two measurements
    loss: Callable[[nn.Module, Any, Any], Tensor]  # loss(model, batch, state) is the scalar that training descends

    def __call__(self, model: nn.Module, batch: Any, state: Any = None) -> dict[str, float]:
        """Return, for every layer and direction, the horizon and the half-life in steps.

        A horizon that lies beyond the lags that can be followed is reported as the number of those lags.
        """
        with untouched_random_state(model):
            recording = record(model, batch, lambda m, b: self.loss(m, b, state), weights=False)
        with one_thread():
            return _decay(recording.passages)


def _decay(passages: Sequence[Passage]) -> dict[str, float]:
    linears: dict[Strand, list[Linear]] = {}
    for passage in passages:
        if passage.x_TBI.numel():
            linears.setdefault(passage.strand, []).append(Linear(replay(passage, SEQUENCES)))
    found: dict[str, float] = {}
    for strand, each in linears.items():
        lags = min(LAGS, max(linear.trace.T for linear in each) - 1)
        decay = flow.decay(each, lags, PAIRS)
        found[f"horizon, {strand}"] = float(lags if decay.horizon is None else decay.horizon)
        found[f"half-life, {strand}"] = float(lags if decay.half_life is None else decay.half_life)
    return found


class Culprit(NamedTuple):
    """Where numbers stopped being finite."""

    strand: Strand
    what: str  # "input", "output", "error" or "gradient": the first of them that is not finite
    rows: tuple[int, ...]  # the sequences of the batch


def culprits(model: nn.Module, batch: Any, loss: LossFunction) -> list[Culprit]:
    """Return, for every layer, the sequences of a batch that make something infinite or not a number.

    Layers whose numbers are all finite are left out. Only one kind of number is reported: inputs and outputs come
    before the errors and gradients that they spoil.

    Args:
        model: as in `diagnose`.
        batch: the batch after which training stopped.
        loss: as in `diagnose`; here it may be infinite.
    """
    with untouched_random_state(model):
        passages = record(model, batch, loss, finite=False).passages
    tries: list[tuple[str, Callable[[Any], Tensor]]] = [
        ("input", lambda p: p.x_TBI),
        ("output", lambda p: p.y_TBP),
        ("error", lambda p: torch.zeros_like(p.y_TBP) if p.d_y_TBP is None else p.d_y_TBP),
        ("gradient", lambda p: flow.backpropagate(Linear(replay(p))).norms_B[None, :, None]),
    ]
    for what, tensor_of in tries:
        found = []
        for passage in passages:
            broken_B = ~torch.isfinite(tensor_of(passage)).all(2).all(0)
            if bool(broken_B.any()):
                found.append(Culprit(passage.strand, what, tuple(broken_B.nonzero().flatten().tolist())))
        if found:
            return found
    return []


@contextmanager
def untouched_random_state(model: nn.Module) -> Iterator[None]:
    """Put the random states back that a run of the model changes."""
    devices = {p.device.index for p in model.parameters() if p.is_cuda}
    with torch.random.fork_rng(sorted(devices)):
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: thousands of small products in a row wait for a second one more than it helps them.

    On a machine that does other work besides, this takes a fifth of the time.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
