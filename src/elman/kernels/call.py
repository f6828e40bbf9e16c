"""A call of `unroll` as a flat tuple of tensors, and the modes around it: what the compiled kernels share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elman.errors import ShapeError
from elman.kernels import eager
from elman.kernels.eager import State, Steps
from elman.kernels.weights import Weights


class Call(NamedTuple):
    """The arguments of one layer in one direction, flat, as an operator takes them; see `eager.unroll` for each.

    Attributes:
        x_TBI: the input.
        h_BH: the first state.
        c_BH: the second state, if the cell has one.
        ih: U, (G*H, I).
        hh: W, (G*H, H).
        b_ih: the bias beside U, (G*H,).
        b_hh: the bias beside W, (G*H,).
        h_initial: (H,), where a reset puts the first state; present exactly where there are resets.
        c_initial: the same for the second state.
        lengths: (B,) int64.
        resets: (T, B) bool.
    """

    x_TBI: Tensor
    h_BH: Tensor
    c_BH: Tensor | None
    ih: Tensor
    hh: Tensor
    b_ih: Tensor | None
    b_hh: Tensor | None
    h_initial: Tensor | None
    c_initial: Tensor | None
    lengths: Tensor | None
    resets: Tensor | None


class GradientMask(NamedTuple):
    """Which gradients of `Call`'s fields the backward pass should make; those of the states always come."""

    x: bool = True
    ih: bool = True
    hh: bool = True
    b_ih: bool = True
    b_hh: bool = True


class Gradients(NamedTuple):
    """One for each of the first nine fields of `Call`, in their order; None where there is nothing to give."""

    x_TBI: Tensor | None
    h_BH: Tensor | None
    c_BH: Tensor | None
    ih: Tensor | None
    hh: Tensor | None
    b_ih: Tensor | None
    b_hh: Tensor | None
    h_initial: Tensor | None
    c_initial: Tensor | None


def flatten(x_TBI: Tensor, state: State, weights: Weights, lengths: Tensor | None, resets: Tensor | None) -> Call:
    """Return the arguments of `unroll` as a `Call`, with the initial state where there are resets."""
    initial: State = ()
    if resets is not None:
        initial = weights.initial or tuple(s.new_zeros(s.shape[1]) for s in state)
        resets = resets.bool()
    if lengths is not None:
        lengths = lengths.to(torch.int64)
    h, c = state if len(state) == 2 else (state[0], None)
    h_initial, c_initial = (*initial, None, None)[:2]
    return Call(x_TBI, h, c, weights.ih, weights.hh, weights.b_ih, weights.b_hh, h_initial, c_initial, lengths, resets)


def tensors(state: State, weights: Weights) -> list[Tensor]:
    """Return every tensor of a call beside its input."""
    every = [*state, *weights[:4], *(weights.initial or ())]
    return [t for t in every if t is not None]


def refusal_of_mode(x_TBI: Tensor, state: State, weights: Weights) -> str | None:
    """Return the mode that is active and that the kernel does not support, or None."""
    return refusal_of_mode_for((x_TBI, *tensors(state, weights)))


def refusal_of_mode_for(every: Sequence[Tensor]) -> str | None:
    """Do what `refusal_of_mode` does, for the tensors of any call."""
    is_compiling = torch.compiler.is_compiling()
    # An export does one or the other; asking whether it is one takes a tenth of a short call.
    if (is_compiling or torch._C._get_tracing_state() is not None) and is_onnx_export():
        return "the call is being exported to ONNX, which has no operator like it"
    if is_compiling:
        return None
    if torch._C._get_tracing_state() is not None:
        return "torch.jit is tracing the call"
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "a function transform (torch.func: vmap, grad, jvp) is active"
    in_forward_mode = torch.autograd.forward_ad._current_level >= 0
    if in_forward_mode and any(_has_tangent(t) for t in every):
        return "forward-mode differentiation is asked for"
    return _refusal_of_negatives(every)


def refusal_of_negatives(x: Tensor, state: State, weights: Weights) -> str | None:
    """Return that a tensor's memory has the other sign, which engines do not know, or None."""
    return _refusal_of_negatives((x, *state, *weights[:4], *(weights.initial or ())))


def _refusal_of_negatives(every: Sequence[Tensor | None]) -> str | None:
    for tensor in every:
        if tensor is not None and tensor.is_neg():
            return "a tensor is a negative view (torch.Tensor.is_neg), whose memory has the other sign"
    return None


