"""Sounds that are written come back, at another rate too, and what is none is refused by name."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from elman.data.media import audio as sound
from elman.data.media.audio import HIGHEST_RATE, level_notes, read_sound, resample, speech_span, trim_silence
from elman.errors import DataError

RATE = 16000
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)


@pytest.mark.parametrize(("suffix", "allowed"), [("wav", 1e-4), ("flac", 1e-4), ("aiff", 1e-4), ("ogg", 0.03)])
def test_a_sound_comes_back(tmp_path: Path, suffix: str, allowed: float) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, TONE, RATE)
    samples, rate, file_rate = read_sound(path)
    assert (rate, file_rate, samples.dtype) == (RATE, RATE, np.float32)
    np.testing.assert_allclose(samples[500:-500], TONE[500:-500], atol=allowed)


def test_mp3_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tone.mp3"
    soundfile.write(path, TONE, RATE)
    samples, rate, _ = read_sound(path, RATE)
    assert rate == RATE and abs(len(samples) - RATE) < 0.1 * RATE
    middle = samples[4000:12000]
    loudest = np.abs(np.fft.rfft(middle * np.hanning(8000))).argmax() * RATE / 8000
    assert loudest == pytest.approx(440, abs=2)


def test_channels_are_averaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "two.wav", np.stack([TONE, -TONE / 2], 1), RATE, subtype="FLOAT")
    whole = read_sound(tmp_path / "two.wav").samples
    np.testing.assert_allclose(whole, TONE / 4, atol=1e-7)
    for block in (1, 1000):  # fewer than there are channels, and many blocks
        monkeypatch.setattr(sound, "BLOCK", block)
        np.testing.assert_array_equal(read_sound(tmp_path / "two.wav").samples, whole)


@pytest.mark.parametrize("rate", [8000, 11025, 44100])
def test_a_tone_stays_itself_at_another_rate(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "tone.wav", TONE, RATE, subtype="FLOAT")
    samples, found, file_rate = read_sound(tmp_path / "tone.wav", rate)
    assert (found, file_rate, len(samples)) == (rate, RATE, rate)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    np.testing.assert_allclose(samples[rate // 10 : -rate // 10], expected[rate // 10 : -rate // 10], atol=2e-3)


def test_what_a_lower_rate_cannot_hold_goes() -> None:
    high = np.sin(2 * np.pi * 6000 * np.arange(RATE) / RATE).astype(np.float32)
    assert np.abs(resample(high, RATE, 8000)[400:-400]).max() < 0.01


def test_the_sound_track_of_a_video(tmp_path: Path, write_video) -> None:
    film = write_video(tmp_path / "film.mkv", np.zeros((5, 16, 16, 3), np.uint8), TONE, rate=RATE)
    samples, rate, file_rate = read_sound(film, 8000)
    assert (rate, file_rate) == (8000, RATE)
    np.testing.assert_allclose(read_sound(film).samples, TONE, atol=1e-4)
    np.testing.assert_allclose(samples, resample(TONE, RATE, 8000), atol=1e-3)
    mute = write_video(tmp_path / "mute.mkv", np.zeros((5, 16, 16, 3), np.uint8))
    with pytest.raises(DataError, match=r"mute\.mkv has no sound track\n.*a video with sound\n.*video"):
        read_sound(mute)


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(400, 3000))
def test_silence_goes_at_both_ends(before: int, after: int, middle: int) -> None:
    sound = np.concatenate([np.zeros(before), TONE[:middle], np.zeros(after)]).astype(np.float32)
    kept = trim_silence(sound, RATE, keep=0.01, window=0.005)
    np.testing.assert_array_equal(kept[kept != 0], sound[sound != 0])
    assert len(kept) <= middle + 2 * (160 + 2 * 80)
    assert np.shares_memory(kept, sound)


def test_silence_within_stays_and_what_is_all_quiet_stays() -> None:
    gap = np.concatenate([TONE, np.zeros(RATE, np.float32), TONE])
    assert len(trim_silence(gap, RATE)) == len(gap)
    quiet = np.zeros(1000, np.float32)
    assert len(trim_silence(quiet, RATE)) == 1000
    assert len(trim_silence(quiet[:0], RATE)) == 0
    hum = np.concatenate([TONE * 0.02, TONE])
    assert len(trim_silence(hum, RATE, below=40)) == len(hum)
    assert len(trim_silence(hum, RATE, below=20)) < 1.1 * RATE


@given(st.floats(0.4, 2), st.floats(0.4, 2), st.floats(-60, -25), st.integers(0, 99))
def test_speech_stands_out_of_the_noise_of_the_place(before: float, after: float, noise: float, seed: int) -> None:
    edges = [round(RATE * seconds) for seconds in (before, before + 1, before + 1 + after)]
    sound = 10 ** (noise / 20) * np.random.default_rng(seed).standard_normal(edges[-1])
    sound[edges[0] : edges[1]] += 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    begin, end = speech_span(sound.astype(np.float32), RATE, keep=0.1)
    assert edges[0] - 0.2 * RATE <= begin <= edges[0]
    assert edges[1] <= end <= edges[1] + 0.2 * RATE


def test_what_does_not_stand_out_is_kept_whole() -> None:
    hiss = np.random.default_rng(1).standard_normal(RATE).astype(np.float32)
    assert speech_span(hiss, RATE) == (0, RATE)
    assert speech_span(TONE, RATE) == (0, len(TONE))
    assert speech_span(TONE[:0], RATE) == (0, 0)
    assert speech_span(np.zeros(RATE, np.float32), RATE) == (0, RATE)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with pytest.raises(DataError, match=r"sound\.wav does not exist\n.*a sound"):
        read_sound(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"sound\.wav is empty"):
        read_sound(path)
    path.write_bytes(b"RIFF and nothing of the kind")
    with pytest.raises(
        DataError, match=r"sound\.wav cannot be read as a sound\n.*complete file\n.*\n.*export it again"
    ):
        read_sound(path)
    text = tmp_path / "notes.txt"
    text.write_text("no sound at all")
    with pytest.raises(
        DataError, match=r"notes\.txt cannot be read as a sound\n.*a file with the suffix \.wav, .*\n.*\n.*name a sound"
    ):
        read_sound(text)
    film = tmp_path / "film.mp4"
    film.write_text("no film")
    with pytest.raises(DataError, match=r"film\.mp4 cannot be read as a video with sound"):
        read_sound(film)


def test_empty_silent_endless_and_invalid_sounds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, TONE[:0], RATE)
    with pytest.raises(DataError, match=r"sound\.wav has no samples\n.*at least one\n.*none"):
        read_sound(path)
    soundfile.write(path, np.zeros(50), RATE)
    with pytest.raises(DataError, match=r"sound\.wav is silent\n.*sound\n.*50 samples, all of them 0\n.*remove it"):
        read_sound(path)
    assert len(read_sound(path, silent=True).samples) == 50
    soundfile.write(path, TONE, RATE)
    with pytest.raises(DataError, match=r"sound\.wav is too long\n.*at most 0\.9 seconds\n.*more"):
        read_sound(path, longest=0.9)
    assert len(read_sound(path, longest=1).samples) == RATE
    soundfile.write(path, np.where(TONE > 0.4, np.nan, TONE), RATE, subtype="FLOAT")
    with pytest.raises(DataError, match=r"sound\.wav has samples that are not finite"):
        read_sound(path)
    flac = tmp_path / "sound.flac"
    soundfile.write(flac, np.random.default_rng(1).uniform(-1, 1, 200_000), RATE)
    flac.write_bytes(flac.read_bytes()[:250_000])
    with pytest.raises(DataError, match=r"sound\.flac (is truncated|cannot be read as a sound)"):
        read_sound(flac)


def test_a_rate_that_would_make_a_short_sound_endless_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "fast.wav", TONE, HIGHEST_RATE + 1)
    with pytest.raises(
        DataError, match=r"fast\.wav has an unsupported sample rate\n.*at most 768000 Hz\n.*768001\n.*remove it"
    ):
        read_sound(tmp_path / "fast.wav")


def test_the_level_of_a_sound_is_noted(tmp_path: Path) -> None:
    loud = (1.4 * TONE / 0.5).clip(-1, 1)
    assert level_notes(TONE) == []
    assert level_notes(loud) == ["clipped: the sound is cut off at full scale"]
    assert level_notes(TONE / 500) == ["hardly any sound: below 0.3 % of full scale"]
    soundfile.write(tmp_path / "scaled.wav", 32768 * TONE, RATE, subtype="FLOAT")  # whole numbers, made floats
    samples = read_sound(tmp_path / "scaled.wav").samples
    np.testing.assert_array_equal(samples, 32768 * TONE)
    assert level_notes(samples) == ["far beyond full scale: its floating-point samples are not between -1 and 1"]
    assert level_notes(1.2 * TONE / 0.5) != level_notes(samples)
