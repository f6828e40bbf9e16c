"""Sentences whose text is longer than their sound, by the paths of CTC."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.speech.ctc_length import known_symbols, numbers_that_fit, steps_needed
from elman.data.text.vocabularies import VOCABULARIES
from elman.errors import DataError


@pytest.mark.parametrize(("text", "expected"), [("abba", [0, 1, 1, 0]), ("xaxb", [0, 1]), ("x", []), ("", [])])
def test_unknown_characters_are_skipped(text: str, expected: list[int]) -> None:
    vocabulary = VOCABULARIES["characters"].build([["ab"]])
    assert known_symbols(vocabulary, text).tolist() == expected


@given(st.lists(st.integers(0, 1), max_size=3))
def test_the_steps_needed_are_those_of_the_shortest_path(symbols: list[int]) -> None:
    def collapsed(path: tuple[int, ...]) -> list[int]:
        merged = [symbol for n, symbol in enumerate(path) if n == 0 or symbol != path[n - 1]]
        return [symbol for symbol in merged if symbol != 2]  # 2 is the blank

    paths = (path for steps in range(6) for path in product(range(3), repeat=steps))
    assert steps_needed(np.array(symbols, np.int64)) == next(len(path) for path in paths if collapsed(path) == symbols)


LENGTHS = np.array([12, 12, 11, 0])
SYMBOLS = [np.array(row, np.int64) for row in ([0, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1], [])]


def test_sentences_that_do_not_fit_are_skipped_and_named() -> None:
    said: list[str] = []
    names = ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert numbers_that_fit(names, LENGTHS, SYMBOLS, 3, skip_bad=True, on_skip=said.append) == [0, 1, 3]
    (line,) = said
    assert line.startswith("c.wav: the text is longer than its sound allows") and "3 steps of 3 input steps" in line


def test_copies_of_a_sentence_are_skipped_as_one() -> None:
    said: list[str] = []
    numbers_that_fit(
        ["c", "c", "d"], np.array([1, 1, 9]), [*2 * [SYMBOLS[2]], SYMBOLS[2]], 1, skip_bad=True, on_skip=said.append
    )
    assert len(said) == 1


@pytest.mark.parametrize(
    ("length", "trained", "hint"),
    [
        (11, False, "--set stride=2, or --skip-bad"),
        (11, True, "train with --set stride=2"),
        (3, False, "correct the row"),
    ],
)
def test_what_makes_room_is_said(length: int, trained: bool, hint: str) -> None:
    with pytest.raises(DataError, match=r"c\.wav: the text is longer than its sound allows") as caught:
        numbers_that_fit(["c.wav"], np.array([length]), SYMBOLS[2:3], 3, skip_bad=False, on_skip=print, trained=trained)
    assert hint in str(caught.value)


def test_a_proposed_stride_makes_room() -> None:
    assert numbers_that_fit(["c.wav"], np.array([11]), SYMBOLS[2:3], 2, skip_bad=False, on_skip=print) == [0]


def test_none_that_fits_is_an_error() -> None:
    with pytest.raises(DataError, match="every text is longer"):
        numbers_that_fit(["", ""], np.array([1, 1]), SYMBOLS[1:3], 1, skip_bad=True, on_skip=lambda line: None)
