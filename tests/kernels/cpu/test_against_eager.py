"""The kernel against the eager kernel and torch.nn, over the sizes at which tiles, panels, chunks and threads change.

The laws of tests/contract hold it to the reference on small sizes; here the sizes are those where its code takes
another path: no multiple of a vector, more rows than a tile, more tokens than a chunk, two threads by rows and by
units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elman.kernels import cpu, eager
from elman.kernels.cpu import passes
from elman.layers.cell import Cell
from elman.testing import TOLERANCE

Draw = Callable[..., Any]

SIZES = [
    (1, 1, 1, 1),
    (7, 3, 5, 17),
    (3, 40, 2, 33),
    (2, 9, 40, 64),
    (900, 2, 3, 9),
    (5, 13, 1, 70),
    (60, 20, 2, 150),
]


def gradients(drawn: Any, kernel: Any, **options: Any) -> list[Tensor]:
    y, state = drawn.on(kernel, **options)
    total = sum((t * torch.sin(torch.arange(t.numel(), dtype=t.dtype)).view_as(t)).sum() for t in (y, *state))
    found = torch.autograd.grad(total, drawn.leaves(), allow_unused=True, materialize_grads=True)
    return [y, *state, *found]


def check(found: list[Tensor], wanted: list[Tensor]) -> None:
    for f, w in zip(found, wanted, strict=True):
        assert f.shape == w.shape and f.dtype == w.dtype
        if f.numel():
            scale = max(1.0, w.abs().max().item())
            assert (f - w).abs().max().item() <= TOLERANCE[w.dtype] * scale


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_sizes(main_cell: Cell, draw: Draw, size: tuple[int, ...], dtype: torch.dtype, threads: int) -> None:
    torch.set_num_threads(threads)
    drawn = draw(main_cell, *size, dtype=dtype, grad=True)
    if size[0] > 100 and dtype is torch.float32:
        dtype, drawn = torch.float64, draw(main_cell, *size, dtype=torch.float64, grad=True)
    check(gradients(drawn, cpu), gradients(drawn, eager))


@pytest.mark.parametrize("threads", [2, 4, 5])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("T", [4, 60])  # with few tokens the gradients of the weights are made by all threads together
def test_groups_of_threads(main_cell: Cell, draw: Draw, T: int, ragged: bool, threads: int) -> None:
    """Groups with members of their own, and one thread too many: each token is counted once, wherever it is made."""
    torch.set_num_threads(threads)
    drawn = draw(main_cell, T, 13, 20, 140, dtype=torch.float64, grad=True)
    options = (
        {"lengths": torch.randint(0, T + 1, (13,), generator=torch.Generator().manual_seed(threads))} if ragged else {}
    )
    check(gradients(drawn, cpu, **options), gradients(drawn, eager, **options))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("resets", [False, True])
def test_options(cell: Cell, draw: Draw, reverse: bool, ragged: bool, resets: bool, threads: int) -> None:
    torch.set_num_threads(threads)
    T, B = 11, 19
    drawn = draw(cell, T, B, 6, 35, dtype=torch.float64, grad=True)
    generator = torch.Generator().manual_seed(1)
    options: dict[str, Any] = {"reverse": reverse}
    if ragged:
        options["lengths"] = torch.randint(0, T + 1, (B,), generator=generator)
    if resets:
        options["resets"] = torch.rand(T, B, generator=generator) < 0.3
    check(gradients(drawn, cpu, **options), gradients(drawn, eager, **options))


@pytest.mark.parametrize("lengths", [[0, 0, 0], [5, 0, 5], [0, 1, 0]])
def test_rows_without_a_step(main_cell: Cell, draw: Draw, lengths: list[int]) -> None:
    drawn = draw(main_cell, 5, 3, 2, 4, dtype=torch.float64, grad=True)
    options = {"lengths": torch.tensor(lengths, dtype=torch.int32)}
    check(gradients(drawn, cpu, **options), gradients(drawn, eager, **options))


@pytest.mark.parametrize("size", [(0, 3, 2, 4), (4, 0, 2, 4), (0, 0, 2, 4)])
@pytest.mark.parametrize("resets", [False, True])
def test_empty_input(main_cell: Cell, draw: Draw, size: tuple[int, ...], resets: bool) -> None:
    drawn = draw(main_cell, *size, dtype=torch.float64, grad=True)
    options = {"resets": torch.zeros(size[:2], dtype=torch.bool)} if resets else {}
    check(gradients(drawn, cpu, **options), gradients(drawn, eager, **options))


@pytest.mark.parametrize("size", [(0, 3), (4, 0)])
def test_empty_input_with_strides_of_0(main_cell: Cell, draw: Draw, size: tuple[int, int]) -> None:
    """As the gradient of a sum has, and an input that one number was expanded to."""
    drawn = draw(main_cell, *size, 3, 4, dtype=torch.float64, grad=True)
    drawn.x_TBI = torch.zeros(1, dtype=torch.float64, requires_grad=True).expand(*size, 3)

    def summed(kernel: Any) -> list[Tensor]:
        y, state = drawn.on(kernel)
        total = y.sum() + sum(s.sum() for s in state)
        return [y, *state, *torch.autograd.grad(total, drawn.leaves(), materialize_grads=True, allow_unused=True)]

    check(summed(cpu), summed(eager))


def test_layouts_in_memory(main_cell: Cell, draw: Draw) -> None:
    """Batch first, every other feature, transposed weights, a state for all rows: whatever the strides."""
    drawn = draw(main_cell, 6, 4, 5, 20, dtype=torch.float64)
    wanted = gradients(with_grad(drawn), eager)
    strange = draw(main_cell, 6, 4, 5, 20, dtype=torch.float64)
    strange.x_TBI = drawn.x_TBI.transpose(0, 1).contiguous().transpose(0, 1)
    strange.weights = drawn.weights._replace(
        ih=drawn.weights.ih.t().contiguous().t(), hh=torch.stack([drawn.weights.hh] * 2, 2)[:, :, 0]
    )
    check(gradients(with_grad(strange), cpu), wanted)
    strange.x_TBI = torch.stack([drawn.x_TBI] * 2, 3).flatten(2)[:, :, ::2]
    check(gradients(with_grad(strange), cpu), wanted)
    drawn.state = tuple(s[:1].expand(4, -1) for s in drawn.state)
    y, state = drawn.on(cpu)
    check([y, *state], [(w := drawn.on(eager))[0], *w[1]])


def with_grad(drawn: Any) -> Any:
    for tensor in drawn.leaves():
        tensor.requires_grad_(True)
    return drawn


def test_a_gradient_of_any_layout(main_cell: Cell, draw: Draw) -> None:
    drawn = draw(main_cell, 4, 3, 2, 5, dtype=torch.float64, grad=True)

    def found(kernel: Any) -> list[Tensor]:
        y, state = drawn.on(kernel)
        expanded = torch.autograd.grad(y.sum() + 2 * state[0].t()[::2].sum(), drawn.leaves()[:4], retain_graph=True)
        return [*expanded, *torch.autograd.grad(y.permute(2, 1, 0).cumsum(0).sum(), drawn.leaves()[:4])]

    check(found(cpu), found(eager))


@pytest.mark.parametrize("wanted", range(7))
def test_one_gradient_at_a_time(draw: Draw, wanted: int) -> None:
    from elman.layers.lstm import LSTMEquations

    drawn = draw(LSTMEquations(), 4, 3, 2, 5, dtype=torch.float64)
    leaf = drawn.leaves()[wanted].requires_grad_()
    (found,) = torch.autograd.grad(drawn.on(cpu)[0].sum(), [leaf])
    (right,) = torch.autograd.grad(drawn.on(eager)[0].sum(), [leaf])
    check([found], [right])


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_against_torch_in_float32(kind: str) -> None:
    """float32 differs by what rounding in another order makes of it: 2e-5 of the largest number."""
    import elman

    torch.manual_seed(0)
    theirs = getattr(nn, kind)(30, 65, num_layers=2, bidirectional=True)
    ours = getattr(elman, kind)(30, 65, num_layers=2, bidirectional=True)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(20, 9, 30)
    results = []
    for layer in (ours, theirs):
        leaf = x.clone().requires_grad_()
        y = layer(leaf)[0]
        y.square().sum().backward()
        results.append([y.detach(), leaf.grad, *(p.grad for p in layer.parameters())])
    check(*results)


def test_twice_through_one_graph(main_cell: Cell, draw: Draw) -> None:
    """With retain_graph the second backward pass gives what the first gave: nothing saved is written over."""
    drawn = draw(main_cell, 6, 2, 3, 8, grad=True)
    total = drawn.on(cpu)[0].square().sum()
    first = torch.autograd.grad(total, drawn.leaves()[:5], retain_graph=True, allow_unused=True)
    second = torch.autograd.grad(total, drawn.leaves()[:5], allow_unused=True)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True) if a is not None)


def test_double_backward_goes_through_eager(main_cell: Cell, draw: Draw) -> None:
    drawn = draw(main_cell, 3, 2, 2, 3, dtype=torch.float64, grad=True)
    resets = torch.rand(3, 2) < 0.5

    def second(kernel: Any) -> tuple[Tensor, ...]:
        y, _ = drawn.on(kernel, resets=resets)
        first = torch.autograd.grad(y.square().sum(), drawn.leaves(), create_graph=True, allow_unused=True)
        total = sum(g.square().sum() for g in first if g is not None)
        return torch.autograd.grad(total, drawn.leaves(), allow_unused=True, materialize_grads=True)  # type: ignore[arg-type]

    check(list(second(cpu)), list(second(eager)))


def test_an_output_changed_in_place_changes_no_gradient(main_cell: Cell, draw: Draw) -> None:
    """The output and the state are the caller's: the backward pass reads neither."""
    drawn = draw(main_cell, 3, 2, 2, 5, grad=True)
    wanted = torch.autograd.grad(drawn.on(cpu)[0].square().sum(), drawn.leaves()[:3], allow_unused=True)
    y, state = drawn.on(cpu)
    total = y.square().sum()
    with torch.no_grad():
        for tensor in (y.detach(), *(s.detach() for s in state)):
            tensor.data.zero_()
    y.data = drawn.on(cpu)[0].data  # what the square keeps
    found = torch.autograd.grad(total, drawn.leaves()[:3], allow_unused=True)
    assert all(f is w is None or torch.equal(f, w) for f, w in zip(found, wanted, strict=True))


