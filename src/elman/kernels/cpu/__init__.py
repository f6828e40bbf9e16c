"""The CPU kernel in C++: RNN, GRU and LSTM of torch's equations, float32 and float64.

In inference a row's numbers do not depend on the batch, the number of threads or where the sequence is cut, to the last
bit: every sum is one chain of fused multiply-adds in one order (see microkernel.h). Training is free to differ between numbers
of threads in the gradients of the weights, which add up tokens.

`ELMAN_CPU_ISA` set to avx512, avx2 or portable forces an instruction set.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from elman.kernels.call import Call, eager_gradients, flatten, is_traced, refusal_of_mode, tensors
from elman.kernels.cpu import passes as calls
from elman.kernels.cpu.passes import KINDS, Wanted
from elman.kernels.eager import State, Steps
from elman.kernels.weights import Weights

if calls.missing is None:
    from elman.kernels.cpu import _engine
    from elman.kernels.cpu.operators import recurrent


device = "cpu"

# Calls of fewer tokens go by kept packed weights: packing anew would cost more than the call.
KEPT_BELOW = 16


def refusal(
    cell: Steps,
    x_TBI: Tensor,
    state: State,
    weights: Weights,
    *,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
    reverse: bool = False,
) -> str | None:
    """Return why this kernel cannot run the call, in plain words, or None."""
    if calls.missing is not None:
        return calls.missing
    if cell.kernel not in KINDS:
        return f"the cell {type(cell).__name__} is not one of those it was written for: {', '.join(KINDS)}"
    if weights.hr is not None:
        return "the LSTM has a projection (proj_size)"
    if is_traced(x_TBI) or not _engine.alike(x_TBI, *state, *weights[:4], *(weights.initial or ())):
        why = _refusal_of_type(x_TBI, tensors(state, weights))
        if why is not None:
            return why
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on, and asks for another number type than the tensors have"
    return refusal_of_mode(x_TBI, state, weights)


def _refusal_of_type(x_TBI: Tensor, others: list[Tensor]) -> str | None:
    if x_TBI.device.type != "cpu":
        return f"the input is on {x_TBI.device}, not on the CPU"
    if x_TBI.dtype not in (torch.float32, torch.float64):
        return f"the input is {x_TBI.dtype}, neither float32 nor float64"
    for tensor in others:
        if tensor.dtype != x_TBI.dtype:
            return f"the input is {x_TBI.dtype} and a weight or state {tensor.dtype}"
        if tensor.device != x_TBI.device:
            return f"a weight or state is on {tensor.device}, not on the CPU"
    return None


def unroll(
    cell: Steps,
    x_TBI: Tensor,
    state: State,
    weights: Weights,
    *,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, State]:
    """Run one layer in one direction over a whole sequence; the contract is `eager.unroll`'s."""
    assert cell.kernel is not None
    call = flatten(x_TBI, state, weights, lengths, resets)
    differentiate = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in call[:9])
    if is_traced(x_TBI):
        y_TBH, hn, cn, _ = recurrent(cell.kernel, reverse, differentiate, *call)
    elif differentiate:
        y_TBH, hn, cn = _Recurrent.apply(cell, reverse, *call)  # type: ignore[no-untyped-call]
    else:
        few = x_TBI.shape[0] * x_TBI.shape[1] < KEPT_BELOW
        packed = _packed(cell.kernel, weights) if few else None
        y_TBH, hn, cn, _ = calls.forward(cell.kernel, call, reverse, False, packed)
    return y_TBH, (hn,) if len(state) == 1 else (hn, cn)


