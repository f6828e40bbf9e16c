"""The recipe `transcribe`: whistles for letters, so few that it learns them in seconds."""

import io
import json
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from elman import cli, recipes
from elman.training import tensors

Elman = Callable[..., Any]
RATE = 4000
PITCH = {"a": 400.0, "b": 700.0, "c": 1000.0, "d": 1400.0}
TINY = ["--hidden", 24, "--layers", 1, "--set", f"rate={RATE}", "--set", "bands=16", "--set", "batch_size=8"]


def whistled(text: str) -> np.ndarray:
    """A tone for each letter and a pause after it, a longer one for a blank."""
    chance = np.random.default_rng(len(text) + sum(map(ord, text)))
    parts = []
    for letter in text:
        time = np.arange(int(RATE * 0.08 * chance.uniform(0.9, 1.1))) / RATE
        parts += [0.3 * np.sin(2 * np.pi * PITCH[letter] * time) if letter != " " else 0 * time, np.zeros(RATE // 25)]
    return (np.concatenate(parts) + 0.003 * chance.standard_normal(sum(map(len, parts)))).astype(np.float32)


def table_of(folder: Path, name: str, texts: list[str]) -> Path:
    (folder / name).mkdir()
    rows = ["path\ttext"]
    for n, text in enumerate(texts):
        soundfile.write(folder / name / f"{n}.wav", whistled(text), RATE)
        rows.append(f"{name}/{n}.wav\t{text}")
    path = folder / f"{name}.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chance = random.Random(1)
    words = ["ab", "ba", "cd", "dac", "bd"]
    texts = [" ".join(chance.choice(words) for _ in range(chance.randint(1, 3))) for _ in range(60)]
    return table_of(tmp_path_factory.mktemp("whistles"), "train", texts)


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    out = data.with_name("run")
    words = ["train", "transcribe", data, "--steps", 150, "--out", out, "--set", "learning_rate=0.01"]
    words += ["--set", "streaming=true", "--set", "stride=3", "--set", "dropout=0", *TINY]
    assert cli.run([str(word) for word in words]) == 0
    return out


def test_it_learns_to_hear_whistles(elman: Elman, run: Path, data: Path) -> None:
    metrics = json.loads(elman("evaluate", run, "--json").out)
    assert metrics["word_error_rate"] < 0.15
    assert metrics["baselines"]["the commonest text"]["word_error_rate"] > 0.5
    rows = [json.loads(line)["validation"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = min(rows, key=lambda row: row["character_error_rate"])
    assert {name: metrics[name] for name in best} == best
    edits = metrics["substituted"] + metrics["deleted"] + metrics["inserted"]
    assert edits == pytest.approx(metrics["word_error_rate"])
    assert json.loads(elman("evaluate", run, data, "--json").out)["sentences"] == 60


def test_what_predict_answers(elman: Elman, run: Path, tmp_path: Path) -> None:
    table_of(tmp_path, "new", ["ab cd", "dac"])
    files = [tmp_path / "new" / "0.wav", tmp_path / "new" / "1.wav"]
    expected = f"{files[0]}\tab cd\n{files[1]}\tdac\n"
    assert elman("predict", run, *files).out == expected
    assert elman("predict", run, tmp_path / "new").out == expected
    assert elman("predict", run, files[0], "--set", "beam=8").out == f"{files[0]}\tab cd\n"
    answer = json.loads(elman("predict", run, files[0], "--json").out)["predictions"][0]
    assert [word["word"] for word in answer["words"]] == ["ab", "cd"]
    # The second word begins after two letters and the pause: 3 x (0.08 + 0.04) seconds, give or take the hand.
    assert answer["words"][1]["second"] - answer["words"][0]["second"] == pytest.approx(0.36, abs=0.09)
    lines = elman("predict", run, files[0], "--set", "times=true").out.splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["ab", "cd"]


def test_a_stream_is_heard_word_by_word(elman: Elman, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.concatenate([whistled("ab cd"), whistled(" dac"), np.zeros(RATE // 5, np.float32)])
    raw = (sound * 32767).astype("<i2").tobytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(raw)))
    lines = elman("predict", run, "-").out.splitlines()
    assert [line.split()[-1] for line in lines[:-1]] == ["ab", "cd", "dac"]
    assert lines[-1].startswith("delay: ")
    trained = recipes.load(run)
    blocks = [piece.astype(np.float32) / 32767 for piece in np.array_split(np.frombuffer(raw, "<i2"), 7)]
    words = [answer.fields for answer in trained.listen(iter(blocks))]
    assert [fields["word"] for fields in words[:-1]] == ["ab", "cd", "dac"]
    assert words[-1]["delay"] > 0.1


def test_a_run_that_was_stopped_ends_as_one_that_was_not(elman: Elman, data: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    common = [*TINY, "--set", "evaluate_every=4", "--set", "schedule=constant", "--set", "mask_steps=5"]
    assert elman("train", "transcribe", data, "--steps", 8, "--out", once, *common).code == 0
    assert elman("train", "transcribe", data, "--steps", 4, "--out", twice, *common).code == 0
    assert elman("train", "transcribe", "--out", twice, "--resume", "--steps", 8).code == 0
    weights = [tensors.read(path / "model.safetensors")[0] for path in (once, twice)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert (once / "metrics.jsonl").read_text() == (twice / "metrics.jsonl").read_text()


def test_it_can_be_diagnosed(elman: Elman, run: Path) -> None:
    assert json.loads(elman("diagnose", run, "--json").out)["layers"]


def test_broken_files_are_named_or_left_out(elman: Elman, data: Path, tmp_path: Path) -> None:
    broken = table_of(tmp_path, "some", ["ab", "cd", "ba", "dac"])
    (tmp_path / "some" / "1.wav").write_bytes(b"RIFFnothing")
    words = ["train", "transcribe", broken, "--steps", 1, *TINY, "--set", "validation=0.25"]
    answer = elman(*words, "--out", tmp_path / "run")
    assert (answer.code, answer.out) == (2, "")
    assert "1.wav cannot be read" in answer.err
    assert "--skip-bad" in answer.err
    assert not (tmp_path / "run").exists()
    assert elman(*words, "--skip-bad", "--out", tmp_path / "run").code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["data"]["training_sentences"] == 2
    assert "1.wav" in config["data"]["left_out_as_broken"][0]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file\ttext\na.wav\tab\n", "no column 'path'"),
        ("path\ttext\na.wav\n", "line 2: a cell is missing"),
        ("path\ttext\n", "has no rows"),
        ("", "x.tsv is empty"),
        ("path\ttext\nnothing.wav\tab\nnothing.wav\tab\n", "nothing.wav does not exist"),
        ("path\ttext\na.wav\tab\n", "too few sentences to keep a part"),
    ],
)
def test_what_training_refuses(elman: Elman, tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "x.tsv").write_text(table)
    answer = elman("train", "transcribe", tmp_path / "x.tsv", "--steps", 1, "--out", tmp_path / "run")
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert not (tmp_path / "run").exists()


def test_what_predict_refuses(elman: Elman, run: Path, tmp_path: Path) -> None:
    assert "nothing to transcribe" in elman("predict", run).err
    assert f"{tmp_path} holds no sound" in elman("predict", run, tmp_path).err
    assert "does not exist" in elman("predict", run, tmp_path / "x.wav").err


def test_a_strangers_run_is_refused_with_a_message(elman: Elman, run: Path, tmp_path: Path) -> None:
    for name in ("features.json", "scale.json", "texts.json", "input.ends.npy", "vocabulary.json"):
        copy = tmp_path / name
        shutil.copytree(run, copy)
        (copy / name).write_text("{")
        answer = elman("evaluate", copy)
        assert (answer.code, answer.out) == (2, ""), name
        assert "error: " in answer.err


def test_the_default_data_is_morse_code() -> None:
    from elman.data.default_morse import CODE, messages, units

    assert "".join("." if length == 1 else "-" for length, down in units("sos") if down) == "...---..."
    assert sum(length for length, _ in units("paris")) - 6 + 7 == 50  # dots of the standard word, its gap included
    assert len(set(CODE.values())) == 36
    first, again = (list(messages("some words and 73 more", 3, seed=1, decibels=(6.0, 6.0))) for _ in range(2))
    assert [m.text for m in first] == [m.text for m in again]
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(first, again, strict=True))
    assert all(set(m.text) <= set(CODE) | {" "} for m in first)
