"""A trained similarity model: it scores pairs, embeds texts, and finds the nearest lines."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elman as elman_package
from elman.errors import SettingError
from elman.predictors.options import SimilarityOptions

Elman = Callable[..., Any]
ANIMALS = ["cat", "dog", "horse", "cow", "bird", "fish"]
ACTIONS = ["sleeps", "eats", "runs", "sings"]


@pytest.fixture
def run(similarity_run: Path) -> Path:
    return similarity_run


def test_it_knows_its_run_its_metrics_and_its_options(run: Path) -> None:
    predictor = elman_package.load(run)
    rows = [json.loads(line)["validation"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert predictor.run == run
    assert predictor.metrics == max(rows, key=lambda metrics: metrics["pearson"])
    assert predictor.Options is SimilarityOptions
    with pytest.raises(SettingError, match="out of range"):
        list(predictor.predict(["a", "b"], top=0))


def test_pairs_are_scored(elman: Elman, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    first, *rest = [json.loads(answer)["predictions"] for answer in answers]
    assert [(p["first"], p["second"]) for p in rest[0]] == [tuple(same), tuple(denied)]
    assert first[0]["score"] > rest[0][1]["score"] + 2
    for answer in rest:
        assert answer[0]["score"] == pytest.approx(first[0]["score"], abs=1e-5)
        assert [p["second"] for p in answer] == [same[1], denied[1]]
    line = elman("predict", run, *same).out
    assert line.startswith(f"{first[0]['score']:.3f}\tone cat sleeps here\t")


def test_lines_are_embedded(elman: Elman, run: Path, tmp_path: Path) -> None:
    texts, vectors = tmp_path / "texts.txt", tmp_path / "vectors.npy"
    texts.write_text("a cat sleeps here\n\na dog runs\n")
    answer = elman("predict", run, texts, "--set", f"embed={vectors}")
    assert answer.out == f"{vectors}: 3 vectors of 32\n"
    rows_NF = np.load(vectors)
    assert rows_NF.shape == (3, 32)
    np.testing.assert_allclose(rows_NF[2], elman_package.load(run).embed(["a dog runs"])[0], atol=1e-6)


def test_the_nearest_lines_are_found(elman: Elman, run: Path, tmp_path: Path) -> None:
    rows = [f"a {animal} {action} today" for animal in ANIMALS for action in ACTIONS]
    (tmp_path / "lines.txt").write_text("\n".join(["", *rows]) + "\n")
    texts = [row.replace("a ", "one ", 1).replace("today", "here") for row in rows]
    answer = elman("predict", run, *texts, "--set", f"nearest={tmp_path / 'lines.txt'}", "--set", "top=3", "--json")
    predictions = json.loads(answer.out)["predictions"]
    ranks = []
    for row, text, prediction in zip(rows, texts, predictions, strict=True):
        nearest, scores = prediction["nearest"], [line["score"] for line in prediction["nearest"]]
        assert prediction["text"] == text
        assert len(nearest) == 3
        assert scores == sorted(scores, reverse=True)
        assert all(rows[line["line"] - 2] == line["text"] for line in nearest)
        lines = [line["text"] for line in nearest]
        ranks.append(1 / (1 + lines.index(row)) if row in lines else 0)
    assert np.mean(ranks) > 0.9, "the mean reciprocal rank of the right line"
    assert elman("predict", run, "a cat", "--set", f"nearest={tmp_path / 'lines.txt'}").out.count("\n") == 6


def test_a_line_with_the_same_words_is_found_among_many(
    elman: Elman, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elman.predictors.similarity.CANDIDATES", 1)
    # By their vectors all lines are as near: the first of them would hide the right one.
    same = "elman.models.similarity.SimilarityModel.vector_similarity"
    monkeypatch.setattr(same, lambda model, query_QF, rows_MF: torch.zeros(len(query_QF), len(rows_MF)))
    (tmp_path / "lines.txt").write_text("a cat sings today\n" * 9 + "one dog sleeps here\n")
    answer = elman("predict", run, "a dog sleeps", "--set", f"nearest={tmp_path / 'lines.txt'}", "--set", "top=1")
    assert answer.out.splitlines()[1].endswith("10\tone dog sleeps here")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "an input is not a pair of texts"),
        (["one text"], "an input is not a pair of texts"),
        (["one\t "], "an input is not a pair of texts"),
        (["--set", "embed=x.npy"], "there is no text"),
        (["a", "--set", "embed=x.npy", "--set", "nearest=y"], "embed and nearest are two things"),
        (["a", "--set", "nearest=nothere.txt"], "nothere.txt does not exist"),
    ],
)
def test_inputs_that_cannot_be_answered(elman: Elman, run: Path, inputs: list, message: str) -> None:
    refused = elman("predict", run, *inputs)
    assert refused.code == 2
    assert message in refused.err
