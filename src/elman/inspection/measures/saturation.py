"""Saturation: saturated and dead units, gates that are stuck open or closed, and time constants.

f' of the plain cell is the step's own derivative. The gates of the LSTM and the GRU are computed from their
pre-activations; a gate at 0.95 or more is open, at 0.05 or less closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from elman.inspection.capture.replay import Linear, Trace
from elman.layers.rnn import ReluCell

SATURATED = 0.05  # a derivative under this counts as saturated
ALWAYS = 0.95  # a gate is stuck if it is open, or closed, in this share of all steps


@dataclass(frozen=True)
class GateActivity:
    """One gate over all steps, sequences and units.

    Attributes:
        mean: of its value.
        open: the share of the units whose gate is stuck open.
        closed: the share of the units whose gate is stuck closed.
    """

    mean: float
    open: float
    closed: float


@dataclass(frozen=True)
class Saturation:
    """Saturation of the units of one layer in one direction.

    Attributes:
        saturated: the share of all (step, sequence, unit) with f' (of a gated cell: the candidate's) under 0.05.
        always_saturated: the share of the units for which that holds at 95 % of the steps.
        dead: relu: the share of the units that are 0 at every step of every sequence.
        gates: by the gate's letter; empty for the plain cell.
        time_constants: -1 / mean(log keep) of the gate that keeps the past, in steps: quantiles 10, 25, 50, 75, 90 %
            over the units; empty without such a gate.
    """

    saturated: float | None
    always_saturated: float | None
    dead: float | None
    gates: dict[str, GateActivity]
    time_constants: tuple[float, ...]


def measure(linears: Sequence[Linear]) -> Saturation:
    """Measure saturation over the calls of one layer in one direction."""
    trace = linears[0].trace
    derivatives_NH = _rows(linears, _derivatives)
    relu = isinstance(trace.cell, ReluCell)
    saturated = always = dead = None
    if derivatives_NH is not None and derivatives_NH.numel():
        saturated_NH = derivatives_NH < SATURATED
        dead = float((derivatives_NH == 0).all(0).float().mean()) if relu else None
        if not relu:  # half of the relu units are 0 at any step, as they should be
            saturated = float(saturated_NH.float().mean())
            always = _always(saturated_NH)
    return Saturation(saturated, always, dead, _gates(linears), _time_constants(linears))


def gate_values(trace: Trace, gate: str) -> Tensor:
    """Return the value of a sigmoid gate, (T, B, H)."""
    g = trace.cell.gates.index(gate)
    return torch.sigmoid(trace.gx_TBGH[:, :, g] + trace.gh_TBGH[:, :, g])


def _derivatives(linear: Linear) -> Tensor | None:
    """Return f' of every step; of a gated cell the derivative of its candidate."""
    trace, cell = linear.trace, linear.trace.cell
    if len(cell.gates) == 1:
        return None if linear.gates[0] is None else linear.gates[0][:, :, 0]
    if cell.candidate is None:
        return None
    g = cell.gates.index(cell.candidate)
    past_TBH = trace.gh_TBGH[:, :, g]
    if cell.candidate_reset is not None:
        past_TBH = gate_values(trace, cell.candidate_reset) * past_TBH
    return 1 - torch.tanh(trace.gx_TBGH[:, :, g] + past_TBH) ** 2


def _gates(linears: Sequence[Linear]) -> dict[str, GateActivity]:
    activity = {}
    for letter in linears[0].trace.cell.sigmoid_gates:
        values_NH = _rows(linears, lambda linear, letter=letter: gate_values(linear.trace, letter))  # type: ignore[misc]
        if values_NH is not None and values_NH.numel():
            activity[letter] = GateActivity(
                float(values_NH.mean()), _always(values_NH >= ALWAYS), _always(values_NH <= 1 - ALWAYS)
            )
    return activity


def _always(true_NH: Tensor) -> float:
    """Return the share of the units for which it is true at `ALWAYS` of the steps."""
    return float((true_NH.float().mean(0) >= ALWAYS).float().mean())


def _time_constants(linears: Sequence[Linear]) -> tuple[float, ...]:
    # The gate on the last state's own past: f of the LSTM, z of the GRU, none in the plain cell.
    keep_NH = _rows(linears, lambda linear: linear.carry[-1][-1])
    if keep_NH is None or not keep_NH.numel():
        return ()
    taus = -1 / keep_NH.double().clamp(1e-12, 1 - 1e-9).log().mean(0)
    return tuple(torch.quantile(taus, taus.new_tensor([0.1, 0.25, 0.5, 0.75, 0.9])).tolist())


def _rows(linears: Sequence[Linear], values: Callable[[Linear], Tensor | None]) -> Tensor | None:
    """Return the values at the existing steps of all calls, (N, H); None if a call has none."""
    rows = []
    for linear in linears:
        values_TBH = values(linear)
        if values_TBH is None:
            return None
        rows.append(values_TBH[linear.trace.exists_TB])
    return torch.cat(rows)
