"""Remedies for each verdict: settings of `elman train`, and the same in Python."""

from __future__ import annotations

import math
from collections.abc import Callable

from elman.inspection.results import Finding, Remedy
from elman.inspection.verdict import LayerUnderTest

# From so many steps on, rotations without tanh come first: its repeated squashing mixes early inputs into late ones.
# Pixel MNIST (784 steps) is learned several times as fast without it, 70 to 120 steps as well with it.
LONG = 200

RemedyRule = Callable[[LayerUnderTest], list[Remedy]]


def gated(layer: LayerUnderTest) -> list[Remedy]:
    """Gates, which carry the gradient past W, initialised for long memory."""
    T = layer.far
    chrono = f"chrono={T}", f"gates initialised with time constants of 1 to {T} steps (Tallec and Ollivier, 2018)"
    bias = "forget_bias=1", "forget gates initialised open (Jozefowicz and others, 2015)"
    # If every step has a loss, most dependencies are short, and time constants of all lengths are too many.
    first, second = (chrono, bias) if layer.late else (bias, chrono)
    if layer.gated:
        return [_init(*first), _init(*second)]
    spec, reason = first
    return [
        Remedy(
            f"--cell lstm --set init={spec} --set clip={layer.clip_to_one:g}",
            f'elman.LSTM(..., init="{spec}"), with gradients clipped to {layer.clip_to_one:g}',
            f"its memory cell carries the gradient past W: {reason}",
        )
    ]


def ungated(layer: LayerUnderTest) -> list[Remedy]:
    """A plain cell whose product of Jacobians starts near 1, and a learning rate that keeps it there."""
    if layer.gated:
        return []
    slow = (
        f"learning_rate={layer.slow_rate:g} and gradients clipped to {layer.clip_to_one:g} keep W^{layer.far} near its "
        "initial value"
    )
    holds = f"units keep their values (Le, Jaitly and Hinton, 2015); {slow}"
    relu = _plain(layer, "relu", "identity", holds)
    if not layer.late:
        keeps = f"W preserves the norm of every error (Saxe and others, 2014); {slow}"
        return [_plain(layer, "tanh", "orthogonal", keeps), relu]
    period = math.floor(10 * max(2.0, layer.shortest_period)) / 10
    turns = (
        f"W rotates every pair of units by a different angle (Henaff and others, 2016) and preserves norms; its "
        f"periods are {period:g} steps and more, which hold 95 % of the input's power; {slow}"
    )
    fs = ("identity", "tanh") if layer.far >= LONG else ("tanh", "identity")
    return [*(_plain(layer, f, f"rotation={period:g}", turns) for f in fs), relu]


def for_vanishing(layer: LayerUnderTest) -> list[Remedy]:
    """Gates with long time constants; without gates, a W that preserves norms.

    Gates learn which inputs to keep, one at a time; rotations keep all of them, each in a direction of its own. So
    rotations come first if the loss is late and wide.
    """
    if layer.late and layer.wide:
        return for_narrow(layer)
    return [*gated(layer), *ungated(layer)]


def for_narrow(layer: LayerUnderTest) -> list[Remedy]:
    """A W that keeps all directions apart; then gates."""
    return [*ungated(layer), *gated(layer)]


def for_exploding(layer: LayerUnderTest) -> list[Remedy]:
    """Clipping, and an initialisation without growth.

    In a plain network with a late loss the product of many Jacobians vanishes or explodes with a small change of W.
    There gates come first.
    """
    return _with_gates(
        layer,
        _clip(layer),
        _init("orthogonal", "W increases no norm, so that the product of Jacobians does not grow"),
        _learning_rate(layer, "growing weights make gradients explode later"),
    )


def for_chaotic(layer: LayerUnderTest) -> list[Remedy]:
    """A W without chaos; gates first for a late loss, as for exploding."""
    return _with_gates(
        layer,
        _init("orthogonal", "with W of gain 1 nearby states do not diverge"),
        _clip(layer),
        _learning_rate(layer, "large steps drive W into the chaotic range"),
    )


