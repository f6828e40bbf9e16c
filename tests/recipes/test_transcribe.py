"""The recipe `transcribe`: whistles for letters, so few that it learns them in seconds."""

import io
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tracemalloc
import weakref
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from elman import RNN, cli, recipes
from elman.data.batching import in_order
from elman.data.speech.utterance import SoundFeatures, Utterance
from elman.decoding.ctc import Timed, greedy
from elman.errors import DataError, SettingError
from elman.predictors import stream_transcriber as listener
from elman.predictors import word_timings as heard
from elman.recipes import transcribe
from elman.storage import tensors

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


def test_a_step_is_as_long_as_the_letters_allow_and_is_told(
    elman: Elman, run: Path, data: Path, tmp_path: Path
) -> None:
    def told(folder: Path) -> float:
        return float(json.loads((folder / "config.json").read_text())["data"]["seconds_of_a_step"])

    elman("train", "transcribe", data, "--out", tmp_path / "run", "--steps", 1, "--set", "vocabulary=words", *TINY)
    assert recipes.load(tmp_path / "run").model.stride == 4
    assert (told(run), told(tmp_path / "run")) == (0.03, 0.04)


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
    # A word of letters is certain when the space behind it is written, and the last one at the end.
    assert "ms for most words" in lines[-1]
    blocks = [piece.astype(np.float32) / 32767 for piece in np.array_split(np.frombuffer(raw, "<i2"), 7)]
    words = [answer.fields for answer in trained.listener().listen(iter(blocks))]
    assert [fields["word"] for fields in words[:-1]] == ["ab", "cd", "dac"]
    assert 0 < words[-1]["delay"] <= words[-1]["longest_delay"] < 1.0


@pytest.mark.parametrize(("raw", "said"), [(b"", "0.0 s"), (bytes(RATE), "0.5 s")])
def test_a_stream_without_sound_is_told(
    elman: Elman, run: Path, monkeypatch: pytest.MonkeyPatch, raw: bytes, said: str
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(raw)))
    assert elman("predict", run, "-").out == f"hardly any sound came: {said}, the loudest at 0.0% of full scale\n"


def test_a_list_does_not_go_on_with_answers_of_other_files(elman: Elman, run: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "before").write_text("other.wav\tab\n")
    found = elman("predict", run, data.parent / "train" / "0.wav", "--set", f"after={tmp_path / 'before'}")
    assert found.code == 2
    assert "none of these files is answered in what `after` names" in found.err


def test_words_are_certain_at_once(elman: Elman, data: Path, tmp_path: Path) -> None:
    words = ["train", "transcribe", data, "--steps", 1, "--out", tmp_path / "run", *TINY]
    assert elman(*words, "--set", "streaming=true", "--set", "vocabulary=words").code == 0
    trained = recipes.load(tmp_path / "run")
    first = trained.vocabulary.encode("cd ab").astype(int) + 1
    ready, left = trained.listener().certain([(int(first[0]), 3), (int(first[1]), 9)])
    assert ([word.text for word in ready], left) == (["cd", "ab"], [])
    assert ready[1].begin == pytest.approx(
        9 * 0.04
    )  # seconds; four steps of the sound for one, where symbols are words


