"""torch.nn is the second judge: the same parameters give the same outputs, states and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence

import elman
from elman.testing import TOLERANCE

PAIRS = {
    "RNN-tanh": (nn.RNN, elman.RNN, {"nonlinearity": "tanh"}),
    "RNN-relu": (nn.RNN, elman.RNN, {"nonlinearity": "relu"}),
    "GRU": (nn.GRU, elman.GRU, {}),
    "LSTM": (nn.LSTM, elman.LSTM, {}),
    "LSTM-projected": (nn.LSTM, elman.LSTM, {"proj_size": 2}),
}

options = st.fixed_dictionaries(
    {
        "num_layers": st.integers(1, 3),
        "bias": st.booleans(),
        "batch_first": st.booleans(),
        "bidirectional": st.booleans(),
    }
)


def flat(state: object) -> tuple[Tensor, ...]:
    return (state,) if isinstance(state, Tensor) else tuple(state)  # type: ignore[arg-type]


def assert_same(ours: object, theirs: object) -> None:
    for a, b in zip(flat(ours), flat(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=TOLERANCE[torch.float64])


def twins(name: str, input_size: int, hidden_size: int, **kwargs: object) -> tuple[nn.Module, elman.Recurrent]:
    theirs, ours, extra = PAIRS[name]
    a = theirs(input_size, hidden_size, dtype=torch.float64, **extra, **kwargs)
    b = ours(input_size, hidden_size, dtype=torch.float64, **extra, **kwargs)
    b.load_state_dict(a.state_dict())
    return a, b


def make_state(layer: elman.Recurrent, batch: int) -> object:
    state = tuple(torch.randn_like(s).requires_grad_() for s in layer.initial_state(batch))
    return state if len(state) > 1 else state[0]


def gradients(layer: nn.Module, y: Tensor, state: object, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    torch.manual_seed(5)
    total = sum((r * torch.randn(r.shape, dtype=r.dtype)).sum() for r in (y, *flat(state)))
    return list(torch.autograd.grad(total, [*inputs, *layer.parameters()]))


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=25)
@given(
    options=options,
    T=st.sampled_from([1, 2, 5]),
    B=st.sampled_from([1, 2, 3]),
    I=st.sampled_from([1, 3, 4]),
    H=st.sampled_from([3, 5, 8]),
    with_state=st.booleans(),
    seed=st.integers(0, 99),
)
def test_outputs_and_all_gradients(
    name: str, options: dict[str, bool], T: int, B: int, I: int, H: int, with_state: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    theirs, ours = twins(name, I, H, **options)
    x = torch.randn((B, T, I) if options["batch_first"] else (T, B, I), dtype=torch.float64, requires_grad=True)
    state = make_state(ours, B) if with_state else None
    inputs = (x, *flat(state)) if with_state else (x,)
    y_theirs, state_theirs = theirs(x, state)
    y_ours, state_ours = ours(x, state)
    assert_same(y_ours, y_theirs)
    assert_same(state_ours, state_theirs)
    assert_same(gradients(ours, y_ours, state_ours, inputs), gradients(theirs, y_theirs, state_theirs, inputs))


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=15)
@given(
    options=options,
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    with_state=st.booleans(),
    enforce_sorted=st.booleans(),
    seed=st.integers(0, 99),
)
def test_packed_sequences_and_lengths(
    name: str, options: dict[str, bool], lengths: list[int], with_state: bool, enforce_sorted: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    lengths = sorted(lengths, reverse=True) if enforce_sorted else lengths
    theirs, ours = twins(name, 3, 4, **options)
    first = bool(options["batch_first"])
    shape = (len(lengths), max(lengths), 3) if first else (max(lengths), len(lengths), 3)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    state = make_state(ours, len(lengths)) if with_state else None
    packed = pack_padded_sequence(x, torch.tensor(lengths), first, enforce_sorted)
    y_theirs, state_theirs = theirs(packed, state)
    y_packed, state_packed = ours(packed, state)
    assert isinstance(y_packed, PackedSequence)
    assert_same(y_packed.data, y_theirs.data)
    for field in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        a, b = getattr(y_packed, field), getattr(y_theirs, field)
        assert a is b is None or torch.equal(a, b)
    assert_same(state_packed, state_theirs)

    y_ragged, state_ragged = ours(x, state, lengths=lengths)
    padded, _ = pad_packed_sequence(y_theirs, first)
    assert_same(y_ragged, padded)
    assert_same(state_ragged, state_theirs)
    inputs = (x, *flat(state)) if with_state else (x,)
    assert_same(gradients(ours, y_ragged, state_ragged, inputs), gradients(theirs, padded, state_theirs, inputs))


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_single_sequence_without_a_batch(name: str, batch_first: bool) -> None:
    theirs, ours = twins(name, 3, 4, num_layers=2, bidirectional=True, batch_first=batch_first)
    x = torch.randn(5, 3, dtype=torch.float64)
    batched = make_state(ours, 1)
    state = tuple(s[:, 0] for s in flat(batched))
    hx = state if len(state) > 1 else state[0]
    for given_state in (None, hx):
        y_theirs, state_theirs = theirs(x, given_state)
        y_ours, state_ours = ours(x, given_state)
        assert_same(y_ours, y_theirs)
        assert_same(state_ours, state_theirs)


@pytest.mark.parametrize("name", PAIRS)
def test_parameters_are_torchs_in_name_order_and_number(name: str) -> None:
    theirs, ours, extra = PAIRS[name]
    torch.manual_seed(3)
    a = theirs(3, 4, 2, bidirectional=True, **extra)
    torch.manual_seed(3)
    b = ours(3, 4, 2, bidirectional=True, **extra)
    assert list(a.state_dict()) == list(b.state_dict())
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    a.load_state_dict(ours(3, 4, 2, bidirectional=True, **extra).state_dict())


def test_packed_sequence_made_of_a_list() -> None:
    theirs, ours = twins("GRU", 2, 3)
    packed = pack_sequence([torch.randn(n, 2, dtype=torch.float64) for n in (2, 4, 1)], enforce_sorted=False)
    assert_same(ours(packed)[0].data, theirs(packed)[0].data)
