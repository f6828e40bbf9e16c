"""What a call may look like, and what it leaves as it found it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from elman.kernels import eager, triton
from elman.kernels.triton import cuda_graphs, forward_pass, plan
from elman.layers.cell import Cell
from elman.layers.lstm import LSTMEquations
from elman.testing import LAWS, TOLERANCE, Case, make_arguments
from elman.testing.case import Arguments, gradients

judge = LAWS["it equals the reference"]


def check(found: list[Tensor], wanted: list[Tensor]) -> None:
    for f, w in zip(found, wanted, strict=True):
        assert f.shape == w.shape and f.dtype == w.dtype
        assert (f - w).abs().max() <= TOLERANCE[w.dtype] * w.abs().max().clamp_min(1)


@pytest.fixture
def drawn(main_cell: Cell, here: str) -> Arguments:
    arguments = make_arguments(main_cell, Case(T=3, B=2, I=2, H=3, seed=8))
    for tensor in arguments.tensors().values():
        tensor.requires_grad_()
    return arguments


@pytest.mark.parametrize(("steps", "reverse"), [(2, False), (2, True), (1, True)])
def test_a_sequence_in_pieces(
    main_cell: Cell, kernel: object, steps: int, reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third tier, in whole pieces with memory of their own and a shorter one that is left over."""
    monkeypatch.setattr(cuda_graphs, "STEPS", steps)
    monkeypatch.setattr(cuda_graphs, "_kept", type(cuda_graphs._kept)())
    with triton.use(tier=3):
        judge(kernel, main_cell, Case(T=5, B=2, reverse=reverse, lengths=True, resets=True, initial=True, seed=7))
    assert cuda_graphs._kept


