"""The page in a browser: its views, its keyboard, its lesson, and that it loads nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman.errors import ShapeError
from elman.explorer.api import explore
from elman.explorer.document import document
from elman.explorer.example import example
from elman.reference.network import Network, bptt, errors, forward

MOST_BYTES = 2_000_000


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return explore().save(tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture
def opened(tab: Any, page: Path) -> Any:
    tab.goto(page.as_uri())
    return tab


def reference(numbers: dict[str, Any]) -> tuple[Any, float]:
    """Return the gradient and the error that the reference finds for what the page shows."""
    sizes, p = numbers["sizes"], {name: np.array(flat) for name, flat in numbers["parameters"].items()}
    I, H, V = sizes["I"], sizes["H"], sizes["V"]
    network = Network(p["U"].reshape(H, I), p["W"].reshape(H, H), p["V"].reshape(V, H), p["b"], p["c"])
    x, y = (np.array(numbers[name])[:, None] for name in "xy")
    tape = forward(network, x)
    return bptt(network, tape, y), float(errors(network, tape, y).sum())


SHOWN = """() => { const { network, x, y, total, back } = elmanPage.study; return {
  sizes: network.sizes, x: x.map((row) => [...row]), y: y.map((row) => [...row]), total, d_W: [...back.parameters.W],
  parameters: Object.fromEntries(Object.entries(network.parameters).map(([name, p]) => [name, [...p]])) }; }"""


def test_the_page_is_one_small_file_that_loads_nothing(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert len(html.encode()) < MOST_BYTES
    assert not re.search(
        r"""(?:src|href)\s*=\s*["']?(?!#)[a-z]|url\((?!#)|@import|fetch\(|XMLHttp|WebSocket|\beval\(""", html
    )
    assert "default-src 'none'" in html
    assert not re.search(r"\{\{\w+\}\}", html)


def test_it_opens_from_disk_with_the_numbers_of_the_reference(opened: Any) -> None:
    numbers = opened.evaluate(SHOWN)
    gradient, total = reference(numbers)
    assert numbers["total"] == pytest.approx(total, rel=1e-12)
    np.testing.assert_allclose(numbers["d_W"], gradient.W_HH.ravel(), rtol=1e-9, atol=1e-12)
    assert opened.locator("#summary").inner_text().startswith("4 steps, 3 units")


def test_a_changed_number_changes_everything(opened: Any) -> None:
    before = opened.evaluate(SHOWN)
    opened.get_by_label("W, row 1, column 2").fill("0.75")
    opened.get_by_label("y, row 1, column 1").fill("1")
    after = opened.evaluate(SHOWN)
    assert after["parameters"]["W"][1] == 0.75
    assert after["total"] != before["total"]
    assert sum(after["y"][0]) == pytest.approx(1)  # a distribution again
    gradient, total = reference(after)
    assert after["total"] == pytest.approx(total, rel=1e-12)
    np.testing.assert_allclose(after["d_W"], gradient.W_HH.ravel(), rtol=1e-9, atol=1e-12)


def test_every_choice_of_the_page_works(opened: Any) -> None:
    kinds = opened.get_by_label("g and the error").first.locator("option")
    for kind in [option.get_attribute("value") for option in kinds.all()]:
        opened.evaluate("(kind) => elmanPage.actions.kind(kind.replace(', ', '; '))", kind)
        for cell in ("rnn_relu", "rnn_sigmoid", "rnn_identity", "gru", "lstm", "rnn_tanh"):
            opened.evaluate("(cell) => elmanPage.actions.cell(cell)", cell)
            assert opened.evaluate("Number.isFinite(elmanPage.study.total)")
    for word in ("abracadabra", "aab", "𝄞a𝄞"):
        opened.evaluate("(word) => elmanPage.actions.word(word)", word)
        assert opened.evaluate("elmanPage.study.x.length") == len(word) - 1
    for steps, units in ((1, 1), (60, 32)):
        opened.evaluate("([T, H]) => { elmanPage.actions.steps(T); elmanPage.actions.units(H); }", [steps, units])
        assert opened.evaluate("elmanPage.study.tape.steps.length") == steps


def test_what_the_equation_says_is_what_the_picture_shows(opened: Any) -> None:
    for cell in ("rnn_tanh", "gru", "lstm"):
        opened.evaluate("(cell) => { elmanPage.actions.cell(cell); elmanPage.actions.select('s 3 2'); }", cell)
        shown = opened.locator("#equation .result").last.inner_text().replace("−", "-")
        state = opened.evaluate("elmanPage.study.tape.steps[2].state[0][1]")
        assert float(shown) == pytest.approx(state, abs=1e-4)


def test_the_picture_is_walked_by_keyboard(opened: Any) -> None:
    opened.locator("#picture [tabindex='0']").focus()
    for key in ("ArrowRight", "ArrowUp", "ArrowUp"):
        opened.keyboard.press(key)
    opened.wait_for_timeout(200)
    selected = opened.evaluate("elmanPage.study.selected")
    label = opened.evaluate("document.activeElement.getAttribute('aria-label')")
    assert label.startswith({"s": "state s", "o": "output o", "x": "input x", "E": "error E"}[selected["kind"]])
    assert opened.locator("#equation").inner_text().strip()
    tabs = opened.locator("[role=tab]")
    tabs.first.focus()
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("Enter")
    assert tabs.nth(1).get_attribute("aria-selected") == "true"
    opened.locator("canvas.pairs").first.focus()
    opened.keyboard.press("ArrowUp")
    assert opened.evaluate("elmanPage.study.pair") == {"t": 2, "k": 1}


