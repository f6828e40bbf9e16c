"""What to change for each verdict: settings of this project that can be pasted behind `elman train ...`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from elman.inspection.results import Finding, Measured, Remedy
from elman.inspection.verdict import Thresholds

LATE = 0.25  # the loss speaks late where at most this share of the steps has an error


@dataclass(frozen=True)
class LayerUnderTest:
    """What the remedies depend on."""

    cell: str  # rnn_tanh, gru, lstm ...
    gated: bool
    measured: Measured
    spoken: float  # share of the steps that the loss judges, as it arrives at the top of the layer's module
    directions: float  # in how many the errors point, likewise at the top
    period: float  # the shortest that the input of any of the module's layers has, in steps
    memory: int  # how many steps back the gradient should reach
    steps: int  # T of the longest sequence
    window: int | None  # of truncated backpropagation
    settings: Mapping[str, Any]  # of the run, as far as they are known

    @property
    def wide(self) -> bool:
        """Whether more than a number or two has to be remembered: the errors point in many directions."""
        return self.directions >= Thresholds.wide

    @property
    def late(self) -> bool:
        """Whether what is learned has to come from far back, since nearly nothing is judged on the way."""
        return self.spoken <= LATE

    @property
    def far(self) -> int:
        """How many steps back anything can be that is to be learned: what training sees at once."""
        return max(2, min(self.window or self.steps, self.steps))


# From so many steps on, rotations do without tanh: its bend, taken at every step, squeezes what was first into what was
# last. Pixel MNIST (784 steps) is learned several times as fast without it, 70 to 120 steps as well with it.
LONG = 200

Prescription = Callable[[LayerUnderTest], list[Remedy]]


def gates(patient: LayerUnderTest) -> list[Remedy]:
    """Take W out of the product of Jacobians: what is to be kept passes through gates, which begin open for long."""
    T = patient.far
    chrono = f"chrono={T}", f"gates that begin with memories of 1 to {T} steps (Tallec and Ollivier, 2018)"
    bias = "forget_bias=1", "gates that begin open (Jozefowicz and others, 2015)"
    # Where every step is judged most of what is to be learned is near, and memories of all lengths are too many.
    first, second = (chrono, bias) if patient.late else (bias, chrono)
    if patient.gated:
        return [_init(*first), _init(*second)]
    why = f"its memory cell carries the gradient past W: {first[1]}"
    return [_cell("lstm", first[0], why, clip=_clip_value(patient))]


def without_gates(patient: LayerUnderTest) -> list[Remedy]:
    """Keep the product of Jacobians of a plain network near 1, and move W so slowly that it stays there."""
    if patient.gated:
        return []
    rate, clip = _slow_rate(patient), _clip_value(patient)
    slow = f"learning_rate={rate:g} and gradients clipped to {clip:g} keep W^{patient.far} near where it begins"
    period = math.floor(10 * max(2.0, patient.period)) / 10
    turns = (
        f"rotation={period:g}",
        f"W turns every pair of units by an angle of its own (Henaff and others, 2016) and loses nothing; it hears "
        f"periods of {period:g} steps and more, which hold 95 % of the input's power; {slow}",
    )
    keeps = "orthogonal", f"W keeps the length of every error (Saxe and others, 2014); {slow}"
    holds = "identity", f"units hold what they have (Le, Jaitly and Hinton, 2015); {slow}"
    relu = _plain("relu", *holds, rate, clip)
    if not patient.late:
        return [_plain("tanh", *keeps, rate, clip), relu]
    fs = ("identity", "tanh") if patient.far >= LONG else ("tanh", "identity")
    return [*(_plain(f, *turns, rate, clip) for f in fs), relu]


def for_vanishing(patient: LayerUnderTest) -> list[Remedy]:
    """Gates that hold for as long as the task asks; without gates, a W that keeps lengths.

    Gates learn what to let in, one thing at a time; rotations keep all that there was, each in its own direction. So
    where all comes from far back and is many things at once, rotations come first.
    """
    if patient.late and patient.wide:
        return for_narrow(patient)
    return [*gates(patient), *without_gates(patient)]


def for_narrow(patient: LayerUnderTest) -> list[Remedy]:
    """A W that keeps all directions apart; else a unit with gates for everything."""
    return [*without_gates(patient), *gates(patient)]


def for_exploding(patient: LayerUnderTest) -> list[Remedy]:
    """Bound the step that a large gradient can make, and remove its cause.

    A plain network that has to remember from far back stands on a knife's edge: the product of as many Jacobians
    vanishes or explodes with the least move of W. There gates come first.
    """
    here = [
        _clip(patient),
        _init("orthogonal", "W lengthens no vector, so that the product of Jacobians does not grow"),
        _learning_rate(patient, "weights that run away make gradients explode later"),
    ]
    if patient.gated:
        return here
    return [*for_vanishing(patient), *here] if patient.late else [*here, *gates(patient)]


def for_chaotic(patient: LayerUnderTest) -> list[Remedy]:
    """Bring W back to where near states stay near; gates first where memory has to be long, as for exploding."""
    here = [
        _init("orthogonal", "with W of gain 1 near states do not part"),
        _clip(patient),
        _learning_rate(patient, "large steps drive W into the chaotic range"),
    ]
    if patient.gated:
        return here
    return [*for_vanishing(patient), *here] if patient.late else [*here, *gates(patient)]


def for_dead(patient: LayerUnderTest) -> list[Remedy]:
    """Units that answer again."""
    return [
        _plain(
            "relu",
            "identity",
            "every unit begins at the edge of answering, with biases of zero, and is moved slowly",
            _slow_rate(patient),
            _clip_value(patient),
        ),
        _learning_rate(patient, "one large step can push a unit to where it never answers again"),
        Remedy(
            "--cell rnn --set nonlinearity=tanh --set init=orthogonal",
            'elman.RNN(..., nonlinearity="tanh", init="orthogonal")',
            "tanh has no dead side",
        ),
    ]


def for_saturated(patient: LayerUnderTest) -> list[Remedy]:
    """Smaller sums before f; gates first in a plain network whose memory has to be long, as for exploding.

    A sigmoid needs another f in any case: its slope is 1/4 at most, so that small sums do not help.
    """
    hopeless = patient.cell == "rnn_sigmoid" or (patient.late and not patient.gated)
    return [
        *(for_vanishing(patient) if hopeless else []),
        _init(
            "orthogonal",
            "weights of gain 1 keep the sums before f small; scale the input to about 1 too",
        ),
        _learning_rate(patient, "large steps make large weights"),
        Remedy(
            "--set weight_decay=0.1", "torch.optim.AdamW(..., weight_decay=0.1)", "weight decay draws the weights back"
        ),
    ]


def for_truncated(patient: LayerUnderTest) -> list[Remedy]:
    """The smallest window that was measured to be long enough."""
    window = patient.window or patient.steps
    enough = [row.window for row in patient.measured.truncation if row.window > window and row.cosine >= 0.95]
    longer = enough[0] if enough else 4 * window
    why = f"with {longer} steps the cosine is at least 0.95" if enough else "no shorter window that was tried is enough"
    return [Remedy(f"--set window={longer}", f"window={longer}", why)]


def for_idle(patient: LayerUnderTest) -> list[Remedy]:
    """Nothing of ours to set: the model leaves the layer out."""
    return []


REMEDIES: dict[str, Prescription] = {
    "idle": for_idle,
    "chaotic": for_chaotic,
    "exploding": for_exploding,
    "dead": for_dead,
    "saturated": for_saturated,
    "truncated too short": for_truncated,
    "vanishing": for_vanishing,
    "narrow": for_narrow,
    "healthy": for_idle,
}


def prescribe(findings: tuple[Finding, ...], patient: LayerUnderTest) -> tuple[Remedy, ...]:
    """Return the remedies of all findings, the gravest's first, each setting once."""
    found: dict[str, Remedy] = {}
    for finding in findings:
        for remedy in REMEDIES[finding.verdict](patient):
            found.setdefault(remedy.paste, remedy)
    return tuple(found.values())


