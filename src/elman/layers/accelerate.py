"""Replacement of torch.nn's recurrent layers by elman's, inside an existing model."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from elman.layers import LAYERS, layer_class
from elman.layers.recurrent import Recurrent


class Acceleration(NamedTuple):
    """What `accelerate` did, by the name of each recurrent layer in the model ("" is the model itself).

    Attributes:
        model: the model; another object than before only if it was a torch layer itself.
        swapped: the new layers.
        kept: the layers that are left, each with the reason.
    """

    model: nn.Module
    swapped: dict[str, Recurrent]
    kept: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{name or 'the model, as .model'}: now {layer!r}" for name, layer in self.swapped.items()]
        lines += [f"{name or 'the model'}: left alone, {why}" for name, why in self.kept.items()]
        return "\n".join(lines) or "no recurrent layers of torch.nn in this model"


# The layers that torch.nn has too, under the same name.
TWINS: dict[type[nn.RNNBase], type[Recurrent]] = {
    theirs: ours
    for ours in map(layer_class, LAYERS)
    if isinstance(theirs := getattr(nn, ours.__name__, None), type) and issubclass(theirs, nn.RNNBase)
}


def accelerate(model: nn.Module) -> Acceleration:
    """Swap every `torch.nn.RNN`, `GRU` and `LSTM` inside a model for elman's, sharing the parameters.

    The parameters are the same objects, so optimisers, state dicts and tied weights go on as they were. What would
    behave differently is left alone, with the reason.

    Returns:
        The model, what was swapped and what was not; it can be printed.
    """
    kept: dict[str, str] = {}
    twins: dict[str, Recurrent] = {}
    of_module: dict[nn.Module, Recurrent] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, nn.RNNCellBase):
            kept[name] = "it is a single step, which the program around it repeats; elman's layers have .step"
        if not isinstance(module, nn.RNNBase):
            continue
        why = _why_not(module)
        if why is not None:
            kept[name] = why
            continue
        if module not in of_module:
            of_module[module] = twin_of(module)
        twins[name] = of_module[module]
    for name, twin in twins.items():
        parent, _, attribute = name.rpartition(".")
        if name:
            setattr(model.get_submodule(parent), attribute, twin)
        else:
            model = twin
    return Acceleration(model, twins, kept)


def _why_not(module: nn.RNNBase) -> str | None:
    if hasattr(module, "parametrizations") or not all(isinstance(w, nn.Parameter) for w in module._flat_weights):
        return "its weights are computed (parametrizations, weight_norm); swap first, then parametrize"
    if type(module) not in TWINS:
        return f"it is a {type(module).__name__}, a class of its own that may do more than torch.nn's"
    build: Any = type(module)
    with torch.device("meta"):
        plain = build(1, 1)  # to see what belongs to every layer of the kind
    hooks = [name for name, value in vars(module).items() if "hooks" in name and value]
    if hooks:
        return "it has hooks, which expect the old module; remove them, swap, register them again"
    more = [*(vars(module).keys() - vars(plain).keys()), *module._buffers, *module._modules]
    more += module._parameters.keys() - set(module._flat_weights_names)
    if more:
        return f"it carries more than torch gave it ({', '.join(sorted(more))}), which the twin would not have"
    return None


def twin_of(module: nn.RNNBase) -> Recurrent:
    """Return the layer of ours that does what a layer of torch.nn does, with the same parameters."""
    options: dict[str, object] = {
        "num_layers": module.num_layers,
        "bias": module.bias,
        "batch_first": module.batch_first,
        "dropout": module.dropout,
        "bidirectional": module.bidirectional,
    }
    if isinstance(module, nn.RNN):
        options["nonlinearity"] = module.nonlinearity
    if isinstance(module, nn.LSTM):
        options["proj_size"] = module.proj_size
    build: Any = next(ours for theirs, ours in TWINS.items() if isinstance(module, theirs))
    # On the meta device nothing is allocated or drawn: the random state stays as it was.
    with torch.device("meta"):
        twin: Recurrent = build(module.input_size, module.hidden_size, **options)
    share_weights(module, twin)
    return twin.train(module.training)


def share_weights(module: nn.RNNBase, twin: Recurrent) -> None:
    """Give `twin` the weights of `module`: the same objects, or what a parametrisation makes of its own now."""
    twin._parameters.update({name: getattr(module, name) for name in module._flat_weights_names})
