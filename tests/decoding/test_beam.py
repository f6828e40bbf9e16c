"""Beam search against exhaustive search, and what does not change its result."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from elman.decoding.beam import Beam, Hypothesis, coverage
from elman.errors import SettingError

V, END = 4, 3


class Chain:
    """A model whose next symbol depends on the row, the number of steps, and the last two symbols."""

    def __init__(self, seed: int, rows: int) -> None:
        rng = torch.Generator().manual_seed(seed)
        self.logits = 3 * torch.randn(rows, 8, V + 1, V + 1, V, generator=rng)

    def begin(self, rows: int) -> Tensor:
        """Row, steps done, the symbol before the last; V stands for none."""
        return torch.stack([torch.arange(rows), torch.zeros(rows).long(), torch.full((rows,), V)], 1)

    def step(self, ids_N: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        row, done, before = state.unbind(1)
        # The symbol that begins a sequence is END too; at the first step it stands for none.
        last = torch.where(done == 0, V, ids_N)
        return self.logits[row, done.clamp(max=7), before, last], torch.stack([row, done + 1, last], 1)

    def log_probability(self, row: int, symbols: tuple[int, ...]) -> float:
        before, last, total = V, V, 0.0
        for done, symbol in enumerate(symbols):
            total += float(self.logits[row, done, before, last].log_softmax(0)[symbol])
            before, last = last, symbol
        return total


def beam_of(chain: Chain, **options: object) -> Beam[Tensor]:
    return Beam(chain.step, lambda state, rows: state[rows], END, END, **options)  # type: ignore[arg-type]


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.6, 1.0]), st.integers(1, 4))
def test_a_wide_beam_finds_what_exhaustive_search_finds(seed: int, penalty: float, limit: int) -> None:
    chain = Chain(seed, 2)
    # As many hypotheses as there are sequences: nothing can be lost.
    beam = beam_of(chain, width=V**limit, length_penalty=penalty)
    found = beam.search(chain.begin(2), 2, [limit] * 2)
    for row in range(2):
        every = [(*symbols, END) for n in range(limit) for symbols in itertools.product(range(V - 1), repeat=n)]
        score = {s: chain.log_probability(row, s) / ((5 + len(s)) / 6) ** penalty for s in every}
        ended = [hypothesis for hypothesis in found[row] if hypothesis.ended]
        best = sorted(every, key=lambda s: -score[s])[: len(ended)]
        assert [(*h.token_ids, END) for h in ended] == best
        for hypothesis, symbols in zip(ended, best, strict=True):
            assert math.isclose(hypothesis.score, score[symbols], rel_tol=1e-4, abs_tol=1e-5)
            assert math.isclose(
                hypothesis.log_probability, chain.log_probability(row, symbols), rel_tol=1e-4, abs_tol=1e-5
            )
        assert len(ended) == len(every)


class LookingChain(Chain):
    """A chain that looks at S symbols of a source as it writes: where, depends on what it has written."""

    def __init__(self, seed: int, lengths: list[int]) -> None:
        super().__init__(seed, len(lengths))
        self.lengths = lengths
        rng = torch.Generator().manual_seed(seed + 1)
        self.looks = (2 * torch.randn(len(lengths), 8, V + 1, max(lengths), generator=rng)).double()
        for row, length in enumerate(lengths):
            self.looks[row, :, :, length:] = -torch.inf
        self.looks = self.looks.softmax(-1)

    def begin(self, rows: int) -> Tensor:
        return torch.cat([super().begin(rows).double(), torch.zeros(rows, max(self.lengths)).double()], 1)

    def step(self, ids_N: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        logits, after = super().step(ids_N, state[:, :3].long())
        row, done, last = state[:, 0].long(), state[:, 1].long(), after[:, 2]
        return logits, torch.cat([after.double(), state[:, 3:] + self.looks[row, done.clamp(max=7), last]], 1)

    def left_out(self, row: int, symbols: tuple[int, ...]) -> float:
        """Return the coverage of a whole sequence, by its formula, one source symbol after the other."""
        total = 0.0
        for s in range(self.lengths[row]):
            seen = [self.looks[row, n, (V, *symbols)[n], s].item() for n in range(len(symbols))]
            total += math.log(min(sum(seen), 1.0))
        return total


@given(st.integers(0, 10**6), st.sampled_from([0.2, 1.0]), st.integers(1, 4))
def test_with_coverage_it_finds_what_exhaustive_search_finds(seed: int, weight: float, limit: int) -> None:
    chain = LookingChain(seed, [3, 1])

    def bonus(state: Tensor) -> Tensor:
        lengths_N = torch.tensor(chain.lengths)[state[:, 0].long()]
        return weight * coverage(state[:, 3:], lengths_N)

    found = beam_of(chain, width=V**limit, bonus=bonus).search(chain.begin(2), 2, [limit] * 2)
    for row in range(2):
        every = [(*s, END) for n in range(limit) for s in itertools.product(range(V - 1), repeat=n)]
        cut = list(itertools.product(range(V - 1), repeat=limit))
        score = {
            s: chain.log_probability(row, s) / ((5 + len(s)) / 6) ** 0.6 + weight * chain.left_out(row, s)
            for s in every + cut
        }
        best = sorted(every, key=lambda s: -score[s]) + sorted(cut, key=lambda s: -score[s])
        assert len(found[row]) == min(len(best), V**limit)
        for hypothesis, symbols in zip(found[row], best, strict=False):
            assert (*hypothesis.token_ids, *([END] if hypothesis.ended else [])) == symbols
            assert math.isclose(hypothesis.score, score[symbols], rel_tol=1e-4, abs_tol=1e-5)


def test_coverage_by_its_formula() -> None:
    attended = torch.tensor([[0.5, 2.0, 0.25], [0.0, 9.0, 9.0]])
    found = coverage(attended, torch.tensor([3, 1]))
    torch.testing.assert_close(found, torch.tensor([math.log(0.5) + math.log(0.25), math.log(1e-9)]))


def test_it_stops_early_without_losing_the_best() -> None:
    for seed in range(30):
        chain = Chain(seed, 1)
        wide = beam_of(chain, width=V**4, length_penalty=0.0).search(chain.begin(1), 1, [7])[0]
        narrow = beam_of(chain, width=V**3, length_penalty=0.0).search(chain.begin(1), 1, [7])[0]
        assert wide[0].token_ids == narrow[0].token_ids


@given(st.integers(0, 10**6))
def test_width_one_is_greedy(seed: int) -> None:
    chain = Chain(seed, 1)
    state, ids, greedy = chain.begin(1), torch.tensor([END]), []
    for _ in range(6):
        logits, state = chain.step(ids, state)
        ids = logits.argmax(1)
        if int(ids) == END:
            break
        greedy.append(int(ids))
    found = beam_of(chain, width=1).search(chain.begin(1), 1, [6])[0][0]
    assert found.token_ids == greedy
    assert found.ended == (len(greedy) < 6)


@given(st.integers(0, 10**6), st.integers(1, 5), st.lists(st.integers(1, 6), min_size=3, max_size=3))
def test_rows_do_not_know_of_each_other(seed: int, width: int, limits: list[int]) -> None:
    chain = Chain(seed, 3)
    together = beam_of(chain, width=width).search(chain.begin(3), 3, limits)
    for row in range(3):
        alone = beam_of(chain, width=width).search(chain.begin(3)[row : row + 1], 1, limits[row : row + 1])[0]
        assert [h.token_ids for h in alone] == [h.token_ids for h in together[row]]
        assert alone[0].score == pytest.approx(together[row][0].score)


def test_a_bonus_changes_the_order() -> None:
    chain = Chain(3, 1)
    plain = beam_of(chain, width=V**3).search(chain.begin(1), 1, [3])[0]
    shortest = beam_of(chain, width=V**3, bonus=lambda state: -100.0 * state[:, 1]).search(chain.begin(1), 1, [3])[0]
    assert [len(h.token_ids) for h in shortest if h.ended] == sorted(len(h.token_ids) for h in plain if h.ended)


def test_a_sequence_that_ended_stands_before_one_that_was_cut() -> None:
    never = torch.tensor([0.0, -5.0, -5.0, -20.0])

    def step(ids_N: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return never.expand(len(ids_N), V), state

    found = Beam(step, lambda state, rows: state[rows], END, END, width=2).search(torch.zeros(1), 1, [3])[0]
    assert found[0] == Hypothesis([0, 0, 0], found[0].score, found[0].log_probability, False)
    assert all(not hypothesis.ended for hypothesis in found)


@pytest.mark.parametrize("options", [{"width": 0}, {"length_penalty": -1.0}])
def test_an_impossible_beam_is_refused(options: dict) -> None:
    with pytest.raises(SettingError, match="invalid beam"):
        beam_of(Chain(1, 1), **options)
