"""Trials of predict.py on 200 inputs for each recipe, beside `elman predict`: `make trials` runs them with pytest.

Each prints a row: the recipe, the inputs, the largest difference of a number, and how many texts differ.
"""

import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

import elman

Program = Callable[..., Any]
INPUTS = 200
BOUND = 1e-4
FLOAT16_BOUND = 1e-3
"""Of log-probabilities of sounds, whose features are rounded to float16: the last digit of a few of them differs."""


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the texts and numbers of an answer with their places."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from leaves(each, f"{path}/{name}")
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from leaves(each, f"{path}/{number}")
    else:
        yield path, value


def report(recipe: str, expected: list[Any], answers: list[Any], names: list[str], bound: float = BOUND) -> None:
    """Print the differences of some fields of the answers, and fail where one is too large."""
    assert len(expected) == len(answers)
    largest, texts = 0.0, 0
    for original, answer in zip(expected, answers, strict=True):
        pairs = [dict(leaves({name: each[name] for name in names if name in each})) for each in (original, answer)]
        assert pairs[0].keys() == pairs[1].keys()
        for place, value in pairs[0].items():
            if isinstance(value, float):
                largest = max(largest, abs(value - pairs[1][place]) / max(1.0, abs(value)))
            else:
                texts += value != pairs[1][place]
    row = f"\n{recipe:15} {len(answers):4} inputs, largest difference {largest:.1e}, {texts} other texts\n"
    sys.stdout.write(row)
    assert largest <= bound and texts == 0


@pytest.fixture
def words() -> list[str]:
    rng, symbols = (
        random.Random(1),
        ["ein", "Öl", "paar", "one", "two", "cat", "dog", "☃", "語", "don't", "x" * 20, "\u00a0"],
    )
    return [" ".join(rng.choice(symbols) for _ in range(rng.randint(1, 6))) for _ in range(INPUTS)]


def test_language_model(language_run: Path, tmp_path: Path, program: Program, words: list[str]) -> None:
    elman.export(language_run, tmp_path / "app")
    model: Any = elman.load(language_run)
    expected = [{"text": "".join(model.generate(prompt, length=40, temperature=0))} for prompt in words]
    stdin = "".join(f"{prompt}\n" for prompt in words).encode()
    report("language-model", expected, program(tmp_path / "app", "-", "--length", 40, stdin=stdin), ["text"])


def test_classify(classify_run: Path, tmp_path: Path, program: Program) -> None:
    rng, files = np.random.default_rng(1), [tmp_path / f"{n}.npy" for n in range(INPUTS)]
    for n, path in enumerate(files):
        np.save(path, rng.normal(0, 3, (1 + n, 2)))
    elman.export(classify_run, tmp_path / "app")
    expected = [answer.fields for answer in elman.load(classify_run).predict(files)]
    report("classify", expected, program(tmp_path / "app", *files), ["label", "probabilities"])


def test_forecast(
    forecast_run: Path, tmp_path: Path, program: Program, series: Callable[..., Any], monthly: Callable[..., Path]
) -> None:
    files = [monthly(tmp_path / f"{n}.csv", series(24 + n, seed=n)) for n in range(INPUTS // 2)]  # two series each
    elman.export(forecast_run, tmp_path / "app")
    expected = [answer.fields for answer in elman.load(forecast_run).predict(files)]
    report("forecast", expected, program(tmp_path / "app", *files), ["series", "times", "quantiles"])


def test_recommend(recommend_run: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    events = [{"session": f"s{rng.randrange(20)}", "item": f"p{rng.randrange(7)}"} for _ in range(INPUTS)]
    lines = [json.dumps(event) for event in events]
    elman.export(recommend_run, tmp_path / "app")
    monkeypatch.setattr("elman.predictors.recommender.stdin_text", lambda: iter(lines))
    expected = [answer.fields for answer in elman.load(recommend_run).predict(["-"])]
    answers = program(tmp_path / "app", "-", stdin="\n".join(lines).encode())
    report("recommend", expected, answers, ["session", "items", "scores", "events", "unknown"])


def test_similarity(similarity_run: Path, tmp_path: Path, program: Program, words: list[str]) -> None:
    lines = [f"a {first}\ta {second}" for first, second in zip(words, reversed(words), strict=True)]
    elman.export(similarity_run, tmp_path / "app")
    expected = [answer.fields for answer in elman.load(similarity_run).predict(lines)]
    answers = program(tmp_path / "app", "-", stdin="".join(f"{line}\n" for line in lines).encode())
    report("similarity", expected, answers, ["first", "second", "score"])


def test_translate(translation_run: Path, tmp_path: Path, program: Program, words: list[str]) -> None:
    rng, numbers = random.Random(2), ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    lines = words[: INPUTS // 4]
    lines += [" ".join(rng.choice(numbers) for _ in range(rng.randint(1, 6))) for _ in range(INPUTS - len(lines))]
    elman.export(translation_run, tmp_path / "app")
    expected = [answer.fields for answer in elman.load(translation_run).predict([f" {line}" for line in lines])]
    answers = program(tmp_path / "app", "-", stdin="".join(f"{line}\n" for line in lines).encode())
    report("translate", expected, answers, ["translation", "n_best"])


def test_transcribe(transcription_run: Path, tmp_path: Path, program: Program, whistled: Callable[[str], Any]) -> None:
    rng, files = random.Random(3), []
    for n in range(INPUTS):
        text = " ".join("".join(rng.choice("abcd") for _ in range(rng.randint(1, 3))) for _ in range(rng.randint(1, 4)))
        files.append(tmp_path / f"{n}.wav")
        soundfile.write(files[-1], whistled(text), 4000)
    elman.export(transcription_run, tmp_path / "app")
    expected = [answer.fields for answer in elman.load(transcription_run).predict(files)]
    answers = program(tmp_path / "app", *files)
    report("transcribe", expected, answers, ["text", "log_probability"], FLOAT16_BOUND)


def test_caption(caption_run: Path, tmp_path: Path, program: Program) -> None:
    rng, files = np.random.default_rng(4), [tmp_path / f"{n}.png" for n in range(INPUTS)]
    for n, path in enumerate(files):
        pixels = rng.integers(0, 256, (2, 3)).repeat([12, 5 + n % 30], 0)[None].repeat(9 + n % 40, 0)
        noise = rng.normal(0, 5, pixels.shape)
        Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(path)
    elman.export(caption_run, tmp_path / "app")
    expected = [answer.fields for answer in elman.load(caption_run).predict(files)]
    report("caption", expected, program(tmp_path / "app", *files), ["caption", "n_best"])
