"""The recipe `translate`, on pairs so small that it learns them in seconds."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from elman import recipes
from elman.errors import SettingError
from elman.training import tensors

Elman = Callable[..., Any]
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ZAHLEN = ["eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"]
TINY = ["--hidden", 32, "--set", "embedding=16", "--set", "vocabulary=words", "--set", "tokens=200", "--seed", 1]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbers in words, backwards: source and target differ in words and in order."""
    chance = random.Random(1)
    path = tmp_path_factory.mktemp("pairs") / "numbers.tsv"
    rows = [[chance.randrange(9) for _ in range(chance.randint(1, 4))] for _ in range(600)]
    lines = [f"{' '.join(NUMBERS[n] for n in row)}\t{' '.join(ZAHLEN[n] for n in row[::-1])}\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    from elman import cli

    out = data.with_name("run")
    words = ["train", "translate", data, "--steps", 240, "--out", out, "--set", "learning_rate=0.01", *TINY]
    assert cli.run([str(word) for word in words]) == 0
    return out


def test_it_learns_to_turn_words_round(elman: Elman, run: Path) -> None:
    metrics = json.loads(elman("evaluate", run, "--json").out)
    assert metrics["exact"] > 0.8
    assert metrics["bleu"] > 40
    assert metrics["baselines"]["a copy of the source"]["bleu"] < 5
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert metrics["nats_per_symbol"] == min(row["validation"]["nats_per_symbol"] for row in rows)
    assert "a copy of the source" in elman("evaluate", run).out


def test_what_predict_answers(elman: Elman, run: Path, tmp_path: Path) -> None:
    assert elman("predict", run, "one two").out == "zwei eins\n"
    lines = tmp_path / "lines.txt"
    lines.write_text("three one\n\nfour\n")
    assert elman("predict", run, lines).out == "eins drei\n\nvier\n"
    answer = json.loads(elman("predict", run, "one two", "--json", "--set", "n_best=3").out)["predictions"][0]
    best = answer["n_best"]
    assert best[0]["translation"] == answer["translation"] == "zwei eins"
    assert best[0]["score"] >= best[1]["score"] >= best[2]["score"]
    aligned = elman("predict", run, "one two", "--set", "alignment=true").out
    assert [line.split() for line in aligned.splitlines()[1:]] == [["zwei", "<-", "two"], ["eins", "<-", "one"]]


def test_the_probability_of_a_translation_is_the_models(run: Path) -> None:
    trained = recipes.load(run)
    [answer] = trained.predict(["one two"])
    source = torch.tensor(trained.languages.source.encode(" one two").astype(int))[:, None]
    target = torch.tensor(trained.languages.target.encode(" zwei eins").astype(int))[:, None]
    nats, _ = trained.model.nats(source, torch.tensor([2]), target)
    assert answer.fields["n_best"][0]["log_probability"] == pytest.approx(-nats.item(), abs=1e-4)


def test_unknown_words_are_copied_when_asked(elman: Elman, run: Path) -> None:
    trained = recipes.load(run)
    with torch.no_grad():  # a model that writes <unk> and ends
        trained.model.output.bias[trained.languages.target.encode(" Zebra").astype(int)] += 100
    [answer] = trained.predict(["Zebra"], beam=1, copy_unknown=True)
    assert set(answer.fields["translation"].split()) == {"Zebra"}
    [answer] = trained.predict(["Zebra"], beam=1)
    assert set(answer.fields["translation"].split()) == {"<unk>"}


def test_a_run_that_was_stopped_ends_as_one_that_was_not(elman: Elman, data: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    common = [*TINY, "--set", "evaluate_every=4", "--set", "schedule=constant"]
    assert elman("train", "translate", data, "--steps", 8, "--out", once, *common).code == 0
    assert elman("train", "translate", data, "--steps", 4, "--out", twice, *common).code == 0
    assert elman("train", "translate", "--out", twice, "--resume", "--steps", 8).code == 0
    weights = [tensors.read(path / "model.safetensors")[0] for path in (once, twice)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert (once / "metrics.jsonl").read_text() == (twice / "metrics.jsonl").read_text()


def test_it_can_be_diagnosed(elman: Elman, run: Path, data: Path) -> None:
    report = json.loads(elman("diagnose", run, "--json").out)
    assert {layer["name"].split()[0] for layer in report["layers"]} >= {"encoder", "lower", "upper"}
    assert elman("diagnose", run, data, "--json").code == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["--set", "validation=0"], "too few pairs to keep a part"),
        (["--set", "longest=1", "--set", "vocabulary=characters"], "every pair is too long"),
        (["--hidden", "31"], "an even number of hidden units"),
        (["--set", "attention=x"], "unknown value of the setting attention"),
    ],
)
def test_what_training_refuses(elman: Elman, data: Path, tmp_path: Path, settings: list, message: str) -> None:
    answer = elman("train", "translate", data, "--steps", 1, "--out", tmp_path / "run", *settings)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert not (tmp_path / "run").exists()


def test_what_predict_refuses(elman: Elman, run: Path) -> None:
    assert "n_best is more than the beam finds" in elman("predict", run, "one", "--set", "n_best=9").err
    assert "unknown setting 'beem'" in elman("predict", run, "one", "--set", "beem=9").err
    assert "nothing to answer" in elman("predict", run).err
    with pytest.raises(SettingError, match="beam"):
        list(recipes.load(run).predict(["one"], beam=0))


def test_a_strangers_run_is_refused_with_a_message(elman: Elman, run: Path, tmp_path: Path) -> None:
    import shutil

    for name in ("symbols/vocabulary.json", "validation.json", "model.safetensors"):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(run, copy)
        (copy / name).write_text("{")
        answer = elman("evaluate", copy)
        assert (answer.code, answer.out) == (2, "")
        assert "error: " in answer.err