def test_more_steps_than_16_bits_count(main_cell: Cell, draw: Draw) -> None:
    drawn = draw(main_cell, 70_000, 1, 1, 1, grad=True)
    y, (h, *_) = drawn.on(cpu)
    assert torch.equal(y[-1], h)
    last = draw(main_cell, 70_000, 1, 1, 1)
    last.x_TBI = last.x_TBI[-500:]
    torch.testing.assert_close(last.on(eager)[0][-1], h, atol=2e-5, rtol=0)
    (d_x,) = torch.autograd.grad(h.sum(), [drawn.x_TBI])
    assert torch.isfinite(d_x).all() and d_x[-1].abs().item() > 0


def test_what_is_saved_lies_in_memory_of_its_own(main_cell: Cell, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two graphs alive at once do not share a block of the pool, and one that is gone leaves its block to the next."""
    monkeypatch.setattr(cpu.passes, "poison", False)
    monkeypatch.setattr(cpu.passes, "LARGE", 1)
    sizes = (20, 3, 4, 16)
    first, second = draw(main_cell, *sizes, grad=True), draw(main_cell, *sizes, grad=True, seed=1)
    wanted = gradients(first, cpu)
    one, two = first.on(cpu), second.on(cpu)
    found = torch.autograd.grad(one[0].sum(), first.leaves()[:3], allow_unused=True)
    right = torch.autograd.grad(first.on(eager)[0].sum(), first.leaves()[:3], allow_unused=True)
    for f, r in zip(found, right, strict=True):
        assert f is r is None or torch.allclose(f, r, atol=1e-5)  # type: ignore[arg-type]
    del one, two
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(gradients(first, cpu), wanted, strict=True))


def test_memory_of_the_pool(main_cell: Cell, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large tensors lie in blocks that are used again: those that somebody still holds are left alone."""
    monkeypatch.setattr(passes, "poison", False)
    drawn = draw(main_cell, 6, 5, 3, 8, dtype=torch.float64, grad=True)
    wanted = gradients(drawn, cpu)
    monkeypatch.setattr(passes, "LARGE", 1)
    kept = [gradients(drawn, cpu) for _ in range(3)]
    for found in kept:
        check(found, wanted)
    addresses = [t.data_ptr() for found in kept for t in (found[0], *found[1 + len(drawn.state) :])]
    assert len(set(addresses)) == len(addresses)
