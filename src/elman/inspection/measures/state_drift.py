"""State health on long runs: do the states leave the range that they had on the steps that training saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from elman.inspection.capture.replay import Trace

PIECES = 4  # into how many pieces the later steps are cut


@dataclass(frozen=True)
class Piece:
    """Some of the later steps, against the seen ones."""

    start: int
    stop: int
    shift: float  # how far the units' means have moved, in standard deviations of the seen steps; root mean square
    growth: float  # root mean square of all states over that of the seen steps


@dataclass(frozen=True)
class Drift:
    """The states of a strand over a run."""

    seen: int  # the first steps, which stand for what training saw
    size: float  # root mean square of the states on the seen steps
    pieces: tuple[Piece, ...]  # the later steps, in the order of the run; empty where there are none


@torch.no_grad()
def measure(traces: Sequence[Trace], seen: int) -> Drift:
    """Compare the states after the first `seen` steps with those before.

    Args:
        traces: the passages of one strand.
        seen: how many steps training sees from a fresh state on.
    """
    T = max(trace.T for trace in traces)
    early_NH = _states(traces, 0, seen)
    if not len(early_NH):
        return Drift(seen, 0.0, ())
    mean_H, std_H = early_NH.mean(0), early_NH.std(0, correction=0)
    # A unit that hardly moved has hardly a scale of its own; it is measured by that of its neighbours.
    std_H = torch.maximum(std_H, 0.1 * std_H.mean()).clamp(min=1e-12)
    size = float(early_NH.square().mean().sqrt())
    edges = torch.linspace(min(seen, T), T, PIECES + 1).long().tolist()
    pieces = []
    for start, stop in pairwise(edges):
        late_NH = _states(traces, start, stop)
        if len(late_NH):
            shift = float(((late_NH.mean(0) - mean_H) / std_H).square().mean().sqrt())
            pieces.append(Piece(start, stop, shift, float(late_NH.square().mean().sqrt()) / max(size, 1e-30)))
    return Drift(seen, size, tuple(pieces))


@torch.no_grad()
def growth(traces: Sequence[Trace]) -> float:
    """Return the size of the states in the last quarter of the run over that in the second quarter; 0 for no states.

    A chaotic state wanders and stays as large as it was; an exploding one grows.
    """
    T = max(trace.T for trace in traces)
    late, early = (_states(traces, start, stop) for start, stop in ((T - T // 4, T), (T // 4, T // 2)))
    if not len(late) or not len(early):
        return 0.0
    return float(late.square().mean().sqrt() / early.square().mean().sqrt().clamp(min=1e-30))


def _states(traces: Sequence[Trace], start: int, stop: int) -> Tensor:
    return torch.cat(
        [torch.cat(trace.after, dim=2)[start:stop][trace.exists_TB[start:stop]].double() for trace in traces]
    )
