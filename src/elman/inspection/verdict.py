"""Verdicts: one table of thresholds, one rule for each problem, the most severe first."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from elman.inspection.results import Finding, Measurements


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
class Requirement:
    """What training requires of a layer.

    Attributes:
        memory: how many steps back the gradient should reach.
        window: of truncated backpropagation; None: whole sequences.
    """

    memory: int
    window: int | None


Rule = Callable[[Measurements, Requirement, Thresholds], str | None]


def idle(measured: Measurements, required: Requirement, limit: Thresholds) -> str | None:
    """No error arrives at the layer."""
    if measured.flow.error_norm > 0:
        return None
    return "no gradient arrives: the loss does not depend on this layer's output"


def chaotic(measured: Measurements, required: Requirement, limit: Thresholds) -> str | None:
    """Nearby states diverge exponentially although the states stay bounded."""
    jacobians = measured.jacobians
    if not jacobians.lyapunov_exponents:
        return None
    exponent = jacobians.lyapunov_exponents[0]
    diverging = exponent > limit.lyapunov_exponent and exponent * jacobians.steps > limit.divergence
    bounded = 1 / limit.state_growth < measured.state_growth < limit.state_growth
    if not (diverging and bounded):
        return None
    return (
        f"the leading Lyapunov exponent is {exponent:+.3f} per step: a small difference between two states grows "
        f"{math.exp(min(exponent * 10, 50)):.3g}-fold in ten steps, while the states stay bounded"
    )


def exploding(measured: Measurements, required: Requirement, limit: Thresholds) -> str | None:
    """The gradient grows with the lag."""
    flow = measured.flow
    largest = max(flow.median)
    lag = flow.median.index(largest)
    fast = flow.factor_per_lag >= limit.growth_per_lag and largest >= limit.least_growth
    if not (largest >= limit.explosion or fast):
        return None
    return (
        f"the gradient at lag {lag} is {largest:.3g} times as large as at lag 0, a factor of {flow.factor_per_lag:.3f} "
        "per step"
    )


def dead(measured: Measurements, required: Requirement, limit: Thresholds) -> str | None:
    """Relu units that are always 0."""
    share = measured.saturation.dead
    if share is None or share < limit.dead:
        return None
    return f"{share:.0%} of the units are 0 at every step of every sequence: no gradient passes, and they do not learn"


def saturated(measured: Measurements, required: Requirement, limit: Thresholds) -> str | None:
    """Derivatives near zero, or gates that are stuck.

    Saturation alone is no problem: trained networks use units as switches. In the plain cell it is one if the gradient
    vanishes as well, in a gated cell if nearly all candidates are saturated.
    """
    saturation, horizon = measured.saturation, measured.flow.horizon
    share = saturation.saturated or 0.0
    if saturation.gates and share > limit.saturated_candidate:
        return f"the derivative of the candidate is under 0.05 in {share:.0%} of all steps and units"
    if not saturation.gates and share > limit.saturated and horizon is not None and horizon < required.memory:
        return (
            f"f' is under 0.05 in {share:.0%} of all steps and units, and less than 1 % of the gradient is left at lag "
            f"{horizon}; {required.memory} steps are required"
        )
    closed = saturation.gates["o"].closed if "o" in saturation.gates else 0.0
    if closed > limit.stuck:
        return f"the output gate of {closed:.0%} of the units is stuck closed: the layer never shows its memory"
    held = saturation.gates["z"].open if "z" in saturation.gates else 0.0
    if held > limit.stuck and min(saturation.time_constants, default=0.0) > 10 * required.memory:
        return f"the update gate of {held:.0%} of the units is stuck open: the state never changes"
    return None


def truncated(measured: Measurements, required: Requirement, limit: Thresholds) -> str | None:
    """The window of truncated backpropagation is too short for the gradient."""
    row = next((row for row in measured.truncation if row.window == required.window), None)
    if row is None or (row.cosine >= limit.cosine and row.relative_error <= limit.relative_error):
        return None
    return (
        f"truncated every {row.window} steps, the gradient differs from the full one by {row.relative_error:.0%} "
        f"(cosine {row.cosine:.2f})"
    )


def vanishing(measured: Measurements, required: Requirement, limit: Thresholds) -> str | None:
    """The gradient vanishes before the required lag."""
    horizon = measured.flow.horizon
    if horizon is None or horizon >= required.memory:
        return None
    return (
        f"less than 1 % of the gradient is left at lag {horizon}, a factor of {measured.flow.factor_per_lag:.3f} per "
        f"step; {required.memory} steps are required"
    )


def narrow(measured: Measurements, required: Requirement, limit: Thresholds) -> str | None:
    """The gradient reaches back far enough, but all errors are parallel: the state can remember one number."""
    flow, lag = measured.flow, required.memory
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


def apply_rules(
    measured: Measurements, required: Requirement, thresholds: Thresholds | None = None
) -> tuple[Finding, ...]:
    """Return every finding, the most severe first; a layer without one is healthy."""
    limit = thresholds or Thresholds()
    messages = {name: rule(measured, required, limit) for name, rule in VERDICTS.items()}
    findings = tuple(Finding(name, message) for name, message in messages.items() if message is not None)
    if findings:
        return findings
    median = measured.flow.median
    lag = min(required.memory, len(median) - 1)
    return (Finding("healthy", f"{median[lag]:.0%} of the gradient is left at lag {lag}"),)
