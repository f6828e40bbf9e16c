"""Every law of recipes, over every recipe, on data that train in a second."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from elman.recipes.registry import RECIPES
from elman.testing import RECIPE_LAWS, RecipeTrial

TINY = {"hidden": 6, "batch_size": 4}
Trial = dict[str, Any]


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def language_model(folder: Path, rng: random.Random) -> Trial:
    text = "".join(rng.choice(["ein ", "paar ", "Worte\n"]) for _ in range(200))
    data = write(folder / "text.txt", [text])
    binary = folder / "binary.txt"
    binary.write_bytes(b"\xff\x00\xfe")
    return {"data": data, "bad": [binary], "settings": {**TINY, "embedding": 4, "window": 8}}


def classify(folder: Path, rng: random.Random) -> Trial:
    labels = ["warm", "cold"]
    rows = [f"{label} {rng.choice('abc')} {number},{label}" for number in range(24) for label in labels]
    data = write(folder / "data.csv", ["text,label", *rows])
    broken = write(folder / "broken.csv", ["text,label", *rows, "a,b,c"])
    return {"data": data, "broken": broken, "inputs": ["warm a", "cold"], "settings": {**TINY, "embedding": 4}}


def forecast(folder: Path, rng: random.Random) -> Trial:
    rows = [f"{day},{math.sin(day / 3) + rng.random():.3f}" for day in range(100)]
    data = write(folder / "data.csv", ["time,value", *rows])
    broken = write(folder / "broken.csv", ["time,value", *rows, "100,1,2"])
    settings = {**TINY, "horizon": 4, "lookback": 12}
    return {"data": data, "broken": broken, "inputs": [data], "settings": settings}


def similarity(folder: Path, rng: random.Random) -> Trial:
    rows = [
        f"{number} {rng.choice('abcd')}\t{number} {rng.choice('abcd')}\t{rng.random():.2f}" for number in range(100)
    ]
    data = write(folder / "data.tsv", ["first\tsecond\tscore", *rows])
    broken = write(folder / "broken.tsv", ["first\tsecond\tscore", *rows, "one"])
    settings = {**TINY, "embedding": 4, "subword_buckets": 20}
    return {"data": data, "broken": broken, "inputs": ["one a\tone b"], "settings": settings}


def recommend(folder: Path, rng: random.Random) -> Trial:
    rows = [f"u{user},i{rng.randrange(8)},{time}" for user in range(30) for time in range(user, user + 5)]
    data = write(folder / "data.csv", ["session,item,time", *rows])
    broken = write(folder / "broken.csv", ["session,item,time", *rows, "u1,,5"])
    return {"data": data, "broken": broken, "inputs": ["i1", "i2"], "settings": {**TINY, "embedding": 4, "top_k": 3}}


def translate(folder: Path, rng: random.Random) -> Trial:
    rows = [f"one {rng.choice('abc')} {number}\tein {rng.choice('abc')} {number}" for number in range(40)]
    data, broken = write(folder / "data.tsv", rows), write(folder / "broken.tsv", [*rows, "no tab"])
    bad = [write(folder / "bad.tsv", ["no tab"])]
    settings = {"hidden": 6, "embedding": 4}
    return {"data": data, "broken": broken, "bad": bad, "inputs": ["one a 3"], "settings": settings}


def transcribe(folder: Path, rng: random.Random) -> Trial:
    rows = []
    for number in range(10):
        text = rng.choice(["a", "ab", "b"])
        tones = [np.sin(np.arange(1200) * (0.3 if letter == "a" else 0.9)) for letter in text]
        soundfile.write(folder / f"{number}.wav", 0.5 * np.concatenate(tones), 8000)
        rows.append(f"{number}.wav\t{text}")
    data = write(folder / "data.tsv", ["path\ttext", *rows])
    broken = write(folder / "broken.tsv", ["path\ttext", *rows, "missing.wav\ta"])
    settings = {**TINY, "sample_rate": 8000, "mel_bands": 8}
    return {"data": data, "broken": broken, "inputs": [folder / "0.wav"], "settings": settings}


def caption(folder: Path, rng: random.Random) -> Trial:
    rows = []
    for number in range(12):
        name, colour = rng.choice([("red", (255, 0, 0)), ("blue", (0, 0, 255))])
        Image.new("RGB", (32, 32), colour).save(folder / f"{number}.png")
        rows.append(f"{number}.png\ta {name} image")
    data = write(folder / "data.tsv", rows)
    broken = write(folder / "broken.tsv", [*rows, "missing.png\ta red image"])
    settings = {**TINY, "embedding": 4, "image_size": 32}
    return {"data": data, "broken": broken, "inputs": [folder / "0.png"], "settings": settings}


TRIALS: dict[str, Callable[[Path, random.Random], Trial]] = {
    "language-model": language_model,
    "classify": classify,
    "forecast": forecast,
    "similarity": similarity,
    "recommend": recommend,
    "translate": translate,
    "transcribe": transcribe,
    "caption": caption,
}


def test_every_recipe_has_a_trial() -> None:
    assert TRIALS.keys() == RECIPES.keys()


@pytest.fixture(scope="module", params=TRIALS)
def trial(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RecipeTrial:
    files, runs = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("runs")
    return RecipeTrial(RECIPES[request.param], folder=runs, **TRIALS[request.param](files, random.Random(1)))


@pytest.mark.parametrize("law", RECIPE_LAWS)
def test_every_recipe_obeys_every_law(trial: RecipeTrial, law: str) -> None:
    RECIPE_LAWS[law](trial)