def test_samples_come_in_by_a_pipe(run: Path) -> None:
    raw = (whistled("ab cd") * 32767).astype("<i2").tobytes() + b"x"  # half a sample at the end
    words = [sys.executable, "-m", "elman", "predict", str(run), "-"]
    done = subprocess.run(words, input=raw, capture_output=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert [line.split()[-1] for line in done.stdout.decode().splitlines()[:2]] == ["ab", "cd"]


def test_a_stream_cannot_be_normalised_by_what_is_to_come(elman: Elman, data: Path, tmp_path: Path) -> None:
    words = ["train", "transcribe", data, "--steps", 1, "--out", tmp_path / "run", "--set", "streaming=true"]
    answer = elman(*words, "--set", "normalise=speaker")
    assert answer.code == 2
    assert "normalise=training with streaming=true" in answer.err


def test_speakers_are_normalised_over_all_that_they_say(elman: Elman, data: Path, tmp_path: Path) -> None:
    head, *rows = data.read_text().splitlines()
    table = data.with_name("speakers.tsv")
    table.write_text("\n".join([f"{head}\twho", *(f"{row}\t{'ab'[n % 2]}" for n, row in enumerate(rows[:12]))]) + "\n")
    words = ["train", "transcribe", table, "--steps", 1, "--out", tmp_path / "run", *TINY, "--set", "normalise=speaker"]
    answer = elman(*words)
    assert answer.code == 2
    assert "no column 'speaker'" in answer.err and "--set speaker_column=NAME" in answer.err
    assert elman(*words, "--set", "speaker_column=who").code == 0
    assert json.loads(elman("evaluate", tmp_path / "run", table, "--json").out)["sentences"] == 12
    files = [data.parent / "train" / f"{n}.wav" for n in range(3)]
    trained = recipes.load(tmp_path / "run")
    alone = [u.features for _, u in trained._utterances(files, trained.features, set(), one_speaker=False)]
    assert all(abs(features.astype(float).mean()) < 0.01 for features in alone)
    one = np.concatenate([u.features for _, u in trained._utterances(files, trained.features, set(), one_speaker=True)])
    np.testing.assert_allclose(one.astype(float).mean(0), 0, atol=0.01)
    assert elman("predict", tmp_path / "run", *files, "--set", "one_speaker=true").code == 0
    assert json.loads(elman("diagnose", tmp_path / "run", table, "--json").out)["layers"]


def test_lips_are_read_from_videos(elman: Elman, tmp_path: Path, write_video: Any) -> None:
    chance, rows = np.random.default_rng(1), ["path\ttext"]
    looks = {word: chance.integers(0, 120, (12, 16)) for word in ("a", "b")}
    for n in range(24):
        frames = np.full((24, 24, 32, 3), 60, np.uint8)
        said = chance.choice(["a", "b"], size=2)
        for w, word in enumerate(said):
            frames[4 + 10 * w : 10 + 10 * w, 6:18, 8:24] += looks[word][..., None].astype(np.uint8)
        write_video(tmp_path / f"{n}.mkv", frames)
        rows.append(f"{n}.mkv\t{' '.join(said)}")
    table = tmp_path / "films.tsv"
    table.write_text("\n".join(rows) + "\n")
    words = ["train", "transcribe", table, "--steps", 200, "--out", tmp_path / "run", "--hidden", 16, "--layers", 1]
    sets = [
        "input=video",
        "vocabulary=words",
        "crop=12,16",
        "components=8",
        "copies=2",
        "learning_rate=0.02",
        "dropout=0",
    ]
    assert elman(*words, *(word for pair in sets for word in ("--set", pair))).code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["data"]["training_sentences"] == 44
    assert json.loads(elman("evaluate", tmp_path / "run", "--json").out)["word_error_rate"] <= 0.25
    answer = elman("predict", tmp_path / "run", tmp_path, "--json")
    assert len(json.loads(answer.out)["predictions"]) == 24
    assert "a run on video reads no samples" in elman("predict", tmp_path / "run", "-").err
    assert "0.mkv is too long" in elman("predict", tmp_path / "run", tmp_path / "0.mkv", "--set", "longest=0.5").err


def test_the_sound_track_of_a_video_is_heard(elman: Elman, run: Path, tmp_path: Path, write_video: Any) -> None:
    film = write_video(tmp_path / "film.mkv", np.zeros((20, 16, 16, 3), np.uint8), whistled("ab cd"), rate=RATE)
    assert elman("predict", run, film).out == f"{film}\tab cd\n"


def test_what_is_odd_about_a_file_is_said(elman: Elman, run: Path, data: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "fast.wav", np.repeat(whistled("ab"), 2), 2 * RATE)
    answer = elman("predict", run, tmp_path / "fast.wav")
    assert answer.out == f"{tmp_path}/fast.wav\tab\n"
    assert answer.err == f"{tmp_path}/fast.wav: resampled from {2 * RATE} to {RATE} Hz\n"
    table = tmp_path / "x.tsv"
    table.write_text(f"path\ttext\nfast.wav\tab\n{data.parent}/train/0.wav\tx y\n")
    words = ["train", "transcribe", table, "--steps", 1, "--out", tmp_path / "run", *TINY, "--set", "validation=0.5"]
    answer = elman(*words)
    assert "notes: 1 files: resampled from" in answer.err
    assert "only in validation: " in answer.err
    assert "is too long" in elman("predict", run, tmp_path / "fast.wav", "--set", "longest=0.1").err


def test_a_measurement_and_a_list_of_files_go_on_where_they_were_stopped(
    elman: Elman, run: Path, data: Path, tmp_path: Path
) -> None:
    whole = elman("evaluate", run, data, "--json", "--out", tmp_path / "there").out
    (table,) = (tmp_path / "there").glob("transcripts-*.jsonl")
    lines = table.read_text().splitlines(keepends=True)
    assert len(lines) == 60
    table.write_text("".join(lines[:30]) + lines[30][:-3])  # stopped while the thirty-first was written
    assert elman("evaluate", run, data, "--json", "--out", tmp_path / "there").out == whole
    assert table.read_text().splitlines(keepends=True) == lines
    assert elman("evaluate", run, data, "--json").out == whole

    answered = elman("predict", run, data.parent / "train").out.splitlines(keepends=True)
    (tmp_path / "answers.tsv").write_text("".join(answered[:50]))
    rest = elman("predict", run, data.parent / "train", "--set", f"after={tmp_path}/answers.tsv").out
    assert rest == "".join(answered[50:])


def test_a_run_that_was_stopped_ends_as_one_that_was_not(elman: Elman, data: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    common = [
        *TINY,
        "--set",
        "evaluate_every=4",
        "--set",
        "schedule=constant",
        "--set",
        "mask_steps=5",
        "--set",
        "flat_start=2",
    ]
    assert elman("train", "transcribe", data, "--steps", 8, "--out", once, *common).code == 0
    assert elman("train", "transcribe", data, "--steps", 4, "--out", twice, *common).code == 0
    assert elman("train", "transcribe", "--out", twice, "--resume", "--steps", 8).code == 0
    weights = [tensors.read(path / "model.safetensors")[0] for path in (once, twice)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert (once / "metrics.jsonl").read_text() == (twice / "metrics.jsonl").read_text()


def test_other_sentences_than_the_run_began_with_are_refused(elman: Elman, run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "run")
    config = json.loads((out / "config.json").read_text())
    config["data"]["fingerprint"] = "another"
    (out / "config.json").write_text(json.dumps(config))
    refused = elman("train", "transcribe", "--out", out, "--resume", "--steps", 1000)
    assert (refused.code, refused.out) == (2, "")
    assert "the sentences in" in refused.err and "fingerprint another" in refused.err


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
        ("path\ttext\na.wav\tab\n", "too few sentences for a validation part"),
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
    answer = elman("predict", run, 300 * "x")
    assert answer.code == 2 and "cannot be read as a sound" in answer.err and "too long" in answer.err


@pytest.mark.parametrize("speakers", [[], ["--set", "one_speaker=true"]])
def test_broken_files_are_named_and_the_others_transcribed(
    elman: Elman, run: Path, tmp_path: Path, speakers: list[str]
) -> None:
    table_of(tmp_path, "new", ["ab", "dac"])
    good, other, bad = (tmp_path / "new" / f"{n}.wav" for n in (0, 1, "0-broken"))
    bad.write_bytes(good.read_bytes()[:30])
    answer = elman("predict", run, tmp_path / "new", *speakers)
    assert answer.code == 2
    assert "--skip-bad names such files and transcribes the others" in answer.err
    answer = elman("predict", run, tmp_path / "new", "--skip-bad", *speakers)
    assert (answer.code, answer.out) == (0, f"{good}\tab\n{other}\tdac\n")
    assert f"no answer: {bad} cannot be read as a sound (should be " in answer.err


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
def test_a_sound_file_is_no_stream_of_samples(
    elman: Elman, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    soundfile.write(tmp_path / f"x.{kind}", whistled("ab"), RATE)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO((tmp_path / f"x.{kind}").read_bytes())))
    answer = elman("predict", run, "-")
    assert (answer.code, answer.out) == (2, "")
    assert "standard input is a sound file" in answer.err and f"-ar {RATE}" in answer.err


def test_a_strangers_run_is_refused_with_a_message(elman: Elman, run: Path, tmp_path: Path) -> None:
    for name in ("features.json", "scale.json", "texts.json", "input.ends.npy", "vocabulary.json"):
        copy = tmp_path / name
        shutil.copytree(run, copy)
        (copy / name).write_text("{")
        answer = elman("evaluate", copy)
        assert (answer.code, answer.out) == (2, ""), name
        assert "error: " in answer.err


@pytest.mark.parametrize("stride", [None, "4", 0, 1.5, True, 10**12])
def test_a_run_with_an_impossible_step_is_refused(elman: Elman, run: Path, tmp_path: Path, stride: object) -> None:
    shutil.copytree(run, tmp_path / "run")
    scale = json.loads((run / "scale.json").read_text()) | {"stride": stride}
    (tmp_path / "run/scale.json").write_text(json.dumps({key: scale[key] for key in scale if scale[key] is not None}))
    answer = elman("evaluate", tmp_path / "run")
    assert (answer.code, answer.out) == (2, "")
    assert "scale.json has no stride that can be" in answer.err and "from 1 to 16" in answer.err


def test_the_flat_start_grows_less_and_goes_on_after_a_stop(
    elman: Elman, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert transcribe.TranscribeSettings.parse({"vocabulary": "words"}).flat_epochs == 8
    assert transcribe.TranscribeSettings().flat_epochs == 0
    shares: list[float] = []
    compute = transcribe.Transcriber.loss

    def watched(self: Any, *batch: Any, spread: float = 0.0) -> torch.Tensor:
        shares.append(spread)
        return compute(self, *batch, spread=spread)

    monkeypatch.setattr(transcribe.Transcriber, "loss", watched)
    words = ["train", "transcribe", data, *TINY, "--set", "flat_start=1", "--set", "schedule=constant"]
    words += ["--set", "evaluate_every=1000"]
    assert elman(*words, "--out", tmp_path / "once", "--steps", 10).code == 0
    whole, shares[:] = [*shares], []
    assert all(a > b or a == b == 0 for a, b in pairwise(whole))
    assert 0.5 < whole[0] < 1 and whole[-1] == 0 and len(whole) == 10
    assert elman(*words, "--out", tmp_path / "twice", "--steps", 4).code == 0
    assert elman("train", "transcribe", "--out", tmp_path / "twice", "--resume", "--steps", 10).code == 0
    assert shares == whole


def test_the_default_data_is_morse_code() -> None:
    from elman.data.speech.builtin import CODE, morse_messages, morse_units

    assert "".join("." if length == 1 else "-" for length, down in morse_units("sos") if down) == "...---..."
    assert sum(length for length, _ in morse_units("paris")) - 6 + 7 == 50  # dots of the standard word with its gap
    assert len(set(CODE.values())) == 36
    first, again = (list(morse_messages("some words and 73 more", 3, seed=1, decibels=(6.0, 6.0))) for _ in range(2))
    assert [m.text for m in first] == [m.text for m in again]
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(first, again, strict=True))
    assert all(set(m.text) <= set(CODE) | {" "} for m in first)


def test_what_a_diagnosis_advises_reaches_every_layer(elman: Elman, data: Path, tmp_path: Path) -> None:
    words = [
        *TINY,
        "--cell",
        "rnn",
        "--set",
        "nonlinearity=relu",
        "--set",
        "init=identity",
        "--set",
        "learning_rate=1e-9",
    ]
    assert elman("train", "transcribe", data, "--steps", 1, "--out", tmp_path / "run", *words).code == 0
    layers = [module for module in recipes.load(tmp_path / "run").model.modules() if isinstance(module, RNN)]
    assert len(layers) == 1 and {layer.nonlinearity for layer in layers} == {"relu"}
    for layer in layers:
        torch.testing.assert_close(layer.weight_hh_l0.detach(), torch.eye(layer.hidden_size), rtol=0, atol=1e-6)


def test_a_stream_remembers_only_its_latest_delays(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = np.array_split(np.concatenate([whistled("ab cd dac ba"), np.zeros(RATE // 5, np.float32)]), 9)
    monkeypatch.setattr(listener, "LATEST", 2)
    monkeypatch.setattr(listener, "median", len)
    *words, last = recipes.load(run).listener().listen(iter(blocks))
    assert len(words) >= 3
    assert last.fields["delay"] == 2


def test_an_evaluation_in_training_holds_one_batch_of_probabilities(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[int] = []
    batches: list[weakref.ref] = []

    def watched(log_p_TBV: torch.Tensor, steps: list[int]) -> list[Timed]:
        batches.append(weakref.ref(log_p_TBV))
        alive.append(sum(batch() is not None for batch in batches))
        return greedy(log_p_TBV, steps)

    trained = recipes.load(run)
    settings = transcribe.TranscribeSettings.parse(trained.run.config["settings"])
    evaluate = transcribe.task(settings, trained.run, trained.model).evaluate
    expected = evaluate(trained.model)
    monkeypatch.setattr(heard, "greedy", watched)
    monkeypatch.setattr(heard, "in_order", lambda lengths, batch_size: in_order(lengths, batch_size=1))
    assert evaluate(trained.model) == expected
    assert len(alive) == 6 and max(alive) <= 2


@pytest.mark.parametrize("pair", ["beam=8", "weight=0.3", "times=true", "longest=9", "one_speaker=true", "after=x.tsv"])
def test_a_stream_takes_no_settings_of_files(elman: Elman, run: Path, pair: str) -> None:
    answer = elman("predict", run, "-", "--set", pair)
    assert (answer.code, answer.out) == (2, "")
    assert "a stream takes none of the settings of files" in answer.err and pair in answer.err


def test_who_cannot_hear_a_stream_says_so_before_it_comes(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = recipes.load(run)
    trained.model.streaming = False
    monkeypatch.setattr(sys, "stdin", None)  # where reading it would fail
    with pytest.raises(SettingError, match="cannot hear a stream"):
        list(trained.predict([run / "no file", "-"]))


@pytest.mark.parametrize("pair", ["rate=8000", "trim=true", "normalise=speaker", "validation_data=x.tsv"])
def test_the_default_data_take_no_settings_of_files(elman: Elman, tmp_path: Path, pair: str) -> None:
    answer = elman("train", "transcribe", "--steps", 1, "--out", tmp_path / "run", "--set", pair)
    assert (answer.code, answer.out) == (2, "")
    assert "the default data are not files" in answer.err and pair in answer.err
    assert not (tmp_path / "run").exists()


def test_preparing_holds_the_features_of_one_file(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref] = []
    alive: list[int] = []
    compute = SoundFeatures.of

    def watched(self: SoundFeatures, source: Any) -> Utterance:
        utterance = compute(self, source)
        made.append(weakref.ref(utterance.features))
        alive.append(sum(features() is not None for features in made))
        return utterance

    monkeypatch.setattr(SoundFeatures, "of", watched)
    told = transcribe.prepare([data], transcribe.TranscribeSettings.parse({"rate": RATE, "bands": 16}), tmp_path)
    assert (told["training_sentences"], told["validation_sentences"]) == (54, 6)
    assert len(alive) == 60 and max(alive) <= 2


def test_of_many_broken_files_the_first_are_named(data: Path, tmp_path: Path) -> None:
    table = data.with_name("many.tsv")
    table.write_text(data.read_text() + "".join(f"none/{n}.wav\tab\n" for n in range(60)))
    settings = {"rate": RATE, "bands": 16, "skip_bad": True}
    told = transcribe.prepare([table], transcribe.TranscribeSettings.parse(settings), tmp_path)
    assert told["training_sentences"] + told["validation_sentences"] == 60
    assert len(told["left_out_as_broken"]) == 21 and told["left_out_as_broken"][-1] == "and 40 more"


@pytest.mark.parametrize(
    ("endless", "message"),
    [
        ("x.tsv", r"x\.tsv is a binary file"),
        ("x.wav", r"x\.wav is too long\n.*at most 60 seconds"),
    ],
)
def test_what_has_no_end_is_refused_before_it_fills_the_memory(tmp_path: Path, endless: str, message: str) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(1), 16000)
    header = (tmp_path / "x.wav").read_bytes()[:40]
    (tmp_path / "x.wav").write_bytes(header[:4] + struct.pack("<I", 10**9 + 36) + header[8:] + struct.pack("<I", 10**9))
    (tmp_path / "x.tsv").write_text("path\ttext\nx.wav\tab\nx.wav\tab\n")
    os.truncate(tmp_path / endless, 10**9 + 44)  # takes no room on the disk
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=message):
            transcribe.prepare([tmp_path / "x.tsv"], transcribe.TranscribeSettings(), tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
