"""Limits of decoded sequences: the length and the repetitions of training."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.decoding import limits
from elman.decoding.beam import Beam
from elman.decoding.limits import PERIODS, DecodingLimits, longest_repetitions

SEQUENCES = st.lists(st.lists(st.integers(0, 2), max_size=30), max_size=6)


@given(SEQUENCES)
def test_repetitions_are_those_of_a_plain_count(sequences: list[list[int]]) -> None:
    expected = []
    for p in range(1, PERIODS + 1):
        runs = [0]
        for s in sequences:
            equal = [s[t] == s[t - p] for t in range(p, len(s))]
            runs += [len(list(group)) for same, group in itertools.groupby(equal) if same]
        expected.append(max(runs))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "_AT_ONCE", 40)
        assert longest_repetitions([np.array(s, np.int64) for s in sequences]) == expected


def test_the_length_follows_from_training() -> None:
    def limit(target: int, source: int = 10) -> int:
        return DecodingLimits.of([source] * 1000, [np.arange(target)] * 1000).length(10)

    assert limit(40) == 60  # 41 symbols with the end, a fifth more, and ten
    assert limit(5) == 18
    assert limit(1, source=1) == 35, "of short sources, where there are no others"
    assert DecodingLimits().length(10) == 40 == DecodingLimits.of([], []).length(10)


def loop(symbols: int) -> Beam[torch.Tensor]:
    """A model that goes on for ever with 0, 1, 2, 0, 1 ..., and otherwise ends."""

    def step(ids_N: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = torch.zeros(len(ids_N), symbols + 1)
        logits[torch.arange(len(ids_N)), torch.where(ids_N == symbols, 0, (ids_N + 1) % symbols)] = 9.0
        logits[:, symbols] = 5.0
        return logits, state

    return Beam(step, lambda state, rows: state[rows], symbols, symbols, width=1)


@pytest.mark.parametrize("symbols", [1, 2, 3])
def test_a_loop_ends_after_three_cycles(symbols: int) -> None:
    endless = loop(symbols)
    [[hypothesis]] = endless.search(torch.zeros(1), 1, [50])
    assert (len(hypothesis.token_ids), hypothesis.ended, hypothesis.guarded) == (50, False, False)
    guarded = Beam(**{**vars(endless), "limits": DecodingLimits.of([9], [np.arange(9)])})
    [[hypothesis]] = guarded.search(torch.zeros(1), 1, [50])
    assert hypothesis.token_ids == (list(range(symbols)) * 3)[: 3 * symbols]
    assert hypothesis.ended and hypothesis.guarded


def test_what_training_repeats_may_be_repeated() -> None:
    limit = DecodingLimits.of([9], [np.array([5] + [0] * 20)])
    guarded = Beam(**{**vars(loop(1)), "limits": limit})
    [[hypothesis]] = guarded.search(torch.zeros(1), 1, [50])
    assert hypothesis.token_ids == [0] * 20


def test_symbols_that_are_never_written_are_not() -> None:
    plain = loop(3)
    never = Beam(**{**vars(plain), "never": range(1, 2), "width": 3})
    for hypothesis in never.search(torch.zeros(1), 1, [8])[0]:
        assert 1 not in hypothesis.token_ids
