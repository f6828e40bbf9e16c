"""Mean and deviation piece by piece are those of the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.speech.normalisation import Moments, level_note, level_of, normalise_speakers


@given(st.lists(st.integers(0, 7), min_size=1, max_size=6), st.sampled_from([0.0, 1e6]))
def test_pieces_add_up_to_the_whole(sizes: list[int], far: float) -> None:
    rng = np.random.default_rng(sum(sizes))
    pieces = [rng.standard_normal((size, 3)) + far for size in sizes]
    moments = Moments(3)
    for piece in pieces:
        moments.add(piece)
    whole = np.concatenate(pieces)
    assert moments.count == len(whole)
    if len(whole) > 1:
        np.testing.assert_allclose(moments.mean, whole.mean(0), rtol=1e-12, atol=1e-12)
        spread = whole.std(0)
        allowed = np.where(spread <= 1e-6 * np.maximum(1, np.abs(whole.mean(0))), 1.0, spread)
        np.testing.assert_allclose(moments.deviation, allowed, rtol=1e-6)


def normalised(features: np.ndarray) -> np.ndarray:
    moments = Moments(features.shape[1])
    moments.add(features)
    return moments.normalise(features)


def test_what_never_changes_becomes_zero() -> None:
    steady = np.tile([5.0, -2.0], (4, 1))
    assert (normalised(steady) == 0).all()
    assert Moments(2).deviation.tolist() == [1, 1]


def test_an_utterance_gets_mean_zero_and_deviation_one() -> None:
    features = np.random.default_rng(1).uniform(3, 9, (50, 4)).astype(np.float32)
    found = normalised(features)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(0), 1, atol=1e-6)
    np.testing.assert_allclose(found, normalised(3 * features - 7), atol=1e-5)


def test_each_speaker_gets_mean_zero_over_all_that_he_says() -> None:
    rng = np.random.default_rng(2)
    said = [rng.normal(3 * n, 1 + n % 2, (20 + n, 4)) for n in range(6)]
    found = normalise_speakers(said, ["a", "b"] * 3)
    for speaker in range(2):
        whole = np.concatenate(found[speaker::2]).astype(np.float64)
        np.testing.assert_allclose(whole.mean(0), 0, atol=1e-3)
        np.testing.assert_allclose(whole.std(0), 1, atol=1e-3)
        assert abs(found[speaker].mean()) > 0.5  # what one says differs from his other sentences still
    assert all(features.dtype == np.float16 for features in found)


def test_a_level_is_that_of_loud_steps_and_unusual_ones_are_named() -> None:
    features = np.full((100, 4), -9.0)
    features[:20] = 0.0
    assert level_of(features) == pytest.approx(0.0)
    assert level_of(features - np.log(10)) == pytest.approx(-10.0)
    assert level_note(-3.0, (-5.0, 5.0)) == ""
    assert level_note(-15.0, (-5.0, 5.0)).startswith("the level is 10 dB below that of training")
    assert level_note(7.0, (-5.0, 5.0)).startswith("the level is 2 dB above that of training")


def test_moments_of_pieces() -> None:
    pieces = [np.random.default_rng(n).normal(size=(n, 3)) for n in (1, 4, 2)]
    whole = np.concatenate(pieces)
    np.testing.assert_allclose(Moments.of(iter(pieces)).mean, whole.mean(0))
    np.testing.assert_allclose(Moments.of(iter(pieces)).deviation, whole.std(0))
