"""A sequence of a run's data through the trained model, as data of the page: activations, gates, dependences."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from elman.errors import SettingError
from elman.explorer.symbols import MOST_STEPS, Names, names_of
from elman.explorer.weights import typable
from elman.inspection.capture.recorder import CapturedCall, record
from elman.inspection.capture.replay import Linear, Trace, replay
from elman.predictors.base import Predictor, non_finite_output
from elman.recipes import use

MOST_BYTES = 1_100_000
"""Of all activations; in base64 they take a third more."""

GATES = {"lstm": {"i": 0, "f": 1, "o": 3}, "gru": {"r": 0, "z": 1}}
"""The sigmoid gates of a kernel, with their places."""

NEGLIGIBLE = 1e-6
"""A share of an error that is not listed."""


def recorded(
    run: str | Path, predictor: Predictor, sources: Sequence[Path] = (), *, sequence: int = 0
) -> dict[str, Any]:
    """Return a sequence through every recurrent layer of a trained run.

    Args:
        run: the run directory.
        predictor: that `elman.load` returned for it.
        sources: data; none for the run's own.
        sequence: which sequence of the first batch, from 0.

    Raises:
        ElmanError: the run came without its data, or they cannot be read.
        NonFiniteError: the model gives numbers that are not finite.
        SettingError: there is no such sequence.
    """
    subject = use.diagnosable(run, sources)
    batch = subject.sample.batches[0]
    calls = record(subject.model, batch, subject.sample.loss, weights=False).calls
    calls = [call for call in calls if call.x_TBI.numel()]
    most = min((call.x_TBI.shape[1] for call in calls), default=0)
    if not 0 <= sequence < most:
        raise SettingError(
            "there is no such sequence",
            should=f"a number from 0 to {most - 1}",
            found=str(sequence),
            hint="--sequence 0",
        )
    traces = [replay(call) for call in calls]
    if not all(bool(torch.isfinite(values).all()) for trace in traces for values in trace.after):
        raise non_finite_output(predictor.run)
    steps = _steps(traces, sequence)
    names = names_of(predictor, batch, sequence)
    layers = [_layer(call, trace, sequence, steps, names) for call, trace in zip(calls, traces, strict=True)]
    layers = _numbered([layer for layer in layers if layer["steps"]])
    whole = max((int(trace.exists_TB[:, sequence].sum()) for trace in traces), default=0)
    parameters = sum(p.numel() for p in subject.model.parameters())
    return {
        "recipe": subject_name(predictor), "parameters": parameters, "sequence": sequence, "whole": whole,
        "layers": layers, "targets": names.targets[:steps], "answers": _rounded(names, steps),
        "weights": typable(predictor, calls),
    }  # fmt: skip


def subject_name(predictor: Predictor) -> str:
    """Return the run and what kind of model it holds, for people."""
    kind = type(predictor).__name__.removesuffix("Predictor")
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in kind).strip()
    return f"{words} in {Path(predictor.run).name}"


def _numbered(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tell layers of one name apart, which are several calls of one layer."""
    counts: dict[str, int] = {}
    for layer in layers:
        counts[layer["name"]] = counts.get(layer["name"], 0) + 1
        if counts[layer["name"]] > 1:
            layer["name"] += f", call {counts[layer['name']]}"
    return layers


