"""Diagram of the unrolled network with the measured numbers on its arrows, as an SVG element."""

from __future__ import annotations

import math
from itertools import pairwise

from elman.inspection.results import LayerReport

STEP, LEFT, OUTPUT, STATE, INPUT, RADIUS = 116, 66, 70, 172, 278, 27
HEIGHT = 346
SHOWN = 4  # latest steps that are drawn one by one; earlier arrows span several steps


def drawn_lags(layer: LayerReport) -> list[int]:
    """Return the lags that are drawn, largest first: the last few steps, half-life, horizon and last lag."""
    flow = layer.measurements.flow
    last = len(flow.median) - 1
    far = [lag for lag in (flow.half_life, flow.horizon, last) if lag is not None and lag > SHOWN - 1]
    return sorted({*range(min(SHOWN, last + 1)), *far}, reverse=True)


def unrolled(layer: LayerReport) -> str:
    """Return the diagram: inputs below, states in a row, outputs above, and the error going from right to left."""
    lags = drawn_lags(layer)
    flow, contributions = layer.measurements.flow, layer.measurements.contributions
    width = LEFT * 2 + STEP * (len(lags) - 1)
    x = {lag: LEFT + STEP * column for column, lag in enumerate(lags)}
    body = []
    for lag in lags:
        name = _index(lag, layer.direction)
        body += [
            _arrow(x[lag], INPUT - 20, x[lag], STATE + RADIUS + 4, "forward", "U"),
            _label(x[lag], INPUT, f"x{name}", "node"),
            f'<circle cx="{x[lag]}" cy="{STATE}" r="{RADIUS}"/>',
            _label(x[lag], STATE + 5, f"s{name}", "node"),
            _arrow(x[lag], STATE - RADIUS - 2, x[lag], OUTPUT + 12, "forward", "V" if lag else ""),
            _label(x[lag], OUTPUT, f"o{name}", "node"),
            _label(x[lag], INPUT + 28, _percent(flow.median[lag]), "back"),
        ]
        if lag < len(contributions.norms) and contributions.total_norm > 0:
            before = contributions.cumulative_share[lag - 1] if lag else 0.0
            share = contributions.cumulative_share[lag] - before
            body.append(_label(x[lag], INPUT + 52, _percent(share), "weight"))
    for far, near in pairwise(lags):
        jump = "W" if far - near == 1 else f"{far - near} steps"
        body += [
            _arrow(x[far] + RADIUS + 2, STATE + 8, x[near] - RADIUS - 4, STATE + 8, "forward", ""),
            _arrow(x[near] - RADIUS - 2, STATE - 8, x[far] + RADIUS + 4, STATE - 8, "back", ""),
            _label((x[far] + x[near]) / 2, STATE - 16, f"×{_short(_ratio(flow.median, far, near))}", "back"),
            _label((x[far] + x[near]) / 2, STATE + 26, jump, "forward"),
        ]
    now = x[lags[-1]]
    body += [
        _label(now, OUTPUT - 44, f"E{_index(0, 0)}", "back"),
        _arrow(now, OUTPUT - 36, now, OUTPUT - 18, "back", ""),
        _arrow(now + 10, OUTPUT + 12, now + 10, STATE - RADIUS - 2, "back", ""),
    ]
    marker = (
        '<defs><marker id="tip-{0}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="{0}" d="M0 0L8 4L0 8z"/></marker></defs>'
    )
    return (
        f'<svg class="unrolled" viewBox="0 0 {width} {HEIGHT}" role="img" style="min-width:{len(lags) * 96}px" '
        f'aria-label="the unrolled network with the gradient on its arrows">'
        f"{marker.format('forward')}{marker.format('back')}{''.join(body)}</svg>"
    )


def _index(lag: int, direction: int) -> str:
    """Return the index of the step `lag` steps back in processing order; in the reverse direction it is later."""
    return "_t" if not lag else f"_(t{'+' if direction else '-'}{lag})"


def _ratio(median: tuple[float, ...], far: int, near: int) -> float:
    """Return the mean factor of one step between two lags."""
    if not median[near] > 0 or not math.isfinite(median[far]):
        return math.nan
    return float((median[far] / median[near]) ** (1 / (far - near)))


def _short(number: float) -> str:
    if not math.isfinite(number):
        return "∞" if number == math.inf else "?"
    return f"{number:.2g}" if number < 0.01 or number >= 100 else f"{number:.2f}"


def _percent(share: float) -> str:
    """Return a share in percent; as a factor if it is over 1000 % or NaN."""
    if not share < 10:
        return f"×{_short(share)}"
    return f"{share:.0%}" if share >= 0.01 or not share > 0 else "&lt;1%"


def _label(x: float, y: float, text: str, kind: str) -> str:
    """Return a text element; what follows an underscore is a subscript."""
    base, _, index = text.partition("_")
    if index:
        index, blank, rest = index.partition(" ")
        base += f'<tspan class="index" dy="4">{index}</tspan><tspan dy="-4">{blank}{rest}</tspan>'
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="middle">{base}</text>'


def _arrow(x1: float, y1: float, x2: float, y2: float, kind: str, label: str) -> str:
    line = f'<line class="{kind}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" marker-end="url(#tip-{kind})"/>'
    return line + (_label((x1 + x2) / 2 + 12, (y1 + y2) / 2 + 4, label, kind) if label else "")