def for_dead(layer: LayerUnderTest) -> list[Remedy]:
    """Initialisation and learning rates that keep relu units alive."""
    return [
        _plain(layer, "relu", "identity", "every unit starts at zero bias and moves slowly"),
        _learning_rate(layer, "one large step can make a unit dead for good"),
        Remedy(
            "--cell rnn --set nonlinearity=tanh --set init=orthogonal",
            'elman.RNN(..., nonlinearity="tanh", init="orthogonal")',
            "tanh units cannot be dead",
        ),
    ]


def for_saturated(layer: LayerUnderTest) -> list[Remedy]:
    """Smaller pre-activations; gates first in a plain network with a late loss, as for exploding.

    A sigmoid has to be replaced: its derivative is at most 1/4, so that small pre-activations do not help.
    """
    replace = layer.cell == "rnn_sigmoid" or (layer.late and not layer.gated)
    return [
        *(for_vanishing(layer) if replace else []),
        _init("orthogonal", "weights of gain 1 keep the pre-activations small; scale the input to about 1 too"),
        _learning_rate(layer, "large steps make large weights"),
        Remedy(
            "--set weight_decay=0.1", "torch.optim.AdamW(..., weight_decay=0.1)", "weight decay shrinks the weights"
        ),
    ]


def for_truncated(layer: LayerUnderTest) -> list[Remedy]:
    """The smallest measured window that is long enough."""
    window = layer.window or layer.steps
    long_enough = [row.window for row in layer.measured.truncation if row.window > window and row.cosine >= 0.95]
    longer = long_enough[0] if long_enough else 4 * window
    reason = f"with {longer} steps the cosine is at least 0.95" if long_enough else "no shorter window is long enough"
    return [Remedy(f"--set window={longer}", f"window={longer}", reason)]


REMEDIES: dict[str, RemedyRule] = {
    "idle": lambda layer: [],
    "chaotic": for_chaotic,
    "exploding": for_exploding,
    "dead": for_dead,
    "saturated": for_saturated,
    "truncated too short": for_truncated,
    "vanishing": for_vanishing,
    "narrow": for_narrow,
    "healthy": lambda layer: [],
}


def remedies_for(findings: tuple[Finding, ...], layer: LayerUnderTest) -> tuple[Remedy, ...]:
    """Return the remedies of all findings, those of the most severe first, each setting once."""
    remedies: dict[str, Remedy] = {}
    for finding in findings:
        for remedy in REMEDIES[finding.verdict](layer):
            remedies.setdefault(remedy.options, remedy)
    return tuple(remedies.values())


def _init(spec: str, reason: str) -> Remedy:
    return Remedy(f"--set init={spec}", f'init="{spec}"', reason)


def _with_gates(layer: LayerUnderTest, *remedies: Remedy) -> list[Remedy]:
    """Add gates to the remedies of a plain cell: first for a late loss, otherwise last."""
    if layer.gated:
        return list(remedies)
    return [*for_vanishing(layer), *remedies] if layer.late else [*remedies, *gated(layer)]


def _plain(layer: LayerUnderTest, nonlinearity: str, spec: str, reason: str) -> Remedy:
    rate, clip = layer.slow_rate, layer.clip_to_one
    return Remedy(
        f"--cell rnn --set nonlinearity={nonlinearity} --set init={spec} "
        f"--set learning_rate={rate:g} --set clip={clip:g}",
        f'elman.RNN(..., nonlinearity="{nonlinearity}", init="{spec}"), lr={rate:g}, gradients clipped to {clip:g}',
        reason,
    )


def _clip(layer: LayerUnderTest) -> Remedy:
    value = layer.clip / 4 if 0 < layer.clip <= 1 else 1.0
    return Remedy(
        f"--set clip={value:g}",
        f"torch.nn.utils.clip_grad_norm_(model.parameters(), {value:g})",
        "one exploding batch cannot destroy the weights (Pascanu and others, 2013)",
    )


def _learning_rate(layer: LayerUnderTest, reason: str) -> Remedy:
    current = layer.learning_rate
    return Remedy(f"--set learning_rate={current / 10:g}", f"lr={current / 10:g}", f"a tenth of {current:g}: {reason}")
