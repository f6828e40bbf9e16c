"""Log-mel energies, judged by sums that are written out, and by tones whose band is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.media.mel import FLOOR, FRAMES, hertz, log_mel, mel, mel_filters
from elman.errors import SettingError

NOISE = np.random.default_rng(1).standard_normal(3000).astype(np.float32)


def by_sums(samples: np.ndarray, rate: int, bands: int, width: int, hop: int, bins: int, low: float) -> np.ndarray:
    """Return log-mel energies in float64 by the definition: a Fourier sum a frequency, a triangle a band."""
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * n / width) for n in range(width)]
    norm = math.sqrt(sum(w * w for w in hann))
    top = 2595 * math.log10(1 + rate / 2 / 700)
    bottom = 2595 * math.log10(1 + low / 700)
    points = [700 * (10 ** ((bottom + (top - bottom) * k / (bands + 1)) / 2595) - 1) for k in range(bands + 2)]
    rows = []
    for begin in range(0, len(samples) - width + 1, hop):
        frame = samples[begin : begin + width].astype(np.float64) * hann / norm
        row = [0.0] * bands
        for k in range(bins // 2 + 1):
            wave = np.exp(-2j * math.pi * k * np.arange(width) / bins)
            energy = abs((frame * wave).sum()) ** 2
            f = k * rate / bins
            for b in range(bands):
                left, tip, right = points[b : b + 3]
                if left < f < right:
                    row[b] += energy * ((f - left) / (tip - left) if f <= tip else (right - f) / (right - tip))
        rows.append([math.log(max(e, FLOOR)) for e in row])
    return np.array(rows)


def test_the_energies_are_what_the_definition_says() -> None:
    found = log_mel(NOISE, 8000, bands=13, window=0.02, step=0.01, low=50)
    assert found.dtype == np.float32
    expected = by_sums(NOISE, 8000, 13, 160, 80, 512, 50)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_the_mel_scale() -> None:
    assert mel(1000) == pytest.approx(1000, abs=0.05)  # what the scale was made for
    np.testing.assert_allclose(hertz(mel([0, 55.5, 8000])), [0, 55.5, 8000], atol=1e-9)


@pytest.mark.parametrize("band", [0, 7, 20, 39])
def test_a_tone_is_loudest_in_its_band(band: int) -> None:
    tip = hertz(np.linspace(mel(20), mel(8000), 42))[band + 1]
    tone = np.sin(2 * np.pi * tip * np.arange(8000) / 16000).astype(np.float32)
    assert (log_mel(tone, 16000).argmax(1) == band).all()


@given(st.integers(0, 60), st.integers(1, 9))
def test_a_sound_may_be_cut_between_frames(first: int, more: int) -> None:
    width, hop = 200, 80
    whole = log_mel(NOISE, 8000)
    assert len(whole) == 1 + (len(NOISE) - width) // hop
    last = min(first + more, len(whole))
    part = log_mel(NOISE[first * hop : (last - 1) * hop + width], 8000) if last > first else whole[:0]
    np.testing.assert_allclose(part, whole[first:last], atol=1e-4)


def test_blocks_and_batches_change_nothing() -> None:
    long = np.tile(NOISE, 6)[: (FRAMES + 5) * 8 + 16]
    sounds = np.stack([long, long[::-1]])
    both = log_mel(sounds, 800, bands=8)
    assert both.shape == (2, 1 + (len(long) - 20) // 8, 8)
    np.testing.assert_allclose(both[1], log_mel(sounds[1], 800, bands=8), atol=1e-5)
    np.testing.assert_allclose(both[0, FRAMES:], log_mel(long[FRAMES * 8 :], 800, bands=8), atol=1e-4)


def test_short_sounds_and_silence() -> None:
    assert log_mel(NOISE[:7], 8000).shape == (1, 40)
    assert log_mel(NOISE[:0], 8000).shape == (1, 40)
    np.testing.assert_allclose(log_mel(np.zeros(1000, np.float32), 8000), math.log(FLOOR), rtol=1e-6)


def test_filters_overlap_by_half() -> None:
    filters = mel_filters(16000, 4096, 20, 0, 8000)
    assert filters.shape == (2049, 20)
    between = filters[(filters[:, 0] == 0).argmin() :].sum(1)
    tips = filters.argmax(0)
    np.testing.assert_allclose(filters[tips[0] : tips[-1]].sum(1), 1, atol=1e-5)
    assert between.max() <= 1 + 1e-5


def test_invalid_bands_are_refused() -> None:
    with pytest.raises(
        SettingError, match=r"invalid mel bands\n.*0 and 4000 Hz, half the sample rate\n.*40 between 20 and 8000"
    ):
        log_mel(NOISE, 8000, high=8000)
    with pytest.raises(SettingError, match="invalid mel bands"):
        log_mel(NOISE, 8000, bands=0)
    with pytest.raises(
        SettingError, match=r"bands are too narrow\n.*wider than 15\.625 Hz\n.*300 bands.*\n.*fewer bands"
    ):
        log_mel(NOISE, 8000, bands=300)