class _Recurrent(torch.autograd.Function):
    """The kernel as a node of autograd, without the dispatcher's cost.

    Its backward pass, asked for a graph of its own (double backward), runs the eager kernel instead, which has one.
    """

    @staticmethod
    def forward(ctx: Any, cell: Steps, reverse: bool, *tensors: Any) -> tuple[Tensor, Tensor, Tensor]:
        assert cell.kernel is not None
        run = calls.forward(cell.kernel, Call(*tensors), reverse, True)
        ctx.cell, ctx.reverse = cell, reverse
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, run.y_TBH, run.saved)
        return run.y_TBH, run.hn_BH, run.cn_BH

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Any, ...]:
        *tensors, y_TBH, saved = ctx.saved_tensors
        call = Call(*tensors)
        need = ctx.needs_input_grad[2:]
        if torch.is_grad_enabled():
            return (None, None, *eager_gradients(ctx.cell, ctx.reverse, call, need, given))
        wanted = Wanted(need[0], *need[3:7])
        d_y, d_hn, d_cn = given
        found = calls.backward(ctx.cell.kernel, call, ctx.reverse, wanted, y_TBH, saved, d_y, d_hn, d_cn)
        return (None, None, *(g if n else None for g, n in zip(found, need, strict=False)), None, None)


class _Kept:
    """Packed weights, and how to see that the weights are still those."""

    __slots__ = ("b_hh", "b_ih", "hh", "ih", "kind", "packed", "versions")

    def __init__(self, kind: str, weights: Weights, versions: tuple[int, ...], packed: _engine.Packed) -> None:
        self.ih, self.hh, self.b_ih, self.b_hh = (_reference(t) for t in weights[:4])
        self.kind, self.versions, self.packed = kind, versions, packed


def _reference(tensor: Tensor | None) -> Callable[[], Tensor | None]:
    return _nothing if tensor is None else weakref.ref(tensor)


def _nothing() -> None:
    return None


# By the identity of weight_ih, which takes its entry along when it goes.
_kept: dict[int, _Kept] = {}


def _packed(kind: str, weights: Weights) -> _engine.Packed:
    """Return the weights as the forward pass reads them, from the last call where they have not changed since.

    A change in place is seen by torch's version counter; one that goes past it (through `.data`) by a sample of the
    numbers, which finds whatever changes all of a tensor, as an optimiser does, but may miss a single number. That is
    why only the shortest calls, for which it pays, go by kept weights.
    """
    ih, hh, b_ih, b_hh = weights[:4]
    try:
        versions: tuple[int, ...] = (ih._version, hh._version)
        if b_ih is not None and b_hh is not None:
            versions += (b_ih._version, b_hh._version)
    except RuntimeError:  # made under inference_mode: no version to go by
        return _pack(kind, weights)
    kept = _kept.get(id(ih))
    if (
        kept is not None
        and kept.versions == versions
        and kept.kind == kind
        and kept.ih() is ih
        and kept.hh() is hh
        and kept.b_ih() is b_ih
        and kept.b_hh() is b_hh
        and kept.packed.matches(ih, hh, b_ih, b_hh)
    ):
        return kept.packed
    packed = _pack(kind, weights)
    if id(ih) not in _kept:
        weakref.finalize(ih, _kept.pop, id(ih), None)
    _kept[id(ih)] = _Kept(kind, weights, versions, packed)
    return packed


def _pack(kind: str, weights: Weights) -> _engine.Packed:
    ih, hh = weights.ih.contiguous(), weights.hh.contiguous()
    b_ih, b_hh = (None if b is None else b.contiguous() for b in weights[2:4])
    return _engine.pack(*KINDS[kind], ih, hh, b_ih, b_hh, torch.get_num_threads())


def step(cell: Steps, x_BI: Tensor, state: State, weights: Weights, out: State | None = None) -> State:
    """Run one step without gradients, with one call and no memory beyond the result: the same bits as `unroll`.

    Args:
        cell, state, weights: as in `unroll`, of a call that `refusal` lets pass.
        x_BI: the input of the step.
        out: where the new state goes, one (B, H) tensor for each state; fresh memory if None. It may be `state` itself.

    Returns:
        The state after the step, `out` where it was given; the output of the step is its first tensor.
    """
    assert cell.kernel is not None
    packed = _packed(cell.kernel, weights)
    x_BI, state = x_BI.contiguous(), tuple(s.contiguous() for s in state)
    if out is None:
        out = tuple(torch.empty_like(s) for s in state)
    if len(state) == 1:
        _engine.step(packed, x_BI, state[0], None, out[0], None, torch.get_num_threads())
    else:
        _engine.step(packed, x_BI, state[0], state[1], out[0], out[1], torch.get_num_threads())
    return out
