"""The output layer with its loss: logits V s + c, softmax and cross-entropy, without the logits in memory.

Loss and gradients are made in one pass over chunks of rows: what comes after a mean or a sum changes its gradients by
one factor only, so that they are made with the loss, and scaled in the backward pass.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from elman.errors import SettingError, unknown_name
from elman.kernels import cpu, dispatch
from elman.kernels.call import check_memory, is_batched, is_traced, refusal_of_mode_for
from elman.kernels.cpu import passes
from elman.shapes import check_shape

if passes.missing is None:
    from elman.kernels.cpu import _engine

REDUCTIONS = ("mean", "sum", "none")

MAX_LOGITS = 1 << 24
"""Logits of torch's operators at a time without gradients: 64 MB in float32, and several times that in the softmax."""

LEAST_VOCABULARY = 512
"""Symbols from which on the engine is quicker than torch's two operators: docs/results/output-layer.md."""


class LossOptions(NamedTuple):
    """The options of `linear_cross_entropy`, whose docstring has them."""

    ignore_index: int
    reduction: str
    label_smoothing: float
    z_loss: float


def linear_cross_entropy(
    s: Tensor, V: Tensor, c: Tensor | None, target: Tensor, *,
    weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> Tensor:  # fmt: skip
    """Return the cross-entropy of softmax(V s + c), as torch's `linear` and `cross_entropy` do in two calls.

    On the CPU, in float32 and float64, the logits are made, used for the loss and all gradients, and dropped, a chunk
    of rows at a time; the results do not depend on the number of threads. For fewer than 512 symbols torch's operators
    are quicker, and run; so they do for other devices and types, under autocast and under transforms.

    Args:
        s: features, (N, H).
        V: the weight of the output layer, (vocabulary, H).
        c: its bias, (vocabulary,), or None.
        target: the symbols, (N,), int64.
        weight: a factor of each symbol's loss, (vocabulary,); the mean is divided by the factors of the targets.
        ignore_index: the target that has no loss.
        reduction: `mean` over the targets that have a loss, `sum`, or `none`, a loss for each row.
        label_smoothing: probability that is distributed over all symbols (Szegedy et al. 2016,
            https://arxiv.org/abs/1512.00567).
        z_loss: factor of log(sum of e^logit)^2, which is added to each row's loss and keeps logits near zero (Chowdhery
            et al. 2022, https://arxiv.org/abs/2204.02311); its mean is one over the rows that have a loss.

    Returns:
        A scalar, or (N,) for `none`, of the type of s.

    Raises:
        ShapeError: shapes that do not match.
        SettingError: an unknown reduction, or a label smoothing outside [0, 1].
        IndexError: a target outside the vocabulary.
        TypeError: an argument is no tensor.
    """
    for name, value in {"s": s, "V": V, "target": target, "c": c, "weight": weight}.items():
        if not isinstance(value, Tensor) and (value is not None or name in ("s", "V", "target")):
            raise TypeError(f"linear_cross_entropy(): argument {name!r} must be Tensor, not {type(value).__name__}")
    sizes = check_shape("V", V, "VH")
    check_shape("s", s, "NH", H=sizes["H"])
    check_shape("target", target, "N", N=s.shape[0])
    for name, tensor in (("c", c), ("weight", weight)):
        if tensor is not None:
            check_shape(name, tensor, "V", V=sizes["V"])
    if reduction not in REDUCTIONS:
        raise unknown_name("reduction", reduction, REDUCTIONS)
    if not 0 <= label_smoothing <= 1:
        raise SettingError("invalid label_smoothing", should="a number from 0 to 1", found=str(label_smoothing))
    options = LossOptions(ignore_index, reduction, float(label_smoothing), float(z_loss))
    why = refusal(s, V, c, target, weight)
    if why is not None:
        dispatch.check_strict_output(s, why)
    if why is not None or len(V) < LEAST_VOCABULARY:
        check_memory((s, V, c, target, weight))
        return _by_torch(s, V, c, target, weight, options)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (s, V, c)):
        loss: Tensor = _LinearCrossEntropy.apply(s, V, c, target, weight, options)  # type: ignore[no-untyped-call]
        return loss
    call = _Call(s, V, c, target, weight, options)
    return call.reduced(call.run(None, (False, False, False))[0])


def refusal(s: Tensor, V: Tensor, c: Tensor | None, target: Tensor, weight: Tensor | None) -> str | None:
    """Return why the engine cannot run the call, in plain words, or None."""
    why = cpu.refusal_of_engine()
    if why is not None:
        return why
    every = [t for t in (s, V, c, weight) if t is not None]
    if is_traced(s) or is_traced(V):
        return "operators are being traced or intercepted, or a tensor is of a class of its own"
    if not _engine.alike(*every) or target.device.type != "cpu" or target.dtype != torch.int64:
        return "the tensors are not all float32 or all float64, with int64 targets, in memory of their own on the CPU"
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on, and asks for another number type than the tensors have"
    if V.numel() == 0:
        return "there is nothing to compute"
    if weight is not None and weight.requires_grad:
        return "the gradient of the symbols' weights is asked for"
    return refusal_of_mode_for(every)


