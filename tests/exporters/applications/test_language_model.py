"""The export of a language model: predict.py writes what `elman generate` writes at temperature 0."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import elman
from elman.recipes.language_model import LanguageModelling
from elman.recipes.run import start

PROMPTS = ["", "a", "the ", "ab ba", "é", "ω and 語", "\t", " ", "the ☃ sign", "x" * 200, "two  spaces", "<unk> <eos>"]
PROMPTS += ["ein", "Öl", "paar ein", "ein  ", "\u0301", "\N{GRINNING FACE}", "ein\u00a0Öl", "E", "ß"]


def expected(run: Path, prompts: list[str], length: int) -> list[str]:
    predictor: Any = elman.load(run)
    return ["".join(predictor.generate(prompt, length=length, temperature=0)) for prompt in prompts]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"cell": "rnn", "nonlinearity": "relu", "vocabulary": "bytes", "layers": 2},
        {"vocabulary": "words", "softmax": "adaptive", "cutoffs": "2,3", "cell": "gru"},
        {"vocabulary": "bpe", "vocabulary_size": 310},
        {"tie_weights": True, "embedding": 8, "learn_initial_state": True},
    ],
)
def test_the_program_writes_the_same_text(
    language_text: Path, language_settings: dict[str, Any], tmp_path: Path, settings: dict[str, Any],
    program: Callable[..., Any],
) -> None:  # fmt: skip
    start(LanguageModelling, [language_text], {**language_settings, **settings, "steps": 6}, tmp_path / "r")
    written = elman.export(tmp_path / "r", tmp_path / "app")
    assert {"whole.onnx", "step.onnx", "manifest.json", "predict.py", "parity.json"} <= set(written.files)
    stdin = "".join(f"{prompt}\n" for prompt in PROMPTS).encode()
    answers = program(tmp_path / "app", "-", "--length", 30, stdin=stdin)
    assert [answer["text"] for answer in answers] == expected(tmp_path / "r", PROMPTS, 30)
