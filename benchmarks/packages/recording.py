"""The calls of the recurrent layers of a model, so that the layers can be run and timed alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

Call = tuple[tuple[Any, ...], dict[str, Any]]


def recurrent_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers and cells of a model by name."""
    kinds = (nn.RNNBase, nn.RNNCellBase)
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}


def record(model: nn.Module, run: Callable[[], object]) -> dict[str, list[Call]]:
    """Run a model and return the arguments of every call of its recurrent layers, as tensors without a past."""
    calls: dict[str, list[Call]] = {}
    handles = []
    for name, layer in recurrent_layers(model).items():

        def hook(_: nn.Module, args: tuple[Any, ...], options: dict[str, Any], name: str = name) -> None:
            calls.setdefault(name, []).append((leaf(args), leaf(options)))

        handles.append(layer.register_forward_pre_hook(hook, with_kwargs=True))
    run()
    for handle in handles:
        handle.remove()
    return calls


def leaf(value: Any) -> Any:
    """Return a value whose tensors are leaves that want a gradient where they wanted one before."""
    if isinstance(value, PackedSequence):
        return value._replace(data=leaf(value.data))
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, dict):
        return {key: leaf(item) for key, item in value.items()}
    return type(value)(map(leaf, value)) if isinstance(value, list | tuple) else value


def layer_runs(models: dict[str, Any], calls: dict[str, list[Call]], train: bool) -> dict[str, Callable[[], object]]:
    """Return, for each model and layer, a function that repeats the calls of that layer alone."""
    return {
        f"{side} {name}": repeat(model.get_submodule(name), layer_calls, train)
        for name, layer_calls in calls.items()
        for side, model in models.items()
    }


def repeat(layer: nn.Module, calls: list[Call], train: bool) -> Callable[[], object]:
    """Return a function that runs a layer forward, and backward where that is asked for."""

    def forward(args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
        result = layer(*args, **options)
        first = result[0] if isinstance(result, tuple) else result
        return first.data if isinstance(first, PackedSequence) else first

    with torch.no_grad():
        gradients = [torch.randn_like(forward(*call)) for call in calls]

    def run() -> None:
        layer.train(train)
        with torch.set_grad_enabled(train):
            outputs = [forward(*call) for call in calls]
            if train:
                torch.autograd.backward(outputs, gradients)

    return run


def sizes(model: nn.Module, name: str, calls: list[Call]) -> dict[str, Any]:
    """Return the kind and the sizes of a layer in the longest of its calls."""
    layer: Any = model.get_submodule(name)
    tensors = [(args or tuple(options.values()))[0] for args, options in calls]
    shapes = [shape(layer, tensor) for tensor in tensors]
    T, B = max(shapes)
    kinds = {"LSTM": (nn.LSTM, nn.LSTMCell), "GRU": (nn.GRU, nn.GRUCell), "RNN": (nn.Module,)}
    kind = next(kind for kind, classes in kinds.items() if isinstance(layer, classes))
    return {"name": name, "cell": kind, "calls": len(calls), "case": [T, B, layer.input_size, layer.hidden_size]}


def shape(layer: Any, x: Any) -> tuple[int, int]:
    """Return the length and the batch of an input."""
    if isinstance(x, PackedSequence):
        return len(x.batch_sizes), int(x.batch_sizes[0])
    if isinstance(layer, nn.RNNCellBase):
        return 1, len(x) if x.dim() == 2 else 1
    if x.dim() == 2:
        return len(x), 1
    return (x.shape[1], x.shape[0]) if layer.batch_first else (x.shape[0], x.shape[1])