def test_everything_that_can_be_touched_has_a_name(opened: Any) -> None:
    unnamed = """() => [...document.querySelectorAll("input, select, button, [tabindex]")].filter((node) => !(
      node.getAttribute("aria-label") || node.labels?.length || node.textContent.trim() || node.title
    )).map((node) => node.outerHTML)"""
    for view in ("network", "gradient", "training"):
        opened.evaluate("(view) => elmanPage.actions.show(view)", view)
        opened.wait_for_timeout(200)
        assert opened.evaluate(unnamed) == []


def test_the_lesson_has_seven_chapters_that_move_the_picture(opened: Any) -> None:
    assert opened.locator(".chapter").count() == 7
    views = []
    for n in range(7):
        opened.locator("#chapters button").nth(n).click()
        views.append(opened.locator("[role=tab][aria-selected=true]").inner_text())
    assert views == ["Network", "Network", "Network", "Gradient", "Gradient", "Gradient", "Training"]
    opened.evaluate("document.querySelectorAll('.chapter button[data-do]').forEach((word) => word.click())")
    opened.evaluate("elmanPage.actions.show('network')")  # no error so far: `tab` would fail


def test_what_the_lesson_says_about_the_curves_is_so(opened: Any) -> None:
    left = "() => { const l = elmanPage.study.lags.left; return l[10] / l[0]; }"
    opened.locator("#chapters button").nth(4).click()
    assert opened.evaluate("elmanPage.study.radius") == pytest.approx(0.5, abs=1e-6)
    assert opened.evaluate(left) == pytest.approx(2**-10, rel=0.7)
    words = opened.locator("#vanishing button[data-do]")
    curves = []
    for n in range(words.count()):
        words.nth(n).click()
        curves.append(opened.evaluate(left))
    half, grows, strong, orthogonal, identity = curves
    assert half == pytest.approx(2**-10, rel=0.7)
    assert grows == pytest.approx(1.3**10, rel=0.7)
    assert strong < 0.1
    assert orthogonal == pytest.approx(1, rel=0.1)
    assert identity == pytest.approx(1, rel=0.1)
    opened.locator("#chapters button").nth(5).click()
    words = opened.locator("#gates button[data-do*=gate]")
    assert words.count() == 3
    curves = []
    for n in range(3):
        words.nth(n).click()
        curves.append(opened.evaluate("[...elmanPage.study.lags.left]"))
    opened_gate, closed_gate, gru = curves
    assert min(opened_gate[2:]) > 0.5 * max(opened_gate[2:])
    assert closed_gate[9] < 1e-4 ** (9 / 15)  # of the chapter's nine lags
    assert gru[9] > 0.5 ** (9 / 15)


def test_training_in_the_page_learns_a_word(opened: Any) -> None:
    opened.evaluate(
        "elmanPage.actions.show('training'); elmanPage.actions.task('word 5 rnn_tanh'); elmanPage.actions.train()"
    )
    status = opened.locator("#training [role=status]")
    opened.wait_for_function(
        "(node) => Number(/tanh ([\\d.]+)\\./.exec(node.textContent)?.[1] ?? 9) < 0.8",
        arg=status.element_handle(),
        timeout=15000,
    )
    opened.get_by_role("button", name="Open this network in the picture").click()
    assert opened.evaluate("elmanPage.study.total / elmanPage.study.x.length") < 1.2


def test_nothing_moves_by_itself_where_motion_is_reduced(browser: Any, page: Path) -> None:
    quiet = browser.new_page(reduced_motion="reduce")
    quiet.goto(page.as_uri())
    quiet.evaluate("elmanPage.actions.show('gradient'); elmanPage.actions.play()")
    before = quiet.locator(".playbar [role=status]").inner_text()
    quiet.wait_for_timeout(900)
    assert before == quiet.locator(".playbar [role=status]").inner_text() != ""
    quiet.close()


@pytest.mark.parametrize("width", [390, 820, 1400])
def test_it_fits_the_width(opened: Any, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 900})
    for n in (0, 4, 5):
        opened.locator("#chapters button").nth(n).click()
        assert opened.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_a_network_of_the_reference_is_shown() -> None:
    rng = np.random.default_rng(0)
    network = Network(
        rng.normal(size=(2, 3)), np.eye(2), rng.normal(size=(1, 2)), f="relu", g="identity", error="squared error"
    )
    assert '"cell":"rnn_relu"' in explore(network, rng.normal(size=(4, 3)), rng.normal(size=(4, 1))).html
    with pytest.raises(ShapeError):
        explore(network, rng.normal(size=(4, 2)), rng.normal(size=(4, 1)))


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(tab: Any) -> None:
    tab.set_content(explore()._repr_html_())
    frame = tab.frame_locator("iframe")
    frame.locator("#summary").wait_for()
    assert frame.locator("#summary").inner_text().startswith("4 steps")
    assert "allow-same-origin" not in tab.locator("iframe").get_attribute("sandbox")


def test_no_data_is_read_as_html_or_script(tab: Any, tmp_path: Path) -> None:
    hostile = "</script><img src=x onerror=window.hacked=1>{{script}}<!--<script>"
    data = example()
    symbols = [hostile, "'\"><svg onload=window.hacked=1>", "&lt;b&gt;", "\u2028"]
    network = {**data["network"], "symbols": symbols}
    path = document(hostile, {**data, "network": network}).save(tmp_path / "page.html")
    tab.goto(path.as_uri())
    for view in ("gradient", "training", "network"):
        tab.evaluate("(view) => elmanPage.actions.show(view)", view)
    assert tab.evaluate("window.hacked") is None
    assert tab.locator("img").count() == 0
    assert tab.title() == hostile
    assert hostile in tab.locator("#picture").text_content()
