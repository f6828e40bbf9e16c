"""The report in the terminal: a verdict, the numbers, two small charts, and what to paste, for every layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from elman.inspection.results import Diagnosis, LayerReport

if TYPE_CHECKING:
    from rich.console import Console

BLOCKS = " ▁▂▃▄▅▆▇█"
WIDTH = 54  # columns of a chart: with its label it fits a terminal of 80
FLOOR = 1e-4  # the least ratio that the chart of gradient by lag can tell from nothing
COLOURS = {
    "healthy": "green",
    "vanishing": "yellow",
    "narrow": "yellow",
    "truncated too short": "yellow",
    "saturated": "yellow",
}


def print_report(report: Diagnosis, console: Console | None = None) -> None:
    """Print a report; `console` is standard output if None."""
    from rich.console import Console

    console = console or Console()
    console.print(
        f"[bold]gradient diagnosis[/bold]  {report.sequences} sequences of up to {report.steps} steps, "
        f"loss {report.loss:.4g}; the gradient should reach {report.memory} steps back",
        highlight=False,
    )
    for layer in report.layers:
        _print_layer(layer, console)
    if report.heaviest:
        first = report.heaviest[0]
        console.print(
            f"\nhalf of the gradient is from {report.half:.0%} of the sequences; the heaviest, batch {first.batch} "
            f"row {first.row}, holds {first.share:.0%}",
            highlight=False,
        )
    if report.history:
        h = report.history
        console.print(
            f"gradient norm over {h.steps} steps: median {h.median:.3g}, 90 % under {h.high:.3g}, largest "
            f"{h.largest:.3g}; {h.clipped:.0%} clipped",
            highlight=False,
        )


def _print_layer(layer: LayerReport, console: Console) -> None:
    from rich.markup import escape

    colour = COLOURS.get(layer.verdict, "red")
    title = f"{escape(layer.name)}  ({layer.cell}, {layer.hidden} units)"
    console.print(f"\n[bold]{title}[/bold]: [bold {colour}]{layer.verdict}[/bold {colour}]", highlight=False)
    for finding in layer.findings:
        console.print(f"  {finding.words}", highlight=False)
    m = layer.measured
    flow, parts = m.flow, m.parts
    console.print(f"  gradient by lag    {chart([_height(v) for v in flow.median])}", highlight=False)
    console.print(
        f"                     lag 0 to {len(flow.median) - 1}, logarithmic; half at lag {_lag(flow.half_life)}, "
        f"1 % at lag {_lag(flow.horizon)}",
        highlight=False,
    )
    console.print(f"  share of dE/dW     {chart(list(parts.share))}", highlight=False)
    console.print(f"                     95 % of it lies within lag {_lag(parts.usable)}", highlight=False)
    for number in numbers(layer):
        console.print(f"  {number.name:<20} {number.value}", highlight=False)
    for k, remedy in enumerate(layer.remedies):
        console.print(f"  {'try' if not k else ' or'} [bold]{escape(remedy.paste)}[/bold]", highlight=False)
        console.print(f"        {escape(remedy.why)}", style="dim", highlight=False)


class Number(NamedTuple):
    """Something measured: its name, its value in words, and what it means."""

    name: str
    value: str
    meaning: str


def numbers(layer: LayerReport) -> list[Number]:
    """Return the other numbers of a layer, one for each kind; those that were not measured are left out."""
    m = layer.measured
    least, middle, most = m.jacobians.singular_values
    found = [
        Number(
            "one Jacobian",
            f"singular values {least:.3g} to {most:.3g}, median {middle:.3g}",
            "what one step multiplies the lengths of errors with, by direction",
        )
    ]
    far = len(m.flow.directions) - 1
    if far >= 0:
        value = ", ".join(f"{m.flow.directions[k]:.1f} at lag {k}" for k in sorted({0, far // 4, far // 2, far}))
        found.insert(0, Number("directions of errors", value, "about how many things at once can be remembered"))
    if m.jacobians.spectral_radius:
        radii = ", ".join(f"{gate} {radius:.3g}" for gate, radius in m.jacobians.spectral_radius.items())
        found.append(Number("spectral radius of W", radii, "the largest modulus of an eigenvalue, for each gate"))
    if m.jacobians.lyapunov:
        values = ", ".join(f"{e:+.3f}" for e in m.jacobians.lyapunov)
        found.append(Number("Lyapunov exponents", values, "above 0, two near states part exponentially: chaos"))
    meaning = "95 % of the power of what the input sends to the units lies at this period and longer"
    found.append(Number("shortest period", f"{m.period:.3g} steps", meaning))
    found += _saturation(layer)
    if m.truncation:
        rows = "; ".join(f"{row.window}: {row.cosine:.2f}" for row in m.truncation)
        found.append(Number("cosine by window", rows, "of the gradient cut every so many steps with the full one"))
    if m.drift.pieces:
        last = m.drift.pieces[-1]
        value = f"moved by {last.shift:.2g} deviations, size times {last.growth:.2g}"
        meaning = f"the state at the end of the sequences against its first {m.drift.seen} steps"
        found.append(Number(f"state after step {m.drift.seen}", value, meaning))
    return found


def _saturation(layer: LayerReport) -> list[Number]:
    s = layer.measured.saturation
    found = []
    if s.flat is not None:
        value = f"{s.flat:.0%} of all steps and units, {s.stuck or 0:.0%} of the units always"
        what = "of the candidate" if s.gates else "f'"
        found.append(Number("slopes under 0.05", value, f"where the slope {what} lets hardly any gradient pass"))
    if s.dead is not None:
        found.append(Number("dead units", f"{s.dead:.0%}", "relu units that are 0 at every step of every sequence"))
    if s.gates:
        gates = "; ".join(f"{n} {g.mean:.2f} (stuck open {g.open:.0%}, shut {g.shut:.0%})" for n, g in s.gates.items())
        found.append(Number("gates", gates, "mean value; the share of units whose gate hardly ever moves"))
    if s.time_constants:
        low, _, median, _, high = s.time_constants
        value = f"median {median:.3g} steps, from {low:.3g} to {high:.3g}"
        found.append(Number("time constants", value, "how long the gates of the units hold what is in them"))
    return found


def chart(heights: Sequence[float]) -> str:
    """Return heights of 0 to 1 as a row of blocks, at most `WIDTH` wide."""
    if len(heights) > WIDTH:
        heights = [heights[round(k * (len(heights) - 1) / (WIDTH - 1))] for k in range(WIDTH)]
    return "".join(BLOCKS[round(min(max(h, 0.0), 1.0) * (len(BLOCKS) - 1))] for h in heights)


def _height(ratio: float) -> float:
    """Return where a ratio stands between 0.0001 (nothing) and 1 (a full block), in the logarithm; more is full too."""
    if not ratio > FLOOR:
        return 0.0
    return 1.0 - math.log(min(ratio, 1.0)) / math.log(FLOOR)


def _lag(lag: int | None) -> str:
    return "none that was followed" if lag is None else str(lag)
