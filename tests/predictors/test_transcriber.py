"""A trained transcriber: it transcribes files, and names those that it cannot read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import elman as elman_package
from elman.errors import SettingError
from elman.predictors.options import TranscribeOptions
from elman.predictors.transcriber import TranscriptionPredictor

Elman = Callable[..., Any]
Whistled = Callable[[str], np.ndarray]
RATE = 4000


@pytest.fixture
def data(transcription_data: Path) -> Path:
    return transcription_data


@pytest.fixture
def run(transcription_run: Path) -> Path:
    return transcription_run


def test_what_predict_answers(elman: Elman, run: Path, tmp_path: Path, write_whistles: Any) -> None:
    write_whistles(tmp_path, "new", ["ab cd", "dac"])
    files = [tmp_path / "new" / "0.wav", tmp_path / "new" / "1.wav"]
    expected = f"{files[0]}\tab cd\n{files[1]}\tdac\n"
    assert elman("predict", run, *files).out == expected
    assert elman("predict", run, tmp_path / "new").out == expected
    assert elman("predict", run, files[0], "--set", "beam_width=8").out == f"{files[0]}\tab cd\n"
    answer = json.loads(elman("predict", run, files[0], "--json").out)["predictions"][0]
    assert [word["word"] for word in answer["words"]] == ["ab", "cd"]
    # The second word begins after two letters and the pause: 3 x (0.08 + 0.04) seconds, give or take the hand.
    assert answer["words"][1]["second"] - answer["words"][0]["second"] == pytest.approx(0.36, abs=0.09)
    lines = elman("predict", run, files[0], "--set", "times=true").out.splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["ab", "cd"]


def test_answers_of_other_files_are_not_resumed(elman: Elman, run: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "before").write_text("other.wav\tab\n")
    refused = elman("predict", run, data.parent / "train" / "0.wav", "--set", f"resume_from={tmp_path / 'before'}")
    assert refused.code == 2
    assert f"none of these files is answered in {tmp_path / 'before'}" in refused.err


def test_the_sound_track_of_a_video_is_transcribed(
    elman: Elman, run: Path, tmp_path: Path, write_video: Any, whistled: Whistled
) -> None:
    film = write_video(tmp_path / "film.mkv", np.zeros((20, 16, 16, 3), np.uint8), whistled("ab cd"), rate=RATE)
    assert elman("predict", run, film).out == f"{film}\tab cd\n"


def test_what_predict_refuses(elman: Elman, run: Path, tmp_path: Path) -> None:
    assert "nothing to transcribe" in elman("predict", run).err
    assert f"{tmp_path} has no sound" in elman("predict", run, tmp_path).err
    assert "does not exist" in elman("predict", run, tmp_path / "x.wav").err
    answer = elman("predict", run, 300 * "x")
    assert answer.code == 2 and "cannot be read as a sound" in answer.err and "too long" in answer.err


@pytest.mark.parametrize("speakers", [[], ["--set", "one_speaker=true"]])
def test_broken_files_are_named_and_the_others_transcribed(
    elman: Elman, run: Path, tmp_path: Path, speakers: list[str], write_whistles: Any
) -> None:
    write_whistles(tmp_path, "new", ["ab", "dac"])
    good, other, bad = (tmp_path / "new" / f"{n}.wav" for n in (0, 1, "0-broken"))
    bad.write_bytes(good.read_bytes()[:30])
    answer = elman("predict", run, tmp_path / "new", *speakers)
    assert answer.code == 2
    assert "--skip-bad names such files and transcribes the others" in answer.err
    answer = elman("predict", run, tmp_path / "new", "--skip-bad", *speakers)
    assert (answer.code, answer.out) == (0, f"{good}\tab\n{other}\tdac\n")
    assert f"no answer: {bad} cannot be read as a sound (should be " in answer.err


def test_an_interrupted_call_is_resumed(elman: Elman, run: Path, data: Path, tmp_path: Path) -> None:
    answered = elman("predict", run, data.parent / "train").out.splitlines(keepends=True)
    (tmp_path / "answers.tsv").write_text("".join(answered[:50]))
    rest = elman("predict", run, data.parent / "train", "--set", f"resume_from={tmp_path}/answers.tsv").out
    assert rest == "".join(answered[50:])


def test_it_knows_its_run_and_its_options(run: Path) -> None:
    predictor = elman_package.load(run)
    assert predictor.run == run
    assert predictor.Options is TranscribeOptions
    assert predictor.metrics["word_error_rate"] < 0.15
    with pytest.raises(SettingError, match="out of range"):
        list(predictor.predict([run / "x.wav"], beam_width=0))


def test_words_have_ends_and_confidences(elman: Elman, run: Path, tmp_path: Path, write_whistles: Any) -> None:
    write_whistles(tmp_path, "new", ["ab cd"])
    answer = json.loads(elman("predict", run, tmp_path / "new", "--json").out)["predictions"][0]
    assert answer["times_reliable"] is True
    first, second = answer["words"]
    assert first["second"] < first["end"] <= second["second"] < second["end"]
    assert 0.5 < first["confidence"] <= 1 and answer["score"] == answer["log_probability"] <= 0


def test_n_best_transcripts(elman: Elman, run: Path, tmp_path: Path, write_whistles: Any) -> None:
    write_whistles(tmp_path, "new", ["ab cd"])
    words = ["predict", run, tmp_path / "new", "--set", "beam_width=8", "--set", "n_best=3"]
    answer = json.loads(elman(*words, "--json").out)["predictions"][0]
    best = answer["n_best"]
    assert len({row["text"] for row in best}) == len(best) == 3 and best[0]["text"] == answer["text"] == "ab cd"
    assert [row["score"] for row in best] == sorted((row["score"] for row in best), reverse=True)
    assert all(row["log_probability"] <= 0 for row in best)
    lines = elman(*words).out.splitlines()
    assert [line.split("\t")[1] for line in lines] == [row["text"] for row in best]
    refused = elman(*words, "--set", "times=true")
    assert refused.code == 2 and "the times are of one transcript" in refused.err
    refused = elman("predict", run, tmp_path / "new", "--set", "n_best=3")
    assert refused.code == 2 and "n_best is greater than beam_width" in refused.err and "beam_width=3" in refused.err


def test_a_score_is_log_probability_with_language_and_bonus(run: Path, data: Path) -> None:
    trained = elman_package.load(run)
    beam = trained.beam_search(8)
    (decoded,) = trained.decoder.decode([trained.features.of(data.parent / "train" / "0.wav").features])
    best = beam.search(decoded.log_p_TV)[0]
    state, language = beam.language.begin(), 0.0
    for token_id in best.token_ids:
        gain, state = beam.language.extend(state, token_id)
        language += gain
    language += beam.language.end(state)
    assert best.score == pytest.approx(best.log_p + 0.5 * language + 0.5 * 2.0 * len(best.token_ids), abs=1e-3)


def test_misplaced_times_are_named(
    elman: Elman, run: Path, tmp_path: Path, write_whistles: Any, monkeypatch: Any
) -> None:
    write_whistles(tmp_path, "new", ["ab cd"])
    words = ["predict", run, tmp_path / "new"]
    monkeypatch.setattr(TranscriptionPredictor, "misplaces_words", True)
    assert "the times of words are unreliable" in elman(*words, "--set", "times=true").err
    answer = elman(*words, "--json")
    assert json.loads(answer.out)["predictions"][0]["times_reliable"] is False and answer.err == ""


def test_a_level_that_matters_is_named(
    elman: Elman, run: Path, tmp_path: Path, write_whistles: Any, monkeypatch: Any
) -> None:
    write_whistles(tmp_path, "new", ["ab cd"])
    file = tmp_path / "new" / "0.wav"
    samples, rate = soundfile.read(file)
    soundfile.write(tmp_path / "soft.wav", 0.03 * samples, rate)
    predictor = elman_package.load(run)
    assert predictor.usual_levels is None
    predictor.norm = "training"
    del predictor.usual_levels
    (loud,), (soft,) = predictor.predict([file]), predictor.predict([tmp_path / "soft.wav"])
    assert "notes" not in loud.fields
    (note,) = soft.fields["notes"]
    assert "dB below that of training, and feature_norm=training does not even it out" in note