class _Call:
    """A call that the engine runs."""

    def __init__(
        self, s: Tensor, V: Tensor, c: Tensor | None, target: Tensor, weight: Tensor | None, options: LossOptions
    ) -> None:
        s, V = s.detach(), V.detach().contiguous()
        self.s = s if s.stride(1) == 1 or s.shape[1] < 2 else s.contiguous()
        self.given = (V, None if c is None else c.detach().contiguous(), target.contiguous())
        self.weight = None if weight is None else weight.detach().contiguous()
        self.options = options
        counted_N = target != options.ignore_index
        self.count = float(counted_N.sum())
        self.total = self.count
        if self.weight is not None:  # a target out of bounds is the engine's to refuse
            of_target_N = self.weight[target.clamp(0, len(V) - 1)]
            self.total = float(torch.where(counted_N, of_target_N, 0).sum(dtype=torch.float64))

    def scale(self) -> Tensor:
        """Return the factor of each row's loss in the result of a mean or a sum."""
        mean = self.options.reduction == "mean" and self.total != 0
        return self.s.new_full((len(self.s),), 1 / self.total if mean else 1.0)

    def reduced(self, loss_N: Tensor) -> Tensor:
        if self.options.reduction == "none":
            return loss_N
        return loss_N.sum() / self.total if self.options.reduction == "mean" else loss_N.sum()

    def run(self, scale_N: Tensor | None, need: tuple[bool, ...]) -> tuple[Tensor, list[Tensor | None]]:
        """Return the loss of each row, and the needed gradients of s, V and c under these factors of the rows."""
        V, c, target = self.given
        z = self.options.z_loss
        if self.options.reduction == "mean" and self.weight is not None and self.count:
            z *= self.total / self.count
        shapes = [t if n else None for t, n in zip((self.s, V, c), need, strict=True)]
        single = self.s.dtype == torch.float32
        loss_N, *made = _engine.fresh(((len(self.s),), *shapes), single, passes.LARGE, passes.poison)
        call = (self.s, V, c, target, self.weight, scale_N, loss_N, *made)
        options = (self.options.ignore_index, self.options.label_smoothing, z)
        _engine.linear_cross_entropy(call, *options, torch.get_num_threads())
        return loss_N, made


class _LinearCrossEntropy(torch.autograd.Function):
    """The loss as a node of autograd.

    Of a mean or a sum the gradients are made with the loss, given out once, and made again if they are asked for again;
    those of single rows' losses wait for the rows' factors. For a graph of its own (double backward) or a batch of
    gradients at once torch's operators run instead.
    """

    @staticmethod
    def forward(
        ctx: Any, s: Tensor, V: Tensor, c: Tensor | None, target: Tensor, weight: Tensor | None, options: LossOptions
    ) -> Tensor:
        ctx.save_for_backward(s, V, c, target, weight)
        ctx.options, ctx.made = options, None
        call = _Call(s, V, c, target, weight, options)
        if options.reduction == "none":
            return call.run(None, (False, False, False))[0]
        loss_N, ctx.made = call.run(call.scale(), ctx.needs_input_grad[:3])
        return call.reduced(loss_N)

    @staticmethod
    def backward(ctx: Any, d_loss: Tensor) -> tuple[Tensor | None, ...]:
        need = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled() or is_batched(d_loss):
            return (*_gradients_by_torch(ctx.saved_tensors, ctx.options, need, d_loss), None, None, None)
        made, ctx.made = ctx.made, None
        if made is None:
            s, V, c, target, weight = ctx.saved_tensors
            call = _Call(s, V, c, target, weight, ctx.options)
            if ctx.options.reduction == "none":
                return (*call.run(d_loss.resolve_neg().contiguous(), need)[1], None, None, None)
            made = call.run(call.scale(), need)[1]
        factor = float(d_loss)
        if factor != 1:
            for gradient in made:
                if gradient is not None:
                    gradient.mul_(factor)
        return (*made, None, None, None)


def _gradients_by_torch(
    given: tuple[Tensor | None, ...], options: LossOptions, need: tuple[bool, ...], d_loss: Tensor
) -> list[Tensor | None]:
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        s, V, c, target, weight = (None if t is None else t.view_as(t) for t in given)
        assert s is not None and V is not None and target is not None
        loss = _by_torch(s, V, c, target, weight, options)
        sources = [t for t, n in zip((s, V, c), need, strict=True) if n and t is not None]
        made = iter(torch.autograd.grad(loss, sources, d_loss, create_graph=create_graph))
    return [next(made) if n else None for n in need]


def _by_torch(
    s: Tensor, V: Tensor, c: Tensor | None, target: Tensor, weight: Tensor | None, options: LossOptions
) -> Tensor:
    rows = max(1, MAX_LOGITS // max(1, len(V)))
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or len(s) <= rows or options.reduction == "mean":
        return _by_operators(s, V, c, target, weight, options)
    chunks = zip(torch.split(s, rows), torch.split(target, rows), strict=True)
    losses = [_by_operators(s, V, c, target, weight, options) for s, target in chunks]
    return torch.stack(losses).sum() if options.reduction == "sum" else torch.cat(losses)


def _by_operators(
    s: Tensor, V: Tensor, c: Tensor | None, target: Tensor, weight: Tensor | None, options: LossOptions
) -> Tensor:
    ignore_index, reduction, label_smoothing, z_loss = options
    logits_NV = functional.linear(s, V, c)
    loss = functional.cross_entropy(
        logits_NV, target, weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing
    )
    if z_loss == 0:
        return loss
    counted_N = target != ignore_index
    square_N = torch.where(counted_N, logits_NV.to(loss.dtype).logsumexp(1).square(), 0)
    if reduction == "none":
        return loss + z_loss * square_N
    return loss + z_loss * square_N.sum() / (counted_N.sum() if reduction == "mean" else 1)