@pytest.mark.parametrize("tier", [1, 2])
def test_where_the_card_has_no_room_a_step_is_run_at_a_time(
    main_cell: Cell, kernel: object, tier: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both passes; the second call does not try again."""
    from elman.kernels.triton import launch

    tried: list[int] = []

    class Full:
        def __init__(self, kernel: Any) -> None:
            self.kernel, self.__name__ = kernel, kernel.__name__

        def __getitem__(self, grid: tuple[int, int]) -> Any:
            def run(*arguments: Any, **flags: Any) -> Any:
                tried.append(flags["TIER"])
                if flags["TIER"] != 3:
                    raise RuntimeError("Triton Error [CUDA]: too many blocks in cooperative launch")
                return self.kernel[grid](*arguments, **flags)

            return run

    monkeypatch.setattr(launch, "_too_large", set())
    for name in ("forward_kernel", "backward_kernel"):
        monkeypatch.setattr(launch, name, Full(getattr(launch, name)))
    with triton.use(tier=tier):
        for _ in range(2):
            judge(kernel, main_cell, Case(T=2, B=2, lengths=True, resets=True, dtype=torch.float32))
    # Once for the forward pass that keeps gates, the one that does not (the same for the RNN), and the backward pass.
    assert tried.count(tier) == (2 if main_cell.gates[1:] == () else 3) and len(tried) > 10


def test_other_failures_are_not_hidden(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from elman.kernels.triton import launch

    class Broken:
        __name__ = "forward"

        def __getitem__(self, grid: tuple[int, int]) -> Any:
            raise RuntimeError("an illegal memory access")

    monkeypatch.setattr(launch, "forward_kernel", Broken())
    a = make_arguments(LSTMEquations(), Case(T=2))
    with pytest.raises(RuntimeError, match="illegal memory"):
        kernel.unroll(LSTMEquations(), a.x_TBI, a.state, a.weights)


def test_pieces_are_kept_for_equal_sizes_and_not_for_ever(kernel: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "STEPS", 1)
    monkeypatch.setattr(cuda_graphs, "KEPT", 2)
    monkeypatch.setattr(cuda_graphs, "_kept", type(cuda_graphs._kept)())
    with triton.use(tier=3), torch.no_grad():
        for sizes, kept in ((3, 1), (3, 1), (4, 2), (5, 2)):
            cell = LSTMEquations()
            x, state, weights, *_ = make_arguments(cell, Case(T=1, H=sizes))
            kernel.unroll(cell, x, state, weights)  # type: ignore[attr-defined]
            assert len(cuda_graphs._kept) == kept


def test_a_piece_from_inference_mode_serves_outside_it(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "STEPS", 2)
    monkeypatch.setattr(cuda_graphs, "_kept", type(cuda_graphs._kept)())
    a = make_arguments(LSTMEquations(), Case(T=4))
    with triton.use(tier=3):
        with torch.inference_mode():
            kernel.unroll(LSTMEquations(), a.x_TBI, a.state, a.weights)
        with torch.no_grad():
            found = kernel.unroll(LSTMEquations(), a.x_TBI, a.state, a.weights)
    wanted = eager.unroll(LSTMEquations(), a.x_TBI, a.state, a.weights)
    check([found[0], *found[1]], [wanted[0], *wanted[1]])
    assert len(cuda_graphs._kept) == 1


def test_two_runs_agree_to_the_bit(main_cell: Cell, kernel: Any, tier: int) -> None:
    arguments = make_arguments(main_cell, Case(T=3, B=3, H=5, lengths=True, resets=True, dtype=torch.float32))
    with triton.use(tier=tier):
        first, second = gradients(kernel, main_cell, arguments), gradients(kernel, main_cell, arguments)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_layouts_in_memory(main_cell: Cell, kernel: Any) -> None:
    """Batch first, every other feature, transposed weights, one state for all rows: whatever the strides."""
    a = make_arguments(main_cell, Case(T=3, B=2, I=4, H=5))
    wanted = kernel.unroll(main_cell, a.x_TBI, a.state, a.weights)
    strange = a.weights._replace(ih=a.weights.ih.t().contiguous().t(), hh=torch.stack([a.weights.hh] * 2, 2)[:, :, 0])
    for x in (
        a.x_TBI.transpose(0, 1).contiguous().transpose(0, 1),
        torch.stack([a.x_TBI] * 2, 3).flatten(2)[:, :, ::2],
    ):
        found = kernel.unroll(main_cell, x, a.state, strange)
        check([found[0], *found[1]], [wanted[0], *wanted[1]])
    alike = tuple(s[:1].expand(2, -1) for s in a.state)
    found, wanted = (k.unroll(main_cell, a.x_TBI, alike, a.weights) for k in (kernel, eager))
    check([found[0], *found[1]], [wanted[0], *wanted[1]])


def test_twice_through_one_graph(main_cell: Cell, kernel: Any, drawn: Arguments) -> None:
    """With retain_graph the second backward pass gives what the first gave: nothing that is kept is written over."""
    total = kernel.unroll(main_cell, *drawn[:3])[0].square().sum()
    leaves = list(drawn.tensors().values())
    first = torch.autograd.grad(total, leaves, retain_graph=True)
    assert all(torch.equal(f, s) for f, s in zip(first, torch.autograd.grad(total, leaves), strict=True))


def test_a_gradient_of_any_layout_and_one_at_a_time(main_cell: Cell, kernel: Any, drawn: Arguments) -> None:
    def found(kernel: Any, leaf: Tensor) -> list[Tensor]:
        y, state = kernel.unroll(main_cell, *drawn[:3])
        expanded = torch.autograd.grad(y.sum() + 2 * state[0].t()[::2].sum(), [leaf], retain_graph=True)
        return [*expanded, *torch.autograd.grad(y.permute(2, 1, 0).cumsum(0).sum(), [leaf])]

    for leaf in (drawn.x_TBI, drawn.state[-1], drawn.weights.hh):
        check(found(kernel, leaf), found(eager, leaf))


def test_double_backward_goes_through_eager(main_cell: Cell, kernel: Any, drawn: Arguments) -> None:
    leaves = list(drawn.tensors().values())

    def second(kernel: Any) -> list[Tensor]:
        first = torch.autograd.grad(kernel.unroll(main_cell, *drawn[:3])[0].square().sum(), leaves, create_graph=True)
        return list(torch.autograd.grad(sum(g.square().sum() for g in first), leaves))  # type: ignore[arg-type]

    check(second(kernel), second(eager))


@pytest.mark.parametrize("recompute", [False, True])
def test_what_is_kept_is_what_is_stated(main_cell: Cell, here: str, recompute: bool) -> None:
    a = make_arguments(main_cell, Case(T=4, B=3, I=2, H=5, dtype=torch.float32))
    weights = a.weights._replace(ih=a.weights.ih.to(here).requires_grad_())
    for name in ("hh", "b_ih", "b_hh"):
        weights = weights._replace(**{name: getattr(weights, name).to(here)})
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with triton.use(recompute=recompute), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        state = tuple(s.to(here) for s in a.state)
        x = a.x_TBI.to(here)
        y, _ = triton.unroll(main_cell, x, state, weights)
    for tensor in (x, *state, *weights[:4], y):
        kept.pop(tensor.data_ptr(), None)
    kept.pop(0, None)
    assert sum(kept.values()) == plan.kept_bytes(main_cell.kernel or "", 4, 3, 5, 4, recompute)


def test_autocast_casts_as_it_does_for_torch(main_cell: Cell, here: str) -> None:
    a = make_arguments(main_cell, Case(T=3, dtype=torch.float32))
    x = a.x_TBI.to(here).requires_grad_()
    state = tuple(s.to(here) for s in a.state)
    weights = a.weights._replace(**{n: getattr(a.weights, n).to(here) for n in ("ih", "hh", "b_ih", "b_hh")})
    with torch.autocast(here, torch.bfloat16):
        assert triton.refusal(main_cell, x, state, weights) is None
        y, after = triton.unroll(main_cell, x, state, weights)
    assert {y.dtype, *(s.dtype for s in after)} == {torch.bfloat16}
    y.float().sum().backward()
    assert x.grad is not None and x.grad.dtype == torch.float32
    wanted = eager.unroll(main_cell, x.detach(), state, weights)[0]
    assert (y.float() - wanted).abs().max() < TOLERANCE[torch.bfloat16]


def test_poison_is_seen(main_cell: Cell, here: str) -> None:
    assert forward_pass.fresh(torch.zeros(1, device=here), 2).isnan().all()
