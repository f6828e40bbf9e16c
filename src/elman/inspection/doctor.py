"""Gradient diagnosis: run a sample of batches, measure every recurrent layer, and find verdicts and remedies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from elman.errors import DataError, SettingError
from elman.inspection.capture.recorder import CapturedCall, LayerDirection, LossFunction, record
from elman.inspection.capture.replay import Linear, replay
from elman.inspection.isolation import preserved_rng_state, single_thread
from elman.inspection.measures import gradient_flow, jacobian, periodicity, saturation, state_drift, truncation
from elman.inspection.remedies import remedies_for
from elman.inspection.report import Report
from elman.inspection.results import GradientNorms, LargestGradient, LayerReport, Measurements
from elman.inspection.verdict import LayerUnderTest, Thresholds, apply_rules

# Multiplications for the walk over all lags, for each layer and direction; about three seconds on one core.
MAX_WORK = 1.5e11
MAX_LISTED = 8  # sequences


@torch.inference_mode(mode=False)
@torch.enable_grad()
def diagnose(
    model: nn.Module,
    batches: Iterable[Any],
    loss: LossFunction,
    *,
    lags: int | None = None,
    memory: int | None = None,
    window: int | None = None,
    settings: Mapping[str, Any] | None = None,
    norms: Sequence[float] = (),
    thresholds: Thresholds | None = None,
) -> Report:
    """Measure the gradient flow through every recurrent layer of a model, and find verdicts and remedies.

    The model runs in evaluation mode and is left unchanged, `.grad` included. Its recurrent layers may be elman's or
    torch.nn's, with any number of layers and directions, anywhere in it. docs/guide/diagnose.md explains every number,
    and which of them are exact.

    Args:
        model: any module.
        batches: a sample of real batches, of any type that `loss` takes; one is enough. All are in memory at once.
        loss: `loss(model, batch)` returns the scalar that training minimises.
        lags: K, how far back to follow the gradient; None: over the whole sequence.
        memory: how many steps back the gradient should reach; None: a quarter of the longest sequence, or an eighth of
            the window, in which the mean past of a step is half a window.
        window: of truncated backpropagation through time in training; None: training on whole sequences. To measure
            the effect of truncation, the batches must be longer than the window, at best four times as long.
        settings: of the run, such as learning_rate and clip, for the numbers in the remedies.
        norms: gradient norms of recent training steps, before clipping.
        thresholds: limits of the verdicts.

    Raises:
        ElmanError: the model has no recurrent layer, or the loss is not a scalar with a gradient.
        DataError: there is no batch, the sequences are too short for the lags, or a layer ran on empty ones alone or in
            half precision.
        NonFiniteError: the loss is infinite or NaN.
        SettingError: lags, memory or window is not a positive integer.
    """
    for name, value in (("lags", lags), ("memory", memory), ("window", window)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise SettingError(f"{name} is not a number of steps", should="1 or more, or None", found=repr(value))
    sample = list(batches)
    if not sample:
        raise DataError("there is no batch to diagnose", should="at least one batch", found="none")
    with preserved_rng_state(model):
        recordings = [record(model, batch, loss) for batch in sample]
        T = max(len(call.x_TBI) for r in recordings for call in r.calls)
        _check_batches(T, {call.x_TBI.dtype for r in recordings for call in r.calls}, lags)
        strands: dict[LayerDirection, list[tuple[int, CapturedCall]]] = {}
        for batch, recording in enumerate(recordings):
            for call in recording.calls:
                strands.setdefault(call.strand, []).append((batch, call))
        full = truncation.summed_gradients(recordings, list(strands))
        cuts = truncation.measure(model, sample, loss, full, truncation.windows(window, T))
    required = memory or max(1, min(window // 8 if window else T, T // 4))
    squares: dict[tuple[int, int], float] = {}

    def examine(strand: LayerDirection) -> tuple[LayerReport, LayerUnderTest]:
        linears, totals = _linearise(strand, strands[strand], squares)
        measured = _measure(linears, totals, full[strand], cuts.get(strand, ()), window, lags)
        cell, hidden = linears[0].trace.cell, linears[0].trace.gx_TBGH.shape[-1]
        tested = LayerUnderTest(
            cell=cell.kernel or type(cell).__name__,
            gated=len(cell.gates) > 1,
            measured=measured,
            supervised_share=measured.flow.supervised_share,
            participation_ratio=measured.flow.participation_ratio[0],
            shortest_period=measured.shortest_period,
            memory=required,
            steps=max(linear.trace.T for linear in linears),
            window=window,
            settings=settings or {},
        )
        findings = apply_rules(tested, thresholds)
        verdict = findings[0].verdict
        return LayerReport(str(strand), *strand, tested.cell, hidden, measured, verdict, findings, ()), tested

    with single_thread():
        examined = [examine(strand) for strand in strands]
    largest, half = _largest_gradients(squares)
    return Report(
        loss=sum(r.loss for r in recordings) / len(recordings),
        batches=len(sample),
        sequences=sum(max(call.x_TBI.shape[1] for call in r.calls) for r in recordings),
        steps=T,
        memory=required,
        window=window,
        layers=_with_remedies(examined),
        largest_gradients=largest,
        half_gradient_share=half,
        gradient_norms=GradientNorms.of(norms, float((settings or {}).get("clip", 0) or 0)),
    )


def _largest_gradients(squares: Mapping[tuple[int, int], float]) -> tuple[tuple[LargestGradient, ...], float]:
    """Return the sequences with the largest gradients, and the share of all sequences that holds half of the sum."""
    norms = sorted(((square**0.5, place) for place, square in squares.items()), reverse=True)
    total = sum(norm for norm, _ in norms) or 1.0
    sums = accumulate(norm for norm, _ in norms)
    half = next((count / len(norms) for count, so_far in enumerate(sums, 1) if so_far >= total / 2), 1.0)
    return tuple(LargestGradient(*place, norm, norm / total) for norm, place in norms[:MAX_LISTED]), half


def _check_batches(T: int, dtypes: set[torch.dtype], lags: int | None) -> None:
    least = (lags or 1) + 1
    if least > T:
        raise DataError(
            "the sequences are too short for the lags",
            should=f"at least {least} steps" + (f" to follow {lags} lags" if lags else ""),
            found=f"{T} in the longest sequence",
            hint="longer batches" + (f", or lags={T - 1}" if T > 1 else ""),
        )
    if dtypes - {torch.float32, torch.float64}:
        raise DataError(
            "half precision cannot be diagnosed",
            should="float32 or float64",
            found=", ".join(sorted(str(dtype) for dtype in dtypes)),
            hint="diagnose model.float()",
        )


def _linearise(
    strand: LayerDirection, calls: Sequence[tuple[int, CapturedCall]], squares: dict[tuple[int, int], float]
) -> tuple[list[Linear], list[Tensor]]:
    """Return the calls that have steps, and dE/dW of each; add the squared norms by (batch, sequence) to `squares`."""
    linears, totals = [], []
    for batch, call in calls:
        if not call.x_TBI.numel():
            continue
        linears.append(Linear(replay(call)))
        d_W, norms_B = gradient_flow.backpropagate(linears[-1])
        totals.append(d_W)
        for row, norm in enumerate(norms_B.tolist()):
            squares[batch, row] = squares.get((batch, row), 0.0) + norm * norm
    if not linears:
        raise DataError(
            f"{strand} has no step",
            should="at least one step for each recurrent layer",
            found="only empty sequences",
            hint="batches with steps for this layer, or a loss that does not run it",
        )
    return linears, totals


def _with_remedies(examined: Sequence[tuple[LayerReport, LayerUnderTest]]) -> tuple[LayerReport, ...]:
    """Return the reports with their remedies; all layers of a module have one cell, and so the same remedies.

    The errors of a lower layer arrive at all steps, since the layer above has carried them back. Which steps have a
    loss, and how many directions its errors span, is measured at the top layer. The shortest period is that of all.
    """
    reports = []
    for report, tested in examined:
        module = [other for layer, other in reversed(examined) if layer.module == report.module]
        top = min((x for x in module if x.supervised_share > 0), key=lambda x: x.supervised_share, default=tested)
        whole = replace(
            tested,
            supervised_share=top.supervised_share,
            participation_ratio=top.participation_ratio,
            shortest_period=min(x.shortest_period for x in module),
        )
        reports.append(replace(report, remedies=remedies_for(report.findings, whole)))
    return tuple(reports)


def _measure(
    linears: Sequence[Linear],
    totals: Sequence[Tensor],
    gradients: Sequence[Tensor],
    cuts: tuple[truncation.Truncation, ...],
    window: int | None,
    lags: int | None,
) -> Measurements:
    traces = [linear.trace for linear in linears]
    longest = max(linears, key=lambda linear: linear.trace.T)
    K = min(lags, longest.trace.T - 1) if lags else longest.trace.T - 1
    rows = _affordable(linears, K)
    walked = list(linears)
    if rows:
        walked = [linear.rows(0, rows) for linear in linears]
        totals = [gradient_flow.backpropagate(linear)[0] for linear in walked]
    flow, contributions = gradient_flow.measure(walked, totals, K)
    T = longest.trace.T
    seen = window if window and window < T else max(1, T // 2)
    return Measurements(
        flow=flow,
        contributions=contributions,
        sampled_sequences=rows,
        jacobians=jacobian.measure(longest.rows(0, jacobian.SEQUENCES)),
        shortest_period=periodicity.shortest_period(traces),
        saturation=saturation.measure(linears),
        state_growth=state_drift.growth(traces),
        state_drift=state_drift.measure(traces, seen),
        truncation=cuts,
        gradient_norm=float(torch.cat([g.flatten() for g in gradients]).norm()) if gradients else 0.0,
    )


def _affordable(linears: Sequence[Linear], lags: int) -> int:
    """Return how many sequences of each batch the walk over the lags takes; 0: all."""
    work = 0.0
    for linear in linears:
        trace = linear.trace
        _, B, G, H = trace.gh_TBGH.shape
        K = min(lags, trace.T - 1) + 1
        # Two products with (G*H, H) for each of the T - k steps of lag k, and about 20 operations a gate.
        work += B * (K * trace.T - K * K / 2) * G * H * (2 * H + 20)
    if work <= MAX_WORK:
        return 0
    most = max(linear.trace.B for linear in linears)
    return max(1, int(most * MAX_WORK / work))
