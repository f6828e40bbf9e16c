"""Sampling: the distribution is exactly the one that was asked for, and the draws follow it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.decoding.sampling import Sampler
from elman.errors import NonFiniteError, SettingError, ShapeError

rows = st.lists(st.floats(-30, 30), min_size=1, max_size=12)


def expected(logits: list[float], temperature: float, top_k: int | None, top_p: float | None) -> list[float]:
    """The distribution, written out for one row without tensors."""
    order = sorted(range(len(logits)), key=lambda v: (-logits[v], v))
    weight = {v: math.exp((logits[v] - max(logits)) / temperature) for v in order}
    kept = order[:top_k]
    total = math.fsum(weight[v] for v in kept)
    if top_p is not None and top_p < 1:
        nucleus, reached = [], 0.0
        for v in kept:
            nucleus.append(v)
            reached += weight[v] / total
            if reached >= top_p:
                break
        kept = nucleus
    total = math.fsum(weight[v] for v in kept)
    return [weight[v] / total if v in kept else 0.0 for v in range(len(logits))]


@given(
    logits=rows,
    temperature=st.floats(0.05, 20),
    top_k=st.none() | st.integers(1, 15),
    top_p=st.none() | st.sampled_from([0.1, 0.4999, 0.73, 0.91, 1.0]),
)
def test_the_distribution_is_the_one_asked_for(
    logits: list[float], temperature: float, top_k: int | None, top_p: float | None
) -> None:
    row_BV = torch.tensor([logits], dtype=torch.float64)
    result = Sampler(temperature, top_k, top_p).distribution(row_BV)
    judge = expected(logits, temperature, top_k, top_p)
    torch.testing.assert_close(result, torch.tensor([judge], dtype=torch.float64), atol=1e-12, rtol=0)


def test_top_k_keeps_exactly_k_of_equals() -> None:
    assert Sampler(top_k=2).distribution(torch.zeros(2, 5)).tolist() == [[0.5, 0.5, 0, 0, 0]] * 2


def test_the_order_is_that_of_the_logits_themselves() -> None:
    """Less the largest, the first two are equal in floating point; the second is the more probable one."""
    logits_BV = torch.tensor([[-1e-144, 0.0, 1.0]], dtype=torch.float64)
    assert (Sampler(top_k=2).distribution(logits_BV) > 0).tolist() == [[False, True, True]]


def test_the_nucleus_is_the_smallest_that_reaches_p() -> None:
    logits_BV = torch.tensor([[0.125, 0.5, 0.25, 0.125]]).log()
    for top_p, kept in ((0.01, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.76, 3), (0.9, 4), (1.0, 4)):
        assert int((Sampler(top_p=top_p).distribution(logits_BV) > 0).sum()) == kept, top_p
    assert Sampler(top_p=0.5).distribution(torch.zeros(1, 4)).tolist() == [[0.5, 0.5, 0, 0]], "two reach it exactly"


def test_the_nucleus_is_taken_after_top_k() -> None:
    """Among the two most probable, renormalised to 2/3 and 1/3, one reaches 0.6; of all, it takes two."""
    logits_BV = torch.tensor([[0.5, 0.25, 0.25]]).log()
    assert int((Sampler(top_k=2, top_p=0.6).distribution(logits_BV) > 0).sum()) == 1
    assert int((Sampler(top_p=0.6).distribution(logits_BV) > 0).sum()) == 2


def test_rows_are_independent() -> None:
    logits_BV = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    together = Sampler(0.7, 4, 0.8).distribution(logits_BV)
    alone = torch.cat([Sampler(0.7, 4, 0.8).distribution(row[None]) for row in logits_BV])
    assert torch.equal(together, alone)


@pytest.mark.parametrize(
    "settings",
    [{}, {"temperature": 0.5}, {"temperature": 3.0}, {"top_k": 3}, {"top_p": 0.8}, {"top_k": 4, "top_p": 0.9}],
)
def test_draws_follow_the_distribution(settings: dict[str, float]) -> None:
    """Pearson's chi-square over 40,000 draws, against its mean and four standard deviations; none is forbidden."""
    logits_V = torch.tensor([2.0, -1.0, 0.5, 0.4, 1.0, -3.0])
    sampler = Sampler(**settings)  # type: ignore[arg-type]
    drawn = sampler(logits_V.expand(40_000, -1), torch.Generator().manual_seed(3))
    p_V = sampler.distribution(logits_V[None])[0]
    counts_V = torch.bincount(drawn, minlength=len(logits_V)).double()
    possible = p_V > 0
    assert counts_V[~possible].sum() == 0
    expected_N = p_V[possible] * 40_000
    chi_square = float(((counts_V[possible] - expected_N) ** 2 / expected_N).sum())
    freedom = int(possible.sum()) - 1
    assert chi_square < freedom + 4 * math.sqrt(2 * freedom)


