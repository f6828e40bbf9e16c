"""Results of a diagnosis: plain dataclasses that verdicts and renderers read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from elman.inspection.measures.gradient_flow import Flow, Parts
from elman.inspection.measures.jacobian import Jacobians
from elman.inspection.measures.saturation import Saturation
from elman.inspection.measures.state_drift import Drift
from elman.inspection.measures.truncation import Truncation


@dataclass(frozen=True)
class Measured:
    """All numbers of one strand: a layer in one direction."""

    flow: Flow  # gradient by lag
    parts: Parts  # what each lag adds to dE/dW
    parts_sequences: int  # over how many sequences of each batch these two were measured; 0: all of them
    jacobians: Jacobians  # factors of the product, and its growth
    period: float  # in steps: 95 % of the power of what the input sends to the units lies at this period or longer
    saturation: Saturation  # what the units let through
    state_growth: float  # size of the states in the last quarter over that in the second
    drift: Drift  # of the states after the steps that training saw
    truncation: tuple[Truncation, ...]  # one for each window
    gradient: float  # norm of dE/dU and dE/dW together, of the whole sample, as autograd has it


@dataclass(frozen=True)
class Finding:
    """One thing that the table of thresholds says."""

    verdict: str  # a name in elman.inspection.verdict.VERDICTS
    words: str  # what was measured, in words, with the numbers


@dataclass(frozen=True)
class Remedy:
    """Something to change."""

    paste: str  # options of `elman train`
    python: str  # the same in Python
    why: str


@dataclass(frozen=True)
class LayerReport:
    """One strand: what it is, what was measured, what follows."""

    name: str
    module: str  # name of the module in the model
    layer: int
    direction: int  # 0 forward, 1 reverse
    cell: str  # rnn_tanh, rnn_relu, gru, lstm ... or the class of a cell of your own
    hidden: int  # H
    measured: Measured
    verdict: str  # the first finding's
    findings: tuple[Finding, ...]
    remedies: tuple[Remedy, ...]  # the first one to try comes first


@dataclass(frozen=True)
class LargestGradient:
    """One sequence of the sample, and its share in the gradient."""

    batch: int  # which batch, from 0
    row: int  # which sequence of it
    norm: float  # |dE/dW| of all strands together, of this sequence alone
    share: float  # of the sum of these norms


@dataclass(frozen=True)
class History:
    """Gradient norms of recent training steps, before clipping."""

    steps: int
    median: float
    high: float  # the 90 % quantile
    largest: float
    clip: float  # the norm above which a gradient was clipped; 0: none was
    clipped: float  # share of the steps


@dataclass(frozen=True)
class Diagnosis:
    """All numbers of a diagnosis; `docs/guide/diagnose.md` says what each of them is."""

    loss: float  # mean over the batches
    batches: int
    sequences: int  # in all
    steps: int  # T of the longest
    memory: int  # how many steps back the gradient should reach
    window: int | None  # of truncated backpropagation in training
    layers: tuple[LayerReport, ...]
    heaviest: tuple[LargestGradient, ...]  # the sequences with the largest gradients
    half: float  # the share of all sequences, heaviest first, that holds half of the summed norms
    history: History | None  # of training, where the caller had it


def history_of(norms: Sequence[float], clip: float) -> History | None:
    """Return the distribution of gradient norms, or None where there are none.

    Args:
        norms: of training steps, before clipping.
        clip: the largest norm that passes unclipped; 0 clips nothing.
    """
    ordered = sorted(norms)
    if not ordered:
        return None
    count = len(ordered)
    return History(
        steps=count,
        median=ordered[count // 2],
        high=ordered[round(0.9 * (count - 1))],
        largest=ordered[-1],
        clip=clip,
        clipped=sum(norm > clip for norm in ordered) / count if clip > 0 else 0.0,
    )
