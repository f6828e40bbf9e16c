"""From numbers to a verdict: one table of thresholds, one rule for each illness, the gravest first."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from elman.inspection.results import Finding, Measured


@dataclass(frozen=True)
class Thresholds:
    """Where health ends. The same table, with reasons, is in docs/guide/diagnose.md."""

    explosion: float = 100.0  # the median gradient grows by this factor over the lags, whatever their number
    fast_growth: float = 1.05  # or by this factor with every lag ...
    fast_explosion: float = 10.0  # ... and at least by this factor in all
    exponent: float = 0.01  # chaotic: the leading Lyapunov exponent is above this, in nats per step ...
    departed: float = 3.0  # ... and over all steps two near states part by at least e to this power ...
    steady: float = 1.5  # ... while the states stay as large as they were, to within this factor
    dead: float = 0.67  # share of relu units that never answer; half of them is normal where all input is positive
    flat: float = 0.5  # saturated, plain cell: share of all (step, sequence, unit) whose slope is under 0.05 ...
    candidate: float = 0.9  # ... gated cell: the same of the candidate, beside which the gates carry the gradient
    shut: float = 0.9  # saturated: share of the units whose output gate, or update gate, is stuck
    cosine: float = 0.9  # truncated too short: the direction that is left of the full gradient ...
    error: float = 0.5  # ... or the relative error of the truncated gradient
    wide: float = 2.0  # narrow: errors that point in at least so many directions ...
    narrow: float = 1.05  # ... point in fewer than this, `memory` steps back ...
    pairs: int = 8  # ... of at least so many of them
    # vanishing has no constant: the median falls under 1 % of lag 0 before `memory` steps


@dataclass(frozen=True)
class Requirement:
    """What the training asks of a layer."""

    memory: int  # how many steps back the gradient should reach
    window: int | None  # of truncated backpropagation


Rule = Callable[[Measured, Requirement, Thresholds], str | None]


def idle(measured: Measured, need: Requirement, limit: Thresholds) -> str | None:
    """No error arrives at the layer at all."""
    if measured.flow.error > 0:
        return None
    return "no gradient arrives: the loss does not depend on this layer's output"


def chaotic(measured: Measured, need: Requirement, limit: Thresholds) -> str | None:
    """Near states part exponentially, though the states stay bounded: the gradient tells of noise."""
    jacobians = measured.jacobians
    if not jacobians.lyapunov:
        return None
    exponent = jacobians.lyapunov[0]
    parted = exponent > limit.exponent and exponent * jacobians.steps > limit.departed
    bounded = 1 / limit.steady < measured.state_growth < limit.steady
    if not (parted and bounded):
        return None
    return (
        f"the leading Lyapunov exponent is {exponent:+.3f} per step: two states that differ by a hair differ "
        f"{math.exp(min(exponent * 10, 50)):.3g} times as much ten steps later, while the states stay of one size"
    )


def exploding(measured: Measured, need: Requirement, limit: Thresholds) -> str | None:
    """The gradient grows on its way back."""
    flow = measured.flow
    worst = max(flow.median)
    where = flow.median.index(worst)
    fast = flow.per_lag >= limit.fast_growth and worst >= limit.fast_explosion
    if not (worst >= limit.explosion or fast):
        return None
    return (
        f"{where} steps back the gradient is {worst:.3g} times as large as at its own step, "
        f"a factor of {flow.per_lag:.3f} with every step"
    )


def dead(measured: Measured, need: Requirement, limit: Thresholds) -> str | None:
    """Units of relu that are zero always."""
    share = measured.saturation.dead
    if share is None or share < limit.dead:
        return None
    return f"{share:.0%} of the units are 0 at every step of every sequence: no gradient passes, and they do not learn"


def saturated(measured: Measured, need: Requirement, limit: Thresholds) -> str | None:
    """Slopes near zero, or gates that let nothing out or nothing in.

    Flat slopes alone are no illness: networks that have learned well use units as switches. In the plain cell they are
    one where the gradient dies of them, in a gated cell where there are hardly any others.
    """
    saturation, horizon = measured.saturation, measured.flow.horizon
    flat = saturation.flat or 0.0
    if saturation.gates and flat > limit.candidate:
        return f"the candidate's slope is under 0.05 in {flat:.0%} of all steps and units: hardly any gradient passes"
    if not saturation.gates and flat > limit.flat and horizon is not None and horizon < need.memory:
        return (
            f"f' is under 0.05 in {flat:.0%} of all steps and units: hardly any gradient passes, and {horizon} steps "
            f"back less than 1 % of it is left; {need.memory} steps are asked for"
        )
    shut = saturation.gates["o"].shut if "o" in saturation.gates else 0.0
    if shut > limit.shut:
        return f"the output gate of {shut:.0%} of the units is stuck shut: what the layer holds is never shown"
    held = saturation.gates["z"].open if "z" in saturation.gates else 0.0
    if held > limit.shut and min(saturation.time_constants, default=0.0) > 10 * need.memory:
        return f"the update gate of {held:.0%} of the units is stuck open: the state never changes"
    return None


def truncated(measured: Measured, need: Requirement, limit: Thresholds) -> str | None:
    """The window of truncated backpropagation cuts off what the gradient needs."""
    own = next((row for row in measured.truncation if row.window == need.window), None)
    if own is None or (own.cosine >= limit.cosine and own.error <= limit.error):
        return None
    return (
        f"cut every {own.window} steps, the gradient differs from the full one by {own.error:.0%} "
        f"(cosine {own.cosine:.2f})"
    )


def vanishing(measured: Measured, need: Requirement, limit: Thresholds) -> str | None:
    """The gradient is gone before it has reached back far enough."""
    horizon = measured.flow.horizon
    if horizon is None or horizon >= need.memory:
        return None
    return (
        f"{horizon} steps back less than 1 % of the gradient is left, a factor of {measured.flow.per_lag:.3f} with "
        f"every step; {need.memory} steps are asked for"
    )


def narrow(measured: Measured, need: Requirement, limit: Thresholds) -> str | None:
    """The gradient reaches back far enough, but all errors have become one: a state of H numbers that remembers one."""
    flow = measured.flow
    if len(flow.directions) <= need.memory or flow.pairs[need.memory] < limit.pairs:
        return None
    here, there = flow.directions[0], flow.directions[need.memory]
    if here < limit.wide or there >= limit.narrow:
        return None
    return (
        f"{need.memory} steps back all errors have come to point one way (in {there:.1f} directions, from {here:.1f} "
        f"at their own step): of all that was there then, the state can learn to keep one number"
    )


# The gravest first: a layer's verdict is its first finding.
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


def judge(measured: Measured, need: Requirement, thresholds: Thresholds | None = None) -> tuple[Finding, ...]:
    """Return every finding, the gravest first; a layer without one is healthy."""
    limit = thresholds or Thresholds()
    said = {name: rule(measured, need, limit) for name, rule in VERDICTS.items()}
    findings = tuple(Finding(name, words) for name, words in said.items() if words is not None)
    if findings:
        return findings
    flow = measured.flow
    at = min(need.memory, len(flow.median) - 1)
    return (Finding("healthy", f"{at} steps back {flow.median[at]:.0%} of the gradient is left"),)
