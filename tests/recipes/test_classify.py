"""Classification from end to end: every kind of label, the commands, and a run that stops and goes on."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import elman as package
from elman.errors import DataError, RunError, SettingError
from elman.recipes import registry
from elman.recipes import run as runs

RECIPE = registry.find("classify")
TINY = {"hidden": 8, "batch_size": 8, "evaluate_every": 10, "validation": 0.2, "learning_rate": 0.01}
Elman = Callable[..., Any]


def waves(path: Path, count: int = 60, seed: int = 1) -> Path:
    """Rising and falling series of many lengths, two channels, one of them noise."""
    chance, lines = np.random.default_rng(seed), []
    for n in range(count):
        steps = int(chance.integers(4, 12))
        sign = 1 if n % 2 else -1
        series = np.stack([sign * np.arange(steps) + chance.normal(0, 0.5, steps), chance.normal(0, 1, steps)], 1)
        lines.append(json.dumps({"series": series.round(3).tolist(), "label": "up" if n % 2 else "down"}))
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classify")
    runs.start(RECIPE, [waves(folder / "waves.jsonl")], {**TINY, "steps": 60}, folder / "run")
    return folder / "run"


def test_it_learns_what_the_majority_cannot_tell(run: Path, tmp_path: Path) -> None:
    (run.parent / "waves.jsonl").unlink(missing_ok=True)  # the run has all it needs
    trained = package.load(run)
    for data in ([], [waves(tmp_path / "other.jsonl", seed=2)]):
        found = trained.evaluate(data)
        assert found["accuracy"] >= 0.9
        assert found["nats"] < 0.35
        assert found["baselines"]["majority class"]["accuracy"] == 0.5
    report = (run / "report.md").read_text()
    assert " sequences a second" in report
    assert "| majority class | 0.5 |" in report
    assert "- labels: down (24), up (24)" in report


def test_the_commands(run: Path, tmp_path: Path, elman: Elman) -> None:
    data = waves(tmp_path / "new.jsonl", count=4)
    shown = elman("evaluate", run, data, "--out", tmp_path / "pictures")
    assert shown.code == 0
    assert "majority class" in shown.out
    assert (tmp_path / "pictures" / "confusion.png").stat().st_size > 1000
    answers = json.loads(elman("predict", run, data, "--json").out)["predictions"]
    assert [answer["label"] for answer in answers] == ["down", "up", "down", "up"]
    for answer in answers:
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
    np.save(tmp_path / "one.npy", np.stack([np.arange(9), np.zeros(9)], 1))
    line = elman("predict", run, tmp_path / "one.npy", "--set", "top=1").out
    assert line.startswith(f"{tmp_path}/one.npy: up ")
    assert "down" not in line
    diagnosed = elman("diagnose", run, "--json")
    assert json.loads(diagnosed.out)["layers"][0]["name"].startswith("encoder.recurrent")


def test_running_answers_end_in_the_answer(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = package.load(run)
    steps = np.stack([np.arange(9), np.zeros(9)], 1).astype(np.float32)
    np.save(tmp_path / "one.npy", steps)
    (whole,) = trained.predict([str(tmp_path / "one.npy")])
    running = list(trained.predict([str(tmp_path / "one.npy")], every=4))
    assert [answer.fields["step"] for answer in running] == [4, 8, 9]
    assert running[-1].fields["probabilities"] == pytest.approx(whole.fields["probabilities"], abs=1e-6)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(f"{a}, {b}" for a, b in steps)))
    (streamed,) = trained.predict(["-"])
    assert streamed.fields["probabilities"] == pytest.approx(whole.fields["probabilities"], abs=1e-6)
    monkeypatch.setattr("sys.stdin", io.StringIO("1 2\n1\n"))
    with pytest.raises(DataError, match=r"line 2 is not what the model reads\n.*\(2,\)\n.*\(1,\)"):
        list(trained.predict(["-"]))
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(DataError, match="- is empty"):
        list(trained.predict(["-"]))


def test_probabilities_are_scaled_by_the_temperature_of_the_best_weights(run: Path) -> None:
    trained = package.load(run)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = min(rows, key=lambda row: row["validation"]["nats"])
    assert trained.temperature == best["validation"]["temperature"] != 1
    assert trained.evaluate()["nats"] == pytest.approx(best["validation"]["nats"], abs=1e-5)


def test_what_does_not_fit_the_model_is_refused(run: Path, tmp_path: Path) -> None:
    trained = package.load(run)
    np.save(tmp_path / "wide.npy", np.zeros((3, 5)))
    with pytest.raises(DataError, match=r"wide.npy is not what the model reads\n.*\(2,\)\n.*\(5,\)"):
        list(trained.predict([str(tmp_path / "wide.npy")]))
    with pytest.raises(SettingError, match="there is nothing to answer"):
        list(trained.predict([]))
    (tmp_path / "words.jsonl").write_text('{"text": "hello", "label": "up"}')
    with pytest.raises(DataError, match=r"is not what the model reads\n.*numbers\n.*text"):
        trained.evaluate([tmp_path / "words.jsonl"])
    (tmp_path / "new.jsonl").write_text(
        '{"series": [[1, 2]], "label": "sideways"}\n{"series": [[1, 2]], "label": "up"}'
    )
    with pytest.raises(DataError, match=r"new.jsonl:1 has a label that is not in the training data\n.*down, up"):
        trained.evaluate([tmp_path / "new.jsonl"])
    found = trained.evaluate([tmp_path / "new.jsonl"], skip_bad=True)
    assert (found["skipped"], found["examples"]) == (1, 1)
    assert found["left_out"] == ["new.jsonl:1 has a label that is not in the training data"]


def test_broken_inputs_are_named_and_the_others_answered(run: Path, tmp_path: Path, elman: Elman) -> None:
    good, wide, absent = (tmp_path / name for name in ("good.npy", "wide.npy", "absent.npy"))
    np.save(good, np.stack([np.arange(9), np.zeros(9)], 1))
    np.save(wide, np.zeros((3, 5)))
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"series": "x", "label": "up"}\n{"series": [[1, 2]], "label": "up"}')
    assert elman("predict", run, wide, good).code == 2
    done = elman("predict", run, wide, absent, rows, good, "--skip-bad")
    assert done.code == 0
    assert [line.split(": ")[0] for line in done.out.splitlines()] == ["rows.jsonl:2", str(good)]
    lines = [line.removeprefix("no answer: ") for line in done.err.splitlines()]
    assert [line.split()[0] for line in lines] == [str(wide), str(absent), "rows.jsonl:1"]
    answers = json.loads(elman("predict", run, wide, absent, rows, good, "--skip-bad", "--json").out)["predictions"]
    assert ["error" in answer for answer in answers] == [True, True, True, False, False]
    expected = "steps of shape (2,), is (5,)"
    assert answers[0] == {"input": str(wide), "error": f"{wide} is not what the model reads (should be {expected})"}
    told = elman("evaluate", run, rows, "--skip-bad")
    assert "left out: rows.jsonl:1" in told.err
    assert "left" not in told.out


def test_numbers_are_told(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    rows = [(chance.normal(size=int(chance.integers(3, 8)))) for _ in range(80)]
    data = tmp_path / "sums.jsonl"
    data.write_text("\n".join(json.dumps({"series": r.tolist(), "label": 10 + r.mean()}) for r in rows))
    runs.start(RECIPE, [data], {**TINY, "target": "number", "pooling": "mean", "steps": 120}, tmp_path / "run")
    trained = package.load(tmp_path / "run")
    found = trained.evaluate()
    assert found["mse"] < 0.3 * found["baselines"]["training mean"]["mse"]
    (answer,) = trained.predict([str(_saved(tmp_path / "x.npy", np.full(5, 1.0)))])
    assert 10.3 < answer.fields["number"] < 11.7
    with pytest.raises(SettingError, match="no confusion matrix"):
        trained.evaluate(pictures=tmp_path)


def _saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def test_steps_are_tagged(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    words = {"D": ["the", "a"], "N": ["cat", "dog", "tree"], "V": ["sees", "eats"]}
    lines = []
    for _ in range(60):
        tags = ["D", "N", "V", "D", "N"][: int(chance.integers(2, 6))]
        lines.append(json.dumps({"text": [str(chance.choice(words[tag])) for tag in tags], "label": tags}))
    data = tmp_path / "tags.jsonl"
    data.write_text("\n".join(lines))
    told = {**TINY, "target": "tags", "vocabulary": "words", "bidirectional": True, "embedding": 8, "steps": 60}
    runs.start(RECIPE, [data], told, tmp_path / "run")
    trained = package.load(tmp_path / "run")
    found = trained.evaluate(pictures=tmp_path)
    assert found["accuracy"] > 0.95 > 0.6 > found["baselines"]["majority class"]["accuracy"]
    (answer,) = trained.predict(["the dog sees a tree"])
    assert answer.fields["tags"] == ["D", "N", "V", "D", "N"]
    with pytest.raises(SettingError, match="bidirectional=false"):
        list(trained.predict(["the dog"], every=1))


def test_several_classes_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(1)
    rows = [sorted(set(chance.choice(list("abcd"), int(chance.integers(1, 4))))) for _ in range(80)]
    data = tmp_path / "letters.csv"
    data.write_text("text,label\n" + "\n".join(f"{''.join(chance.permutation(r))}xx,{';'.join(r)}" for r in rows))
    told = {**TINY, "target": "classes", "vocabulary": "characters", "pooling": "max", "embedding": 8, "steps": 300}
    runs.start(RECIPE, [data], told, tmp_path / "run")
    trained = package.load(tmp_path / "run")
    found = trained.evaluate()
    assert found["macro_f1"] > 0.9 > found["baselines"]["majority class"]["macro_f1"]
    monkeypatch.setattr("sys.stdin", io.StringIO("dbxx\n\ncxx\n"))
    assert [answer.fields["labels"] for answer in trained.predict(["-"])] == [["b", "d"], ["c"]]


def test_a_run_that_stops_ends_as_one_that_does_not(tmp_path: Path) -> None:
    data = waves(tmp_path / "waves.jsonl")
    told = {**TINY, "dropout": 0.3, "layers": 2, "schedule": "constant", "warmup": 0, "class_weights": "balanced"}
    runs.start(RECIPE, [data], {**told, "steps": 20}, tmp_path / "whole")
    runs.start(RECIPE, [data], {**told, "steps": 10}, tmp_path / "parts")
    data.unlink()
    runs.resume(RECIPE, {"steps": 20}, tmp_path / "parts")
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_the_embedded_digits(tmp_path: Path, elman: Elman) -> None:
    done = elman(
        "train", "classify", "--steps", "2", "--hidden", "4", "--out", tmp_path / "run", "--set", "pooling=mean"
    )
    assert done.code == 0
    described = json.loads((tmp_path / "run" / "config.json").read_text())["data"]
    assert (described["reader"], described["steps"]) == ("digits", "64 to 64")
    assert described["training_examples"] + described["validation_examples"] == 1797


def test_broken_examples_stop_the_training_or_are_left_out(tmp_path: Path, elman: Elman) -> None:
    data = waves(tmp_path / "waves.jsonl")
    data.write_text(data.read_text() + '\n{"series": [[1, NaN]], "label": "up"}\n')
    command = ("train", "classify", data, "--steps", "1", "--hidden", "4", "--out", tmp_path / "run")
    done = elman(*command)
    assert done.code == 2
    assert "waves.jsonl:61 is not all numbers" in done.err
    assert not (tmp_path / "run").exists()
    assert elman(*command, "--skip-bad").code == 0
    assert "- skipped: waves.jsonl:61" in (tmp_path / "run" / "report.md").read_text()


def test_a_broken_run_is_refused(tmp_path: Path) -> None:
    runs.start(RECIPE, [waves(tmp_path / "waves.jsonl")], {**TINY, "steps": 1}, tmp_path / "run")
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
        runs.resume(RECIPE, {"steps": 2}, run)
    (run / "held.npy").unlink()
    with pytest.raises(RunError, match="came without its data"):
        package.load(run).evaluate()
    (run / "examples.json").unlink()
    with pytest.raises(RunError, match=r"examples.json cannot be read"):
        package.load(run)