def test_temperature_zero_takes_the_most_probable() -> None:
    logits_BV = torch.tensor([[0.0, 3.0, 3.0, 1.0], [5.0, 1.0, 5.0, 9.0]])
    assert Sampler(temperature=0)(logits_BV).tolist() == [1, 3]
    assert Sampler(temperature=0).distribution(logits_BV).tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]
    state = torch.random.get_rng_state()
    Sampler(temperature=0)(logits_BV)
    assert torch.equal(state, torch.random.get_rng_state()), "greedy takes no random numbers"


def test_the_same_seed_draws_the_same() -> None:
    logits_BV = torch.randn(64, 50, generator=torch.Generator().manual_seed(0))
    sampler = Sampler(temperature=0.9, top_k=30, top_p=0.95)
    first, again = (sampler(logits_BV, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.dtype == torch.int64
    assert first.shape == (64,)
    assert not torch.equal(first, sampler(logits_BV, torch.Generator().manual_seed(6)))


def test_forbidden_symbols_are_never_drawn() -> None:
    logits_BV = torch.tensor([[float("-inf"), 0.0, float("-inf")]]).expand(500, -1)
    for settings in ({}, {"top_k": 2}, {"top_p": 0.99}, {"temperature": 0}, {"temperature": 50.0}):
        assert set(Sampler(**settings)(logits_BV).tolist()) == {1}  # type: ignore[arg-type]


def test_the_smallest_random_number_draws_the_first_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.zeros(shape, dtype=torch.float64))
    assert Sampler()(torch.tensor([[float("-inf"), float("-inf"), 0.0, 1.0]])).tolist() == [2]


def test_the_largest_random_number_draws_the_last_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 1 - 2.0**-53
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, largest, dtype=torch.float64))
    for seed in range(50):
        logits_BV = torch.randn(4, 33, generator=torch.Generator().manual_seed(seed))
        logits_BV[:, -1] = float("-inf")
        drawn = Sampler()(logits_BV)
        assert drawn.tolist() == [31] * 4


def test_extreme_temperatures_and_logits_stay_finite() -> None:
    logits_BV = torch.tensor([[1e30, -1e30, 0.0]])
    for temperature in (1e-300, 1e-5, 1.0, 1e300):
        p_BV = Sampler(temperature).distribution(logits_BV)
        assert torch.isfinite(p_BV).all()
        assert float(p_BV.sum()) == pytest.approx(1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(NonFiniteError, match=r"the model's output is not finite\n.*numbers.*\n.*\n.*learning rate"):
        Sampler()(torch.tensor([[0.0, 1.0], [0.0, value]]))


def test_a_row_that_forbids_everything_is_refused() -> None:
    with pytest.raises(NonFiniteError, match="the model's output is not finite"):
        Sampler()(torch.full((1, 3), float("-inf")))


def test_logits_of_another_shape_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"logits has 1 dimensions\n.*\(B, V\)"):
        Sampler()(torch.zeros(3))


IMPOSSIBLE = [
    ({"temperature": -0.1}, r"invalid value for temperature\n.*positive number\n.*-0.1\n.*--temperature 0.8"),
    ({"temperature": float("nan")}, "invalid value for temperature"),
    ({"temperature": float("inf")}, "invalid value for temperature"),
    ({"top_k": 0}, r"invalid value for top-k\n.*of at least 1\n.*0\n.*--top-k 40"),
    ({"top_k": -2}, "invalid value for top-k"),
    ({"top_k": 1.5}, "invalid value for top-k"),
    ({"top_k": float("inf")}, r"invalid value for top-k\n.*\n.*inf"),
    ({"top_k": float("nan")}, r"invalid value for top-k\n.*\n.*nan"),
    ({"top_p": 0.0}, r"invalid value for top-p\n.*above 0, at most 1\n.*0.0\n.*--top-p 0.9"),
    ({"top_p": 1.01}, "invalid value for top-p"),
    ({"top_p": float("nan")}, "invalid value for top-p"),
]


@pytest.mark.parametrize(("settings", "message"), IMPOSSIBLE)
def test_impossible_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Sampler(**settings)  # type: ignore[arg-type]
