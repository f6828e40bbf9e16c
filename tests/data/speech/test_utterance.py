"""Features of a sound: where they begin, and what is said aloud about it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from elman.data.media.mel import log_mel
from elman.data.speech.utterance import SoundFeatures
from elman.errors import DataError

RATE = 8000
TONE = (0.4 * np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE)).astype(np.float32)
PLAIN = SoundFeatures(RATE, 20, trim=False, longest=10)


def test_they_are_log_mel_energies_and_begin_where_the_noise_ends() -> None:
    noise = (1e-3 * np.random.default_rng(1).standard_normal(RATE)).astype(np.float32)
    sound = np.concatenate([noise, TONE, noise])
    whole, trimmed = PLAIN.of(sound), SoundFeatures(RATE, 20, trim=True, longest=10).of(sound)
    np.testing.assert_allclose(whole.features, log_mel(sound, RATE, bands=20), rtol=1e-3)
    assert (whole.begin, whole.notes) == (0, ())
    assert trimmed.begin == pytest.approx(0.9, abs=0.05)
    assert len(trimmed.features) == pytest.approx(120, abs=10)
    assert trimmed.features.dtype == np.float16


def test_what_is_odd_is_said(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "fast.wav", np.repeat(TONE, 2), 2 * RATE)
    assert PLAIN.of(tmp_path / "fast.wav").notes == ("resampled from 16000 to 8000 Hz",)
    assert PLAIN.of(np.clip(5 * TONE, -1, 1)).notes == ("clipped: the sound is cut off at full scale",)
    assert PLAIN.of(0.005 * TONE).notes == ("hardly any sound: below 0.3 % of full scale",)
    assert PLAIN.of(TONE).notes == ()


def test_what_is_too_long_is_refused_with_what_to_set(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.tile(TONE, 3), RATE)
    with pytest.raises(DataError, match=r"long\.wav is too long\n.*at most 2 seconds\n.*\n.*--set max_seconds=SECONDS"):
        SoundFeatures(RATE, 20, trim=False, longest=2).of(tmp_path / "long.wav")
