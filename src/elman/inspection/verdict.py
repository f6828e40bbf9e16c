"""Verdicts: one table of thresholds, one rule for each problem, the most severe first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from elman.inspection.results import Finding, Measurements
from elman.number_format import percent

LATE = 0.25  # the loss is late if at most this share of the steps has an error


@dataclass(frozen=True)
class Thresholds:
    """Limits of the verdicts; `docs/guide/diagnose.md` has the same table, with reasons.

    "vanishing" has no constant: the median ratio falls under 1 % before lag `memory`.

    Attributes:
        explosion: exploding: the median gradient grows by this factor over the lags, whatever their number ...
        growth_per_lag: ... or by this factor with every lag ...
        least_growth: ... and at least by this factor in all.
        lyapunov_exponent: chaotic: the leading Lyapunov exponent is above this, in nats per step ...
        divergence: ... and times the number of steps it is above this ...
        state_growth: ... while the size of the states stays within this factor.
        dead: dead: share of relu units that are always 0; half of them is normal with positive input.
        saturated: saturated, plain cell: share of all (step, sequence, unit) with a derivative under 0.05.
        saturated_candidate: saturated, gated cell: the same of the candidate; the gates carry the gradient past it.
        stuck: saturated, gated cell: share of the units with a stuck output or update gate.
        cosine: truncated too short: cosine of the truncated and the full gradient ...
        relative_error: ... or the relative error of the truncated gradient.
        wide: narrow: errors with at least this participation ratio at lag 0 ...
        narrow: ... have less than this at lag `memory` ...
        least_errors: ... among at least so many of them.
    """

    explosion: float = 100.0
    growth_per_lag: float = 1.05
    least_growth: float = 10.0
    lyapunov_exponent: float = 0.01
    divergence: float = 3.0
    state_growth: float = 1.5
    dead: float = 0.67
    saturated: float = 0.5
    saturated_candidate: float = 0.9
    stuck: float = 0.9
    cosine: float = 0.9
    relative_error: float = 0.5
    wide: float = 2.0
    narrow: float = 1.05
    least_errors: int = 8


@dataclass(frozen=True)
class LayerUnderTest:
    """What the verdict and the remedies of a layer depend on.

    Attributes:
        cell: rnn_tanh, gru, lstm ...
        gated: whether the cell has gates.
        measured: all numbers of the layer.
        supervised_share: the share of the steps that have a loss, at the top of the layer's module.
        participation_ratio: how many directions the errors span at lag 0, at the top of the module.
        shortest_period: over the inputs of all layers of the module, in steps.
        memory: how many steps back the gradient should reach.
        steps: T of the longest sequence.
        window: of truncated backpropagation; None: whole sequences.
        settings: of the run, as far as they are known.
    """

    cell: str
    gated: bool
    measured: Measurements
    supervised_share: float
    participation_ratio: float
    shortest_period: float
    memory: int
    steps: int
    window: int | None
    settings: Mapping[str, Any]

    @property
    def wide(self) -> bool:
        """Whether several numbers have to be remembered: the errors span several directions."""
        return self.participation_ratio >= Thresholds.wide

    @property
    def late(self) -> bool:
        """Whether learning depends on steps far back, since few steps have a loss."""
        return self.supervised_share <= LATE

    @property
    def far(self) -> int:
        """The longest dependency that training sees, in steps."""
        return max(2, min(self.window or self.steps, self.steps))

    @property
    def learning_rate(self) -> float:
        """Learning rate of the run."""
        return float(self.settings.get("learning_rate", 0.003))

    @property
    def slow_rate(self) -> float:
        """A learning rate of at most 0.1 / T, rounded down to one digit.

        AdamW changes every weight by about the learning rate. A change of W that scales norms by 1 + d scales the
        product of T Jacobians by (1 + d)^T, which stays near 1 for d well under 1 / T.
        """
        rate = min(self.learning_rate, 0.1 / self.far)
        digit = 10.0 ** math.floor(math.log10(rate))
        return round(math.floor(rate / digit + 1e-9) * digit, 12)

    @property
    def clip(self) -> float:
        """The norm at which the run clips gradients; 0: no clipping."""
        return float(self.settings.get("clip", 0) or 0)

    @property
    def clip_to_one(self) -> float:
        """The same, but at most 1."""
        return min(self.clip, 1.0) or 1.0


Rule = Callable[[LayerUnderTest, Thresholds], str | None]


def idle(layer: LayerUnderTest, limit: Thresholds) -> str | None:
    """No error arrives at the layer."""
    if layer.measured.flow.error_norm > 0:
        return None
    return "no gradient arrives: the loss does not depend on this layer's output"


def chaotic(layer: LayerUnderTest, limit: Thresholds) -> str | None:
    """Nearby states diverge exponentially although the states stay bounded."""
    jacobians = layer.measured.jacobians
    if not jacobians.lyapunov_exponents:
        return None
    exponent = jacobians.lyapunov_exponents[0]
    diverging = exponent > limit.lyapunov_exponent and exponent * jacobians.steps > limit.divergence
    bounded = 1 / limit.state_growth < layer.measured.state_growth < limit.state_growth
    if not (diverging and bounded):
        return None
    return (
        f"the leading Lyapunov exponent is {exponent:+.3f} per step: a small difference between two states grows "
        f"{math.exp(min(exponent * 10, 50)):.3g}-fold in ten steps, while the states stay bounded"
    )


def exploding(layer: LayerUnderTest, limit: Thresholds) -> str | None:
    """The gradient grows with the lag."""
    flow = layer.measured.flow
    largest = max(flow.median)
    lag = flow.median.index(largest)
    fast = flow.factor_per_lag >= limit.growth_per_lag and largest >= limit.least_growth
    if not (largest >= limit.explosion or fast):
        return None
    return (
        f"the gradient at lag {lag} is {largest:.3g} times as large as at lag 0, a factor of {flow.factor_per_lag:.3f} "
        "per step"
    )


def dead(layer: LayerUnderTest, limit: Thresholds) -> str | None:
    """Relu units that are always 0."""
    share = layer.measured.saturation.dead
    if share is None or share < limit.dead:
        return None
    dead = percent(share, 0)
    return f"{dead} of the units are 0 at every step of every sequence: no gradient passes, and they do not learn"


def saturated(layer: LayerUnderTest, limit: Thresholds) -> str | None:
    """Derivatives near zero, or gates that are stuck.

    Saturation alone is no problem: trained networks use units as switches. In the plain cell it is one if the gradient
    vanishes as well, in a gated cell if nearly all candidates are saturated.
    """
    saturation, horizon = layer.measured.saturation, layer.measured.flow.horizon
    share = saturation.saturated or 0.0
    if saturation.gates and share > limit.saturated_candidate:
        return f"the derivative of the candidate is under 0.05 in {percent(share, 0)} of all steps and units"
    if not saturation.gates and share > limit.saturated and horizon is not None and horizon < layer.memory:
        return (
            f"f' is under 0.05 in {percent(share, 0)} of all steps and units, and less than 1 % of the gradient is "
            f"left at lag {horizon}; {layer.memory} steps are required"
        )
    closed = saturation.gates["o"].closed if "o" in saturation.gates else 0.0
    if closed > limit.stuck:
        return f"the output gate of {percent(closed, 0)} of the units is stuck closed: the layer never shows its memory"
    held = saturation.gates["z"].open if "z" in saturation.gates else 0.0
    if held > limit.stuck and min(saturation.time_constants, default=0.0) > 10 * layer.memory:
        return f"the update gate of {percent(held, 0)} of the units is stuck open: the state never changes"
    return None


def truncated(layer: LayerUnderTest, limit: Thresholds) -> str | None:
    """The window of truncated backpropagation is too short for the gradient."""
    row = next((row for row in layer.measured.truncation if row.window == layer.window), None)
    if row is None or (row.cosine >= limit.cosine and row.relative_error <= limit.relative_error):
        return None
    return (
        f"truncated every {row.window} steps, the gradient differs from the full one by "
        f"{percent(row.relative_error, 0)} (cosine {row.cosine:.2f})"
    )


def vanishing(layer: LayerUnderTest, limit: Thresholds) -> str | None:
    """The gradient vanishes before the required lag."""
    horizon, factor = layer.measured.flow.horizon, layer.measured.flow.factor_per_lag
    if horizon is None or horizon >= layer.memory:
        return None
    return (
        f"less than 1 % of the gradient is left at lag {horizon}, a factor of {factor:.3f} per step; "
        f"{layer.memory} steps are required"
    )


def narrow(layer: LayerUnderTest, limit: Thresholds) -> str | None:
    """The gradient reaches back far enough, but all errors are parallel: the state can remember one number."""
    flow, lag = layer.measured.flow, layer.memory
    if len(flow.participation_ratio) <= lag or flow.counts[lag] < limit.least_errors:
        return None
    here, there = flow.participation_ratio[0], flow.participation_ratio[lag]
    if here < limit.wide or there >= limit.narrow:
        return None
    return (
        f"the errors at lag {lag} are parallel (participation ratio {there:.1f}; at lag 0 {here:.1f}): the state can "
        "learn to remember one number for so long"
    )


# The most severe first: a layer's verdict is its first finding.
VERDICTS: dict[str, Rule] = {
    "idle": idle,
    "chaotic": chaotic,
    "exploding": exploding,
    "dead": dead,
    "saturated": saturated,
    "truncated too short": truncated,
    "vanishing": vanishing,
    "narrow": narrow,
}


def apply_rules(layer: LayerUnderTest, thresholds: Thresholds | None = None) -> tuple[Finding, ...]:
    """Return every finding, the most severe first; a layer without one is healthy."""
    limit = thresholds or Thresholds()
    messages = {name: rule(layer, limit) for name, rule in VERDICTS.items()}
    findings = tuple(Finding(name, message) for name, message in messages.items() if message is not None)
    if findings:
        return findings
    median = layer.measured.flow.median
    lag = min(layer.memory, len(median) - 1)
    return (Finding("healthy", f"{percent(median[lag], 0)} of the gradient is left at lag {lag}"),)
