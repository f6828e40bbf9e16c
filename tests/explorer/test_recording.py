"""A run on the page: its numbers are the model's and the doctor's, for every recipe; and what is refused."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elman as package
from elman.errors import NonFiniteError, SettingError
from elman.explorer import bundle, recording
from elman.explorer.api import explore
from elman.explorer.recording import recorded
from elman.inspection.capture.recorder import record
from elman.inspection.capture.replay import Linear, replay
from elman.inspection.measures import gradient_flow
from elman.recipes import use

Elman = Callable[..., Any]

TYPED = f"""([html, text]) => {{
{bundle.script("typed")}
const data = JSON.parse(new DOMParser().parseFromString(html, "text/html").getElementById("data").textContent);
const [layer] = typedRun(openWeights(data.run.weights), text, "").layers;
return {{ h: [...layer.states.h], depends: layer.depends }};
}}"""

RUNS = [
    "language_run", "forecast_run", "recommend_run", "similarity_run", "translation_run", "caption_run",
    "transcription_run", "classification_run",
]  # fmt: skip


@pytest.fixture(scope="session")
def classification_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classification")
    rows = [f"a {word} day {n},{label}" for n in range(20) for word, label in (("warm", "sun"), ("wet", "rain"))]
    (folder / "data.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    package.train("classify", folder / "data.csv", folder / "run", steps=20, hidden=8, embedding=4)
    return folder / "run"


def unpacked(packed: dict[str, Any], units: int) -> Any:
    kind = "u1" if packed["bits"] == 8 else "<i2"
    return np.frombuffer(base64.b64decode(packed["base64"]), kind).reshape(-1, units) * packed["scale"]


@pytest.fixture(params=RUNS)
def any_run(request: pytest.FixtureRequest) -> Path:
    run: Path = request.getfixturevalue(request.param)
    return run


def test_every_recipe_is_shown_as_its_layers_ran(any_run: Path, tab: Any, tmp_path: Path) -> None:
    predictor, subject = use.load(any_run), use.diagnosable(any_run)
    data = recorded(any_run, predictor)
    calls = record(subject.model, subject.sample.batches[0], subject.sample.loss, weights=False).calls
    calls = [call for call in calls if call.x_TBI.numel()]
    assert len(data["layers"]) == len(calls)
    for layer, call in zip(data["layers"], calls, strict=True):
        y_TH = call.y_TBP[: layer["steps"], 0].numpy()
        scale = np.abs(call.y_TBP[:, 0].numpy()).max()
        np.testing.assert_allclose(unpacked(layer["states"]["h"], layer["units"]), y_TH, atol=scale / 60000)
        assert len(layer["depends"]) == layer["steps"]
        assert layer["inputs"] == [] or len(layer["inputs"]) == layer["steps"]
    path = explore(any_run).save(tmp_path / "page.html")
    assert path.stat().st_size < 2_000_000
    tab.goto(path.as_uri())
    assert tab.locator("[role=tab][aria-selected=true]").inner_text() == "Your run"
    assert "recorded activations of one sequence" in tab.locator("#run").inner_text()
    assert ("without the weights" in tab.locator("#run").inner_text()) == (data["weights"] is None)
    for n in range(len(calls)):
        tab.locator("#run").get_by_label("layer").first.select_option(str(n))
    assert tab.locator("#run .token").count() == data["layers"][-1]["steps"]


def test_dependences_are_those_of_the_doctor(language_run: Path, similarity_run: Path) -> None:
    for run in (language_run, similarity_run):  # one layer; both directions, with padding
        subject = use.diagnosable(run)
        calls = record(subject.model, subject.sample.batches[0], subject.sample.loss, weights=False).calls
        for layer, call in zip(recorded(run, use.load(run))["layers"], calls, strict=True):
            linear = Linear(replay(call)).rows(0, 1)
            flow, _ = gradient_flow.measure([linear], [gradient_flow.backpropagate(linear)[0]], call.x_TBI.shape[0] - 1)
            assert any(layer["depends"])
            for lag in range(min(4, len(flow.median))):
                ratios = sorted(row[lag] for row in layer["depends"] if len(row) > lag)
                assert len(ratios) == flow.counts[lag]
                assert ratios[round(0.5 * (len(ratios) - 1))] == pytest.approx(flow.median[lag], rel=6e-3, abs=1e-6)


def test_gates_and_answers_are_those_of_the_model(language_run: Path, tab: Any, tmp_path: Path) -> None:
    predictor, batch = use.load(language_run), use.diagnosable(language_run).sample.batches[0]
    data = recorded(language_run, predictor, sequence=1)
    with torch.no_grad():
        logits_TBV, _ = predictor.model(batch.input_TB, resets=batch.resets_TB)
    top = logits_TBV[:, 1].softmax(-1).max(-1).values.numpy()
    np.testing.assert_allclose([row[0][1] for row in data["answers"]], top[: len(data["answers"])], rtol=1e-3)
    (layer,) = data["layers"]
    assert layer["gates"].keys() == {"i", "f", "o"}
    h, c, o = (
        unpacked(layer[kind][name], layer["units"]) for kind, name in (("states", "h"), ("states", "c"), ("gates", "o"))
    )
    np.testing.assert_allclose(h, o * np.tanh(c), atol=0.003)  # a gate has 8 bits
    tab.goto(explore(language_run, sequence=1).save(tmp_path / "page.html").as_uri())
    assert layer["inputs"][0].strip() in tab.locator("#run .token").first.inner_text()


def test_units_are_searched_by_what_they_follow(language_run: Path, tab: Any, tmp_path: Path) -> None:
    layer = recorded(language_run, use.load(language_run))["layers"][0]
    symbol = max(set(layer["inputs"]), key=layer["inputs"].count)
    values, hits = (
        unpacked(layer["states"]["h"], layer["units"]),
        np.array([name == symbol for name in layer["inputs"]]),
    )
    r = [abs(np.corrcoef(values[:, unit], hits)[0, 1]) for unit in range(layer["units"])]
    tab.goto(explore(language_run).save(tmp_path / "page.html").as_uri())
    tab.get_by_label("what a unit should follow").fill(symbol)
    best = tab.locator("#run .found button").first
    number, found = re.fullmatch(r"(\d+): r = (\S+)", best.inner_text().replace("−", "-")).groups()  # type: ignore[union-attr]
    assert int(number) == int(np.argmax(r)) + 1
    assert abs(float(found)) == pytest.approx(max(r), abs=0.006)
    best.click()
    assert tab.get_by_label("unit", exact=True).input_value() == number


def test_a_diagnosis_links_to_its_layer_and_lag(language_run: Path, tab: Any, tmp_path: Path) -> None:
    path = explore(language_run).save(tmp_path / "page.html")
    tab.goto(f"{path.as_uri()}#run/recurrent%20layer%200/3")
    layer = recorded(language_run, use.load(language_run))["layers"][0]
    share = layer["depends"][-1][3]
    assert tab.locator("#run .token-linked").inner_text().strip() in (layer["inputs"][-4].strip() or "␣↵")
    text = tab.locator("#run").inner_text()
    shown = re.search(r"3 steps away, where the diagnosis looks: (\S+) %", text)
    assert shown is not None
    assert float(shown[1]) == pytest.approx(100 * share, rel=0.05, abs=0.01)
    tab.goto("about:blank")
    tab.goto(f"{path.as_uri()}#gates")
    assert tab.locator(".chapter.current").get_attribute("id") == "gates"


def test_a_typed_text_goes_through_a_language_model(language_run: Path, elman: Elman, tmp_path: Path) -> None:
    words = recorded(language_run, use.load(language_run))["layers"][0]["inputs"]
    text = "".join(words[:12])
    answer = elman("explore", language_run, "--text", text, "--out", tmp_path / "page.html")
    assert answer.code == 0, answer.err
    block = re.search(r'id="data">(.*?)</script>', (tmp_path / "page.html").read_text(), re.DOTALL)
    assert block is not None
    (layer,) = json.loads(block[1])["run"]["layers"]
    assert layer["inputs"] == list(text)[:-1]  # the last one is what should follow the one before


def test_a_text_that_is_typed_in_the_page_runs_as_in_python(language_run: Path, tab: Any, tmp_path: Path) -> None:
    for cell in ("rnn", "gru", "lstm"):
        run = tmp_path / cell
        sizes: dict[str, Any] = {
            "hidden": 6,
            "embedding": 5,
            "window": 8,
            "batch_size": 2,
            "steps": 10,
            "vocabulary": "characters",
        }
        (tmp_path / "text.txt").write_text("ein paar Worte\n" * 40)
        package.train("language-model", tmp_path / "text.txt", run, cell=cell, learn_initial_state=True, **sizes)
        text = "paar Worte ein"
        (typed := tmp_path / "typed.txt").write_text(text)
        (layer,) = recorded(run, use.load(run), [typed])["layers"]
        answers = recorded(run, use.load(run), [typed])["answers"]
        path = explore(run).save(tmp_path / "page.html")
        tab.goto(path.as_uri())
        tab.get_by_label("a text for the model").fill(text)
        tab.get_by_label("a text for the model").press("Enter")
        assert tab.locator("#run .token").count() == len(text)
        tab.locator("#run .token").nth(len(text) - 2).click()
        bar = tab.locator("#run .bar-value").first.inner_text()
        assert float(bar.removesuffix(" %")) == pytest.approx(100 * answers[-1][0][1], abs=0.06)
        shown = tab.evaluate(TYPED, [path.read_text(), text])
        h = unpacked(layer["states"]["h"], 6)
        np.testing.assert_allclose(np.reshape(shown["h"], (-1, 6))[: len(h)], h, atol=2e-5)
        for mine, right in zip(shown["depends"], layer["depends"], strict=False):
            np.testing.assert_allclose(mine[: len(right)], right, rtol=6e-3, atol=2e-6)
        tab.get_by_label("a text for the model").fill("")
        tab.get_by_label("a text for the model").press("Enter")
        assert tab.locator("#run .token").count() == recorded(run, use.load(run))["layers"][0]["steps"]


def test_a_hostile_vocabulary_runs_nothing(tab: Any, tmp_path: Path) -> None:
    hostile = ["</script><img/src=x/onerror=window.hacked=1>", "<svg/onload=window.hacked=1>", "{{script}}", "&lt;b>"]
    (tmp_path / "text.txt").write_text(" ".join(hostile * 60))
    run = tmp_path / "<img src=x onerror=window.hacked=1>"
    sizes: dict[str, Any] = {"hidden": 4, "embedding": 4, "window": 8, "batch_size": 2, "steps": 5}
    package.train("language-model", tmp_path / "text.txt", run, vocabulary="words", **sizes)
    tab.goto(explore(run).save(tmp_path / "page.html").as_uri())
    for t in range(3):
        tab.locator("#run .token").nth(t).click()
    tab.get_by_label("what a unit should follow").fill("<")
    assert tab.evaluate("window.hacked") is None
    assert tab.locator("img").count() == 0
    assert "<svg/onload" in tab.locator("#run").inner_text() or "</script><img" in tab.locator("#run").inner_text()


@pytest.mark.parametrize("name", ["run", "data", "folder", "place", "sequence", "text", "short", "alone"])
def test_mistakes_of_a_user(name: str, elman: Elman, language_run: Path, forecast_run: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    arguments, message = {
        "run": ([tmp_path / "nope", "--out", page], "nope"),
        "data": ([language_run, tmp_path / "nope.txt", "--out", page], "nope.txt"),
        "folder": (["--out", tmp_path], "a file in an existing directory"),
        "place": (["--out", tmp_path / "no" / "page.html"], "no directory"),
        "sequence": ([language_run, "--sequence", "99", "--out", page], "a number from 0 to"),
        "text": ([forecast_run, "--text", "hello", "--out", page], "a run of a language model"),
        "short": ([language_run, "--text", "", "--out", page], "2 letters or more"),
        "alone": (["--text", "hello", "--out", page], "a run with data, text or sequence"),
    }[name]
    answer = elman("explore", *arguments)
    assert answer.code == 2
    assert message in answer.err
    assert "Traceback" not in answer.err
    assert not page.exists()


def test_arguments_that_do_not_fit_each_other(language_run: Path) -> None:
    with pytest.raises(SettingError, match="x and y are for a network"):
        explore(language_run, x=[[1.0]])


def test_numbers_that_are_not_finite_are_refused(language_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverged(call: Any) -> Any:
        trace = replay(call)
        trace.after[0][-1] = torch.inf
        return trace

    monkeypatch.setattr(recording, "replay", diverged)
    with pytest.raises(NonFiniteError, match="not finite"):
        recorded(language_run, use.load(language_run))
