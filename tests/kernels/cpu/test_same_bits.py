"""In inference a row's float32 numbers are the same to the bit: whole, in pieces, stepwise, alone, in a batch, on any
number of threads, kept for training or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from elman.kernels import cpu
from elman.kernels.cpu import packing
from elman.layers.cell import Cell

Draw = Callable[..., Any]
SIZES = [(9, 21, 5, 37), (9, 3, 70, 128), (6, 50, 16, 16), (5, 12, 33, 300)]


def equal(a: tuple[Tensor, tuple[Tensor, ...]], b: tuple[Tensor, tuple[Tensor, ...]]) -> bool:
    return torch.equal(a[0], b[0]) and all(torch.equal(p, q) for p, q in zip(a[1], b[1], strict=True))


@pytest.fixture(params=SIZES, ids=str)
def drawn(request: pytest.FixtureRequest, draw: Draw, main_cell: Cell) -> Any:
    return draw(main_cell, *request.param)


def test_threads(drawn: Any) -> None:
    results = []
    for threads in (1, 2, 3, 5):
        torch.set_num_threads(threads)
        results.append(drawn.on(cpu))
    assert all(equal(results[0], r) for r in results[1:])


def test_pieces_and_steps(drawn: Any) -> None:
    torch.set_num_threads(2)
    whole = drawn.on(cpu)
    for cuts in ([2], [1, 4], list(range(1, drawn.x_TBI.shape[0]))):
        outputs, state = [], drawn.state
        for start, stop in zip([0, *cuts], [*cuts, drawn.x_TBI.shape[0]], strict=True):
            y, state = cpu.unroll(drawn.cell, drawn.x_TBI[start:stop], state, drawn.weights)
            outputs.append(y)
        assert equal(whole, (torch.cat(outputs), state))


def test_alone_or_in_company(drawn: Any) -> None:
    torch.set_num_threads(2)
    y, state = drawn.on(cpu)
    for row in (0, 1, drawn.x_TBI.shape[1] - 1):
        one = slice(row, row + 1)
        alone = cpu.unroll(drawn.cell, drawn.x_TBI[:, one], tuple(s[one] for s in drawn.state), drawn.weights)
        assert equal(alone, (y[:, one], tuple(s[one] for s in state)))


def test_under_lengths(drawn: Any) -> None:
    T, B, _ = drawn.x_TBI.shape
    lengths = torch.arange(B) % (T + 1)
    y, state = drawn.on(cpu, lengths=lengths)
    whole, _ = drawn.on(cpu)
    for row, length in enumerate(lengths.tolist()):
        assert torch.equal(y[:length, row], whole[:length, row])
        assert (y[length:, row] == 0).all()
        assert torch.equal(state[0][row], whole[length - 1, row] if length else drawn.state[0][row])


def test_step_is_the_same(drawn: Any) -> None:
    whole = drawn.on(cpu)
    for in_place in (False, True):
        state = tuple(s.clone() for s in drawn.state)
        outputs = []
        for x_BI in drawn.x_TBI:
            state = cpu.step(drawn.cell, x_BI, state, drawn.weights, out=state if in_place else None)
            outputs.append(state[0].clone())
        assert equal(whole, (torch.stack(outputs), state))


def test_training_gives_the_same_numbers(drawn: Any) -> None:
    calm = drawn.on(cpu)
    for leaf in drawn.leaves():
        leaf.requires_grad_()
    y, state = drawn.on(cpu)
    assert y.requires_grad and equal(calm, (y, state))


def test_weights_changed_in_between_are_seen(main_cell: Cell, draw: Draw) -> None:
    drawn = draw(main_cell, 3, 2, 4, 20)
    for change in (
        lambda w: w.mul_(0.5),
        lambda w: w.data.mul_(0.5),  # goes past the version counter
        lambda w: w.set_(w.clone() * 0.5),
        lambda w: setattr(w, "data", w.clone() * 0.5),
    ):
        for index in range(4):
            before = drawn.on(cpu)
            change(drawn.weights[index])
            after = drawn.on(cpu)
            copies = type(drawn.weights)(*(w.clone() for w in drawn.weights[:4]))
            assert equal(after, cpu.unroll(drawn.cell, drawn.x_TBI, drawn.state, copies))
            assert not equal(after, before)


def test_one_number_changed_behind_torchs_back_is_seen_by_a_sequence(main_cell: Cell, draw: Draw) -> None:
    drawn = draw(main_cell, 8, 2, 4, 20)
    before = drawn.on(cpu)
    drawn.weights.hh.data[3, 7] += 1.0
    assert not equal(drawn.on(cpu), before)


def test_packed_weights_go_with_the_weights(main_cell: Cell, draw: Draw) -> None:
    drawn = draw(main_cell, 3, 2, 4, 20)
    before = len(packing._cache)
    drawn.on(cpu)
    assert len(packing._cache) == before + 1
    del drawn
    assert len(packing._cache) == before
