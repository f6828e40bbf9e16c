"""HTML report: one self-contained page that explains its numbers."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from elman.inspection.rendering import charts
from elman.inspection.rendering.terminal import WARNINGS, quantities
from elman.inspection.rendering.unrolled_svg import unrolled
from elman.inspection.results import Diagnosis, LayerReport
from elman.number_format import percent

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
.verdict { font-weight: 700; white-space: nowrap; } .healthy { color: var(--good); } .problem { color: var(--bad); }
.warning { color: var(--warn); } .error { color: var(--second); } .share { color: var(--accent); } figure { margin: 0; }
a { color: var(--accent); } .scroll { overflow-x: auto; } .latest { direction: rtl; } .latest svg { direction: ltr; }
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

EXPLANATION = """
<section><h2>How to read this page</h2>
<p>The diagrams below show the recurrent network unrolled in time, with the same weights <b>U</b>, <b>W</b> and <b>V</b>
at every step. The state s<sub>t</sub> is computed from the input x<sub>t</sub> and the previous state, the output
o<sub>t</sub> from the state; E<sub>t</sub> is the error at step t. Backpropagation through time carries the error along
the <span class="error">dashed arrows</span>: down from the output, then from right to left, to every earlier step. Each
step back multiplies it by a Jacobian ds<sub>t</sub>/ds<sub>t&minus;1</sub>:</p>
<p class="formula">dE/dW = &Sigma;<sub>t</sub> &Sigma;<sub>k</sub> dE<sub>t</sub>/ds<sub>t</sub> &middot;
ds<sub>t</sub>/ds<sub>t&minus;1</sub> &middot; ... &middot; ds<sub>t&minus;k+1</sub>/ds<sub>t&minus;k</sub> &middot;
&part;s<sub>t&minus;k</sub>/&part;W</p>
<p>The number on a dashed arrow is the factor by which one step back scales the norm of the error: the median over the
steps and sequences of your data. Factors under 1 make the gradient vanish, factors over 1 make it explode. The
<span class="error">orange</span> number under an input is the share of the error that is left at that step, and the
<span class="share">blue</span> one the share of dE/dW that comes from it: how much the network currently learns from
inputs so many steps back.</p></section>
""".strip()

LEGEND = (
    "First: the share of the error that is left, by lag: median, and the range from 10 % to 90 %; the dashed line "
    "is 1 %. Second: the contribution of each lag to dE/dW (bars, relative to the largest), and the cumulative "
    "share (line)."
)


CHAPTERS = {"idle": "loss", "truncated too short": "bptt", "narrow": "gates"}
"""The chapters of the learner's page that explain a verdict; of all others the one about vanishing and exploding."""


def page(report: Diagnosis, title: str, explorer: str | None = None) -> str:
    """Return the page as HTML; `explorer` is the address of the learner's page, None for no links into it."""
    sections = "".join(
        _layer(layer, f"l{k}", _links(layer, report.memory, explorer)) for k, layer in enumerate(report.layers)
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1>{_summary(report)}{EXPLANATION}{sections}{_sequences(report)}</body></html>\n"
    )


def _summary(report: Diagnosis) -> str:
    rows = "".join(
        f"<tr><td>{escape(layer.name)}</td><td>{escape(layer.cell)}, {layer.hidden} units</td>"
        f"<td>{_verdict(layer)}</td></tr>"
        for layer in report.layers
    )
    window = f", truncated backpropagation with a window of {report.window}" if report.window else ""
    return (
        f"<p>{_count(report.sequences, 'sequence')} of up to {_count(report.steps, 'step')}{window}; loss "
        f"{report.loss:.4g}. Required memory: {_count(report.memory, 'step')}.</p>"
        f'<div class="scroll"><table>{rows}</table></div>'
    )


