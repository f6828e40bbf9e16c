"""CTC decoding against the sum over all paths, and torch's loss as an independent judge."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from elman.decoding.ctc import GreedyDecoder, PrefixBeam, ctc_nats, emissions, greedy
from elman.decoding.ngrams import NGrams
from elman.errors import SettingError

V = 3


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != 0)


def by_all_paths(log_p_TV: Tensor) -> dict[tuple[int, ...], float]:
    result: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(V), repeat=len(log_p_TV)):
        p = math.exp(sum(float(log_p_TV[t, symbol]) for t, symbol in enumerate(path)))
        result[collapse(path)] = result.get(collapse(path), 0.0) + p
    return result


def random_scores(seed: int, T: int, B: int = 1) -> Tensor:
    return 2 * torch.randn(T, B, V, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 10**6), st.integers(0, 5))
def test_a_wide_beam_sums_over_all_paths(seed: int, T: int) -> None:
    scores_TV = random_scores(seed, T)[:, 0]
    expected = by_all_paths(scores_TV.log_softmax(1))
    result = PrefixBeam(width=1000).search(scores_TV)
    assert {tuple(timed.token_ids) for timed in result} == set(expected)
    for timed in result:
        assert math.exp(timed.score) == pytest.approx(expected[tuple(timed.token_ids)], rel=1e-4)
    assert tuple(result[0].token_ids) == max(expected, key=lambda sequence: expected[sequence])


def steps_of_best_path(log_p_TV: Tensor, sequence: tuple[int, ...]) -> list[int]:
    """Where each symbol appears on the most probable of all paths to a sequence."""
    paths = [p for p in itertools.product(range(V), repeat=len(log_p_TV)) if collapse(p) == sequence]
    best = max(paths, key=lambda path: sum(float(log_p_TV[t, symbol]) for t, symbol in enumerate(path)))
    return [t for t, symbol in enumerate(best) if symbol and (t == 0 or best[t - 1] != symbol)]


@given(st.integers(0, 10**6), st.integers(0, 5))
def test_the_times_are_those_of_the_best_path(seed: int, T: int) -> None:
    scores_TV = random_scores(seed, T)[:, 0]
    log_p_TV = scores_TV.log_softmax(1)
    for timed in PrefixBeam(width=1000).search(scores_TV):
        assert timed.steps == steps_of_best_path(log_p_TV, tuple(timed.token_ids))


def test_an_extension_that_comes_late_moves_no_time() -> None:
    p_TV = torch.tensor([[0.01, 0.98, 0.01], [0.54, 0.01, 0.45], *[[0.85, 0.005, 0.145]] * 3])
    result = {tuple(timed.token_ids): timed.steps for timed in PrefixBeam(width=8).search(p_TV.log())}
    assert result[1, 2] == [0, 1]


@given(st.integers(0, 10**6))
def test_the_score_is_minus_torchs_loss(seed: int) -> None:
    scores_TBV = random_scores(seed, 7)
    best = PrefixBeam(width=1000).search(scores_TBV[:, 0])[0]
    if best.token_ids:
        loss = functional.ctc_loss(
            scores_TBV.log_softmax(2), torch.tensor([best.token_ids]), [7], [len(best.token_ids)], reduction="sum"
        )
        assert best.score == pytest.approx(-float(loss), abs=1e-4)


@given(st.integers(0, 10**6), st.lists(st.integers(0, 6), min_size=2, max_size=2))
def test_greedy_is_the_most_probable_path(seed: int, lengths: list[int]) -> None:
    scores_TBV = random_scores(seed, 6, 2)
    for b, timed in enumerate(greedy(scores_TBV, lengths)):
        path = tuple(scores_TBV[: lengths[b], b].argmax(1).tolist())
        assert tuple(timed.token_ids) == collapse(path)
        assert [path[step] for step in timed.steps] == timed.token_ids
        assert all(step == 0 or path[step - 1] != path[step] for step in timed.steps)


@given(st.integers(0, 10**6), st.integers(0, 6))
def test_greedy_may_be_cut_anywhere(seed: int, cut: int) -> None:
    scores_TV = random_scores(seed, 6)[:, 0]
    decoder = GreedyDecoder()
    pieces = decoder.push(scores_TV[:cut]) + decoder.push(scores_TV[cut:])
    assert pieces == GreedyDecoder().push(scores_TV)


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_a_language_model_is_weighed_in(seed: int, T: int) -> None:
    scores_TV = random_scores(seed, T)[:, 0]
    language = NGrams([[1, 2], [1, 2, 1], [2]], V)
    expected = by_all_paths(scores_TV.log_softmax(1))
    result = PrefixBeam(width=1000, language=language, weight=0.7, bonus=0.3).search(scores_TV)
    for timed in result:
        symbols, state, total = timed.token_ids, language.begin(), 0.0
        for symbol in symbols:
            gain, state = language.extend(state, symbol)
            total += gain
        total = 0.7 * (total + language.end(state)) + 0.3 * len(symbols)
        assert timed.score == pytest.approx(math.log(expected[tuple(symbols)]) + total, abs=1e-3)
    assert [timed.score for timed in result] == sorted((timed.score for timed in result), reverse=True)


def test_few_candidates_lose_only_the_improbable() -> None:
    scores_TV = torch.tensor([[0.0, 5.0, -9.0], [5.0, 0.0, -9.0], [0.0, 5.0, -9.0]])
    assert PrefixBeam(candidates=2).search(scores_TV)[0].token_ids == [1, 1]
    assert all(2 not in timed.token_ids for timed in PrefixBeam(candidates=2).search(scores_TV))


@pytest.mark.parametrize("options", [{"width": 0}, {"candidates": -1}])
def test_an_impossible_beam_is_refused(options: dict) -> None:
    with pytest.raises(SettingError, match="invalid beam"):
        PrefixBeam(**options)


@given(st.integers(0, 10**6), st.integers(0, 5))
def test_log_p_is_free_of_the_language_model(seed: int, T: int) -> None:
    scores_TV = random_scores(seed, T)[:, 0]
    expected = by_all_paths(scores_TV.log_softmax(1))
    language = NGrams([[1, 2], [1, 2, 1], [2]], V)
    for timed in PrefixBeam(width=1000, language=language, weight=0.7, bonus=0.3).search(scores_TV):
        assert math.exp(timed.log_p) == pytest.approx(expected[tuple(timed.token_ids)], rel=1e-3)
        assert ctc_nats(scores_TV.log_softmax(1), timed.token_ids) == pytest.approx(-timed.log_p, abs=1e-3)


def test_a_sequence_without_room_has_infinite_nats() -> None:
    log_p_TV = random_scores(1, 2)[:, 0].log_softmax(1)
    assert ctc_nats(log_p_TV, [1, 1]) == ctc_nats(log_p_TV[:0], [1]) == math.inf
    assert ctc_nats(log_p_TV[:0], []) == 0


def test_where_symbols_end_and_how_sure_they_are() -> None:
    p_TV = torch.tensor([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.1, 0.9, 0.0], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]])
    (timed,) = greedy(p_TV.log().clamp(min=-99)[:, None], [5])
    first, second = emissions(p_TV.log(), timed)
    assert (first.token_id, first.step, first.end) == (1, 1, 2) and first.probability == pytest.approx(0.9)
    assert (second.token_id, second.step, second.end) == (2, 3, 3) and second.probability == pytest.approx(0.7)
    pushed = GreedyDecoder().push(p_TV.log())
    assert [symbol.step for symbol in pushed] == [1, 3] and pushed[0].probability == pytest.approx(0.6)
    assert emissions(p_TV.log(), timed._replace(token_ids=[], steps=[])) == []
