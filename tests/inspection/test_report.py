import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

import elman
from elman.errors import MissingExtraError
from elman.inspection import Report, Thresholds, diagnose
from elman.inspection.rendering import charts
from elman.inspection.rendering.terminal import WIDTH, chart
from elman.inspection.rendering.unrolled_svg import drawn_lags, unrolled
from elman.inspection.results import GradientNorms
from elman.inspection.verdict import VERDICTS


@pytest.fixture(scope="module")
def report() -> Report:
    torch.manual_seed(0)
    layer = elman.RNN(3, 8, nonlinearity="identity", init="orthogonal=0.5", bidirectional=True)
    x, target = torch.randn(40, 3, 3), torch.randn(40, 3, 16)
    options = {"window": 5, "memory": 10, "norms": [1, 2], "settings": {"clip": 1.5}}
    return diagnose(layer, [x], lambda m, b: ((m(b)[0] - target) ** 2).sum(), **options)


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return report.to_html("My <run>")


class Checker(HTMLParser):
    """Whether every element is closed, and where each link leads."""

    EMPTY = frozenset({"meta", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "xlink:href"):
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.EMPTY:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone(page: str) -> None:
    checker = Checker()
    checker.feed(page)
    assert checker.open == [] and "<h1>My &lt;run&gt;</h1>" in page
    assert all(link.startswith("#") for link in checker.links)
    assert not checker.tags & {"script", "link", "img", "iframe"} and "@import" not in page
    assert set(re.findall(r"url\(([^)]*)\)", page)) <= {f"#{name}" for name in checker.ids}
    outside = re.findall(r"https?://[^\"' <]*", page)
    assert {link.split("/")[2] for link in outside} <= {"www.w3.org"}  # names of XML vocabularies, never fetched
    assert 'name="viewport"' in page and "prefers-color-scheme: dark" in page
    assert not set(charts.PAGE_COLOURS) & set(re.findall("#[0-9a-f]{6}", page))
    assert len(page) < 500_000


def test_the_page_says_what_was_found(report: Report, page: str) -> None:
    for layer in report.layers:
        assert layer.name in page and layer.verdict in page and layer.findings[0].message in page
        assert all(remedy.options in page for remedy in layer.remedies)
    assert page.count("<svg") == 2 * 4


def test_a_chart_is_the_same_every_time(report: Report) -> None:
    first, second = (charts.svg(charts.truncation, report.layers[0], "a") for _ in range(2))
    assert first == second
    assert charts.svg(charts.truncation, report.layers[0], "b") != first


def test_the_unrolled_network_carries_the_numbers(report: Report) -> None:
    layer = report.layers[0]
    drawn = unrolled(layer)
    assert drawn_lags(layer)[-4:] == [3, 2, 1, 0] and 7 in drawn_lags(layer)  # the horizon of 0.5^k
    assert drawn.count("×0.50") == len(drawn_lags(layer)) - 1
    assert drawn.count("<circle") == len(drawn_lags(layer))
    share = layer.measurements.contributions.cumulative_share
    assert f">{share[0]:.0%}<" in drawn and f">{share[1] - share[0]:.0%}<" in drawn
    median = layer.measurements.flow.median
    assert median[:4] == pytest.approx([1, 0.5, 0.25, 0.125])
    assert all(f">{left}<" in drawn for left in (*(f"{m:.0%}" for m in median[:4]), "&lt;1%"))
    assert ">(t-1)<" in drawn and ">(t+1)<" in unrolled(report.layers[1])  # the reverse direction runs from the end


def test_the_diagram_begins_at_lag_0_whatever_else_it_shows() -> None:
    torch.manual_seed(0)
    layer, target = elman.RNN(3, 8, nonlinearity="identity", init="orthogonal=0.9"), torch.randn(60, 3, 8)
    report = diagnose(layer, [torch.randn(60, 3, 3)], lambda m, b: ((m(b)[0] - target) ** 2).sum())
    assert drawn_lags(report.layers[0]) == [59, 44, 7, 3, 2, 1, 0]  # 0.9^7 < 1/2, 0.9^44 < 1 %


def test_the_terminal_shows_verdicts_numbers_and_remedies(report: Report) -> None:
    console = Console(width=150, record=True, file=io.StringIO())
    report.print(console)
    text = console.export_text()
    assert "model layer 0 reverse  (rnn_identity, 8 units): " in text
    for layer in report.layers:
        assert layer.findings[0].message in text and layer.remedies[0].options in text
    assert "half-life lag 1, 1 % horizon lag 7" in text
    assert "gradient by lag    █▇▇▆▆▅▄▄▃▃▂▁▁ " in text  # 0.5^k, a block for every factor of 3.2
    assert "spectral radius of W h 0.5" in text and "50% clipped" in text


def test_charts_of_blocks() -> None:
    assert chart([0, 0.5, 1, 2]) == " ▄██"
    assert len(chart([0.5] * 1000)) == WIDTH


def test_a_figure_for_notebooks(report: Report) -> None:
    figure = report.plot()
    assert len(figure.axes) == 2 * 3
    line = figure.axes[0].lines[0].get_ydata()
    assert line[:3] == pytest.approx([1, 0.5, 0.25], rel=1e-3)


@pytest.mark.parametrize("what", ["plot", "to_html"])
def test_without_matplotlib_the_error_names_the_extra(report: Report, monkeypatch, what: str) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="matplotlib") as caught:
        getattr(report, what)()
    assert "pip install 'elman[plot]'" in str(caught.value)


