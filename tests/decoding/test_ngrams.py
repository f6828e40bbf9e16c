"""N-grams: probabilities at every state, counts where nothing is discounted, and better the longer they look back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.decoding.ngrams import NGrams
from elman.errors import SettingError

SIZE = 3
SEQUENCES = st.lists(st.lists(st.integers(0, SIZE - 1), max_size=6), min_size=1, max_size=4)


def log_p(language: NGrams, sequence: list[int]) -> float:
    total, state = 0.0, language.begin()
    for symbol in sequence:
        gain, state = language.extend(state, symbol)
        total += gain
    return total + language.end(state)


@given(SEQUENCES, st.integers(1, 4), st.lists(st.integers(0, SIZE - 1), max_size=5))
def test_they_are_probabilities_behind_every_prefix(sequences: list[list[int]], order: int, prefix: list[int]) -> None:
    language = NGrams(sequences, SIZE, order=order)
    state = language.begin()
    for symbol in prefix:
        _, state = language.extend(state, symbol)
    assert len(state) <= order - 1
    chances = [math.exp(language.extend(state, symbol)[0]) for symbol in range(SIZE)]
    assert sum(chances) + math.exp(language.end(state)) == pytest.approx(1.0)
    assert min(chances) > 0


def test_without_discount_they_are_relative_counts() -> None:
    language = NGrams([[0, 1, 0, 2], [0, 1]], SIZE, order=2, discount=0.0)
    _, after_0 = language.extend(language.begin(), 0)
    assert math.exp(language.extend(after_0, 1)[0]) == pytest.approx(2 / 3)
    assert math.exp(language.extend(after_0, 2)[0]) == pytest.approx(1 / 3)
    assert math.exp(language.extend(language.begin(), 0)[0]) == pytest.approx(1.0)


def test_discounted_counts_by_hand() -> None:
    language = NGrams([[0, 1], [0, 0]], 2, order=2, discount=0.5)
    # Single symbols: 0 three times, 1 once, the end twice, of six; three kinds take 3 x 0.5 / 6 of the even third each.
    single = {0: 2.5 / 6 + 0.25 / 3, 1: 0.5 / 6 + 0.25 / 3}
    _, after_0 = language.extend(language.begin(), 0)  # behind 0: 1, 0 and the end, once each
    for symbol, p in single.items():
        assert math.exp(language.extend(after_0, symbol)[0]) == pytest.approx(0.5 / 3 + 0.5 * p)


def test_the_longer_they_look_back_the_better_they_know_what_comes() -> None:
    sequences = [[0, 1, 2, 0, 0, 1, 2, 1, 1]] * 3
    result = [log_p(NGrams(sequences, SIZE, order=order), sequences[0]) for order in (1, 2, 3)]
    assert result[0] < result[1] < result[2] < 0


@pytest.mark.parametrize("options", [{"order": 0}, {"discount": 1.5}])
def test_impossible_ones_are_refused(options: dict) -> None:
    with pytest.raises(SettingError, match="invalid n-grams"):
        NGrams([[0]], SIZE, **options)
