"""The export of a similarity model: predict.py scores pairs as `elman predict` does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import elman
from elman.recipes.run import start
from elman.recipes.similarity import Similarity

Program = Callable[..., Any]
PAIRS = [("one cat sleeps here", "a cat sleeps today"), ("a", "a"), ("é", "É!"), ("no dog", "語学 cat"), (".", "...")]
PAIRS += [("unknown words only", "quite others"), ("x" * 300, "x"), ("don't", "don’t"), ("cat " * 90, "dog " * 3)]
PAIRS += [(f"one {animal} runs here", f"no {animal} {verb} today") for animal in ("cow", "fish") for verb in "ab"]


def check_answers(run: Path, app: Path, program: Program) -> None:
    """Export a run and compare the scores and vectors of its program with those of elman."""
    elman.export(run, app)
    lines = [f"{first}\t{second}" for first, second in PAIRS]
    expected = [answer.fields for answer in elman.load(run).predict(lines)]
    answers = program(app, "-", stdin="".join(f"{line}\n" for line in lines).encode())
    for answer, fields in zip(answers, expected, strict=True):
        assert answer.pop("score") == pytest.approx(fields.pop("score"), abs=1e-4)
        assert answer == fields


def test_a_shared_run(similarity_run: Path, tmp_path: Path, program: Program) -> None:
    check_answers(similarity_run, tmp_path / "app", program)
    (answer,) = program(tmp_path / "app", *PAIRS[0])
    (expected,) = elman.load(similarity_run).predict(list(PAIRS[0]))
    assert answer["score"] == pytest.approx(expected.fields["score"], abs=1e-4)
    program(tmp_path / "app", "a cat", "", "語", "--embed", tmp_path / "v.npy")
    predictor: Any = elman.load(similarity_run)
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), predictor.embed(["a cat", "", "語"]), atol=1e-5)
    assert "two texts" in program(tmp_path / "app", "alone", code=2)


@pytest.mark.parametrize(
    "settings",
    [
        {"comparison": "manhattan", "pooling": "last", "cell": "lstm", "subword_buckets": 0, "bidirectional": False},
        {"comparison": "cosine", "pooling": "mean", "max_words": 5},
        {"comparison": "learned", "pooling": "attention", "layers": 2},
        {"comparison": "aligned", "score_bins": 3, "cell": "rnn"},
    ],
)
def test_comparisons(tmp_path: Path, program: Program, settings: dict[str, Any]) -> None:
    rng, words = np.random.default_rng(1), ["cat", "dog", "cow", "runs", "sleeps", "don't"]
    rows = [f"{' '.join(rng.choice(words, 3))}\t{' '.join(rng.choice(words, 3))}\t{n % 2}" for n in range(40)]
    (tmp_path / "pairs.tsv").write_text("sentence_A\tsentence_B\tscore\n" + "\n".join(rows) + "\n")
    options = {"embedding": 6, "hidden": 5, "subword_buckets": 50, "steps": 4, "validation": 0.5, **settings}
    start(Similarity, [tmp_path / "pairs.tsv"], options, tmp_path / "run")
    check_answers(tmp_path / "run", tmp_path / "app", program)
