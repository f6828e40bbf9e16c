"""What to change for each verdict: settings of this project that can be pasted behind `elman train ...`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from elman.inspection.report import Finding, Measured, Remedy


@dataclass(frozen=True)
class Patient:
    """What the remedies depend on."""

    cell: str  # rnn_tanh, gru, lstm ...
    gated: bool
    measured: Measured
    memory: int  # how many steps back the gradient should reach
    steps: int  # T of the longest sequence
    window: int | None  # of truncated backpropagation
    settings: Mapping[str, Any]  # of the run, as far as they are known


Prescription = Callable[[Patient], list[Remedy]]


def for_vanishing(patient: Patient) -> list[Remedy]:
    """Gates that hold for as long as the task asks; without gates, units that hold by themselves."""
    T = patient.steps
    if patient.gated:
        return [
            _init(f"chrono={T}", f"gates that begin with memories of 1 to {T} steps (Tallec and Ollivier, 2018)"),
            _init("forget_bias=1", "gates that begin open (Jozefowicz and others, 2015): a smaller step the same way"),
        ]
    return [
        _cell("lstm", f"chrono={T}", "its memory cell carries the gradient without W; its gates begin open for long"),
        _identity("a plain network whose units hold what they have (Le, Jaitly and Hinton, 2015)"),
        _init("orthogonal", "W keeps the length of every vector, so that only f shortens it (Saxe and others, 2014)"),
    ]


def for_exploding(patient: Patient) -> list[Remedy]:
    """Bound the step that a large gradient can make; then remove its cause."""
    return [
        _clip(patient),
        _init("orthogonal", "W lengthens no vector, so that the product of Jacobians does not grow"),
        _learning_rate(patient, "weights that run away make gradients explode later"),
        *([] if patient.gated else [_cell("lstm", "forget_bias=1", "its memory passes through gates of at most 1")]),
    ]


def for_chaotic(patient: Patient) -> list[Remedy]:
    """Bring W back to where near states stay near."""
    return [
        _init("orthogonal", "with W of gain 1 near states do not part"),
        _clip(patient),
        _learning_rate(patient, "large steps drive W into the chaotic range"),
        *([] if patient.gated else [_cell("lstm", "forget_bias=1", "gates damp the recurrence")]),
    ]


def for_dead(patient: Patient) -> list[Remedy]:
    """Units that answer again."""
    return [
        _identity("every unit begins at the edge of answering, with biases of zero"),
        _learning_rate(patient, "one large step can push a unit to where it never answers again"),
        Remedy(
            "--cell rnn --set nonlinearity=tanh --set init=orthogonal",
            'elman.RNN(..., nonlinearity="tanh", init="orthogonal")',
            "tanh has no dead side",
        ),
    ]


def for_saturated(patient: Patient) -> list[Remedy]:
    """Smaller sums before f."""
    return [
        _init(
            "orthogonal",
            "weights of gain 1 keep the sums before f small; scale the input to about 1 too",
        ),
        _learning_rate(patient, "large steps make large weights"),
        Remedy(
            "--set weight_decay=0.1", "torch.optim.AdamW(..., weight_decay=0.1)", "weight decay draws the weights back"
        ),
    ]


def for_truncated(patient: Patient) -> list[Remedy]:
    """The smallest window that was measured to be long enough."""
    window = patient.window or patient.steps
    enough = [row.window for row in patient.measured.truncation if row.window > window and row.cosine >= 0.95]
    longer = enough[0] if enough else 4 * window
    why = f"with {longer} steps the cosine is at least 0.95" if enough else "no shorter window that was tried is enough"
    return [Remedy(f"--set window={longer}", f"window={longer}", why)]


def for_idle(patient: Patient) -> list[Remedy]:
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
    "healthy": for_idle,
}


def prescribe(findings: tuple[Finding, ...], patient: Patient) -> tuple[Remedy, ...]:
    """Return the remedies of all findings, the gravest's first, each setting once."""
    found: dict[str, Remedy] = {}
    for finding in findings:
        for remedy in REMEDIES[finding.verdict](patient):
            found.setdefault(remedy.paste, remedy)
    return tuple(found.values())


def _init(spec: str, why: str) -> Remedy:
    return Remedy(f"--set init={spec}", f'init="{spec}"', why)


def _cell(cell: str, spec: str, why: str) -> Remedy:
    return Remedy(f"--cell {cell} --set init={spec}", f'elman.{cell.upper()}(..., init="{spec}")', why)


def _identity(why: str) -> Remedy:
    return Remedy(
        "--cell rnn --set nonlinearity=relu --set init=identity --set clip=1.0",
        'elman.RNN(..., nonlinearity="relu", init="identity"), with gradients clipped to 1',
        why,
    )


def _clip(patient: Patient) -> Remedy:
    now = float(patient.settings.get("clip", 0) or 0)
    value = 1.0 if not now or now > 1 else now / 4
    return Remedy(
        f"--set clip={value}",
        f"torch.nn.utils.clip_grad_norm_(model.parameters(), {value:g})",
        "one exploding batch cannot throw the weights away (Pascanu and others, 2013)",
    )


def _learning_rate(patient: Patient, why: str) -> Remedy:
    now = float(patient.settings.get("learning_rate", 0.002))
    return Remedy(f"--set learning_rate={now / 10:g}", f"lr={now / 10:g}", f"a tenth of {now:g}: {why}")
