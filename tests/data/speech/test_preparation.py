"""What one step of the network stands for: as much as leaves room for the symbols, and no more than 40 ms."""

import numpy as np
import pytest

from elman.data.speech.preparation import stride_for


def stride(lengths: list[int], sizes: list[int], step: float) -> int:
    return stride_for(np.array(lengths), np.array(sizes), step)


@pytest.mark.parametrize(
    ("a_symbol", "step", "expected"),
    [(40, 0.01, 4), (40, 0.04, 1), (40, 0.02, 2), (8, 0.01, 3), (6, 0.01, 2), (4, 0.01, 1), (1, 0.01, 1)],
)
def test_a_step_is_as_wide_as_the_symbols_allow(a_symbol: int, step: float, expected: int) -> None:
    assert stride([a_symbol * size for size in range(1, 30)], list(range(1, 30)), step) == expected


def test_a_few_hurried_sentences_do_not_decide_and_many_do() -> None:
    slow, fast = [400] * 99, [60] * 99
    sizes = [10] * 99
    assert stride([*slow, 60], [*sizes, 10], 0.01) == 4
    assert stride([*slow, *fast], [*sizes, *sizes], 0.01) == 2


def test_a_sentence_without_symbols_needs_no_room() -> None:
    assert stride([100, 100], [2, 0], 0.01) == 4
