"""The recipe similarity, from the command line: it learns, goes on exactly, answers, and says what is wrong."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elman as package
from elman import cli
from elman.data.pairs.dataset import PairDataset
from elman.storage import tensors

Elman = Callable[..., Any]
SMALL = ["embedding=16", "buckets=500", "learning_rate=0.01", "dropout=0", "embedding_dropout=0", "word_dropout=0"]
TINY = ["--hidden", "16", *(word for pair in SMALL for word in ("--set", pair))]
ANIMALS = ["cat", "dog", "horse", "cow", "bird", "fish"]
FOLLOW = ["sleeps", "eats", "runs", "sings"]


def some_pairs(count: int, seed: int = 1) -> list[tuple[str, str, float]]:
    """Who does what, with "no" for a denial: same animal 2 points, same deed 1, a denial takes 3."""
    chance = random.Random(seed)
    rows = []
    for _ in range(count):
        animal, deed = chance.choice(ANIMALS), chance.choice(FOLLOW)
        other = animal if chance.random() < 0.5 else chance.choice(ANIMALS)
        did = deed if chance.random() < 0.5 else chance.choice(FOLLOW)
        denied = chance.random() < 0.4
        score = 3 + 2 * (animal == other) + (deed == did) - 3 * denied
        rows.append((f"one {animal} {deed} here", f"{'no' if denied else 'a'} {other} {did} today", score))
    return rows


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.tsv"
    rows = "".join(f"{one}\t{other}\t{score}\n" for one, other, score in some_pairs(600))
    path.write_text("sentence_A\tsentence_B\tscore\n" + rows)
    return path


@pytest.fixture(scope="module")
def run(pairs: Path) -> Path:
    out = pairs.with_name("run")
    assert cli.run(["train", "similarity", str(pairs), "--steps", "150", "--out", str(out), *TINY]) == 0
    return out


def test_it_beats_word_overlap(elman: Elman, run: Path) -> None:
    metrics = json.loads(elman("evaluate", run, "--json").out)
    trivial = metrics["baselines"]
    assert metrics["pearson"] > 0.95
    assert trivial["word overlap"]["pearson"] < 0.8
    assert metrics["mean_squared_error"] < 0.2 * trivial["mean score"]["mean_squared_error"]
    table = elman("evaluate", run).out
    assert "word overlap" in table
    assert "mean score" in table
    report = (run / "report.md").read_text()
    assert " pairs a second" in report
    assert "| word overlap |" in report
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["validation"]
    assert last.keys() <= metrics.keys()


@pytest.mark.parametrize("comparison", ["learned", "manhattan", "cosine"])
def test_every_comparison_learns(elman: Elman, pairs: Path, tmp_path: Path, comparison: str) -> None:
    options = ["--set", f"comparison={comparison}"]
    answer = elman("train", "similarity", pairs, "--steps", 150, "--out", tmp_path / "r", *TINY, *options, "--json")
    assert json.loads(answer.out)["best"]["pearson"] > 0.8
    assert elman("predict", tmp_path / "r", "a cat", "a dog").code == 0


def test_a_run_that_was_stopped_ends_as_one_that_was_not(elman: Elman, pairs: Path, tmp_path: Path) -> None:
    tiny = [*TINY, "--set", "evaluate_every=10", "--set", "schedule=constant"]
    assert elman("train", "similarity", pairs, "--steps", 50, "--out", tmp_path / "whole", *tiny).code == 0
    assert elman("train", "similarity", pairs, "--steps", 20, "--out", tmp_path / "parts", *tiny).code == 0
    pairs_moved = tmp_path / "elsewhere"
    shutil.move(tmp_path / "parts", pairs_moved)
    assert elman("train", "similarity", "--out", pairs_moved, "--resume", "--steps", 50).code == 0
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (pairs_moved / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_other_data_are_judged_the_same(elman: Elman, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    rows = "".join(f'"{one}","{other}",{score}\n' for one, other, score in some_pairs(50, seed=2))
    path.write_text(rows + "broken\n")
    assert elman("evaluate", run, path).code == 2
    metrics = json.loads(elman("evaluate", run, path, "--skip-bad", "--json").out)
    assert (metrics["pairs"], metrics["rows_left_out"]) == (50, 1)
    assert metrics["left_out"] == [f"{path}, line 51: wrong number of cells: 1 cells: broken"]
    told = elman("predict", run, path, "--skip-bad")
    assert told.out.count("\n") == 50
    assert told.err == f"no answer: {path}, line 51: wrong number of cells: 1 cells: broken\n"
    assert metrics["pearson"] > 0.9


def test_predict_scores_pairs(elman: Elman, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    same, denied = ["one cat sleeps here", "a cat sleeps today"], ["one cat sleeps here", "no dog runs today"]
    (tmp_path / "pairs.tsv").write_text("\t".join(same) + "\n" + "\t".join(denied) + "\n")
    with (tmp_path / "lines").open("w+") as lines:
        lines.write("\t".join(same) + "\n\n" + "\t".join(denied) + "\n")
        lines.seek(0)
        monkeypatch.setattr("sys.stdin", lines)
        answers = [
            elman("predict", run, *same, "--json").out,
            elman("predict", run, "\t".join(same), "\t".join(denied), "--json").out,
            elman("predict", run, tmp_path / "pairs.tsv", "--json").out,
            elman("predict", run, "-", "--json").out,
        ]
    first, *others = [json.loads(answer)["predictions"] for answer in answers]
    assert [(p["first"], p["second"]) for p in others[0]] == [tuple(same), tuple(denied)]
    assert first[0]["score"] > others[0][1]["score"] + 2
    for answer in others:
        assert answer[0]["score"] == pytest.approx(first[0]["score"], abs=1e-5)
        assert [p["second"] for p in answer] == [same[1], denied[1]]
    line = elman("predict", run, *same).out
    assert line.startswith(f"{first[0]['score']:.3f}\tone cat sleeps here\t")


def test_predict_embeds_lines(elman: Elman, run: Path, tmp_path: Path) -> None:
    texts, vectors = tmp_path / "texts.txt", tmp_path / "vectors.npy"
    texts.write_text("a cat sleeps here\n\na dog runs\n")
    answer = elman("predict", run, texts, "--set", f"embed={vectors}")
    assert answer.out == f"{vectors}: 3 vectors of 32\n"
    found = np.load(vectors)
    trained = package.load(run)
    assert found.shape == (3, 32)
    np.testing.assert_allclose(found[2], trained.embed(["a dog runs"])[0], atol=1e-6)


def test_predict_finds_the_nearest(elman: Elman, run: Path, tmp_path: Path) -> None:
    rows = [f"a {animal} {deed} today" for animal in ANIMALS for deed in FOLLOW]
    (tmp_path / "lines.txt").write_text("\n".join(["", *rows]) + "\n")
    asked = [row.replace("a ", "one ", 1).replace("today", "here") for row in rows]
    answer = elman("predict", run, *asked, "--set", f"nearest={tmp_path / 'lines.txt'}", "--set", "top=3", "--json")
    found = json.loads(answer.out)["predictions"]
    ranks = []
    for row, text, one in zip(rows, asked, found, strict=True):
        assert one["text"] == text
        assert len(one["nearest"]) == 3
        assert [n["score"] for n in one["nearest"]] == sorted((n["score"] for n in one["nearest"]), reverse=True)
        assert all(rows[n["line"] - 2] == n["text"] for n in one["nearest"])
        texts = [n["text"] for n in one["nearest"]]
        ranks.append(1 / (1 + texts.index(row)) if row in texts else 0)
    assert np.mean(ranks) > 0.9, "the mean reciprocal rank of the one line that is meant"
    assert elman("predict", run, "a cat", "--set", f"nearest={tmp_path / 'lines.txt'}").out.count("\n") == 6


def test_a_line_with_the_same_words_is_found_among_many(
    elman: Elman, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elman.predictors.similarity.CANDIDATES", 1)
    # By their vectors all lines are as near: the first of them would hide the one that is meant.
    same = "elman.models.similarity.SimilarityModel.closeness"
    monkeypatch.setattr(same, lambda model, query_QF, rows_MF: torch.zeros(len(query_QF), len(rows_MF)))
    (tmp_path / "lines.txt").write_text("a cat sings today\n" * 9 + "one dog sleeps here\n")
    answer = elman("predict", run, "a dog sleeps", "--set", f"nearest={tmp_path / 'lines.txt'}", "--set", "top=1")
    assert answer.out.splitlines()[1].endswith("10\tone dog sleeps here")


def test_yes_and_no(elman: Elman, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    rows = [(one, other, "yes" if score > 3.5 else "no") for one, other, score in some_pairs(400)]
    path.write_text("a,b,label\n" + "".join(",".join(row) + "\n" for row in rows))
    answer = elman("train", "similarity", path, "--steps", 150, "--out", tmp_path / "r", "--json", *TINY)
    assert json.loads(answer.out)["best"]["accuracy"] > 0.9
    (said,) = json.loads(elman("predict", tmp_path / "r", *rows[0][:2], "--json").out)["predictions"]
    assert said["answer"] == rows[0][2]
    assert 0 <= said["score"] <= 1
    path.write_text("a,b,label\nx,y,3.5\n")
    refused = elman("evaluate", tmp_path / "r", path)
    assert refused.code == 2
    assert "the training pairs say yes or no, and these have scores" in refused.err


def test_given_word_vectors(elman: Elman, pairs: Path, tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    words = [*ANIMALS, *FOLLOW, "lion"]
    vectors = tmp_path / "glove.txt"
    vectors.write_text("".join(f"{w} {' '.join(f'{x:.3f}' for x in chance.normal(size=7))}\n" for w in words))
    out = tmp_path / "r"
    options = ["--set", f"vectors={vectors}", "--set", "pooling=attention"]
    assert elman("train", "similarity", pairs, "--steps", 20, "--out", out, *TINY, *options).code == 0
    vectors.unlink()
    given = package.load(out).model.words.given
    assert given.shape[1] == 7
    lexicon = package.load(out).batcher.lexicon
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
    assert "came without its pairs" in refused.err


def test_a_model_without_numbers_says_so(elman: Elman, run: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    weights, facts = tensors.read(broken / "model.safetensors")
    weights["grades.layers.4.bias"].fill_(float("nan"))
    tensors.write(broken / "model.safetensors", weights, facts)
    for command in (["evaluate", broken], ["predict", broken, "a cat", "a dog"]):
        refused = elman(*command)
        assert refused.code == 2
        assert "gives no numbers" in refused.err


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
        ("a\tb\t1\nc\td\te\n", [], "line 2: invalid score"),
        ("a\tb\t1\nc\td\t2\n", ["--set", "score=gold"], "no column 'gold' for the score"),
        ("a\tb\t1\nc\td\t2\n", ["--set", "vectors=nothere.txt"], "nothere.txt does not exist"),
    ],
)
def test_bad_data_are_told(elman: Elman, tmp_path: Path, text: str, options: list, message: str) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(text)
    if "validation" not in "".join(options) and "score\n" not in text:
        options = [*options, "--set", f"validation_data={path}"]
    refused = elman("train", "similarity", path, "--out", tmp_path / "r", "--steps", 1, *options)
    assert refused.code == 2, refused.err
    assert message in refused.err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("judged", ["a\tb\t3\nc\td\t3\n", "a\tb\t3\n"])
def test_validation_pairs_with_one_score_are_refused(elman: Elman, tmp_path: Path, judged: str) -> None:
    (tmp_path / "pairs.tsv").write_text("a\tb\t1\nc\td\t5\n")
    (tmp_path / "judged.tsv").write_text(judged)
    options = ["--steps", 1, "--out", tmp_path / "r", "--set", f"validation_data={tmp_path / 'judged.tsv'}"]
    refused = elman("train", "similarity", tmp_path / "pairs.tsv", *options)
    assert refused.code == 2
    assert "all validation pairs have the same score" in refused.err and "with the score 3" in refused.err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "an input is no pair of texts"),
        (["one text"], "an input is no pair of texts"),
        (["one\t "], "an input is no pair of texts"),
        (["--set", "embed=x.npy"], "there is no text"),
        (["a", "--set", "embed=x.npy", "--set", "nearest=y"], "embed and nearest are two things"),
        (["a", "--set", "nearest=nothere.txt"], "nothere.txt does not exist"),
    ],
)
def test_inputs_that_cannot_be_answered(elman: Elman, run: Path, inputs: list, message: str) -> None:
    refused = elman("predict", run, *inputs)
    assert refused.code == 2
    assert message in refused.err


def test_the_default_data_train(elman: Elman, tmp_path: Path) -> None:
    answer = elman("train", "similarity", "--steps", 30, "--out", tmp_path / "r", "--hidden", 16, "--json")
    assert json.loads(answer.out)["best"]["pearson"] > 0.4
    firsts = [{pair.first for pair in PairDataset.open(tmp_path / "r", part)} for part in ("training", "validation")]
    assert not firsts[0] & firsts[1], "all edits of a sentence stand on one side"
