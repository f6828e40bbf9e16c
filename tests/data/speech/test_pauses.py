"""Pauses: a recording is cut where it is quiet, the longest pause first."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.speech.pauses import KEEP, SHORTEST, Span, spans_between_pauses


def recording(*runs: int, noise: float = -9.0, top: float = 0.0) -> np.ndarray:
    """Return features of runs of steps, quiet and loud in turn, with a little noise."""
    levels = np.concatenate([np.full(steps, (noise, top)[n % 2]) for n, steps in enumerate(runs)])
    return levels[:, None] + 0.1 * np.random.default_rng(1).standard_normal((len(levels), 4))


def test_parts_are_speech_with_a_little_around() -> None:
    features = recording(100, 150, 160, 140, 120)
    first, second = spans_between_pauses(features, 200, stride=4)
    assert first.begin % 4 == second.begin % 4 == 0
    for span, (begin, end) in zip((first, second), ((100, 250), (410, 550)), strict=True):
        assert begin - KEEP - 8 <= span.begin <= begin and end <= span.end <= end + KEEP + 5


def test_the_longest_pause_is_cut_first_and_short_parts_are_not_cut() -> None:
    features = recording(40, 60, 30, 60, 90, 100, 25, 60, 40)
    assert len(spans_between_pauses(features, 200)) == 2
    assert len(spans_between_pauses(features, 110)) == 4
    assert len(spans_between_pauses(features, 10_000)) == 1


@pytest.mark.parametrize(
    "features",
    [recording(300), recording(50, 200, 50, 200, noise=-1.0), recording(0, 300), np.zeros((0, 4)), np.zeros((5, 4))],
)
def test_a_recording_without_pauses_is_whole(features: np.ndarray) -> None:
    assert spans_between_pauses(features, 100) == [Span(0, len(features))]


@given(st.lists(st.integers(1, 120), min_size=1, max_size=9), st.integers(1, 16))
def test_a_step_of_the_network_lies_between_two_parts(runs: list[int], stride: int) -> None:
    features = recording(*runs)
    spans = spans_between_pauses(features, 1, stride=stride)
    assert spans[0].begin >= 0 and spans[-1].end <= len(features)
    for before, after in pairwise(spans):
        assert before.begin // stride + (before.end - before.begin) // stride < after.begin // stride


def test_a_gain_changes_nothing() -> None:
    features = recording(30, 100, SHORTEST + 20, 100, 30)
    assert spans_between_pauses(features - 5, 120) == spans_between_pauses(features, 120)
