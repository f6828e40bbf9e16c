"""A trained classifier: its answers to files, texts and streams."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elman as package
from elman.errors import DataError, NonFiniteError, SettingError
from elman.predictors.options import ClassifyOptions
from elman.recipes import run as runs
from elman.recipes import use
from elman.recipes.classify import Classify

Elman = Callable[..., Any]
RISING = np.stack([np.arange(9), np.zeros(9)], 1).astype(np.float32)


@pytest.fixture
def run(classify_run: Path) -> Path:
    return classify_run


@pytest.fixture
def rising(tmp_path: Path) -> Path:
    np.save(tmp_path / "rising.npy", RISING)
    return tmp_path / "rising.npy"


def test_it_knows_its_run_its_metrics_and_its_options(run: Path, rising: Path) -> None:
    predictor = package.load(run)
    rows = [json.loads(line)["validation"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert predictor.run == run
    assert predictor.metrics == min(rows, key=lambda metrics: metrics["nats"])
    assert predictor.Options is ClassifyOptions
    with pytest.raises(SettingError, match="out of range"):
        list(predictor.predict([rising], top=0))


def test_series_are_classified(run: Path, rising: Path, tmp_path: Path, elman: Elman, trends: Any) -> None:
    data = trends(tmp_path / "new.jsonl", count=4)
    answers = json.loads(elman("predict", run, data, "--json").out)["predictions"]
    assert [answer["label"] for answer in answers] == ["down", "up", "down", "up"]
    for answer in answers:
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
    line = elman("predict", run, rising, "--set", "top=1").out
    assert line.startswith(f"{rising}: up ")
    assert "down" not in line


def test_running_answers_end_in_the_answer(run: Path, rising: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = package.load(run)
    (whole,) = predictor.predict([str(rising)])
    running = list(predictor.predict([str(rising)], every=4))
    assert [answer.fields["step"] for answer in running] == [4, 8, 9]
    assert running[-1].fields["probabilities"] == pytest.approx(whole.fields["probabilities"], abs=1e-6)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(f"{a}, {b}" for a, b in RISING)))
    (streamed,) = predictor.predict(["-"])
    assert streamed.fields["probabilities"] == running[-1].fields["probabilities"], "to the bit"
    monkeypatch.setattr("sys.stdin", io.StringIO("1 2\n1\n"))
    with pytest.raises(DataError, match=r"line 2 is not what the model reads\n.*\(2,\)\n.*\(1,\)"):
        list(predictor.predict(["-"]))
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(DataError, match="- is empty"):
        list(predictor.predict(["-"]))


def test_inputs_that_do_not_fit_the_model_are_refused(run: Path, tmp_path: Path) -> None:
    predictor = package.load(run)
    np.save(tmp_path / "wide.npy", np.zeros((3, 5)))
    with pytest.raises(DataError, match=r"wide.npy is not what the model reads\n.*\(2,\)\n.*\(5,\)"):
        list(predictor.predict([tmp_path / "wide.npy"]))
    with pytest.raises(SettingError, match="there is nothing to answer"):
        list(predictor.predict([]))


def test_broken_inputs_are_named_and_the_others_answered(run: Path, rising: Path, tmp_path: Path, elman: Elman) -> None:
    wide, absent, rows = (tmp_path / name for name in ("wide.npy", "absent.npy", "rows.jsonl"))
    np.save(wide, np.zeros((3, 5)))
    rows.write_text('{"series": "x", "label": "up"}\n{"series": [[1, 2]], "label": "up"}')
    assert elman("predict", run, wide, rising).code == 2
    answered = elman("predict", run, wide, absent, rows, rising, "--skip-bad")
    assert answered.code == 0
    assert [line.split(": ")[0] for line in answered.out.splitlines()] == ["rows.jsonl:2", str(rising)]
    lines = [line.removeprefix("no answer: ") for line in answered.err.splitlines()]
    assert [line.split()[0] for line in lines] == [str(wide), str(absent), "rows.jsonl:1", "1"]
    assert lines[-1].startswith("1 file: series_columns=series, label_column=label")
    answers = elman("predict", run, wide, absent, rows, rising, "--skip-bad", "--json").out
    answers = json.loads(answers)["predictions"]
    assert ["error" in answer for answer in answers] == [True, True, True, False, False]
    expected = "steps of shape (2,), is (5,)"
    assert answers[0] == {"input": str(wide), "error": f"{wide} is not what the model reads (should be {expected})"}


def test_several_classes_are_predicted(
    tmp_path: Path, classify_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    rows = [sorted(set(rng.choice(list("abcd"), int(rng.integers(1, 4))))) for _ in range(80)]
    data = tmp_path / "letters.csv"
    data.write_text("text,label\n" + "\n".join(f"{''.join(rng.permutation(r))}xx,{';'.join(r)}" for r in rows))
    several = {"target": "classes", "vocabulary": "characters", "pooling": "max", "embedding": 8, "steps": 300}
    runs.start(Classify, [data], {**classify_settings, **several}, tmp_path / "run")
    metrics = use.evaluate(tmp_path / "run")
    assert metrics["macro_f1"] > 0.9 > metrics["baselines"]["majority class"]["macro_f1"]
    monkeypatch.setattr("sys.stdin", io.StringIO("dbxx\n\ncxx\n"))
    answers = [answer.fields for answer in package.load(tmp_path / "run").predict(["-"])]
    assert [fields["labels"] for fields in answers] == [["b", "d"], ["c"]]
    assert [fields["input"] for fields in answers] == ["line 1", "line 3"]
    assert all(fields["probabilities"].keys() == set("abcd") for fields in answers)
    predictor = package.load(tmp_path / "run")
    for skip_bad in (True, False):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"dbxx\ncaf\xe9\ncxx\n")))
        answers = predictor.predict(["-"], skip_bad=skip_bad)
        assert next(answers).fields["labels"] == ["b", "d"]
        if skip_bad:
            assert "standard input, line 2 is not valid UTF-8" in next(answers).fields["error"]
            assert next(answers).fields["labels"] == ["c"]
        else:
            with pytest.raises(DataError, match="standard input, line 2 is not valid UTF-8"):
                next(answers)


def test_an_empty_input_does_not_stand_for_the_current_folder(
    run: Path, rising: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(rising.parent)
    with pytest.raises(DataError, match="the name of a file is empty"):
        list(package.load(run).predict([""]))
    assert list(package.load(run).predict(["."]))


def test_scores_that_are_not_finite_are_refused(run: Path, rising: Path) -> None:
    predictor = package.load(run)
    torch.nn.init.constant_(predictor.model.output.bias, float("nan"))
    with pytest.raises(NonFiniteError, match="gives numbers that are not finite"):
        list(predictor.predict([rising]))
