"""`Chain`: a model that is an embedding, recurrent layers and dense layers, one after the other.

Each step needs the past alone, so that a program in C and a plug-in can run it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elman.errors import ExportError
from elman.exporters.stack import Array, LayerStack, is_layer, stack_of
from elman.models.language_model import LanguageModel
from elman.modules.dropout import SequenceDropout
from elman.modules.softmax import FullSoftmax

ACTIVATIONS: dict[type[nn.Module], str] = {nn.Tanh: "tanh", nn.ReLU: "relu", nn.Sigmoid: "sigmoid"}
"""The functions behind a dense layer, by torch's class."""

NONLINEARITIES: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0.0),
    "identity": lambda x: x,
}
"""The functions of cells and dense layers in NumPy."""

IDLE = (nn.Identity, nn.Dropout, SequenceDropout)
"""What does nothing outside training."""


@dataclass(frozen=True)
class Dense:
    """One layer without a past: f(A x + b).

    Attributes:
        A: (O, I).
        b: (O,), or None.
        activation: f: "tanh", "relu", "sigmoid" or, for none, "identity".
    """

    A: Array
    b: Array | None
    activation: str = "identity"


@dataclass(frozen=True)
class Chain:
    """A model whose step needs the past alone.

    Attributes:
        embedding: the vector of each symbol, (V, I), where the input is a symbol; None where it is numbers.
        stack: the recurrent layers.
        dense: the layers behind them.
        title: the model, as messages call it.
    """

    embedding: Array | None
    stack: LayerStack
    dense: tuple[Dense, ...]
    title: str

    @property
    def output_size(self) -> int:
        """O, the numbers of an output."""
        return len(self.dense[-1].A) if self.dense else self.stack.output_size


def chain_of(model: nn.Module) -> Chain:
    """Return a recurrent layer, or a model that holds one and layers before and behind it, as a chain.

    The order of a model's layers is the one in which it holds them; only a comparison with its outputs shows whether
    its `forward` runs them in this order, and nothing else.

    Raises:
        ExportError: the model holds something else, or its recurrent layers cannot be exported.
    """
    if is_layer(model):
        return Chain(None, stack_of(model), (), type(model).__name__)
    if isinstance(model, LanguageModel):
        return _of_language_model(model)
    title = type(model).__name__
    parts = [part for part in _parts(model) if not isinstance(part, IDLE)]
    before, layers, behind = _split(title, parts)
    stack = stack_of(layers)
    embedding = _array(title, before[0].weight) if before else None
    width = stack.output_size
    dense: list[Dense] = []
    for part in behind:
        if isinstance(part, nn.Linear):
            if part.in_features != width:
                raise ExportError(
                    f"the layers of {title} do not fit each other in the order in which it holds them",
                    should=f"a Linear layer of {width} inputs", found=f"one of {part.in_features}",
                )  # fmt: skip
            dense.append(Dense(_array(title, part.weight), None if part.bias is None else _array(title, part.bias)))
            width = part.out_features
        else:
            dense[-1] = Dense(dense[-1].A, dense[-1].b, ACTIVATIONS[type(part)])
    return Chain(embedding, stack, tuple(dense), title)


def _parts(model: nn.Module) -> Iterator[nn.Module]:
    for child in model.children():
        if isinstance(child, nn.Sequential):
            yield from _parts(child)
        else:
            yield child


def _split(title: str, parts: list[nn.Module]) -> tuple[list[Any], nn.Module, list[nn.Module]]:
    places = [place for place, part in enumerate(parts) if is_layer(part)]
    before, behind = (parts[: places[0]], parts[places[0] + 1 :]) if len(places) == 1 else ([], [])
    linear_before = False
    for part in behind:
        if type(part) not in (*ACTIVATIONS, nn.Linear) or (type(part) in ACTIVATIONS and not linear_before):
            break
        linear_before = type(part) is nn.Linear
    else:
        if len(places) == 1 and (not before or (len(before) == 1 and _is_table(before[0]))):
            return before, parts[places[0]], behind
    raise ExportError(
        f"{title} is not a model whose steps a program of its own can run",
        should="an Embedding or none, a recurrent layer, then Linear layers, each with Tanh, ReLU, Sigmoid or nothing",
        found=", ".join(type(part).__name__ for part in parts) or "no layers",
        hint="export its recurrent layer alone, or --to onnx",
    )


def _is_table(part: nn.Module) -> bool:
    return type(part) is nn.Embedding and part.max_norm is None


def _of_language_model(model: LanguageModel) -> Chain:
    title = "the language model"
    if not isinstance(model.output, FullSoftmax):
        raise ExportError(
            "the adaptive softmax of this language model has no one output layer",
            should="softmax=full", found="softmax=adaptive", hint="train with --set softmax=full, or --to onnx",
        )  # fmt: skip
    table = _array(title, model.embedding.weight)
    unknown = np.zeros_like(table[:1])  # the vector of every symbol from V on
    output = Dense(_array(title, model.output.output_weight), _array(title, model.output.bias))
    return Chain(np.concatenate([table, unknown]), stack_of(model.recurrent), (output,), title)


def _array(title: str, tensor: Tensor) -> Array:
    array: Array = tensor.detach().cpu().to(torch.float64).numpy()
    if not np.isfinite(array).all():
        raise ExportError(
            f"{title} has weights that are not finite",
            should="finite weights", found="a weight that is infinite or not a number",
            hint="train again, with a smaller learning rate",
        )  # fmt: skip
    return array
