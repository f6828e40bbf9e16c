"""The gradient doctor: run a sample of batches, measure every recurrent layer, say what is wrong and what to try."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from elman.errors import DataError, SettingError
from elman.inspection.capture.recorder import CapturedCall, LayerDirection, LossFunction, Recording, record
from elman.inspection.capture.replay import Linear, replay
from elman.inspection.isolation import one_thread, untouched_random_state
from elman.inspection.measures import gradient_flow as flow
from elman.inspection.measures import jacobian, saturation, truncation
from elman.inspection.measures import periodicity as spectrum
from elman.inspection.measures import state_drift as drift
from elman.inspection.remedies import LayerUnderTest, prescribe
from elman.inspection.report import Report
from elman.inspection.results import LargestGradient, LayerReport, Measured, history_of
from elman.inspection.verdict import Requirement, Thresholds, judge

# Multiplications that the walk over all lags may take for each strand; some three seconds on one core.
WORK = 1.5e11
HEAVIEST = 8  # how many sequences are named


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
    """Measure how gradients flow through every recurrent layer of a model, and say what is wrong and what to try.

    The model is run in evaluation mode and left as it was, `.grad` included. Its recurrent layers may be elman's or
    torch.nn's, with any number of layers and directions, anywhere in it. What is exact and what is sampled, and the
    meaning of every number, is in docs/guide/diagnose.md.

    Args:
        model: any module.
        batches: a sample of real batches, of whatever `loss` takes; one is enough. All are held at once.
        loss: `loss(model, batch)` returns the scalar that training descends.
        lags: K, how far back to follow the gradient; None: over the whole sequence.
        memory: how many steps back the gradient should reach; None: a quarter of the longest sequence, or an eighth of
            the window, in which a step has half a window of past in the mean.
        window: of truncated backpropagation through time in training; None: training goes over whole sequences.
            To see what truncation loses the batches must be longer than the window, at best four times as long.
        settings: of the run, such as learning_rate and clip, to make the remedies concrete.
        norms: gradient norms of recent training steps, before clipping.
        thresholds: where health ends.

    Raises:
        ElmanError: the model has no recurrent layer, or the loss is no scalar with a gradient.
        DataError: there is no batch, the sequences are too short for the lags, or a layer ran on empty ones alone or in
            half precision.
        NonFiniteError: the loss is infinite or not a number.
        SettingError: lags, memory or window is not a positive number.
    """
    for name, value in (("lags", lags), ("memory", memory), ("window", window)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise SettingError(f"{name} is not a number of steps", should="1 or more, or None", found=repr(value))
    sample = list(batches)
    if not sample:
        raise DataError("there is no batch to diagnose", should="at least one batch", found="none")
    with untouched_random_state(model):
        recordings = [record(model, batch, loss) for batch in sample]
        T = max(len(p.x_TBI) for r in recordings for p in r.calls)
        _check_length(T, lags)
        _check_precision({p.x_TBI.dtype for r in recordings for p in r.calls})
        strands = _by_strand(recordings)
        full: dict[LayerDirection, list[Tensor]] = {}
        for strand in strands:
            for recording in recordings:
                truncation.add(full, strand, truncation.gradients_of(strand, recording.gradients))
        cuts = truncation.measure(model, sample, loss, full, truncation.windows(window, T))
    need = Requirement(memory or max(1, min(window // 8 if window else T, T // 4)), window)
    settings = settings or {}
    shares = _Shares()
    with one_thread():
        examined = [
            _layer(strand, passages, full[strand], cuts.get(strand, ()), need, lags, settings, thresholds, shares)
            for strand, passages in strands.items()
        ]
    heaviest, half = shares.ranked()
    return Report(
        loss=sum(r.loss for r in recordings) / len(recordings),
        batches=len(sample),
        sequences=sum(max(p.x_TBI.shape[1] for p in r.calls) for r in recordings),
        steps=T,
        memory=need.memory,
        window=window,
        layers=_treated(examined),
        heaviest=heaviest,
        half=half,
        history=history_of(norms, float(settings.get("clip", 0) or 0)),
    )


@dataclass
class _Shares:
    """Squared gradient norms by batch and sequence, summed over strands."""

    squares: dict[tuple[int, int], float] = field(default_factory=dict)

    def add(self, batch: int, norms_B: Tensor) -> None:
        for row, norm in enumerate(norms_B.tolist()):
            self.squares[batch, row] = self.squares.get((batch, row), 0.0) + norm * norm

    def ranked(self) -> tuple[tuple[LargestGradient, ...], float]:
        norms = sorted(((square**0.5, place) for place, square in self.squares.items()), reverse=True)
        total = sum(norm for norm, _ in norms) or 1.0
        so_far, half = 0.0, 1.0
        for count, (norm, _) in enumerate(norms, 1):
            so_far += norm
            if so_far >= total / 2:
                half = count / len(norms)
                break
        return tuple(LargestGradient(batch, row, norm, norm / total) for norm, (batch, row) in norms[:HEAVIEST]), half


def _by_strand(recordings: Sequence[Recording]) -> dict[LayerDirection, list[tuple[int, CapturedCall]]]:
    found: dict[LayerDirection, list[tuple[int, CapturedCall]]] = {}
    for batch, recording in enumerate(recordings):
        for passage in recording.calls:
            found.setdefault(passage.strand, []).append((batch, passage))
    return found


def _check_length(T: int, lags: int | None) -> None:
    least = (lags or 1) + 1
    if least > T:
        raise DataError(
            "the sequences are too short for the lags",
            should=f"at least {least} steps" + (f" to follow {lags} lags" if lags else ""),
            found=f"{T} in the longest sequence",
            hint="longer batches" + (f", or lags={T - 1}" if T > 1 else ""),
        )


def _check_precision(dtypes: set[torch.dtype]) -> None:
    if dtypes - {torch.float32, torch.float64}:
        raise DataError(
            "the layers compute in too few digits to be measured",
            should="float32 or float64",
            found=", ".join(sorted(str(dtype) for dtype in dtypes)),
            hint="diagnose model.float()",
        )


def _layer(
    strand: LayerDirection,
    passages: Sequence[tuple[int, CapturedCall]],
    gradients: Sequence[Tensor],
    cuts: tuple[truncation.Truncation, ...],
    need: Requirement,
    lags: int | None,
    settings: Mapping[str, Any],
    thresholds: Thresholds | None,
    shares: _Shares,
) -> tuple[LayerReport, LayerUnderTest]:
    """Return the report of a strand, still without remedies, and what they depend on."""
    linears = []
    totals = []
    for batch, passage in passages:
        if not passage.x_TBI.numel():
            continue
        linear = Linear(replay(passage))
        deltas = flow.backpropagate(linear)
        shares.add(batch, deltas.norms_B)
        linears.append(linear)
        totals.append(deltas.d_W)
    if not linears:
        raise DataError(
            f"{strand} saw no step",
            should="at least one step for each recurrent layer",
            found="empty sequences alone",
            hint="batches in which the layer has something to read, or a loss that leaves it out",
        )
    measured = _measure(linears, totals, gradients, cuts, need, lags)
    findings = judge(measured, need, thresholds)
    cell = linears[0].trace.cell
    name = cell.kernel or type(cell).__name__
    patient = LayerUnderTest(
        cell=name,
        gated=len(cell.gates) > 1,
        measured=measured,
        spoken=measured.flow.spoken,
        directions=measured.flow.directions[0],
        period=measured.period,
        memory=need.memory,
        steps=max(linear.trace.T for linear in linears),
        window=need.window,
        settings=settings,
    )
    report = LayerReport(
        name=str(strand),
        module=strand.module,
        layer=strand.layer,
        direction=strand.direction,
        cell=name,
        hidden=linears[0].trace.gx_TBGH.shape[-1],
        measured=measured,
        verdict=findings[0].verdict,
        findings=findings,
        remedies=(),
    )
    return report, patient


def _treated(examined: Sequence[tuple[LayerReport, LayerUnderTest]]) -> tuple[LayerReport, ...]:
    """Return the reports with their remedies; the strands of one module have one cell, and so one treatment.

    The errors of a lower layer arrive at all steps, since the layer above has carried them back. How late the loss
    speaks, and about how many things, is seen at the top. W of a layer must hear the fastest input of them all.
    """
    top: dict[str, LayerUnderTest] = {}
    for report, patient in examined:
        if 0 < patient.spoken <= top.get(report.module, patient).spoken:
            top[report.module] = patient
    period: dict[str, float] = {}
    for report, patient in examined:
        period[report.module] = min(patient.period, period.get(report.module, patient.period))
    treated = []
    for report, patient in examined:
        seen = top.get(report.module, patient)
        whole = replace(patient, spoken=seen.spoken, directions=seen.directions, period=period[report.module])
        treated.append(replace(report, remedies=prescribe(report.findings, whole)))
    return tuple(treated)


def _measure(
    linears: Sequence[Linear],
    totals: Sequence[Tensor],
    gradients: Sequence[Tensor],
    cuts: tuple[truncation.Truncation, ...],
    need: Requirement,
    lags: int | None,
) -> Measured:
    traces = [linear.trace for linear in linears]
    longest = max(linears, key=lambda linear: linear.trace.T)
    K = min(lags, longest.trace.T - 1) if lags else longest.trace.T - 1
    rows = _affordable(linears, K)
    walked = list(linears)
    if rows:
        walked = [linear.rows(0, rows) for linear in linears]
        totals = [flow.backpropagate(linear).d_W for linear in walked]
    through, parts = flow.measure(walked, totals, K)
    T = longest.trace.T
    return Measured(
        flow=through,
        parts=parts,
        parts_sequences=rows,
        jacobians=jacobian.measure(longest.rows(0, jacobian.SEQUENCES)),
        period=spectrum.shortest_period(traces),
        saturation=saturation.measure(linears),
        state_growth=drift.growth(traces),
        drift=drift.measure(traces, need.window if need.window and need.window < T else max(1, T // 2)),
        truncation=cuts,
        gradient=float(torch.cat([g.flatten() for g in gradients]).norm()) if gradients else 0.0,
    )


def _affordable(linears: Sequence[Linear], lags: int) -> int:
    """Return how many sequences of each batch the walk over the lags can afford; 0 for all of them."""
    work = 0.0
    for linear in linears:
        trace = linear.trace
        _, B, G, H = trace.gh_TBGH.shape
        K = min(lags, trace.T - 1) + 1
        # Two products with (G*H, H) for each of the T - k steps of lag k, and about 20 numbers handled per gate.
        work += B * (K * trace.T - K * K / 2) * G * H * (2 * H + 20)
    if work <= WORK:
        return 0
    most = max(linear.trace.B for linear in linears)
    return max(1, int(most * WORK / work))
