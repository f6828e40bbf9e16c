"""The export of a translator: predict.py translates as `elman predict` does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import elman
from elman.recipes.run import start
from elman.recipes.translate import Translate

Program = Callable[..., Any]
LINES = ["one", "nine eight", "one two three four", "", "ten", "é ☃ 語", "ONE Two", "x" * 50, "one  two", "one " * 30]
LINES += ["<unk> one", "four\u00a0five", "six,seven", "1 2 3", "o", "seven seven seven", "two\ttwo", "fünf", ".", "ein"]


def check_answers(run: Path, app: Path, program: Program) -> None:
    """Export a run and compare the translations of its program with those of elman."""
    elman.export(run, app)
    expected = [answer.fields for answer in elman.load(run).predict(LINES)]
    answers = program(app, "-", stdin="".join(f"{line}\n" for line in LINES).encode())
    for line, answer, fields in zip(LINES, answers, expected, strict=True):
        assert answer["translation"] == fields["translation"], line
        for row, original in zip(answer["n_best"], fields["n_best"], strict=True):
            assert row["score"] == pytest.approx(original["score"], abs=1e-4)
            assert row["log_probability"] == pytest.approx(original["log_probability"], abs=1e-4)


def test_a_shared_run(translation_run: Path, tmp_path: Path, program: Program) -> None:
    check_answers(translation_run, tmp_path / "app", program)
    (tmp_path / "lines.txt").write_text("one two\n\nthree\n")
    answers = program(tmp_path / "app", tmp_path / "lines.txt", "four", "--beam-width", 1)
    predictor: Any = elman.load(translation_run)
    expected = predictor.predict([tmp_path / "lines.txt", "four"], beam_width=1)
    assert [answer["translation"] for answer in answers] == [answer.fields["translation"] for answer in expected]
    assert "error" in program(tmp_path / "app", "-", stdin=b"\xff one\n", code=2)
    assert "at most" in program(tmp_path / "app", "one " * 1001, code=2)


@pytest.mark.parametrize(
    "settings",
    [
        {"vocabulary": "characters", "input_feeding": True, "cell": "lstm"},
        {"vocabulary": "bpe", "vocabulary_size": 300, "attention": "additive", "joint_vocabulary": True},
        {"vocabulary": "bytes", "cell": "rnn", "lowercase": True},
        {"vocabulary": "words", "layers": 2, "input_feeding": True, "attention": "additive"},
    ],
)
def test_networks_and_vocabularies(
    translation_data: Path, tmp_path: Path, program: Program, settings: dict[str, Any]
) -> None:
    options = {"hidden": 16, "embedding": 8, "batch_tokens": 200, "steps": 30, "learning_rate": 0.02, **settings}
    start(Translate, [translation_data], options, tmp_path / "run")
    check_answers(tmp_path / "run", tmp_path / "app", program)