def _steps(traces: Sequence[Trace], row: int) -> int:
    """Return how many steps fit on the page."""
    widths = [trace.gx_TBGH.shape[3] * (2 * len(trace.after) + trace.gx_TBGH.shape[2]) for trace in traces]
    return max(1, min(MOST_STEPS, MOST_BYTES // max(1, sum(widths))))


def _layer(call: CapturedCall, trace: Trace, row: int, steps: int, names: Names) -> dict[str, Any]:
    """Return one layer in one direction, in the order of time."""
    exists_T = trace.exists_TB[:, row]
    T, reverse = int(exists_T.sum()), bool(call.strand.direction)
    shown = min(steps, T)

    def in_time(values_TX: Tensor) -> Tensor:
        present = values_TX[exists_T]
        return (present.flip(0) if reverse else present)[:shown]

    units = trace.after[0].shape[-1]  # with a projection fewer than the gates have, which are then not shown
    pairs = zip(trace.cell.states, trace.after, strict=True)
    states = {name: _packed(in_time(s[:, row])) for name, s in pairs if s.shape[-1] == units}
    places, gate_TGH = GATES.get(trace.cell.kernel or "", {}), (trace.gx_TBGH + trace.gh_TBGH)[:, row]
    gates = {name: _packed(in_time(gate_TGH[:, at]).sigmoid(), 255) for name, at in places.items()}
    gates = gates if gate_TGH.shape[-1] == units else {}
    module = call.strand.module.split(".")[0]
    inputs = names.inputs.get(module, names.inputs.get("", []))
    return {
        "name": str(call.strand), "cell": trace.cell.kernel or type(trace.cell).__name__, "reverse": reverse,
        "units": units, "steps": shown, "of": T, "states": states, "gates": gates,
        "inputs": inputs[:shown], "depends": _dependences(trace, row, exists_T, reverse, shown),
    }  # fmt: skip


def _dependences(trace: Trace, row: int, exists_T: Tensor, reverse: bool, shown: int) -> list[list[float]]:
    """Return |dE_t/ds_{t-k}| / |dE_t/ds_t| by lag k, for each step t in the order of time; empty without an error.

    It is what the doctor takes quantiles of (`elman.inspection.measures.gradient_flow`), for one sequence. In a layer
    that runs in reverse, step t - k of the run is step t + k of time.
    """
    linear = Linear(trace).rows(row, row + 1)
    part, T = linear.trace, int(exists_T.sum())
    first = int(exists_T.nonzero()[0]) if T else 0
    rows: list[list[float]] = [[] for _ in range(trace.T)]
    d_state = part.error
    start_T = _norm(d_state)
    alive_T = part.exists_TB[:, 0] & (start_T > 0)
    for lag in range(trace.T):
        ratio_T = _norm(d_state) / start_T[lag:]
        for t in alive_T.nonzero()[:, 0].tolist():
            rows[t + lag].append(float(f"{float(ratio_T[t]):.3g}"))
        stop = trace.T - lag
        if stop <= 1 or not bool(alive_T.any()):
            break
        _, d_before = linear.pull(0, stop, d_state)
        thread_T = part.thread_TB[1:stop, 0]
        d_state = tuple(torch.where(thread_T[:, None, None], d[1:], 0) for d in d_before)
        alive_T = alive_T[1:] & thread_T & (ratio_T[1:] > NEGLIGIBLE)
    present = rows[first : first + T]
    in_time = present[::-1] if reverse else present
    finite = [[value if value < 1e30 else 1e30 for value in lags] for lags in in_time]
    reach = [shown - t if reverse else t + 1 for t in range(shown)]
    return [lags[:most] for lags, most in zip(finite, reach, strict=False)]


def _norm(state: Sequence[Tensor]) -> Tensor:
    """Return the length of the gradient of all states together, of the one sequence, (T,)."""
    norm_T: Tensor = torch.linalg.vector_norm(torch.cat(list(state), dim=-1), dim=-1)[:, 0]
    return norm_T


def _packed(values_TH: Tensor, levels: int = 32767) -> dict[str, Any]:
    """Return numbers as whole ones of 8 or 16 bits in base64, step by step, with the scale that gives them back."""
    top = 1.0 if levels == 255 else float(values_TH.abs().max()) if values_TH.numel() else 1.0
    scale = (top or 1.0) / levels
    whole = (values_TH / scale).round().numpy().astype("u1" if levels == 255 else "<i2")
    return {"scale": scale, "bits": 8 if levels == 255 else 16, "base64": base64.b64encode(whole.tobytes()).decode()}


def _rounded(names: Names, steps: int) -> list[list[tuple[str, float]]]:
    """Return the answers of the steps that are shown; one alone is that of the whole sequence."""
    return [[(name, float(f"{p:.4g}")) for name, p in row] for row in names.answers[:steps]]
