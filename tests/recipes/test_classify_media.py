"""The recipe classify on sound, images and video, from files to answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

import elman as package
from elman.errors import DataError, SettingError
from elman.recipes import run as runs
from elman.recipes import use
from elman.recipes.classify import Classify

TINY = {"hidden": 8, "batch_size": 8, "validation": 0.25, "learning_rate": 0.02, "steps": 40}
Elman = Callable[..., Any]


def tone(path: Path, hertz: float, rng: np.random.Generator) -> None:
    """Write a tone of random length and loudness, in noise."""
    samples = rng.uniform(0.1, 0.9) * np.sin(2 * np.pi * hertz * np.arange(rng.integers(1200, 2400)) / 8000)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples + 0.01 * rng.standard_normal(len(samples)), 8000)


def test_tones_are_classified(tmp_path: Path, elman: Elman) -> None:
    rng = np.random.default_rng(1)
    for n in range(16):
        tone(tmp_path / "tones" / "low" / f"{n}.wav", rng.uniform(300, 400), rng)
        tone(tmp_path / "tones" / "high" / f"{n}.flac", rng.uniform(900, 1200), rng)
    (tmp_path / "tones" / "low" / "broken.wav").write_bytes(b"RIFF")
    settings = {**TINY, "sample_rate": 4000, "mel_bands": 12, "mask_steps": 3, "mask_features": 2, "pooling": "mean"}
    with pytest.raises(DataError, match=r"broken\.wav cannot be read as a sound"):
        runs.start(Classify, [tmp_path / "tones"], settings, tmp_path / "run")
    runs.start(Classify, [tmp_path / "tones"], {**settings, "skip_bad": True}, tmp_path / "run")
    metrics = use.evaluate(tmp_path / "run")
    assert "- notes: 32 files: sound resampled from 8000 to 4000 Hz" in (tmp_path / "run/report.md").read_text()
    assert metrics["accuracy"] == 1.0
    assert metrics["baselines"]["majority class"]["accuracy"] <= 0.6
    tone(tmp_path / "new.ogg", 1000, rng)
    (answer,) = json.loads(elman("predict", tmp_path / "run", tmp_path / "new.ogg", "--json").out)["predictions"]
    assert answer["label"] == "high" and answer["probabilities"]["high"] > 0.8


def moving(down: bool, rng: np.random.Generator) -> np.ndarray:
    """Return frames of a bright bar that moves up or down, before a random background."""
    frames = np.tile(rng.integers(0, 120, (1, 12, 16, 1)), (rng.integers(6, 10), 1, 1, 3)).astype(np.uint8)
    for t, frame in enumerate(frames):
        place = rng.integers(0, 2) + t
        frame[place if down else 11 - place, 4:12] = 250
    return frames


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, write_video: Callable[..., Path]) -> Path:
    """Make a manifest of videos of bars that move up and down."""
    folder, rng = tmp_path_factory.mktemp("films"), np.random.default_rng(1)
    lines = ["path\tlabel"]
    for n in range(40):
        write_video(folder / f"{n}.mkv", moving(n % 2 == 0, rng))
        lines.append(f"{n}.mkv\t{'down' if n % 2 == 0 else 'up'}")
    (folder / "films.tsv").write_text("\n".join(lines) + "\n")
    return folder


def test_movements_are_classified_while_they_last(films: Path, tmp_path: Path, elman: Elman) -> None:
    settings = {**TINY, "hidden": 16, "steps": 80, "max_shift": 1, "pooling": "mean", "learning_rate": 0.01}
    runs.start(Classify, [films / "films.tsv"], settings, tmp_path / "run")
    metrics = use.evaluate(tmp_path / "run")
    assert metrics["accuracy"] >= 0.9
    assert elman("diagnose", tmp_path / "run", "--json").code == 0
    words = ("predict", tmp_path / "run", films / "0.mkv", "--set", "every=2", "--json")
    answers = json.loads(elman(*words).out)["predictions"]
    assert [answer["step"] for answer in answers[:2]] == [2, 4]
    assert answers[-1]["label"] == "down"
    whole = json.loads(elman(*words[:3], "--json").out)["predictions"][0]
    assert answers[-1]["probabilities"]["down"] == pytest.approx(whole["probabilities"]["down"], abs=1e-4)


def test_a_resumed_run_on_videos_ends_as_an_uninterrupted_one(films: Path, tmp_path: Path) -> None:
    steady = {"schedule": "constant", "warmup": 0, "evaluate_every": 3}
    settings = {**TINY, **steady, "max_shift": 1, "horizontal_flip": True, "dropout": 0.2, "steps": 6}
    runs.start(Classify, [films / "films.tsv"], {**settings, "steps": 3}, tmp_path / "cut")
    runs.start(Classify, [films / "films.tsv"], settings, tmp_path / "one")
    runs.resume(Classify, {"steps": 6}, tmp_path / "cut")
    one, cut = (package.load(tmp_path / name).model.state_dict() for name in ("one", "cut"))
    assert all((one[name] == cut[name]).all() for name in one)


def test_images_are_read_row_by_row(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for n in range(40):
        label = "lying" if n % 2 else "standing"
        pixels = rng.integers(0, 60, (17, 20)).astype(np.uint8)
        bar = (slice(None), rng.integers(0, 20)) if label == "standing" else (rng.integers(0, 17), slice(None))
        pixels[bar] = 250
        (tmp_path / "bars" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "bars" / label / f"{n}.png")
    settings = {**TINY, "image_size": "18,20", "pooling": "max", "steps": 60}
    runs.start(Classify, [tmp_path / "bars"], settings, tmp_path / "run")
    assert use.evaluate(tmp_path / "run")["accuracy"] >= 0.9


def test_invalid_settings_of_media_are_named(films: Path, tmp_path: Path) -> None:
    for name, value in (("crop", "7"), ("image_size", "1,2,3"), ("time_range", "3,1")):
        with pytest.raises(SettingError, match=f"invalid value for {name}"):
            runs.start(Classify, [films / "films.tsv"], {**TINY, name: value}, tmp_path / "run")
    with pytest.raises(SettingError, match=r"the window does not fit into the frame"):
        runs.start(Classify, [films / "films.tsv"], {**TINY, "crop": "40,40"}, tmp_path / "run")
    with pytest.raises(SettingError, match=r"too small for the shift"):
        runs.start(Classify, [films / "films.tsv"], {**TINY, "max_shift": 6}, tmp_path / "run")