def _links(layer: LayerReport, memory: int, explorer: str | None) -> str:
    """Return the links to the place that the verdict speaks of: this layer, and the lag where the error is gone."""
    if explorer is None:
        return ""
    lag = layer.measurements.flow.horizon or memory
    place, chapter = f"#run/{quote(layer.name, safe='')}/{lag}", f"#{CHAPTERS.get(layer.verdict, 'vanishing')}"
    return (
        f'<p><a href="{escape(explorer)}{place}">See this layer run, and what is left {_count(lag, "step")} back</a>, '
        f'or <a href="{escape(explorer)}{chapter}">read what the verdict means</a>.</p>'
    )


def _layer(layer: LayerReport, salt: str, links: str) -> str:
    findings = "".join(f"<p>{escape(finding.message)}.</p>" for finding in layer.findings)
    selected, third = [charts.gradient_by_lag, charts.contributions], ""
    if layer.measurements.truncation:
        selected.append(charts.truncation)
        third = " Third: cosine similarity of the truncated and the full gradient, by truncation length."
    figures = "".join(f"<figure>{charts.svg(c, layer, f'{salt}{n}')}</figure>" for n, c in enumerate(selected))
    others = "".join(
        f"<dt>{escape(q.name)}</dt><dd>{escape(q.value)}<br><small>{escape(q.meaning)}</small></dd>"
        for q in quantities(layer)
    )
    return (
        f"<section><h2>{escape(layer.name)}: {_verdict(layer)}</h2>{findings}{links}{_remedies(layer)}"
        f'<h3>Unrolled network</h3><div class="scroll latest" tabindex="0">{unrolled(layer)}</div>'
        f'<p><small>{_caption(layer)}</small></p><h3>Charts</h3><div class="charts">{figures}</div>'
        f"<p><small>{LEGEND}{third}</small></p><h3>Other numbers</h3><dl>{others}</dl></section>"
    )


def _caption(layer: LayerReport) -> str:
    flow, usable = layer.measurements.flow, layer.measurements.contributions.usable_memory
    reverse = " This layer runs in reverse: its earlier steps come later in the data." if layer.direction else ""
    return (
        f"Half-life of the error: {_lags(flow.half_life, flow.lags)}; 1 % horizon: {_lags(flow.horizon, flow.lags)}; "
        f"95 % of dE/dW lies within {_lags(usable, flow.lags)}. An arrow over several steps shows the geometric mean "
        f"of their factors. Scroll a wide diagram sideways.{reverse}"
    )


def _lags(lag: int | None, followed: int) -> str:
    return f"more than {_count(followed, 'step')}" if lag is None else _count(lag, "step")


def _remedies(layer: LayerReport) -> str:
    if not layer.remedies:
        return ""
    items = "".join(
        f"<li><code>{escape(r.options)}</code><br><small>{escape(r.reason)}. In Python: <code>{escape(r.python)}</code>"
        "</small></li>"
        for r in layer.remedies
    )
    return f"<h3>Remedies, in the order to try them</h3><ol>{items}</ol>"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("s" if number != 1 else "")


def _verdict(layer: LayerReport) -> str:
    kind = "healthy" if layer.verdict == "healthy" else "warning" if layer.verdict in WARNINGS else "problem"
    return f'<span class="verdict {kind}">{escape(layer.verdict)}</span>'


def _sequences(report: Diagnosis) -> str:
    rows = "".join(
        f"<tr><td>{g.batch}</td><td>{g.row}</td><td>{g.norm:.3g}</td><td>{percent(g.share, 0)}</td></tr>"
        for g in report.largest_gradients
    )
    training = ""
    if norms := report.gradient_norms:
        training = (
            f"<p>Gradient norms of {_count(norms.steps, 'training step')}: median {norms.median:.3g}, 90 % under "
            f"{norms.p90:.3g}, maximum {norms.maximum:.3g}; {percent(norms.clipped_share, 0)} of the steps were "
            "clipped.</p>"
        )
    return (
        "<section><h2>Sequences with the largest gradients</h2>"
        f"<p>Half of the gradient comes from {percent(report.half_gradient_share, 0)} of the sequences.</p>{training}"
        '<div class="scroll"><table><tr><th>batch</th><th>row</th><th>|dE/dW|</th><th>share</th></tr>'
        f"{rows}</table></div></section>"
    )
