"""Training, evaluation, prediction and diagnosis from Python, with data in memory."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

import elman
from elman.errors import DataError, RunError, SettingError
from elman.predictors.answer import Answer
from elman.recipes.registry import RECIPES

TINY = {"steps": 4, "hidden": 6, "embedding": 4, "subword_buckets": 20, "device": "cpu"}
Pairs = list[tuple[str, str, float]]


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    rng = random.Random(1)
    return [(f"{n} {rng.choice('abcd')}", f"{n} {rng.choice('abcd')}", rng.random()) for n in range(99)]


@pytest.fixture(scope="module")
def predictor(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return elman.train("similarity", pairs, tmp_path_factory.mktemp("api") / "run", **TINY)


def test_recipes_are_listed_by_the_package_itself() -> None:
    assert elman.recipes() == {name: recipe.summary for name, recipe in RECIPES.items()}
    assert elman.recipes.__name__ == "elman.recipes"
    assert elman.recipes("forecast").keys() == RECIPES["forecast"].Settings.meanings().keys()
    with pytest.raises(SettingError, match="did you mean 'classify'"):
        elman.recipes("clasify")


def test_a_frame_is_classified(tmp_path: Path) -> None:
    rng = random.Random(1)
    labels = [rng.choice(["warm", "cold"]) for _ in range(80)]
    texts = [f'"{rng.choice("abc")}", it is {label}' for label in labels]
    frame = pd.DataFrame({"text": texts, "label": labels}, index=range(100, 180))
    predictor = elman.train("classify", frame, tmp_path / "run", steps=50, hidden=16, vocabulary="words", device="cpu")
    answers = list(predictor.predict(["it is warm", "it is cold"]))
    assert [answer.fields["label"] for answer in answers] == ["warm", "cold"]
    predicted = predictor.predict(frame[["text"]][20:30])
    assert list(predicted.index) == list(range(120, 130))
    assert list(predicted.label) == labels[20:30]
    assert list(predictor.predict(frame.text[20:30]).label) == labels[20:30]
    assert elman.evaluate(predictor, frame)["accuracy"] == 1.0


def test_arrays_are_classified(tmp_path: Path) -> None:
    x_NTI = np.random.default_rng(1).normal(size=(60, 7, 2))
    labels = ["high" if x_TI.mean() > 0 else "low" for x_TI in x_NTI]
    predictor = elman.train("classify", zip(x_NTI, labels, strict=True), tmp_path / "run", steps=4, hidden=8)
    answers = list(predictor.predict(x_NTI[:3]))
    assert {answer.fields["label"] for answer in answers} <= {"high", "low"} and len(answers) == 3
    assert not any("/" in answer.line for answer in answers)


def test_a_run_is_the_same_from_rows_frames_and_files(pairs: Pairs, predictor: Any, tmp_path: Path) -> None:
    frame = pd.DataFrame(pairs, columns=["first", "second", "score"])
    frame.to_csv(tmp_path / "pairs.csv", index=False)
    rows = frame.to_dict("records")
    for n, data in enumerate([frame, iter(pairs), rows, tmp_path / "pairs.csv", [str(tmp_path / "pairs.csv")]]):
        other = elman.train("similarity", data, tmp_path / f"run{n}", **TINY)
        assert (other.run / "model.safetensors").read_bytes() == (predictor.run / "model.safetensors").read_bytes()
    assert json.loads((predictor.run / "config.json").read_text())["data"]["sources"] == ["list in memory"]


def test_it_returns_the_predictor_of_the_run_and_prints_nothing(
    pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    for n in (1, 2):
        predictor = elman.train("similarity", pairs, **TINY)
        assert predictor.run == Path("runs") / f"similarity-{n}"
    assert capfd.readouterr() == ("", "")
    assert predictor.metrics == elman.load(predictor.run).metrics
    lines: list[str] = []
    elman.train("similarity", pairs, log=lines.append, **TINY)
    assert lines[0] == "sources: list in memory"
    assert lines[-1].startswith("step 4: loss ") and "Pearson" in lines[-1]


def test_the_result_of_predict_follows_its_input(pairs: Pairs, predictor: Any) -> None:
    frame = pd.DataFrame(pairs[:3], columns=["a", "b", "score"], index=[7, 8, 9])
    table = predictor.predict(frame)
    assert list(table.index) == [7, 8, 9] and list(table["first"]) == list(frame.a)
    for inputs in ([f"{a}\t{b}" for a, b, _ in pairs[:3]], [(a, b) for a, b, _ in pairs[:3]]):
        answers = list(predictor.predict(inputs))
        assert all(isinstance(answer, Answer) for answer in answers)
        assert [answer.fields["score"] for answer in answers] == pytest.approx(list(table.score))
    (answer,) = predictor.predict("a cat\ta dog")
    assert answer.fields["first"] == "a cat"
    series = pd.Series(["a\tb", "c\td"], index=["x", "y"])
    assert list(predictor.predict(series).index) == ["x", "y"]
    with pytest.raises(DataError, match="is not an array of numbers"):
        list(predictor.predict([{1, 2}]))


def test_inputs_are_the_columns_without_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cold").write_text("warm")
    frame = pd.DataFrame({"text": ["warm a", "cold b"] * 30, "label": ["warm", "cold"] * 30})
    classifier = elman.train("classify", frame, "classify", steps=4, hidden=6, embedding=4, device="cpu")
    probe = pd.DataFrame({"text": ["warm", None, "cold", " "], "label": "x"}, index=[10, 11, 12, 13])
    table = classifier.predict(probe)
    assert list(table.index) == [10, 11, 12, 13] and list(table.input.dropna()) == ["warm", "cold"]
    assert list(table.error.notna()) == [False, True, False, True]
    rows: list[Any] = [("warm", "x"), {"label": "x", "text": "cold"}]
    assert [answer.fields["input"] for answer in classifier.predict(rows)] == ["warm", "cold"]
    with pytest.raises(DataError, match="should be: the column text, or path"):
        classifier.predict(pd.DataFrame({"a": ["x"], "b": ["y"]}))
    pairs = pd.DataFrame({"source": [f"one {n}" for n in range(40)], "target": [f"eins {n}" for n in range(40)]})
    translator = elman.train("translate", pairs, "translate", steps=2, hidden=6, embedding=4, device="cpu")
    expected = [answer.fields["translation"] for answer in translator.predict(list(pairs.source[:3]))]
    for data in (pairs[:3], pairs[["source"]][:3], pairs[:3].rename(columns={"source": "en", "target": "de"})):
        assert list(translator.predict(data).translation) == expected


def test_files_are_named_in_a_frame(tmp_path: Path) -> None:
    for n in range(10):
        Image.new("RGB", (32, 32), (25 * n, 0, 0)).save(tmp_path / f"{n}.png")
        soundfile.write(tmp_path / f"{n}.wav", np.sin(np.arange(2400) * (n + 1) / 10), 8000)
    tiny: dict[str, Any] = {"steps": 2, "hidden": 6, "device": "cpu", "batch_size": 4}
    frames = [
        pd.DataFrame({"path": [str(tmp_path / f"{n}.{kind}") for n in range(10)], target: ["a b", "b"] * 5})
        for kind, target in (("png", "caption"), ("wav", "text"))
    ]
    captioner = elman.train("caption", frames[0], tmp_path / "caption", embedding=4, image_size=32, **tiny)
    transcriber = elman.train("transcribe", frames[1], tmp_path / "sound", sample_rate=8000, mel_bands=8, **tiny)
    for predictor, frame in zip((captioner, transcriber), frames, strict=True):
        for data in (frame[:2], frame[["path"]][:2]):
            assert list(predictor.predict(data).path) == list(frame.path[:2])


def test_each_session_of_a_frame_has_an_answer(tmp_path: Path) -> None:
    events = pd.DataFrame([(f"u{u}", f"i{(u + t) % 6}", u + t) for u in range(30) for t in range(5)])
    events.columns = pd.Index(["session", "item", "time"])
    predictor = elman.train("recommend", events, tmp_path / "run", steps=2, hidden=6, embedding=4)
    table = predictor.predict(events[:10].sort_values("time", ascending=False))
    assert set(table.session) == {"u0", "u1"} and list(table.events) == [5, 5]
    (answer,) = predictor.predict(["i0", "i1", "i2", "i3", "i4"])
    assert table[table.session == "u0"].iloc[0].scores == answer.fields["scores"]
    for data in (events[["item"]], [("u0", "i0", 1)], [3]):
        with pytest.raises(DataError, match="these are not the items of sessions"):
            list(predictor.predict(data) if isinstance(data, list) else [predictor.predict(data)])


def test_options_are_checked_before_the_first_answer(predictor: Any) -> None:
    with pytest.raises(SettingError, match="did you mean 'top'"):
        predictor.predict(["a\tb"], tpo=3)
    with pytest.raises(SettingError, match="top"):
        predictor.predict(["a\tb"], top="none")
    assert len(list(predictor.predict(["a\tb"], top="2"))) == 1


def test_series_are_forecast(tmp_path: Path) -> None:
    times = pd.date_range("2024-01-01", periods=90, freq="D")
    series = pd.Series(np.sin(np.arange(90) / 3), index=times, name="wave")
    tiny: dict[str, Any] = {"steps": 2, "hidden": 6, "horizon": 4, "lookback": 12}
    predictor = elman.train("forecast", series, tmp_path / "series", **tiny)
    (row,) = predictor.predict(series).to_dict("records")
    assert row["series"] == "wave" and row["times"][0].startswith("2024-03-31") and row["input"] == "data.csv"
    values_TS = np.stack([series, series], 1)
    predictor = elman.train("forecast", values_TS, tmp_path / "array", **tiny)
    assert [answer.fields["series"] for answer in predictor.predict(values_TS)] == ["value1", "value2"]
    assert elman.train("forecast", list(series), tmp_path / "list", **tiny).metrics["crps"] > 0


def test_texts_and_their_translations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny: dict[str, Any] = {"steps": 2, "hidden": 6, "embedding": 4}
    elman.train("language-model", ["ein paar\nWorte"] * 60, "texts", window=8, batch_size=2, **tiny)
    (tmp_path / "text.txt").write_text("ein paar\nWorte\n" * 60)
    for n, data in enumerate([["text.txt"], "text.txt", Path("text.txt")]):
        elman.train("language-model", data, f"file{n}", window=8, batch_size=2, **tiny)
        assert Path(f"file{n}/model.safetensors").read_bytes() == Path("texts/model.safetensors").read_bytes()
    rows = [(f"one {n}", f"eins\t{n}") for n in range(40)]
    elman.train("translate", rows, "rows", **tiny)
    elman.train("translate", pd.DataFrame(rows, columns=["en", "de"]), "frame", **tiny)
    assert Path("rows/model.safetensors").read_bytes() == Path("frame/model.safetensors").read_bytes()


def test_runs_are_evaluated_and_diagnosed(pairs: Pairs, predictor: Any) -> None:
    assert elman.evaluate(predictor) == elman.evaluate(str(predictor.run))
    assert elman.evaluate(predictor)["pearson"] == predictor.metrics["pearson"]
    metrics = elman.evaluate(predictor, [*pairs[:20], ("a", "b", "x")], skip_bad=True)
    assert (metrics["pairs"], metrics["skipped_rows"], metrics["skipped"]) == (
        20,
        1,
        ["data.csv, line 22: invalid score: 'x'"],
    )
    for report in (elman.diagnose(predictor), elman.diagnose(predictor.run, pairs[:20], memory=2)):
        assert report.layers
    assert report.memory == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (5, "similarity does not take data of this type\n  should be: rows .first, second, score., or a DataFrame"),
        ([], "there is no data"),
        ([("a", "b", 1), ("a", "b")], "row 1 has 2 values"),
        (["nothing.tsv"], r"nothing\.tsv does not exist"),
        (pd.DataFrame({"x": ["a"], "y": ["b"]}), r"^data.csv has no column"),
        ([("a", "b", 1), ("a", "b", "x")], r"^data\.csv, line 3: "),
    ],
)
def test_what_a_recipe_does_not_take_is_refused(data: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        elman.train("similarity", data, tmp_path / "run", **TINY)
    assert not list(tmp_path.iterdir())


def test_a_run_is_resumed(pairs: Pairs, predictor: Any, tmp_path: Path) -> None:
    def interrupt(progress: Any) -> None:
        if progress.step == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="is saved at step 2"):
        elman.train("similarity", pairs, tmp_path / "run", watch=interrupt, **TINY)
    resumed = elman.train("similarity", out=tmp_path / "run", resume=True)
    assert (resumed.run / "model.safetensors").read_bytes() == (predictor.run / "model.safetensors").read_bytes()
    with pytest.raises(SettingError, match="there is no run to resume"):
        elman.train("similarity", resume=True)
    with pytest.raises(SettingError, match="a resumed run has its own data"):
        elman.train("similarity", pairs, tmp_path / "run", resume=True)
    with pytest.raises(RunError, match="holds a run already"):
        elman.train("similarity", pairs, tmp_path / "run", **TINY)


def test_the_horizon_is_measured_in_training(pairs: Pairs, tmp_path: Path) -> None:
    run = elman.train("similarity", pairs, tmp_path / "run", diagnose=2, **TINY).run
    assert "horizon, " in (run / "metrics.jsonl").read_text()


def test_pandas_is_not_imported(tmp_path: Path) -> None:
    program = (
        "import sys, elman; p = elman.train('similarity', [(f'{n} a', f'{n} b', n) for n in range(99)], steps=1);"
        "list(p.predict(['a\\tb'])); print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "False"
