"""State drift: whether the states leave the range that they had on the steps that training saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from elman.inspection.capture.replay import Trace

SEGMENTS = 4  # of the later steps


@dataclass(frozen=True)
class StateSegment:
    """The states of a segment of the later steps, relative to the seen ones.

    Attributes:
        start: first step.
        stop: the step after the last one.
        shift: change of the units' means in standard deviations of the seen steps, root mean square over the units.
        growth: root mean square of all states over that of the seen steps.
    """

    start: int
    stop: int
    shift: float
    growth: float


@dataclass(frozen=True)
class StateDrift:
    """The states of one layer in one direction over long sequences.

    Attributes:
        seen_steps: the first steps, which stand for those that training saw.
        rms: root mean square of the states on the seen steps.
        segments: the later steps, in processing order; empty if there are none.
    """

    seen_steps: int
    rms: float
    segments: tuple[StateSegment, ...]


@torch.no_grad()
def measure(traces: Sequence[Trace], seen: int) -> StateDrift:
    """Compare the states after the first `seen` steps with those before.

    Args:
        traces: the calls of one layer in one direction.
        seen: how many steps training sees from an initial state on.
    """
    T = max(trace.T for trace in traces)
    early_NH = _states(traces, 0, seen)
    if not len(early_NH):
        return StateDrift(seen, 0.0, ())
    mean_H, std_H = early_NH.mean(0), early_NH.std(0, correction=0)
    # The scale of a nearly constant unit is a tenth of the mean scale.
    std_H = torch.maximum(std_H, 0.1 * std_H.mean()).clamp(min=1e-12)
    size = float(early_NH.square().mean().sqrt())
    edges = torch.linspace(min(seen, T), T, SEGMENTS + 1).long().tolist()
    segments = []
    for start, stop in pairwise(edges):
        late_NH = _states(traces, start, stop)
        if len(late_NH):
            shift = float(((late_NH.mean(0) - mean_H) / std_H).square().mean().sqrt())
            segments.append(StateSegment(start, stop, shift, float(late_NH.square().mean().sqrt()) / max(size, 1e-30)))
    return StateDrift(seen, size, tuple(segments))


@torch.no_grad()
def growth(traces: Sequence[Trace]) -> float:
    """Return the rms of the states in the last quarter of the steps over that in the second quarter; 0 without states.

    A chaotic state stays bounded; an exploding one grows.
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
