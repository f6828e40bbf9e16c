"""The recipe classify: every kind of label, the commands, resuming, and broken data and runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import elman as package
from elman.errors import DataError, RunError, SettingError
from elman.recipes import run as runs
from elman.recipes import use
from elman.recipes.classify import Classify

Elman = Callable[..., Any]
Trends = Callable[..., Path]


@pytest.fixture
def run(classify_run: Path) -> Path:
    return classify_run


@pytest.fixture
def tiny(classify_settings: dict[str, Any]) -> dict[str, Any]:
    return classify_settings


def test_it_beats_the_majority_class(run: Path, tmp_path: Path, trends: Trends) -> None:
    for data in ([], [trends(tmp_path / "other.jsonl", seed=2)]):
        metrics = use.evaluate(run, data)
        assert metrics["accuracy"] >= 0.9
        assert metrics["nats"] < 0.35
        assert metrics["baselines"]["majority class"]["accuracy"] == 0.5
    report = (run / "report.md").read_text()
    assert " sequences a second" in report
    assert "| majority class | 0.5000 |" in report
    assert "- labels: down (24), up (24)" in report


def test_the_commands(run: Path, tmp_path: Path, elman: Elman, trends: Trends) -> None:
    data = trends(tmp_path / "new.jsonl", count=4)
    evaluated = elman("evaluate", run, data, "--out", tmp_path / "plots")
    assert evaluated.code == 0
    assert "majority class" in evaluated.out
    assert (tmp_path / "plots" / "confusion.png").stat().st_size > 1000
    diagnosed = elman("diagnose", run, "--json")
    assert json.loads(diagnosed.out)["layers"][0]["name"].startswith("encoder.recurrent")
    assert elman("diagnose", run, data).code == 0


def test_probabilities_are_scaled_by_the_temperature_of_the_best_weights(run: Path) -> None:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = min(rows, key=lambda row: row["validation"]["nats"])
    assert package.load(run).temperature == best["validation"]["temperature"] != 1
    assert use.evaluate(run)["nats"] == pytest.approx(best["validation"]["nats"], abs=1e-5)


def test_data_that_do_not_fit_the_model_are_refused(run: Path, tmp_path: Path) -> None:
    words, new, wide = (tmp_path / f"{name}.jsonl" for name in ("words", "new", "wide"))
    words.write_text('{"text": "hello", "label": "up"}')
    with pytest.raises(DataError, match=r"is not what the model reads\n.*numbers\n.*text"):
        use.evaluate(run, [words])
    wide.write_text('{"series": [[1, 2, 3]], "label": "up"}')
    with pytest.raises(DataError, match=r"wide.jsonl is not what the model reads\n.*\(2,\)\n.*\(3,\)"):
        use.evaluate(run, [wide])
    new.write_text('{"series": [[1, 2]], "label": "sideways"}\n{"series": [[1, 2]], "label": "up"}')
    with pytest.raises(DataError, match=r"new.jsonl:1 has a label that is not in the training data\n.*down, up"):
        use.evaluate(run, [new])
    metrics = use.evaluate(run, [new], skip_bad=True)
    assert (metrics["skipped_rows"], metrics["examples"]) == (1, 1)
    assert metrics["skipped"] == ["new.jsonl:1 has a label that is not in the training data"]


def test_skipped_rows_are_named_on_standard_error(run: Path, tmp_path: Path, elman: Elman) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"series": "x", "label": "up"}\n{"series": [[1, 2]], "label": "up"}')
    evaluated = elman("evaluate", run, rows, "--skip-bad")
    assert "skipped: rows.jsonl:1" in evaluated.err
    assert "rows.jsonl" not in evaluated.out


def test_numbers_are_predicted(tmp_path: Path, tiny: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    rows = [(rng.normal(size=int(rng.integers(3, 8)))) for _ in range(80)]
    data = tmp_path / "sums.jsonl"
    data.write_text("\n".join(json.dumps({"series": r.tolist(), "label": 10 + r.mean()}) for r in rows))
    runs.start(Classify, [data], {**tiny, "target": "number", "pooling": "mean", "steps": 120}, tmp_path / "run")
    metrics = use.evaluate(tmp_path / "run")
    assert metrics["mse"] < 0.3 * metrics["baselines"]["training mean"]["mse"]
    np.save(tmp_path / "x.npy", np.full(5, 1.0))
    (answer,) = package.load(tmp_path / "run").predict([tmp_path / "x.npy"])
    assert 10.3 < answer.fields["number"] < 11.7
    with pytest.raises(SettingError, match="no confusion matrix"):
        use.evaluate(tmp_path / "run", out=tmp_path)


def test_steps_are_tagged(tmp_path: Path, tiny: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    words = {"D": ["the", "a"], "N": ["cat", "dog", "tree"], "V": ["sees", "eats"]}
    lines = []
    for _ in range(60):
        tags = ["D", "N", "V", "D", "N"][: int(rng.integers(2, 6))]
        lines.append(json.dumps({"text": [str(rng.choice(words[tag])) for tag in tags], "label": tags}))
    data = tmp_path / "tags.jsonl"
    data.write_text("\n".join(lines))
    settings = {**tiny, "target": "tags", "vocabulary": "words", "bidirectional": True, "embedding": 8, "steps": 60}
    runs.start(Classify, [data], settings, tmp_path / "run")
    metrics = use.evaluate(tmp_path / "run", out=tmp_path)
    assert metrics["accuracy"] > 0.95 > 0.6 > metrics["baselines"]["majority class"]["accuracy"]
    assert " tags a second" in (tmp_path / "run" / "report.md").read_text()
    trained = package.load(tmp_path / "run")
    (answer,) = trained.predict(["the dog sees a tree"])
    assert answer.fields["tags"] == ["D", "N", "V", "D", "N"]
    with pytest.raises(SettingError, match="bidirectional=false"):
        list(trained.predict(["the dog"], every=1))


def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path: Path, tiny: dict[str, Any], trends: Trends) -> None:
    data = trends(tmp_path / "trends.jsonl")
    steady = {"schedule": "constant", "warmup": 0, "class_weights": "balanced"}
    settings = {**tiny, **steady, "dropout": 0.3, "layers": 2}
    runs.start(Classify, [data], {**settings, "steps": 20}, tmp_path / "whole")
    runs.start(Classify, [data], {**settings, "steps": 10}, tmp_path / "parts")
    data.unlink()
    runs.resume(Classify, {"steps": 20}, tmp_path / "parts")
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_separate_validation_data(tmp_path: Path, tiny: dict[str, Any], trends: Trends) -> None:
    files = [trends(tmp_path / f"{name}.jsonl", count, seed) for name, count, seed in (("a", 8, 1), ("b", 4, 2))]
    settings = {**tiny, "validation_data": ",".join(map(str, files)), "steps": 1}
    trained = runs.start(Classify, [trends(tmp_path / "c.jsonl", 20, 3)], settings, tmp_path / "run")
    data = trained.run.config["data"]
    assert (data["training_examples"], data["validation_examples"], data["skipped_rows"]) == (20, 12, 0)


def test_the_default_digits(tmp_path: Path, elman: Elman) -> None:
    options = ["--steps", 2, "--hidden", 4, "--set", "pooling=mean"]
    assert elman("train", "classify", *options, "--out", tmp_path / "run").code == 0
    data = json.loads((tmp_path / "run" / "config.json").read_text())["data"]
    assert (data["reader"], data["steps"]) == ("digits", "64 to 64")
    assert data["training_examples"] + data["validation_examples"] == 1797


def test_broken_examples_stop_the_training_or_are_skipped(tmp_path: Path, elman: Elman, trends: Trends) -> None:
    data = trends(tmp_path / "trends.jsonl")
    data.write_text(data.read_text() + '\n{"series": [[1, NaN]], "label": "up"}\n')
    command = ("train", "classify", data, "--steps", 1, "--hidden", 4, "--out", tmp_path / "run")
    refused = elman(*command)
    assert refused.code == 2
    assert "trends.jsonl:61 is not all numbers" in refused.err
    assert not (tmp_path / "run").exists()
    assert elman(*command, "--skip-bad").code == 0
    report = (tmp_path / "run" / "report.md").read_text()
    assert "- skipped rows: 1\n- skipped: trends.jsonl:61" in report


def test_a_broken_run_is_refused(tmp_path: Path, tiny: dict[str, Any], trends: Trends) -> None:
    runs.start(Classify, [trends(tmp_path / "trends.jsonl")], {**tiny, "steps": 1}, tmp_path / "run")
    run = tmp_path / "run"
    model = run / "model.safetensors"
    good = model.read_bytes()
    model.write_bytes(good.replace(b"temperature", b"temperaturf"))
    assert package.load(run).temperature == 1
    place = good.index(b'temperature\\": ') + len(b'temperature\\": ')
    model.write_bytes(good[:place] + b"-" + good[place + 1 :])
    with pytest.raises(RunError, match="a temperature above 0"):
        package.load(run)
    model.write_bytes(good)
    np.save(run / "examples-labels.values.npy", np.load(run / "examples-labels.values.npy") ^ 1)
    with pytest.raises(RunError, match="are not those that the run began with"):
        runs.resume(Classify, {"steps": 2}, run)
    (run / "held.npy").unlink()
    with pytest.raises(RunError, match="came without its data"):
        use.evaluate(run)
    (run / "examples.json").unlink()
    with pytest.raises(RunError, match=r"examples.json cannot be read"):
        package.load(run)


def test_a_misspelt_file_is_not_read_as_a_text(tmp_path: Path, elman: Any) -> None:
    rows = [f"{label} {n},{label}" for n in range(12) for label in ("warm", "cold")]
    data = tmp_path / "data.csv"
    data.write_text("\n".join(["text,label", *rows]))
    settings = {"steps": 1, "hidden": 2, "embedding": 2, "validation": 0.2}
    runs.start(Classify, [data], settings, tmp_path / "r")
    missing = str(tmp_path / "nothere.txt")
    answer = elman("predict", tmp_path / "r", missing)
    assert answer.code == 2
    assert "nothere.txt does not exist" in answer.err
    answer = elman("predict", tmp_path / "r", missing, "warm 3", "--skip-bad")
    assert (answer.code, len(answer.out.splitlines())) == (0, 1)
    assert "no answer: " in answer.err
    assert elman("predict", tmp_path / "r", "").code == 2
