"""Results of a diagnosis: plain dataclasses that verdicts and renderers read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from elman.inspection.measures.gradient_flow import GradientFlow, LagContributions
from elman.inspection.measures.jacobian import Jacobians
from elman.inspection.measures.saturation import Saturation
from elman.inspection.measures.state_drift import StateDrift
from elman.inspection.measures.truncation import Truncation


@dataclass(frozen=True)
class Measurements:
    """All numbers of one layer in one direction.

    Attributes:
        flow: gradient by lag.
        contributions: what each lag adds to dE/dW.
        sampled_sequences: how many sequences of each batch `flow` and `contributions` are from; 0: all.
        jacobians: the factors ds_t/ds_(t-1), and the growth of their product.
        shortest_period: in steps; 95 % of the power of the input projection U x lies at this period or longer.
        saturation: saturated and dead units, gates, time constants.
        state_growth: root mean square of the states in the last quarter over that in the second.
        state_drift: the states after the steps that training saw.
        truncation: one entry for each window length.
        gradient_norm: of dE/dU and dE/dW together, over the whole sample, as autograd computes it.
    """

    flow: GradientFlow
    contributions: LagContributions
    sampled_sequences: int
    jacobians: Jacobians
    shortest_period: float
    saturation: Saturation
    state_growth: float
    state_drift: StateDrift
    truncation: tuple[Truncation, ...]
    gradient_norm: float


@dataclass(frozen=True)
class Finding:
    """One rule of the table of verdicts that applies.

    Attributes:
        verdict: a name in `elman.inspection.verdict.VERDICTS`, or "healthy".
        message: what was measured, with the numbers.
    """

    verdict: str
    message: str


@dataclass(frozen=True)
class Remedy:
    """A change to try.

    Attributes:
        options: of `elman train`.
        python: the same in Python.
        reason: why it should help.
    """

    options: str
    python: str
    reason: str


@dataclass(frozen=True)
class LayerReport:
    """One layer in one direction: its measurements, verdict and remedies.

    Attributes:
        name: module, layer and direction in words.
        module: name of the module in the model.
        layer: number of the layer in the module.
        direction: 0 forward, 1 reverse.
        cell: rnn_tanh, rnn_relu, gru, lstm ... or the class of a custom cell.
        hidden: H.
        measurements: all numbers.
        verdict: that of the first finding.
        findings: the most severe first.
        remedies: the first one to try comes first.
    """

    name: str
    module: str
    layer: int
    direction: int
    cell: str
    hidden: int
    measurements: Measurements
    verdict: str
    findings: tuple[Finding, ...]
    remedies: tuple[Remedy, ...]


@dataclass(frozen=True)
class LargestGradient:
    """One sequence of the sample, and its share of the gradient.

    Attributes:
        batch: number of the batch, from 0.
        row: number of the sequence in it.
        norm: |dE/dW| of all layers together, of this sequence alone.
        share: of the sum of these norms.
    """

    batch: int
    row: int
    norm: float
    share: float


@dataclass(frozen=True)
class GradientNorms:
    """Distribution of the gradient norms of recent training steps, before clipping.

    Attributes:
        steps: how many norms.
        median: of the norms.
        p90: their 90 % quantile.
        maximum: the largest one.
        clip: the norm above which a gradient was clipped; 0: no clipping.
        clipped_share: the share of the steps that were clipped.
    """

    steps: int
    median: float
    p90: float
    maximum: float
    clip: float
    clipped_share: float

    @classmethod
    def of(cls, norms: Sequence[float], clip: float) -> GradientNorms | None:
        """Return the distribution, or None if there are no norms.

        Args:
            norms: of training steps, before clipping.
            clip: the largest norm that passes unclipped; 0: no clipping.
        """
        ordered = sorted(norms)
        if not ordered:
            return None
        count = len(ordered)
        return cls(
            steps=count,
            median=ordered[count // 2],
            p90=ordered[round(0.9 * (count - 1))],
            maximum=ordered[-1],
            clip=clip,
            clipped_share=sum(norm > clip for norm in ordered) / count if clip > 0 else 0.0,
        )


@dataclass(frozen=True)
class Diagnosis:
    """All numbers of a diagnosis; `docs/guide/diagnose.md` explains each of them.

    Attributes:
        loss: mean over the batches.
        batches: how many.
        sequences: how many, in all batches.
        steps: T of the longest sequence.
        memory: how many steps back the gradient should reach.
        window: of truncated backpropagation in training; None: whole sequences.
        layers: one report for each layer and direction.
        largest_gradients: the sequences with the largest gradients.
        half_gradient_share: the smallest share of the sequences that holds half of the summed gradient norms.
        gradient_norms: of training, if they were given.
    """

    loss: float
    batches: int
    sequences: int
    steps: int
    memory: int
    window: int | None
    layers: tuple[LayerReport, ...]
    largest_gradients: tuple[LargestGradient, ...]
    half_gradient_share: float
    gradient_norms: GradientNorms | None
