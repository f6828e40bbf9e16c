"""The export of a transcriber: predict.py writes what `elman predict` writes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import elman
from elman.errors import DataError
from elman.recipes.run import start
from elman.recipes.transcribe import Transcribe

Program = Callable[..., Any]
RATE = 4000
FLOAT16 = 2e-3
"""Of a log-probability: a last digit of a feature in float16 may differ."""


def check_answers(run: Path, files: list[Path], app: Path, program: Program) -> None:
    """Export a run and compare the transcripts of its program with those of elman."""
    elman.export(run, app)
    expected = [answer.fields for answer in elman.load(run).predict(files)]
    for answer, fields in zip(program(app, *files), expected, strict=True):
        assert (answer["path"], answer["text"]) == (fields["path"], fields["text"])
        assert answer["log_probability"] == pytest.approx(fields["log_probability"], abs=FLOAT16)
        for word, original in zip(answer["words"], fields["words"], strict=True):
            assert word["word"] == original["word"]
            for name in ("second", "end"):
                assert word[name] == pytest.approx(original[name], abs=1e-3)
            assert word["confidence"] == pytest.approx(original["confidence"], abs=1e-2)


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory, whistled: Callable[[str], np.ndarray]) -> list[Path]:
    folder, files = tmp_path_factory.mktemp("sounds"), []
    for text in ("ab", "ba cd", "dac", "bd bd bd", "a", "c c", "abcd", "ab ba cd dac bd", "d"):
        files.append(folder / f"{text.replace(' ', '-')}.wav")
        soundfile.write(files[-1], whistled(text), RATE)
    sound = whistled("cd ab")
    soundfile.write(folder / "stereo.flac", np.stack([sound, 0.3 * sound], 1), RATE)
    soundfile.write(folder / "fast.wav", whistled("ba ab").repeat(2), 2 * RATE)
    soundfile.write(folder / "short.wav", sound[:30], RATE)
    soundfile.write(folder / "noise.wav", np.random.default_rng(1).normal(0, 0.1, RATE), RATE)
    return [*files, *(folder / name for name in ("stereo.flac", "fast.wav", "short.wav", "noise.wav"))]


def test_a_shared_run_that_streams(
    transcription_run: Path, sounds: list[Path], tmp_path: Path, program: Program
) -> None:
    check_answers(transcription_run, sounds, tmp_path / "app", program)
    assert (tmp_path / "app" / "step.onnx").exists()
    soundfile.write(tmp_path / "silent.wav", np.zeros(500), RATE)
    soundfile.write(tmp_path / "long.wav", np.random.default_rng(1).normal(0, 0.1, 61 * RATE), RATE)
    with pytest.raises(DataError, match="too long"):
        list(elman.load(transcription_run).predict([tmp_path / "long.wav"]))
    names = [tmp_path / f"{name}.wav" for name in ("silent", "none", "long")]
    message = program(tmp_path / "app", *names, code=2)
    assert message.count('"error"') == 3 and "Traceback" not in message and "at most 60 seconds" in message


@pytest.mark.parametrize(
    "settings",
    [
        {"feature_norm": "utterance", "vocabulary": "characters", "trim_silence": True},
        {"feature_norm": "speaker", "speaker_column": "text", "vocabulary": "words", "cell": "lstm"},
        {"feature_norm": "level", "streaming": True, "vocabulary": "bpe", "vocabulary_size": 270},
    ],
)
def test_norms_and_vocabularies(
    transcription_data: Path, sounds: list[Path], tmp_path: Path, program: Program, settings: dict[str, Any]
) -> None:
    options = {"sample_rate": RATE, "mel_bands": 16, "batch_size": 8, "hidden": 12, "layers": 1, "steps": 40}
    start(Transcribe, [transcription_data], {**options, "learning_rate": 0.02, **settings}, tmp_path / "run")
    short = [path for path in sounds if path.name not in ("ab-ba-cd-dac-bd.wav", "noise.wav")]
    check_answers(tmp_path / "run", short, tmp_path / "app", program)
    if "trim_silence" in settings:
        assert "far more than sentences of training" in program(tmp_path / "app", sounds[7], code=2)
