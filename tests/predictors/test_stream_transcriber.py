"""Streaming transcription: words as they become final, and the delay."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from elman.cli import use as use_command
from elman.cli.output import print_json
from elman.decoding.ctc import Emission
from elman.errors import SettingError
from elman.predictors import stream_transcriber
from elman.recipes import use

Elman = Callable[..., Any]
Whistled = Callable[[str], np.ndarray]
RATE = 4000


@pytest.fixture
def data(transcription_data: Path) -> Path:
    return transcription_data


@pytest.fixture
def run(transcription_run: Path) -> Path:
    return transcription_run


@pytest.fixture
def tiny(transcription_options: list[str]) -> list[str]:
    return transcription_options


def test_a_stream_is_transcribed_word_by_word(
    elman: Elman, run: Path, monkeypatch: pytest.MonkeyPatch, whistled: Whistled
) -> None:
    sound = np.concatenate([whistled("ab cd"), whistled(" dac"), np.zeros(RATE // 5, np.float32)])
    raw = (sound * 32767).astype("<i2").tobytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(raw)))
    lines = elman("predict", run, "-").out.splitlines()
    assert [line.split()[-1] for line in lines[:-1]] == ["ab", "cd", "dac"]
    assert lines[-1].startswith("delay: ")
    trained = use.load(run)
    # A word of letters is certain when the space behind it is written, and the last one at the end.
    assert "ms for most words" in lines[-1]
    blocks = [piece.astype(np.float32) / 32767 for piece in np.array_split(np.frombuffer(raw, "<i2"), 7)]
    words = [answer.fields for answer in trained.stream_transcriber().transcribe(iter(blocks))]
    assert [fields["word"] for fields in words[:-1]] == ["ab", "cd", "dac"]
    assert 0 < words[-1]["delay"] <= words[-1]["longest_delay"] < 1.0


@pytest.mark.parametrize(("raw", "duration"), [(b"", "0.0 s"), (bytes(RATE), "0.5 s")])
def test_an_almost_silent_stream_is_named(
    elman: Elman, run: Path, monkeypatch: pytest.MonkeyPatch, raw: bytes, duration: str
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(raw)))
    assert elman("predict", run, "-").out == f"the sound is almost silent: {duration}, peak at 0.0% of full scale\n"


def test_words_are_final_at_once(elman: Elman, data: Path, tmp_path: Path, tiny: list[str]) -> None:
    words = ["train", "transcribe", data, "--steps", 1, "--out", tmp_path / "run", *tiny]
    assert elman(*words, "--set", "streaming=true", "--set", "vocabulary=words").code == 0
    trained = use.load(tmp_path / "run")
    first = trained.vocabulary.encode("cd ab").astype(int) + 1
    ready, pending = trained.stream_transcriber().final(
        [Emission(int(first[0]), 3, 3, 0.9), Emission(int(first[1]), 9, 9, 0.8)]
    )
    assert ([word.text for word in ready], pending) == (["cd", "ab"], [])
    assert ready[1].begin == pytest.approx(
        9 * 0.04
    )  # seconds; four steps of the sound for one, where symbols are words


def test_samples_come_in_by_a_pipe(run: Path, whistled: Whistled) -> None:
    raw = (whistled("ab cd") * 32767).astype("<i2").tobytes() + b"x"  # half a sample at the end
    words = [sys.executable, "-m", "elman", "predict", str(run), "-"]
    done = subprocess.run(words, input=raw, capture_output=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert [line.split()[-1] for line in done.stdout.decode().splitlines()[:2]] == ["ab", "cd"]


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
def test_a_sound_file_is_not_a_stream_of_samples(
    elman: Elman, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, whistled: Whistled
) -> None:
    soundfile.write(tmp_path / f"x.{kind}", whistled("ab"), RATE)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO((tmp_path / f"x.{kind}").read_bytes())))
    answer = elman("predict", run, "-")
    assert (answer.code, answer.out) == (2, "")
    assert "standard input is a sound file" in answer.err and f"-ar {RATE}" in answer.err


def test_a_stream_stores_only_its_last_delays(run: Path, monkeypatch: pytest.MonkeyPatch, whistled: Whistled) -> None:
    blocks = np.array_split(np.concatenate([whistled("ab cd dac ba"), np.zeros(RATE // 5, np.float32)]), 9)
    monkeypatch.setattr(stream_transcriber, "MAX_DELAYS", 2)
    monkeypatch.setattr(stream_transcriber, "median", len)
    *words, last = use.load(run).stream_transcriber().transcribe(iter(blocks))
    assert len(words) >= 3
    assert last.fields["delay"] == 2


@pytest.mark.parametrize(
    "pair", ["beam_width=8", "ngram_weight=0.3", "times=true", "max_seconds=9", "one_speaker=true", "resume_from=x.tsv"]
)
def test_a_stream_takes_no_options_of_files(elman: Elman, run: Path, pair: str) -> None:
    answer = elman("predict", run, "-", "--set", pair)
    assert (answer.code, answer.out) == (2, "")
    assert "a stream takes none of the options of files" in answer.err and pair in answer.err


def test_a_bidirectional_model_refuses_a_stream_before_it_is_read(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = use.load(run)
    trained.model.streaming = False
    monkeypatch.setattr(sys, "stdin", None)  # where reading it would fail
    with pytest.raises(SettingError, match="cannot stream"):
        list(trained.predict([run / "no file", "-"]))


def test_json_of_a_stream_is_a_line_for_each_word_as_it_comes(
    elman: Elman, run: Path, monkeypatch: pytest.MonkeyPatch, whistled: Whistled
) -> None:
    sound = np.concatenate([whistled("ab cd"), whistled(" dac"), np.zeros(RATE // 5, np.float32)])
    raw, shown = io.BytesIO((sound * 32767).astype("<i2").tobytes()), list[int]()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=raw))
    monkeypatch.setattr(use_command, "print_json", lambda fields: shown.append(raw.tell()) or print_json(fields))
    rows = [json.loads(line) for line in elman("predict", run, "-", "--json").out.splitlines()]
    assert [row["word"] for row in rows[:-1]] == ["ab", "cd", "dac"] and "delay" in rows[-1]
    assert all(0 < row["confidence"] <= 1 and row["second"] < row["end"] for row in rows[:-1])
    assert shown[0] < 2 * len(sound)


def test_a_stream_of_an_uneven_level_is_named(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    trained = use.load(run)
    for norm, expected in (("level", ""), ("training", "-: the words depend on the level of the microphone")):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"")))
        trained.norm = norm
        list(trained.predict("-"))
        assert capsys.readouterr().err.startswith(expected) and (norm == "training" or not capsys.readouterr().err)
