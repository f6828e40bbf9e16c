"""The report as one page that needs nothing else, and that explains what it shows."""

from __future__ import annotations

from html import escape

from elman.inspection.rendering import charts as plots
from elman.inspection.rendering.terminal import numbers
from elman.inspection.rendering.unrolled_svg import unrolled
from elman.inspection.results import Diagnosis, LayerReport

STYLE = """
:root { color-scheme: light dark; --page: #fdfdfb; --text: #22262a; --soft: #6a7077; --line: #d8dadc;
  --accent: #1769aa; --second: #c2410c; --good: #197a3d; --warn: #a15c00; --bad: #b3261e; --card: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --text: #e4e6e8; --soft: #9aa1a8; --line: #34393e;
  --accent: #6db3f2; --second: #ff9d5c; --good: #6fcf8f; --warn: #f0b45a; --bad: #ff8a80; --card: #1b1f23; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin: 0 0 .4rem; } h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p { max-width: 46rem; margin: .4rem 0; } small, .soft { color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem; margin: 1rem 0; }
.verdict { font-weight: 700; white-space: nowrap; } .healthy { color: var(--good); } .ill { color: var(--bad); }
.fair { color: var(--warn); } .error { color: var(--second); } .share { color: var(--accent); } figure { margin: 0; }
.scroll { overflow-x: auto; } .latest { direction: rtl; } .latest svg { direction: ltr; }
svg { width: 100%; height: auto; display: block; }
.charts { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); }
.unrolled text { font: 13px system-ui, sans-serif; fill: currentColor; } .unrolled .index { font-size: 10px; }
.unrolled circle { fill: none; stroke: currentColor; stroke-width: 1.5; }
.unrolled line.forward { stroke: var(--soft); stroke-width: 1.3; } .unrolled text.forward { fill: var(--soft); }
.unrolled line.back { stroke: var(--second); stroke-width: 2; stroke-dasharray: 5 3; }
.unrolled text.back { fill: var(--second); font-weight: 600; } .unrolled text.weight { fill: var(--accent); }
.unrolled path.forward { fill: var(--soft); } .unrolled path.back { fill: var(--second); }
code { font: .92em ui-monospace, monospace; background: var(--page); border: 1px solid var(--line);
  border-radius: 5px; padding: .1em .35em; } li { margin: .35rem 0; } ol { padding-left: 1.4rem; }
dl { display: grid; grid-template-columns: minmax(7rem, 12rem) 1fr; gap: .5rem 1rem; margin: .3rem 0; }
dt { color: var(--soft); } dd { margin: 0; } dd small { display: inline-block; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; }
.formula { font: italic 1.05rem/1.8 Georgia, serif; }
""".strip()

LESSON = """
<section><h2>How to read this page</h2>
<p>A recurrent network is drawn unrolled below, with the same weights <b>U</b>, <b>W</b> and <b>V</b> at every step. The
state s<sub>t</sub> is made from the input x<sub>t</sub> and the state before it, the output o<sub>t</sub> from the
state; the error E<sub>t</sub> is read off at step t. Learning sends the error back along the <span class="error">dashed
arrows</span>: down from the output, then from right to left, to every earlier step that had a hand in it. On the way it
is multiplied, step after step, by the same kind of factor, the Jacobian ds<sub>t</sub>/ds<sub>t&minus;1</sub>:</p>
<p class="formula">dE/dW = &Sigma;<sub>t</sub> &Sigma;<sub>k</sub> dE<sub>t</sub>/ds<sub>t</sub> &middot;
ds<sub>t</sub>/ds<sub>t&minus;1</sub> &middot; ... &middot; ds<sub>t&minus;k+1</sub>/ds<sub>t&minus;k</sub> &middot;
&part;s<sub>t&minus;k</sub>/&part;W</p>
<p>The number on a dashed arrow is what one step back multiplies the length of the error with, in the median over the
steps and sequences of your data. Factors under 1 make the gradient vanish, factors over 1 make it explode. Under each
input stands, in <span class="error">orange</span>, how much of the error is left there, and in
<span class="share">blue</span> the share of dE/dW that comes from there: how much the network learns, at present, from
what was so many steps ago.</p></section>
""".strip()

FAIR = ("vanishing", "narrow", "truncated too short", "saturated")


def page(report: Diagnosis, title: str) -> str:
    """Return the page as text."""
    sections = "".join(_layer(layer, f"l{k}") for k, layer in enumerate(report.layers))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1>{_summary(report)}{LESSON}{sections}{_sequences(report)}</body></html>\n"
    )


