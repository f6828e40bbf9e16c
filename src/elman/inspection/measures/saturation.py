"""Units that do not let a gradient pass: saturated, dead, or behind a gate that never moves; and how long gates hold.

f' of the plain cell is the step's own derivative. The gates of the LSTM and the GRU are computed from what the input
and the past send them; a gate at 0.95 or more is open, at 0.05 or less shut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from elman.inspection.capture.replay import Linear, Trace
from elman.layers.rnn import ReluCell

FLAT = 0.05  # a slope under this counts as saturated
ALWAYS = 0.95  # a gate is stuck where it is open, or shut, in this share of all steps


@dataclass(frozen=True)
class Gate:
    """One gate over all steps, sequences and units."""

    mean: float  # of its value
    open: float  # share of the units whose gate is stuck open
    shut: float  # share of the units whose gate is stuck shut


@dataclass(frozen=True)
class Saturation:
    """What a strand's units let through; shares are of units unless they say otherwise."""

    flat: float | None  # share of all (step, sequence, unit) with f' (of a gated cell: the candidate's) under 0.05
    stuck: float | None  # share of the units for which that holds at 95 % of the steps
    dead: float | None  # relu: share of the units that are 0 at every step of every sequence
    gates: dict[str, Gate]  # by the gate's letter; empty for the plain cell
    time_constants: tuple[float, ...]  # -1/mean(log keep) of the gate that keeps the past, in steps: quantiles
    #                                    10, 25, 50, 75, 90 % over the units; empty without such a gate


def measure(linears: Sequence[Linear]) -> Saturation:
    """Measure saturation over the passages of one strand."""
    trace = linears[0].trace
    slopes_NH = _rows(linears, _slopes)
    relu = isinstance(trace.cell, ReluCell)
    flat = stuck = dead = None
    if slopes_NH is not None and slopes_NH.numel():
        is_flat = slopes_NH < FLAT
        dead = float((slopes_NH == 0).all(0).float().mean()) if relu else None
        if not relu:  # half of relu's units are off at any step, and should be
            flat = float(is_flat.float().mean())
            stuck = float((is_flat.float().mean(0) >= ALWAYS).float().mean())
    return Saturation(flat, stuck, dead, _gates(linears), _time_constants(linears))


def gate_values(trace: Trace, gate: str) -> Tensor:
    """Return the value of a sigmoid gate, (T, B, H)."""
    g = trace.cell.gates.index(gate)
    return torch.sigmoid(trace.gx_TBGH[:, :, g] + trace.gh_TBGH[:, :, g])


def _slopes(linear: Linear) -> Tensor | None:
    """Return f' of every step, or of a gated cell the slope of its candidate."""
    trace, gates = linear.trace, linear.trace.cell.gates
    if len(gates) == 1:
        first = linear.gates[0]
        return None if first is None else first[:, :, 0]
    cell = trace.cell
    if cell.candidate is None:
        return None
    g = gates.index(cell.candidate)
    past_TBH = trace.gh_TBGH[:, :, g]
    if cell.candidate_reset is not None:
        past_TBH = gate_values(trace, cell.candidate_reset) * past_TBH
    return 1 - torch.tanh(trace.gx_TBGH[:, :, g] + past_TBH) ** 2


def _gates(linears: Sequence[Linear]) -> dict[str, Gate]:
    found = {}
    for letter in linears[0].trace.cell.sigmoid_gates:
        values_NH = _rows(linears, lambda linear, letter=letter: gate_values(linear.trace, letter))  # type: ignore[misc]
        if values_NH is not None and values_NH.numel():
            found[letter] = Gate(
                float(values_NH.mean()),
                float(((values_NH >= ALWAYS).float().mean(0) >= ALWAYS).float().mean()),
                float(((values_NH <= 1 - ALWAYS).float().mean(0) >= ALWAYS).float().mean()),
            )
    return found


def _time_constants(linears: Sequence[Linear]) -> tuple[float, ...]:
    # What the last state keeps of itself past the gates: f of the LSTM, z of the GRU, nothing in the plain cell.
    keep_NH = _rows(linears, lambda linear: linear.carry[-1][-1])
    if keep_NH is None or not keep_NH.numel():
        return ()
    log_keep_H = keep_NH.double().clamp(1e-12, 1 - 1e-9).log().mean(0)
    taus = -1 / log_keep_H
    return tuple(torch.quantile(taus, taus.new_tensor([0.1, 0.25, 0.5, 0.75, 0.9])).tolist())


def _rows(linears: Sequence[Linear], values: Callable[[Linear], Tensor | None]) -> Tensor | None:
    """Return the values at the steps that exist, of all passages, (N, H); None where a passage has none."""
    found = []
    for linear in linears:
        each = values(linear)
        if each is None:
            return None
        found.append(each[linear.trace.exists_TB])
    return torch.cat(found)
