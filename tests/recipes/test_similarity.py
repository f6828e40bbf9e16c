"""The recipe similarity, from the command line: it learns, resumes exactly, and names what is wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import elman as package
from elman.data.pairs.dataset import PairDataset
from elman.storage import tensors

Elman = Callable[..., Any]
Pairs = Callable[..., list[tuple[str, str, float]]]


@pytest.fixture
def pairs(similarity_data: Path) -> Path:
    return similarity_data


@pytest.fixture
def run(similarity_run: Path) -> Path:
    return similarity_run


@pytest.fixture
def tiny(similarity_options: list[str]) -> list[str]:
    return similarity_options


def test_it_beats_word_overlap(elman: Elman, run: Path) -> None:
    metrics = json.loads(elman("evaluate", run, "--json").out)
    baselines = metrics["baselines"]
    assert metrics["pearson"] > 0.95
    assert baselines["word overlap"]["pearson"] < 0.8
    assert metrics["mse"] < 0.2 * baselines["mean score"]["mse"]
    table = elman("evaluate", run).out
    assert "word overlap" in table
    assert "mean score" in table
    report = (run / "report.md").read_text()
    assert " pairs a second" in report
    assert "| word overlap |" in report
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["validation"]
    assert last.keys() <= metrics.keys()


@pytest.mark.parametrize("comparison", ["learned", "manhattan", "cosine"])
def test_every_comparison_learns(elman: Elman, pairs: Path, tiny: list[str], tmp_path: Path, comparison: str) -> None:
    options = ["--set", f"comparison={comparison}"]
    answer = elman("train", "similarity", pairs, "--steps", 150, "--out", tmp_path / "r", *tiny, *options, "--json")
    assert json.loads(answer.out)["best"]["pearson"] > 0.8
    assert elman("predict", tmp_path / "r", "a cat", "a dog").code == 0


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    elman: Elman, pairs: Path, tiny: list[str], tmp_path: Path
) -> None:
    tiny = [*tiny, "--set", "evaluate_every=10", "--set", "schedule=constant"]
    assert elman("train", "similarity", pairs, "--steps", 50, "--out", tmp_path / "whole", *tiny).code == 0
    assert elman("train", "similarity", pairs, "--steps", 20, "--out", tmp_path / "parts", *tiny).code == 0
    pairs_moved = tmp_path / "elsewhere"
    shutil.move(tmp_path / "parts", pairs_moved)
    assert elman("train", "similarity", "--out", pairs_moved, "--resume", "--steps", 50).code == 0
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (pairs_moved / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_other_data_are_evaluated_the_same(elman: Elman, run: Path, similarity_pairs: Pairs, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    rows = "".join(f'"{first}","{second}",{score}\n' for first, second, score in similarity_pairs(50, seed=2))
    path.write_text(rows + "broken\n")
    assert elman("evaluate", run, path).code == 2
    metrics = json.loads(elman("evaluate", run, path, "--skip-bad", "--json").out)
    assert (metrics["pairs"], metrics["skipped_rows"]) == (50, 1)
    assert metrics["skipped"] == [f"{path}, line 51: wrong number of cells: 1 cells: broken"]
    answers = elman("predict", run, path, "--skip-bad")
    assert answers.out.count("\n") == 50
    assert answers.err == f"no answer: {path}, line 51: wrong number of cells: 1 cells: broken\n"
    assert metrics["pearson"] > 0.9


def test_yes_and_no(elman: Elman, tiny: list[str], similarity_pairs: Pairs, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    rows = [(first, second, "yes" if score > 3.5 else "no") for first, second, score in similarity_pairs(400)]
    path.write_text("a,b,label\n" + "".join(",".join(row) + "\n" for row in rows))
    answer = elman("train", "similarity", path, "--steps", 150, "--out", tmp_path / "r", "--json", *tiny)
    assert json.loads(answer.out)["best"]["accuracy"] > 0.9
    (answer,) = json.loads(elman("predict", tmp_path / "r", *rows[0][:2], "--json").out)["predictions"]
    assert answer["answer"] == rows[0][2]
    assert 0 <= answer["score"] <= 1
    path.write_text("a,b,label\nx,y,3.5\n")
    refused = elman("evaluate", tmp_path / "r", path)
    assert refused.code == 2
    assert "the training pairs say yes or no, and these have scores" in refused.err


def test_pretrained_word_vectors(elman: Elman, pairs: Path, tiny: list[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    words = ["cat", "dog", "sleeps", "eats", "lion"]
    vectors = tmp_path / "glove.txt"
    vectors.write_text("".join(f"{w} {' '.join(f'{x:.3f}' for x in rng.normal(size=7))}\n" for w in words))
    out = tmp_path / "r"
    options = ["--set", f"word_vectors={vectors}", "--set", "pooling=attention"]
    assert elman("train", "similarity", pairs, "--steps", 20, "--out", out, *tiny, *options).code == 0
    vectors.unlink()
    given, lexicon = package.load(out).model.words.given, package.load(out).collator.lexicon
    assert given.shape[1] == 7
    assert given[lexicon.number("lion")].norm().item() == pytest.approx(1, abs=1e-5)
    assert elman("train", "similarity", "--out", out, "--resume", "--steps", 25).code == 0
    np.save(out / "vectors.npy", np.zeros((3, 7), "f4"))
    refused = elman("predict", out, "a", "b")
    assert refused.code == 2
    assert "vectors.npy does not fit the vocabulary" in refused.err


def test_the_doctor_looks_at_pairs(elman: Elman, run: Path, pairs: Path) -> None:
    report = json.loads(elman("diagnose", run, "--json").out)
    assert len(report["layers"]) == 2
    assert elman("diagnose", run, pairs).code == 0


def test_a_run_answers_without_its_pairs(elman: Elman, run: Path, pairs: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(run, moved)
    for path in moved.glob("*.values.npy"):
        path.unlink()
    assert elman("predict", moved, "a cat", "a dog").code == 0
    assert elman("evaluate", moved, pairs).code == 0
    refused = elman("evaluate", moved)
    assert refused.code == 2
    assert "came without its data" in refused.err


def test_a_model_without_numbers_says_so(elman: Elman, run: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    weights, facts = tensors.read(broken / "model.safetensors")
    weights["grades.layers.4.bias"].fill_(float("nan"))
    tensors.write(broken / "model.safetensors", weights, facts)
    for command in (["evaluate", broken], ["predict", broken, "a cat", "a dog"]):
        refused = elman(*command)
        assert refused.code == 2
        assert "has weights that are not finite" in refused.err


@pytest.mark.parametrize("name", ["scale.json", "seen.npy", "vocabulary.json", "validation.values.npy"])
def test_a_broken_run_is_named(elman: Elman, run: Path, tmp_path: Path, name: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    (broken / name).write_text('{"low": 3, "high": 1}')
    refused = elman("evaluate", broken)
    assert refused.code == 2
    assert name.removesuffix(".values.npy") in refused.err
    assert "Traceback" not in refused.err


def test_pairs_that_changed_are_not_trained_on(elman: Elman, run: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(run, changed)
    for part in ("values", "ends"):
        shutil.copy(changed / f"validation.{part}.npy", changed / f"training.{part}.npy")
    refused = elman("train", "similarity", "--out", changed, "--resume", "--steps", 300)
    assert refused.code == 2
    assert "are not those that the run began with" in refused.err


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a\tb\t1\nc\td\t1\n", [], "all pairs have the same score"),
        ("a\tb\t1\nc\td\t2\n", ["--set", "validation=0"], "there are no pairs for validation"),
        ("a\tb\tscore\n", [], "there are no pairs for training"),
        ("a\tb\t1\nc\td\te\n", [], "should be: a number, or yes or no"),
        ("a\tb\t1\nc\td\t2\n", ["--set", "score_column=gold"], "no column 'gold' for the score"),
        ("a\tb\t1\nc\td\t2\n", ["--set", "word_vectors=nothere.txt"], "nothere.txt does not exist"),
    ],
)
def test_bad_data_are_named(elman: Elman, tmp_path: Path, text: str, options: list, message: str) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(text)
    if "validation" not in "".join(options) and "score\n" not in text:
        options = [*options, "--set", f"validation_data={path}"]
    refused = elman("train", "similarity", path, "--out", tmp_path / "r", "--steps", 1, *options)
    assert refused.code == 2, refused.err
    assert message in refused.err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("validation", ["a\tb\t3\nc\td\t3\n", "a\tb\t3\n"])
def test_validation_pairs_with_one_score_are_refused(elman: Elman, tmp_path: Path, validation: str) -> None:
    (tmp_path / "pairs.tsv").write_text("a\tb\t1\nc\td\t5\n")
    (tmp_path / "validation.tsv").write_text(validation)
    options = ["--steps", 1, "--out", tmp_path / "r", "--set", f"validation_data={tmp_path / 'validation.tsv'}"]
    refused = elman("train", "similarity", tmp_path / "pairs.tsv", *options)
    assert refused.code == 2
    assert "all validation pairs have the same score" in refused.err and "with the score 3" in refused.err
    assert not (tmp_path / "r").exists()


def test_the_default_data_train(elman: Elman, tmp_path: Path) -> None:
    answer = elman("train", "similarity", "--steps", 30, "--out", tmp_path / "r", "--hidden", 16, "--json")
    assert json.loads(answer.out)["best"]["pearson"] > 0.4
    firsts = [{pair.first for pair in PairDataset.open(tmp_path / "r", part)} for part in ("training", "validation")]
    assert not firsts[0] & firsts[1], "all edits of a sentence stand on one side"
