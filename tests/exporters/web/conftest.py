"""Small runs for the page, with hostile symbols and labels, and a browser at their folders."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elman
from elman.data.speech.utterance import SoundFeatures
from elman.data.text.characters import Characters
from elman.data.text.words import Words
from elman.models.language_model import LanguageModel
from elman.models.transcriber import Transcriber
from elman.predictors.generator import LanguageModelPredictor
from elman.predictors.transcriber import TranscriptionPredictor

HOSTILE = "</script><img/src=x/onerror=document.title='hacked'>"
RATE = 8000

Train = Callable[..., Path]


@pytest.fixture(scope="session")
def train(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Train a run of a recipe for a few steps."""
    from elman import cli

    def call(recipe: str, *data: Path, steps: int = 2, **settings: Any) -> Path:
        out = tmp_path_factory.mktemp("runs") / recipe
        pairs = [f"{name}={value}" for name, value in {"hidden": 8, "seed": 1, **settings}.items()]
        options = [word for pair in pairs for word in ("--set", pair)]
        assert cli.run([str(word) for word in ("train", recipe, *data, "--steps", steps, "--out", out, *options)]) == 0
        return out

    return call


def language_model(vocabulary: Any, **options: Any) -> LanguageModelPredictor:
    torch.manual_seed(1)
    options = {"embedding": 6, "hidden": 10, **options}
    return LanguageModelPredictor(LanguageModel(len(vocabulary), **options).eval(), Path("model"), vocabulary)


@pytest.fixture(scope="session")
def writer() -> LanguageModelPredictor:
    """A language model of words, one of them hostile."""
    words = ["<unk>", "<eos>", HOSTILE, "__proto__", "the", "cat", "sat", "on", "a", "mat"]
    return language_model(Words(words), cell="gru", layers=2, learn_initial_state=True)


@pytest.fixture(scope="session")
def reader(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of short texts, one of whose labels is hostile."""
    path = tmp_path_factory.mktemp("texts") / "texts.csv"
    rows = [f'a{"b" * n},"{HOSTILE}"\nc{"d" * n}é,plain\n' for n in range(20)]
    path.write_text("text,label\n" + "".join(rows))
    return train("classify", path, steps=40, vocabulary="characters", learning_rate=0.03)


@pytest.fixture(
    scope="session", params=[("tags", "D N", "N D"), ("classes", "one;two", "three"), ("number", "2.5", "-1")]
)
def other_target(request: Any, train: Train, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A target that is not one class, and a classifier of texts with it."""
    target, first, second = request.param
    path = tmp_path_factory.mktemp("targets") / "texts.csv"
    path.write_text("text,label\n" + f"the cat,{first}\ncat the,{second}\n" * 20)
    return target, train("classify", path, steps=30, learning_rate=0.03, vocabulary="words", target=target)


@pytest.fixture(scope="session")
def pictures(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of pictures of 8 x 8 pixels, read pixel by pixel."""
    from PIL import Image

    data, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(1)
    for name, half in (("left", np.s_[:, :4]), ("right", np.s_[:, 4:])):
        (data / name).mkdir()
        for n in range(12):
            pixels = rng.integers(0, 60, (8, 8), np.uint8)
            pixels[half] += 150
            Image.fromarray(pixels).save(data / name / f"{n}.png")
    return train("classify", data, steps=20, image_size="8,8", learning_rate=0.02)


@pytest.fixture(scope="session")
def hourly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three weeks of hours of two series, with a missing value."""
    hours = np.arange(24 * 21)
    values = 50 + 10 * np.sin(2 * np.pi * hours / 24) + np.random.default_rng(1).standard_normal(len(hours))
    times = np.datetime64("2026-03-01T00") + hours
    rows = [f"{time},{value:.2f},{100 - value:.2f}" for time, value in zip(times, values, strict=True)]
    rows[-3] = f"{times[-3]},,{100 - values[-3]:.2f}"
    path = tmp_path_factory.mktemp("hours") / "hours.csv"
    path.write_text(
        "time,load,price\n" + "\n".join(row.replace("T", " ").replace(",", ":00,", 1) for row in rows) + "\n"
    )
    return path


@pytest.fixture(scope="session")
def forecaster(train: Train, hourly: Path) -> Path:
    return train("forecast", hourly, steps=20, horizon=12, lookback=50, segment=12, gaps="missing")


def sound(seconds: float, rate: int) -> np.ndarray:
    """Return tones that come and go, int16."""
    t = np.arange(round(seconds * rate)) / rate
    tone = 0.4 * np.sin(2 * np.pi * (500 + 300 * np.sin(3 * t)) * t) * (np.sin(2 * np.pi * 2 * t) > -0.3)
    return np.round(32767 * (tone + 0.02 * np.random.default_rng(1).standard_normal(len(t)))).astype(np.int16)


def transcriber(
    vocabulary: Any, *, gain_control: bool = True, rate: int = RATE, **options: Any
) -> TranscriptionPredictor:
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    mean, deviation = rng.standard_normal(12).tolist(), rng.uniform(1, 2, 12).tolist()
    options = {"hidden": 10, "stride": 3, **options}
    model = Transcriber(
        12, len(vocabulary), mean=mean, deviation=deviation, streaming=True, gain_control=gain_control, **options
    ).eval()
    features = SoundFeatures(rate, 12, False, 60.0)
    with torch.no_grad():  # so that an untrained model writes one symbol after the other
        model.output.weight *= 12
        x_TI = features.of_samples(sound(3.0, rate).astype(np.float32) / 32768)
        model.output.bias -= model.forward_chunk(torch.from_numpy(x_TI)[:, None])[0].mean((0, 1))
    norm = "level" if gain_control else "training"
    return TranscriptionPredictor(model, Path("model"), vocabulary, features, norm=norm)


@pytest.fixture(scope="session")
def listener() -> TranscriptionPredictor:
    return transcriber(Characters("ab <"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Export a run, once each, and return the folder."""
    folders: dict[str, Path] = {}

    def call(subject: Any, **options: Any) -> Path:
        key = repr((str(subject), sorted(options.items())))
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp("pages") / "page"
            elman.export(subject, folders[key], to="web", **options)
        return folders[key]

    return call


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a folder that is served on this machine; a request to elsewhere or an error in a script fails the test."""
    wrong: list[str] = []
    with ExitStack() as stack:

        def call(path: Path, *, width: int = 1000, motion: str = "reduce", scheme: str = "light") -> Any:
            server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(path)))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            address = f"http://127.0.0.1:{server.server_address[1]}/"
            size = {"width": width, "height": 800}
            context = browser.new_context(viewport=size, reduced_motion=motion, color_scheme=scheme)
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(10_000)
            page.on(
                "request",
                lambda request: None if request.url.startswith((address, "data:")) else wrong.append(request.url),
            )
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", lambda line: wrong.append(line.text) if line.type in ("error", "warning") else None)
            page.goto(address)
            page.wait_for_selector("main[data-ready]")
            return page

        yield call
    assert wrong == []
