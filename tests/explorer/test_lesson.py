"""What the controls and links of the lesson do, what they say, and where they lead on a phone."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from elman.explorer import bundle
from elman.explorer.api import explore

PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return explore().save(tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture
def opened(tab: Any, page: Path) -> Any:
    tab.goto(page.as_uri())
    return tab


def chapter(page: Any, number: int) -> None:
    page.locator("#chapters button").nth(number - 1).click()


def link(page: Any, text: str) -> None:
    page.locator(".chapter.current").get_by_role("button", name=text, exact=True).click()


@pytest.mark.parametrize(("cell", "gate", "name"), [("lstm", "f", "forget gate"), ("gru", "z", "update gate")])
def test_the_slider_of_a_gate_opens_and_closes_it(opened: Any, cell: str, gate: str, name: str) -> None:
    chapter(opened, 6)
    opened.evaluate("(cell) => elmanPage.actions.cell(cell)", cell)
    slider = opened.get_by_label(f"bias of the {name}")
    shares, messages = [], []
    for key in ("Home", "End"):
        slider.press(key)
        shares.append(
            opened.evaluate(
                "(gate) => { const all = elmanPage.study.tape.steps.flatMap((step) => [...step.kept[gate]]);"
                " return all.reduce((a, b) => a + b, 0) / all.length; }",
                gate,
            )
        )
        messages.append(opened.locator("#cures .big").inner_text())
    assert shares[0] < 0.1
    assert shares[1] > 0.95
    assert f"{gate} = {shares[0]:.2f}" in messages[0]
    assert "nearly closed" in messages[0]
    assert f"{gate} = {shares[1]:.2f}" in messages[1]
    assert "nearly open" in messages[1]


def test_a_link_moves_the_slider_too(opened: Any) -> None:
    chapter(opened, 6)
    slider = opened.get_by_label("bias of the forget gate")
    for text, bias in (("close it", -2), ("open it", 4)):
        link(opened, text)
        assert float(slider.input_value()) == bias
    chapter(opened, 5)
    slider = opened.get_by_label("spectral radius of W")
    for text, radius in (("ρ = 1.3", 1.3), ("ρ = 0.5", 0.5), ("the identity", 1)):
        link(opened, text)
        assert float(slider.input_value()) == pytest.approx(radius)


VERDICTS = [
    (1, 0.5, 0.7, "must vanish"),
    (0.25, 2, 3, "must vanish"),  # a sigmoid, whose slope is at most a quarter
    (1, 1, 1, "cannot explode"),
    (1, 0.8, 1.02, "over many steps it vanishes"),
    (1, 1, 1.4, "the border"),
    (1, 1.3, 1.8, "may explode"),
    (0.25, 5, 6, "may explode"),
]
PASSAGES = [(0.98, "nearly open", "0.817"), (0.5, "half open", "0.001"), (0.13, "nearly closed", "1.4e−9")]


def test_the_messages_name_the_number_that_decides(tab: Any) -> None:
    code = bundle.script("cures")
    texts = tab.evaluate(
        f"(cases) => {{ {code}; return cases.map((case_) => verdict(...case_)); }}", [list(v[:3]) for v in VERDICTS]
    )
    for (*_, part), text in zip(VERDICTS, texts, strict=True):
        assert part in text
        assert sum(word in text for word in ("must vanish", "cannot", "over many", "border", "may explode")) == 1
    texts = tab.evaluate(
        f"(shares) => {{ {code}; return shares.map((share) => passage(share, 'f')); }}", [p[0] for p in PASSAGES]
    )
    for (_, name, left), text in zip(PASSAGES, texts, strict=True):
        assert text.startswith(name)
        assert text.endswith(f"= {left}")


def test_the_example_spells_its_word(opened: Any) -> None:
    letters = opened.evaluate(
        "elmanPage.study.tape.steps.map(({ o }) => elmanPage.study.symbols[o.indexOf(Math.max(...o))]).join('')"
    )
    assert letters == "ello"


def test_an_entry_of_W_changes_every_column_but_the_first(opened: Any) -> None:
    states = "elmanPage.study.tape.steps.map((step) => [...step.state[0]])"
    chapter(opened, 2)
    before = opened.evaluate(states)
    link(opened, "Set one entry of W to 2")
    after = opened.evaluate(states)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, False, False]
    link(opened, "take a longer word")
    assert opened.evaluate("[elmanPage.study.x.length, elmanPage.study.symbols.join('')]") == [9, "helo"]


def test_numbers_that_an_example_replaces_can_be_brought_back(opened: Any) -> None:
    opened.get_by_label("W, row 2, column 1").fill("-1.5")
    total = opened.evaluate("elmanPage.study.total")
    chapter(opened, 3)
    assert opened.evaluate("elmanPage.study.total") != total
    opened.get_by_role("button", name="Bring mine back").click()
    assert opened.evaluate("elmanPage.study.total") == total
    assert opened.get_by_label("W, row 2, column 1").input_value() == "-1.5"
    assert opened.locator("#notice").is_hidden()


@pytest.mark.parametrize(
    ("number", "text", "part"),
    [(1, "step 4", "#picture"), (4, "In row 4, column 2", "#pair"), (5, "ρ = 0.5", "#cures"), (6, "open it", "#cures")],
)
def test_on_a_phone_a_link_leads_to_what_it_moves_and_back(opened: Any, number: int, text: str, part: str) -> None:
    opened.emulate_media(reduced_motion="reduce")
    opened.set_viewport_size(PHONE)
    chapter(opened, number)
    opened.locator(".chapter.current").get_by_role("button", name=text, exact=True).scroll_into_view_if_needed()
    place = opened.evaluate("scrollY")
    link(opened, text)
    opened.wait_for_function(
        "(part) => Math.abs(document.querySelector(part).getBoundingClientRect().top - 75) < 80", arg=part
    )
    opened.get_by_role("button", name="Back to the text").click()
    assert opened.evaluate("scrollY") == pytest.approx(place, abs=2)


def test_on_a_phone_the_numbers_of_a_long_sequence_can_be_read(opened: Any) -> None:
    opened.set_viewport_size(PHONE)
    chapter(opened, 5)
    wide = opened.evaluate(
        "(() => { const p = document.getElementById('picture'); return [p.scrollWidth, p.clientWidth]; })()"
    )
    assert wide[0] > 2 * wide[1]
    spills = """() => [...document.querySelectorAll("#picture .value")].filter((text) => {
      const [inner, outer] = [text, text.previousElementSibling].map((node) => node.getBoundingClientRect());
      return inner.width > outer.width;
    }).map((text) => text.textContent)"""
    for number in (1, 5, 6):
        chapter(opened, number)
        assert opened.locator("#picture .value").count() > 0
        assert opened.evaluate(spills) == []


def test_a_line_that_leaves_a_chart_is_cut_off(opened: Any) -> None:
    chapter(opened, 5)
    link(opened, "ρ = 1.3")
    heights = opened.evaluate("""() => [...document.querySelector("#cures .series[stroke-dasharray]").getAttribute("d")
      .matchAll(/[ML]\\S+ (\\S+?)(?=[ML]|$)/g)].map((point) => Number(point[1]))""")
    steps = [a - b for a, b in pairwise(heights)]
    assert max(steps) == pytest.approx(min(steps), abs=0.3)  # a straight line: it never turns flat
    assert opened.locator("#cures .chart svg svg[overflow=hidden]").count() == 2


def test_training_counts_its_steps(opened: Any) -> None:
    opened.evaluate(
        "elmanPage.actions.show('training'); elmanPage.actions.task('word 4 rnn_tanh'); elmanPage.actions.train()"
    )
    opened.wait_for_function(
        "() => Number(/Step (\\d+)/.exec(document.querySelector('#training [role=status]').textContent)[1]) > 400",
        timeout=15000,
    )
    opened.get_by_role("button", name="Pause").click()
    step = opened.evaluate(
        "Number(/Step (\\d+)/.exec(document.querySelector('#training [role=status]').textContent)[1])"
    )
    loss = opened.locator("#training .chart").first
    marks = [float(text) for text in loss.locator("text[text-anchor=middle]").all_text_contents()]
    assert step / 2 < max(marks) <= step
    assert "untrained" in opened.locator("#training .chart").last.inner_text()