def test_matplotlib_and_rich_are_imported_late() -> None:
    program = "import sys, elman.inspection; print([m for m in ('matplotlib', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_numbers_beyond_all_bounds_stay_json(reader, loss) -> None:
    model = reader(nn.RNN(3, 4, nonlinearity="relu", bias=False))
    with torch.no_grad():
        model.layer.weight_hh_l0.copy_(1e4 * torch.eye(4))
        model.layer.weight_ih_l0.fill_(1e-38)
    x = torch.zeros(12, 2, 3)
    x[0] = 1
    report = diagnose(model, [(x, torch.zeros(12, 2, 3))], lambda m, b: loss(m, b) * 1e-30)
    assert "Infinity" not in report.to_json() and "NaN" not in report.to_json()
    report.to_html()


def test_the_distribution_of_gradient_norms() -> None:
    result = GradientNorms.of([float(k) for k in range(1, 12)], clip=9.0)
    assert result is not None
    assert (result.steps, result.median, result.p90, result.maximum, result.clipped_share) == (
        11,
        6.0,
        10.0,
        11.0,
        2 / 11,
    )
    assert GradientNorms.of([], 1.0) is None
    assert GradientNorms.of([5.0], 0.0).clipped_share == 0.0  # type: ignore[union-attr]


GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "diagnose.md"


def test_the_guide_names_every_key(report: Report) -> None:
    guide = GUIDE.read_text()
    read = report.as_dict()
    layer = read["layers"][0]
    for key in [*read, *(layer.keys() - {"measurements"}), *(f"measurements.{key}" for key in layer["measurements"])]:
        assert f"`{key}`" in guide, key
    for group in ("flow", "contributions", "jacobians", "saturation", "state_drift"):
        row = next(line for line in guide.splitlines() if line.startswith(f"| `measurements.{group}` |"))
        assert set(layer["measurements"][group]) <= set(re.findall(r"\w+", row)), group


def test_the_guide_holds_the_table_of_thresholds() -> None:
    section = GUIDE.read_text().split("## Verdicts")[1].split("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("| ")]
    for verdict in [*VERDICTS, "healthy"]:
        assert any(line.startswith(f"| {verdict} |") for line in table), verdict
    limit = Thresholds()
    rows = {line.split(" | ")[0][2:]: line for line in table}
    for verdict, words in {
        "chaotic": [
            f"over {limit.lyapunov_exponent:g}",
            f"over {limit.divergence:g}",
            f"factor of {limit.state_growth:g}",
        ],
        "exploding": [f"{limit.explosion:g}-fold", f"{limit.least_growth:g}-fold", f"{limit.growth_per_lag - 1:.0%}"],
        "dead": [f"{limit.dead:.0%}"],
        "saturated": [f"over {limit.saturated:.0%}", f"over {limit.saturated_candidate:.0%}", f"or {limit.stuck:.0%}"],
        "truncated too short": [f"under {limit.cosine:g}", f"over {limit.relative_error:.0%}"],
    }.items():
        for word in words:
            assert word.replace("%", " %") in rows[verdict], (verdict, word)