def resolved(gradients: Iterable[Tensor | None]) -> list[Tensor | None]:
    """Return gradients as their memory has them: a negative view, which `z.conj().imag` is, becomes a tensor."""
    return [None if d is None else d.resolve_neg() for d in gradients]


def is_onnx_export() -> bool:
    """Whether the call is being exported to ONNX."""
    return torch.onnx.is_in_onnx_export()


# Dynamo, by which the exporter tries again where its first way fails, would take False for granted.
is_onnx_export._dynamo_marked_constant = True  # type: ignore[attr-defined]


def is_dynamo_onnx_export() -> bool:
    """Whether the call is being exported by `torch.onnx.export(dynamo=True)`, which traces by torch.export."""
    return torch.compiler.is_compiling() and is_onnx_export() and torch._C._get_tracing_state() is None


def _has_tangent(tensor: Tensor) -> bool:
    return torch.autograd.forward_ad.unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]


def is_traced(x_TBI: Tensor) -> bool:
    """Whether operators are traced or intercepted, so that this kernel has to be one of them."""
    if torch.compiler.is_compiling():
        return True
    return (
        type(x_TBI) not in (Tensor, torch.nn.Parameter)
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._is_torch_function_mode_enabled()
        or torch._C._get_tracing_state() is not None
    )


def check_memory(values: Iterable[Any]) -> None:
    """Check that no tensor's memory was freed, before an operator of torch reads it, which may end the process.

    Raises:
        ShapeError: one was.
    """
    if not torch.compiler.is_compiling() and any(map(_is_freed, values)):
        raise ShapeError(
            "the memory of an input, a state or a weight was freed",
            should="tensors with memory",
            found="a storage of no bytes",
            hint="call the layer while its weights are there: FSDP frees those of a module between its calls",
        )


def refusal_of_zeros(values: Iterable[Tensor]) -> str | None:
    """Return why torch's own operator cannot run a call: its LSTM reads zeros that have no memory as other numbers."""
    if not torch.compiler.is_compiling() and any(value._is_zerotensor() for value in values):
        return "an input, a state or a weight is a tensor of zeros without memory"
    return None


def _is_freed(value: Any) -> bool:
    return (
        type(value) in (Tensor, torch.nn.Parameter)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and value.numel() > 0
        and torch._C._has_storage(value)
        and not value._is_zerotensor()
        and not torch._is_functional_tensor(value)
        and not torch._C._functorch.is_functorch_wrapped_tensor(value)
        and value.untyped_storage().nbytes() == 0
    )


def is_batched(tensor: Tensor) -> bool:
    """Whether a tensor is many at once, inside `torch.func.vmap` or a batched gradient; it has no memory of its own."""
    functorch = torch._C._functorch
    return functorch.is_batchedtensor(tensor) or functorch.is_legacy_batchedtensor(tensor)


def eager_gradients(
    cell: Steps, reverse: bool, call: Call, need: tuple[bool, ...], d_outputs: tuple[Tensor | None, ...]
) -> list[Tensor | None]:
    """Return the gradients of the call, as a graph where gradients are enabled, by running the eager kernel again.

    It runs on views of the call's tensors. A state that an earlier call has made depends on the same weights, and what
    reaches them by that way is for the earlier call to add.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        call = Call(*(None if t is None else t.view_as(t) for t in call))  # type: ignore[arg-type]
        state = (call.h_BH,) if call.c_BH is None else (call.h_BH, call.c_BH)
        initial = tuple(i for i in (call.h_initial, call.c_initial) if i is not None)
        weights = Weights(call.ih, call.hh, call.b_ih, call.b_hh, initial=initial or None)
        y_TBH, after = eager.unroll(
            cell, call.x_TBI, state, weights, lengths=call.lengths, resets=call.resets, reverse=reverse
        )
        pairs = [(r, g) for r, g in zip((y_TBH, *after), d_outputs, strict=False) if g is not None and r.requires_grad]
        sources = [t for t, n in zip(call, need, strict=True) if n and t is not None]
        results, grads = [r for r, _ in pairs], [g for _, g in pairs]
        gradients = iter(torch.autograd.grad(results, sources, grads, create_graph=create_graph, allow_unused=True))
    return [next(gradients) if n else None for n in need]