def _init(spec: str, why: str) -> Remedy:
    return Remedy(f"--set init={spec}", f'init="{spec}"', why)


def _cell(cell: str, spec: str, why: str, clip: float) -> Remedy:
    return Remedy(
        f"--cell {cell} --set init={spec} --set clip={clip:g}",
        f'elman.{cell.upper()}(..., init="{spec}"), with gradients clipped to {clip:g}',
        why,
    )


def _plain(nonlinearity: str, spec: str, why: str, rate: float, clip: float) -> Remedy:
    return Remedy(
        f"--cell rnn --set nonlinearity={nonlinearity} --set init={spec} "
        f"--set learning_rate={rate:g} --set clip={clip:g}",
        f'elman.RNN(..., nonlinearity="{nonlinearity}", init="{spec}"), lr={rate:g}, gradients clipped to {clip:g}',
        why,
    )


def _slow_rate(patient: LayerUnderTest) -> float:
    """Return a learning rate of at most 0.1 / T, one digit of it.

    AdamW moves every weight by about the learning rate. A move of W that changes the length of a vector by a factor
    1 + d changes the product of T Jacobians by (1 + d)^T, which stays near 1 for d well under 1 / T.
    """
    rate = min(_rate(patient), 0.1 / patient.far)
    digit = 10.0 ** math.floor(math.log10(rate))
    return round(math.floor(rate / digit + 1e-9) * digit, 12)


def _clip_value(patient: LayerUnderTest) -> float:
    now = float(patient.settings.get("clip", 0) or 0)
    return min(now, 1.0) or 1.0


def _clip(patient: LayerUnderTest) -> Remedy:
    now = float(patient.settings.get("clip", 0) or 0)
    value = 1.0 if not now or now > 1 else now / 4
    return Remedy(
        f"--set clip={value:g}",
        f"torch.nn.utils.clip_grad_norm_(model.parameters(), {value:g})",
        "one exploding batch cannot throw the weights away (Pascanu and others, 2013)",
    )


def _rate(patient: LayerUnderTest) -> float:
    return float(patient.settings.get("learning_rate", 0.003))


def _learning_rate(patient: LayerUnderTest, why: str) -> Remedy:
    now = _rate(patient)
    return Remedy(f"--set learning_rate={now / 10:g}", f"lr={now / 10:g}", f"a tenth of {now:g}: {why}")
