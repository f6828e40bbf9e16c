"""Explanation of a call: which kernel runs it, and why each faster one does not."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from elman.errors import ElmanError
from elman.kernels.dispatch import TORCH, Choice, choose, explained
from elman.kernels.eager import Options
from elman.layers.cells import DropInCell
from elman.layers.recurrent import Hidden, Recurrent


class Explanation(NamedTuple):
    """What a call would run on: a kernel, or torch's own operator.

    Attributes:
        layer: the layer's repr.
        choices: the choice for each layer and direction, by the suffix of its parameters ("l0", "l0_reverse", ...),
            or "step" for a cell.
    """

    layer: str
    choices: dict[str, Choice]

    def __str__(self) -> str:
        lines = [self.layer]
        for suffix, (name, refusals, how) in self.choices.items():
            operator = "torch's own operator" if name == TORCH else f"the kernel {name!r}"
            lines.append(f"  {suffix}: runs on {operator}" + (f", {how}" if how else ""))
            lines += [f"    not on {faster!r}: {why}" for faster, why in refusals.items()]
        return "\n".join(lines)


def explain(
    layer: nn.Module,
    input: Tensor | PackedSequence,
    hx: Hidden | None = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    resets: Tensor | None = None,
) -> Explanation:
    """Say which kernel, or torch's operator, `layer(input, hx, lengths=..., resets=...)` runs on; nothing is computed.

    Whether gradients are needed is part of the answer: ask in the mode (`torch.no_grad()`, `layer.eval()`) of the call.

    Raises:
        ElmanError: the layer is not one of elman's layers or cells.
        ShapeError: as in `Recurrent.forward`.
    """
    if isinstance(layer, DropInCell) and lengths is None and resets is None:
        return Explanation(repr(layer), {"step": layer.choose(input, hx)})
    if not isinstance(layer, Recurrent):
        raise ElmanError(
            "explain is for elman's layers",
            should="elman.RNN, GRU, LSTM or Recurrent, or a cell",
            found=f"{type(layer).__module__}.{type(layer).__name__}",
            hint=_hint(layer) if isinstance(layer, nn.Module) else None,
        )
    own_lengths = lengths
    if isinstance(input, PackedSequence):
        input, lengths = layer.unpack(input, lengths, resets)
    x_TBI, state, lengths_B, resets_TB = layer.prepare(input, hx, lengths, resets)
    refusal = None if layer._observer is not None else partial(layer.torch_refusal, x_TBI, own_lengths, resets)
    first: Choice | None = None
    choices: dict[str, Choice] = {}
    for k in range(layer.num_layers):
        width = x_TBI if k == 0 else x_TBI.new_zeros(*x_TBI.shape[:2], layer.output_size)
        for d in range(layer.num_directions):
            before = tuple(s[len(choices)] for s in state)
            weights = layer.weights(k, d)
            options: Options = {"lengths": lengths_B, "resets": resets_TB, "reverse": d == 1}
            if first is None or first.name != TORCH:  # torch's operator runs all or none of them
                choice = choose(layer.cell, width, before, weights, None if first else refusal, **options)
            first = first or choice
            choices[f"l{k}" + ("_reverse" if d else "")] = explained(choice, layer.cell, width, weights)
    return Explanation(repr(layer), choices)


def _hint(model: nn.Module) -> str:
    inside = [name for name, module in model.named_modules() if isinstance(module, Recurrent | DropInCell)]
    if inside:
        return f"one of the layers inside: {', '.join(inside)}, with the input that it gets"
    return "elman.accelerate(model) swaps torch's layers, and says why where it does not"
