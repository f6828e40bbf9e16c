"""Terminal report: verdict, numbers, two small charts and remedies for every layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from elman.inspection.measures.saturation import Saturation
from elman.inspection.results import Diagnosis, LayerReport
from elman.number_format import percent

if TYPE_CHECKING:
    from rich.console import Console


BLOCKS = " ▁▂▃▄▅▆▇█"
WIDTH = 54  # columns of a chart: with its label it fits a terminal of 80
FLOOR = 1e-4  # the smallest ratio that the chart of gradient by lag shows
WARNINGS = ("vanishing", "narrow", "truncated too short", "saturated")
COLOURS = {"healthy": "green", **dict.fromkeys(WARNINGS, "yellow")}


def print_report(report: Diagnosis, console: Console | None = None) -> None:
    """Print a report; `console` is standard output if None."""
    from rich.console import Console

    write = partial((console or Console()).print, highlight=False)
    write(
        f"[bold]gradient diagnosis[/bold]  {report.sequences} sequences of up to {report.steps} steps, "
        f"loss {report.loss:.4g}; required memory {report.memory} steps"
    )
    for layer in report.layers:
        _print_layer(layer, write)
    if report.largest_gradients:
        first = report.largest_gradients[0]
        write(
            f"\nhalf of the gradient comes from {percent(report.half_gradient_share, 0)} of the sequences; the largest "
            f"share, {percent(first.share, 0)}, from batch {first.batch} row {first.row}"
        )
    if norms := report.gradient_norms:
        write(
            f"gradient norm over {norms.steps} training steps: median {norms.median:.3g}, 90 % under {norms.p90:.3g}, "
            f"maximum {norms.maximum:.3g}; {percent(norms.clipped_share, 0)} clipped"
        )


def _print_layer(layer: LayerReport, write: Callable[..., None]) -> None:
    from rich.markup import escape

    colour = COLOURS.get(layer.verdict, "red")
    title = f"{escape(layer.name)}  ({layer.cell}, {layer.hidden} units)"
    write(f"\n[bold]{title}[/bold]: [bold {colour}]{layer.verdict}[/bold {colour}]")
    for finding in layer.findings:
        write(f"  {finding.message}")
    flow, contributions = layer.measurements.flow, layer.measurements.contributions
    write(f"  gradient by lag    {chart([_height(v) for v in flow.median])}")
    write(
        f"                     lag 0 to {len(flow.median) - 1}, logarithmic; half-life {_lag(flow.half_life)}, "
        f"1 % horizon {_lag(flow.horizon)}"
    )
    write(f"  share of dE/dW     {chart(contributions.cumulative_share)}")
    write(f"                     cumulative; 95 % within {_lag(contributions.usable_memory)}")
    for quantity in quantities(layer):
        write(f"  {quantity.name:<20} {quantity.value}")
    for k, remedy in enumerate(layer.remedies):
        write(f"  {'try' if not k else ' or'} [bold]{escape(remedy.options)}[/bold]")
        write(f"        {escape(remedy.reason)}", style="dim")


class Quantity(NamedTuple):
    """A measured quantity.

    Attributes:
        name: a short name.
        value: as text.
        meaning: one sentence.
    """

    name: str
    value: str
    meaning: str


def quantities(layer: LayerReport) -> Iterator[Quantity]:
    """Yield the other numbers of a layer; those that were not measured are omitted."""
    m, jacobians, ratio = layer.measurements, layer.measurements.jacobians, layer.measurements.flow.participation_ratio
    if ratio:
        far = len(ratio) - 1
        value = ", ".join(f"{ratio[k]:.1f} at lag {k}" for k in sorted({0, far // 4, far // 2, far}))
        meaning = "how many directions the errors span: about how many numbers can be remembered at once"
        yield Quantity("participation ratio", value, meaning)
    least, middle, most = jacobians.singular_values
    value = f"singular values {least:.3g} to {most:.3g}, median {middle:.3g}"
    yield Quantity("one Jacobian", value, "factors by which one step scales errors, by direction")
    if jacobians.spectral_radius:
        value = ", ".join(f"{gate} {radius:.3g}" for gate, radius in jacobians.spectral_radius.items())
        yield Quantity("spectral radius of W", value, "the largest absolute eigenvalue, for each gate")
    if jacobians.lyapunov_exponents:
        value = ", ".join(f"{e:+.3f}" for e in jacobians.lyapunov_exponents)
        yield Quantity("Lyapunov exponents", value, "above 0, nearby states diverge exponentially: chaos")
    meaning = "95 % of the power of the input projection U x lies at this period and longer ones"
    yield Quantity("shortest period", f"{m.shortest_period:.3g} steps", meaning)
    yield from _saturation(m.saturation)
    if m.truncation:
        value = "; ".join(f"{row.window}: {row.cosine:.2f}" for row in m.truncation)
        yield Quantity("cosine by window", value, "of the truncated and the full gradient, by truncation length")
    if m.state_drift.segments:
        seen, last = m.state_drift.seen_steps, m.state_drift.segments[-1]
        value = f"mean shifted by {last.shift:.2g} standard deviations, size times {last.growth:.2g}"
        meaning = f"the states at the end of the sequences relative to the first {seen} steps"
        yield Quantity(f"state after step {seen}", value, meaning)


def _saturation(s: Saturation) -> Iterator[Quantity]:
    if s.saturated is not None:
        always = percent(s.always_saturated or 0, 0)
        value = f"{percent(s.saturated, 0)} of all steps and units; {always} of the units always"
        derivative = "of the candidate" if s.gates else "f'"
        yield Quantity("saturated", value, f"the derivative {derivative} is under 0.05: little gradient passes")
    if s.dead is not None:
        yield Quantity("dead units", f"{percent(s.dead, 0)}", "relu units that are 0 at every step of every sequence")
    if s.gates:
        gates = s.gates.items()
        value = "; ".join(
            f"{n} {g.mean:.2f} (stuck open {percent(g.open, 0)}, closed {percent(g.closed, 0)})" for n, g in gates
        )
        yield Quantity("gates", value, "mean value; the share of units whose gate is stuck")
    if s.time_constants:
        low, _, median, _, high = s.time_constants
        value = f"median {median:.3g} steps, from {low:.3g} to {high:.3g}"
        yield Quantity("time constants", value, "how long the gates of the units keep their memory")


def chart(heights: Sequence[float]) -> str:
    """Return heights of 0 to 1 as a row of blocks, at most `WIDTH` wide."""
    if len(heights) > WIDTH:
        heights = [heights[round(k * (len(heights) - 1) / (WIDTH - 1))] for k in range(WIDTH)]
    return "".join(BLOCKS[round(min(max(h, 0.0), 1.0) * (len(BLOCKS) - 1))] for h in heights)


def _height(ratio: float) -> float:
    """Return the height of a ratio on a logarithmic axis from 0.0001 (0) to 1 (1); larger ratios have 1."""
    if not ratio > FLOOR:
        return 0.0
    return 1.0 - math.log(min(ratio, 1.0)) / math.log(FLOOR)


def _lag(lag: int | None) -> str:
    return "beyond the last lag" if lag is None else f"lag {lag}"
