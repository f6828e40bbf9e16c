"""Charts of a report with matplotlib: a figure for notebooks, and SVG for the HTML page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from elman.errors import MissingExtraError
from elman.inspection.results import Diagnosis, LayerReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Figure


# Placeholders for the colours of the page, which differ in light and dark mode; they are replaced in the SVG.
TEXT, ACCENT, SECOND = "#010101", "#020202", "#030303"
PAGE_COLOURS = {TEXT: "currentColor", ACCENT: "var(--accent)", SECOND: "var(--second)"}
NOTEBOOK_COLOURS = {TEXT: "#444444", ACCENT: "#1f77b4", SECOND: "#d95f02"}

Chart = Callable[["Axes", LayerReport, dict[str, str]], None]


def gradient_by_lag(axes: Axes, layer: LayerReport, colour: dict[str, str]) -> None:
    """Draw the median ratio and its 10 % and 90 % quantiles, on a logarithmic axis."""
    flow = layer.measurements.flow
    lags = range(len(flow.median))
    low, median, high = ([min(max(v, 1e-6), 1e12) for v in row] for row in (flow.p10, flow.median, flow.p90))
    axes.fill_between(lags, low, high, color=colour[ACCENT], alpha=0.25, linewidth=0)
    axes.plot(lags, median, color=colour[ACCENT], linewidth=2)
    axes.axhline(0.01, color=colour[SECOND], linewidth=1, linestyle="--")
    axes.set(yscale="log", xlabel="lag k (steps back)")
    axes.set_title("|dE_t/ds_(t-k)| relative to lag 0", loc="left")


def contributions(axes: Axes, layer: LayerReport, colour: dict[str, str]) -> None:
    """Draw the contribution of each lag to dE/dW, and the cumulative share."""
    norms, share = layer.measurements.contributions.norms, layer.measurements.contributions.cumulative_share
    largest = max(norms, default=0.0) or 1.0
    axes.bar(range(len(norms)), [norm / largest for norm in norms], width=1.0, color=colour[ACCENT], alpha=0.6)
    axes.plot(range(len(share)), share, color=colour[SECOND], linewidth=2)
    axes.set(ylim=(0, 1.05), xlabel="lag k (steps back)")
    axes.set_title("contribution to dE/dW (bars), cumulative (line)", loc="left")


def truncation(axes: Axes, layer: LayerReport, colour: dict[str, str]) -> None:
    """Draw the cosine for each window length."""
    rows = layer.measurements.truncation
    windows, cosines = [row.window for row in rows], [row.cosine for row in rows]
    axes.plot(windows, cosines, "o-", color=colour[ACCENT], linewidth=2)
    axes.set(xscale="log", xlabel="window (steps)", ylim=(min([0.0, *cosines]), 1.05))
    axes.set_xticks(windows, [str(window) for window in windows])
    axes.minorticks_off()
    axes.set_title("cosine of truncated and full gradient", loc="left")


def overview(report: Diagnosis) -> Figure:
    """Return a figure with one row of charts for each layer."""
    Figure = require_matplotlib()
    charts: list[Chart] = [gradient_by_lag, contributions]
    if any(layer.measurements.truncation for layer in report.layers):
        charts.append(truncation)
    count = len(report.layers)
    figure = Figure(figsize=(4.6 * len(charts), 3.0 * count), layout="constrained")
    axes_LC = figure.subplots(count, len(charts), squeeze=False)
    for row, layer in zip(axes_LC, report.layers, strict=True):
        for axes, chart in zip(row, charts, strict=True):
            _style(axes, NOTEBOOK_COLOURS)
            chart(axes, layer, NOTEBOOK_COLOURS)
        row[0].set_ylabel(f"{layer.name}\n{layer.verdict}")
    return figure


def svg(chart: Chart, layer: LayerReport, salt: str) -> str:
    """Return one chart as an SVG element that takes its colours and width from the page around it.

    Args:
        chart: one of the functions above.
        layer: its numbers.
        salt: a string unique among the charts of a page, so that their ids differ.
    """
    Figure = require_matplotlib()
    import matplotlib

    placeholders = {colour: colour for colour in PAGE_COLOURS}
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "font.size": 11}):
        figure = Figure(figsize=(5.2, 2.9), layout="constrained")
        axes: Any = figure.subplots()
        _style(axes, placeholders)
        chart(axes, layer, placeholders)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 system-ui, sans-serif", text)
    for placeholder, colour in PAGE_COLOURS.items():
        text = text.replace(placeholder, colour)
    label = axes.get_title(loc="left")
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _style(axes: Axes, colour: dict[str, str]) -> None:
    axes.tick_params(colors=colour[TEXT], which="both")
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(colour[TEXT])
    for text in (axes.xaxis.label, axes.yaxis.label, axes.title, axes._left_title):  # type: ignore[attr-defined]
        text.set_color(colour[TEXT])


def require_matplotlib() -> type[Figure]:
    """Return matplotlib's Figure, without pyplot: no window is opened, and no figure stays in memory.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "charts need matplotlib, which is not installed",
            should="matplotlib 3.8 or newer",
            found="no module matplotlib",
            hint="pip install 'elman[plot]', or in a clone: pip install '.[plot]'; "
            "report.print() and report.to_json() work without it",
        ) from error
    return Figure