def _summary(report: Diagnosis) -> str:
    rows = "".join(
        f"<tr><td>{escape(layer.name)}</td><td>{escape(layer.cell)}, {layer.hidden} units</td>"
        f"<td>{_verdict(layer)}</td></tr>"
        for layer in report.layers
    )
    window = f", trained with windows of {report.window}" if report.window else ""
    return (
        f"<p>{_count(report.sequences, 'sequence')} of up to {_count(report.steps, 'step')}{window}; loss "
        f"{report.loss:.4g}. The gradient should reach {_count(report.memory, 'step')} back.</p>"
        f'<div class="scroll"><table>{rows}</table></div>'
    )


def _layer(layer: LayerReport, salt: str) -> str:
    findings = "".join(f"<p>{escape(finding.words)}.</p>" for finding in layer.findings)
    charts = [plots.gradient_by_lag, plots.contributions]
    if layer.measured.truncation:
        charts.append(plots.truncation)
    drawn = "".join(f"<figure>{plots.svg(c, layer, f'{salt}{n}')}</figure>" for n, c in enumerate(charts))
    others = "".join(
        f"<dt>{escape(n.name)}</dt><dd>{escape(n.value)}<br><small>{escape(n.meaning)}</small></dd>"
        for n in numbers(layer)
    )
    return (
        f"<section><h2>{escape(layer.name)}: {_verdict(layer)}</h2>{findings}{_remedies(layer)}"
        f'<h3>The unrolled network, with your numbers</h3><div class="scroll latest">{unrolled(layer)}</div>'
        f'<p><small>{_caption(layer)}</small></p><h3>Charts</h3><div class="charts">{drawn}</div>'
        f"<p><small>{_legend(layer)}</small></p>"
        f"<h3>Other numbers</h3><dl>{others}</dl></section>"
    )


def _legend(layer: LayerReport) -> str:
    cut = (
        " Third: how much of the direction of the gradient is left where it is cut every so many steps."
        if layer.measured.truncation
        else ""
    )
    return (
        "First: how much of the error is left, the median and the span from 10 % to 90 %; the dashed line is 1 %. "
        f"Second: what each lag adds to dE/dW (bars, the largest as 1) and how much of it lies up to there (line).{cut}"
    )


def _caption(layer: LayerReport) -> str:
    flow, parts = layer.measured.flow, layer.measured.parts
    half = "never, as far as it was followed" if flow.half_life is None else f"after {_count(flow.half_life, 'step')}"
    gone = "never" if flow.horizon is None else f"after {_count(flow.horizon, 'step')}"
    usable = f"more than {flow.lags}" if parts.usable is None else str(parts.usable)
    apart = " This layer reads from the end: its steps before t are those that come later in the data."
    return (
        f"Half of the error is gone {half}, 99 % {gone}. 95 % of dE/dW comes from lags up to {usable}. "
        "Where steps are left out, the factor is the mean one of the steps between. A picture wider than the screen "
        f"moves sideways.{apart if layer.direction else ''}"
    )


def _remedies(layer: LayerReport) -> str:
    if not layer.remedies:
        return ""
    items = "".join(
        f"<li><code>{escape(r.paste)}</code><br><small>{escape(r.why)}. In Python: <code>{escape(r.python)}</code>"
        "</small></li>"
        for r in layer.remedies
    )
    return f"<h3>What to try, the first one first</h3><ol>{items}</ol>"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("s" if number != 1 else "")


def _verdict(layer: LayerReport) -> str:
    kind = "healthy" if layer.verdict == "healthy" else "fair" if layer.verdict in FAIR else "ill"
    return f'<span class="verdict {kind}">{escape(layer.verdict)}</span>'


def _sequences(report: Diagnosis) -> str:
    rows = "".join(
        f"<tr><td>{heavy.batch}</td><td>{heavy.row}</td><td>{heavy.norm:.3g}</td><td>{heavy.share:.0%}</td></tr>"
        for heavy in report.heaviest
    )
    history = ""
    if report.history:
        h = report.history
        history = (
            f"<p>Over {h.steps} steps of training the norm of the gradient had the median {h.median:.3g}; 90 % of the "
            f"steps were under {h.high:.3g}, the largest was {h.largest:.3g}; {h.clipped:.0%} were clipped.</p>"
        )
    return (
        "<section><h2>Which sequences carry the gradient</h2>"
        f"<p>Half of it comes from {report.half:.0%} of the sequences.</p>{history}"
        '<div class="scroll"><table><tr><th>batch</th><th>row</th><th>|dE/dW|</th><th>share</th></tr>'
        f"{rows}</table></div></section>"
    )
