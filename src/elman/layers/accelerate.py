"""Acceleration of the layers and cells inside an existing model: torch.nn's objects, with elman's `forward`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from types import MethodType
from typing import Any, NamedTuple

import torch
from torch import nn

from elman.errors import ElmanError
from elman.kernels.dispatch import Stepper, choose
from elman.layers import LAYERS, layer_class
from elman.layers.cell import Cell
from elman.layers.cells import CELLS, DropInCell
from elman.layers.drop_in import MODES, OWN, DropIn, stands_for
from elman.layers.recurrent import Recurrent
from elman.layers.stack import RecurrentBase


class Acceleration(NamedTuple):
    """What `accelerate` or `decelerate` did, by the name of each recurrent layer or cell ("" is the model itself).

    Attributes:
        model: the model, the same object.
        swapped: the layers and cells that run by another `forward` now; the same objects too.
        kept: those that are left as they were, each with the reason.
    """

    model: nn.Module
    swapped: dict[str, nn.Module]
    kept: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{name or 'the model'}: now {_owner(layer)} {layer!r}" for name, layer in self.swapped.items()]
        lines += [f"{name or 'the model'}: left alone, {why}" for name, why in self.kept.items()]
        return "\n".join(lines) or "nothing to do: this model has no recurrent layers"


def _owner(layer: nn.Module) -> str:
    return "elman's" if isinstance(layer, _OURS) else "torch's"


_OURS = (Recurrent, DropInCell)


# The layers that torch.nn has too, by torch's class.
TWINS: dict[type[nn.RNNBase], type[DropIn]] = {
    ours.torch_class: ours for ours in map(layer_class, LAYERS) if issubclass(ours, DropIn)
}
# The same with the cells.
ALL_TWINS: dict[type, type[DropIn] | type[DropInCell]] = {**TWINS, **CELLS}


def accelerate(model: nn.Module) -> Acceleration:
    """Make every `torch.nn.RNN`, `GRU`, `LSTM` and cell of these inside a model run by elman's `forward`.

    The modules stay the same objects, of a class derived from their own: isinstance, parameters, hooks, names and
    further attributes are as before. So are those in lists, tuples and dictionaries that a module holds, and bound
    `forward` methods. What would behave differently or gain nothing is left alone, with the reason.
    `decelerate` undoes it.

    Returns:
        The model, what was swapped and what was not; it can be printed.

    Raises:
        ElmanError: `model` is no module.
    """
    return _convert(model, _why_not, _accelerate)


def decelerate(model: nn.Module) -> Acceleration:
    """Make elman's layers and cells inside a model torch.nn's again, where torch.nn has them; undo `accelerate`.

    Returns:
        The model, what was swapped and what was not; it can be printed.

    Raises:
        ElmanError: `model` is no module.
    """
    return _convert(model, _why_not_back, _decelerate)


def _convert(
    model: nn.Module, refusal: Callable[[Any], str | None], convert: Callable[[Any], None]
) -> Acceleration:  # fmt: skip
    if not isinstance(model, nn.Module):
        raise ElmanError(
            "the model is no module",
            should="an instance of torch.nn.Module",
            found=f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__,
            hint=_hint_of_model(model),
        )
    swapped: dict[str, nn.Module] = {}
    kept: dict[str, str] = {}
    places = list(_layers(model))
    reasons = {layer: refusal(layer) for _, layer in places}  # before anything changes: a name may come twice
    for layer, why in reasons.items():
        if why is None:
            try:
                convert(layer)
            except Exception as error:
                reasons[layer] = f"its class cannot be derived from ({error})"
    for name, layer in places:
        why = reasons[layer]
        if why is None:
            swapped[name] = layer
        else:
            kept[name] = why
    for module in model.modules():
        for name, value in vars(module).items():
            if name not in ("_parameters", "_buffers", "_modules"):
                vars(module)[name] = _with_new_methods(value)
    return Acceleration(model, swapped, kept)


def _hint_of_model(value: Any) -> str | None:
    if isinstance(value, type):
        return f"an instance: {value.__name__}(...)"
    if isinstance(value, list | tuple):
        return "each of its modules by itself"
    names = [name for name, item in getattr(value, "__dict__", {}).items() if isinstance(item, nn.Module)]
    return f"its module inside: .{' or .'.join(names)}" if names else None


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the name of every recurrent layer or cell that a module holds, registered or in a container, and itself."""
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, _KINDS):
            yield name, module
        for attribute, value in vars(module).items():
            if attribute not in ("_parameters", "_buffers", "_modules"):
                yield from _held(f"{name}.{attribute}" if name else attribute, value)


_TORCHS = (nn.RNNBase, nn.RNNCellBase)
_KINDS = (*_TORCHS, Recurrent)


def _held(name: str, value: Any, above: tuple[int, ...] = ()) -> Iterator[tuple[str, nn.Module]]:
    if id(value) in above:  # a container that holds itself
        return
    above = (*above, id(value))
    if isinstance(value, MethodType) and isinstance(value.__self__, _TORCHS):
        yield f"{name} (a method)", value.__self__
    elif isinstance(value, nn.Module):
        for inner, module in value.named_modules():
            if isinstance(module, _KINDS):
                yield f"{name}.{inner}" if inner else name, module
    elif isinstance(value, list | tuple):
        for k, item in enumerate(value):
            yield from _held(f"{name}[{k}]", item, above)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _held(f"{name}[{key!r}]", item, above)


def _with_new_methods(value: Any, above: tuple[int, ...] = ()) -> Any:
    """Return a value in which the bound methods of recurrent layers are those of their present class.

    A container is written to only where it holds such a method, since some refuse to be changed.
    """
    if id(value) in above:
        return value
    above = (*above, id(value))
    if isinstance(value, MethodType) and isinstance(value.__self__, _TORCHS):
        method = getattr(value.__self__, value.__func__.__name__, value)
        return method if isinstance(method, MethodType) else value
    if isinstance(value, list | dict):
        for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
            if (new := _with_new_methods(item, above)) is not item:
                value[key] = new
    elif type(value) is tuple:
        items = tuple([_with_new_methods(item, above) for item in value])
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    return value


def _why_not(module: nn.Module) -> str | None:
    if isinstance(module, _OURS):
        return "it is elman's already"
    torch_class = next((base for base in type(module).__mro__ if base in ALL_TWINS), None)
    if torch_class is None:
        return f"it is a {type(module).__name__}, none of torch.nn's RNN, GRU, LSTM and cells of these"
    if hasattr(module, "parametrizations"):
        return "its weights are computed (parametrizations); accelerate first, then parametrize"
    why = _why_not_class(type(module), torch_class) or _why_not_attributes(module, ALL_TWINS[torch_class])
    if why is None and isinstance(module, nn.RNNCellBase):
        return _why_not_step(module, torch_class)
    return why or _why_not_engine(module)


def _why_not_class(own: type, torch_class: type) -> str | None:
    for base in own.__mro__[: own.__mro__.index(torch_class)]:
        names = ("__call__", "_call_impl", *(["forward"] if issubclass(torch_class, nn.RNNCellBase) else []))
        name = next((name for name in names if name in vars(base)), None)
        if name is not None:
            return f"its class {base.__name__} has a {name} of its own"
        if "forward" in vars(base) and not _calls_super(vars(base)["forward"]):
            return f"its class {base.__name__} has a forward of its own that does not call super().forward"
    return None


def _calls_super(forward: Any) -> bool:
    """Whether a class's own `forward` calls that of the next class by `super()`, which elman's layer then is."""
    code = getattr(forward, "__code__", None)
    return code is not None and "__class__" in code.co_freevars and {"super", "forward"} <= {*code.co_names}


def _why_not_attributes(module: nn.Module, twin: type[DropIn] | type[DropInCell]) -> str | None:
    """Return the attributes that the layer or its class already uses for something else than elman's layer does."""
    torch_class = twin.torch_class
    if "forward" in vars(module):
        return "its forward was replaced by another"
    bases = (twin, DropInCell) if issubclass(twin, DropInCell) else (twin, DropIn, Recurrent, RecurrentBase)
    new = {name for base in bases for name in vars(base)} - set(dir(torch_class))
    new = (new | set(OWN[:2])) - {"_flat_weights", "_flat_weight_refs"}
    members = {*vars(module), *module._parameters, *module._buffers, *module._modules}
    classes = type(module).__mro__[: type(module).__mro__.index(torch_class)]
    taken = new & members.union(*map(vars, classes))
    return f"it has attributes of names that elman's layer needs ({', '.join(sorted(taken))})" if taken else None


def _why_not_engine(module: Any) -> str | None:
    """Return why no engine would run the layer as it is, in which case torch's own operator would."""
    twin = twin_of(module)
    weights = twin.weights()
    if weights.ih.is_meta:
        return None
    device = weights.ih.device.type
    with torch.no_grad(), torch.autocast(device, enabled=False) if device in ("cpu", "cuda") else torch.no_grad():
        state = tuple(s[0] for s in twin.initial_state(1))
        x_TBI = weights.ih.new_zeros(1, 1, module.input_size)
        choice = choose(twin.cell, x_TBI, state, weights, lambda: None)
    here = {"triton": "cuda", "cpu": "cpu"}
    reasons = [why for name, why in choice.refusals.items() if device not in here.values() or here.get(name) == device]
    return f"no engine runs it: {'; '.join(reasons)}" if choice.name == "torch" else None


def _why_not_step(module: Any, torch_class: Any) -> str | None:
    """Return why no engine would run a step of the cell as it is."""
    weight = module.weight_ih
    if weight.is_meta:
        return None
    twin: Any = CELLS[torch_class].__new__(CELLS[torch_class])
    vars(twin).update(vars(module))
    with torch.no_grad():
        choice = twin.choose(weight.new_zeros(1, module.input_size))
    return f"no engine runs it: {'; '.join(choice.refusals.values())}" if choice.refusals else None


def _why_not_back(module: nn.Module) -> str | None:
    if not isinstance(module, _OURS):
        return "it is torch's"
    if isinstance(module, DropIn | DropInCell) and hasattr(module, "parametrizations"):
        return "its weights are computed (parametrizations)"
    if not isinstance(module, DropIn | DropInCell) or stands_for(type(module)) is type(module):
        return f"it is a {type(module).__name__}, a class that torch.nn does not have"
    if isinstance(module, DropInCell):
        return None
    if "mode" not in vars(module) or module.variational:
        return "it has options that torch.nn does not have"
    return None


def _accelerate(module: nn.Module) -> None:
    own: Any = type(module)
    module.__class__ = accelerated_class(own)
    if not isinstance(module, nn.RNNBase):
        return
    for name in ("_flat_weights", "_flat_weight_refs"):  # elman's are computed
        vars(module).pop(name, None)
    vars(module).update(cell=_cell(module), _stepper=Stepper())


def _decelerate(module: Any) -> None:
    module.__class__ = stands_for(type(module))
    for name in OWN:
        vars(module).pop(name, None)
    if isinstance(module, nn.RNNBase):
        module._init_flat_weights()


def _cell(module: nn.RNNBase) -> Cell:
    kernel = next(kernel for kernel, mode in MODES.items() if mode == module.mode)
    cells = (cell for twin in TWINS.values() for cell in twin.cells)
    return next(cell for cell in cells if cell.kernel == kernel)()


@cache
def accelerated_class(own: Any) -> Any:
    """Return the class of modules of the class `own` that run by elman's `forward`: elman's, or a child of both."""
    torch_class = next(base for base in own.__mro__ if base in ALL_TWINS)
    twin = ALL_TWINS[torch_class]
    if own is torch_class:
        return twin
    metaclass: Any = type(own)
    if not issubclass(type(twin), metaclass):
        metaclass = type(metaclass.__name__, (type(twin), metaclass), {})
    else:
        metaclass = type(twin)
    members = {name: vars(own)[name] for name in ("__module__", "__qualname__", "__doc__") if name in vars(own)}
    members |= {"_original": own, "extra_repr": own.extra_repr}
    if own.__reduce_ex__ is object.__reduce_ex__ and own.__reduce__ is object.__reduce__:
        members["__reduce_ex__"] = _reduce
    accelerated: Any = metaclass(own.__name__, (own, twin), members)
    return accelerated


def _reduce(self: Any, protocol: int) -> tuple[Any, ...]:
    return _restore, (stands_for(type(self)),), self.__getstate__()


def _restore(own: Any) -> nn.Module:
    accelerated: Any = accelerated_class(own)
    return accelerated.__new__(accelerated)  # type: ignore[no-any-return]


def twin_of(module: nn.RNNBase) -> Recurrent:
    """Return a layer of ours that does what a layer of torch.nn does, with the same parameters."""
    build: Any = next(twin for torch_class, twin in TWINS.items() if isinstance(module, torch_class))
    twin: Recurrent = build.__new__(build)
    nn.Module.__init__(twin)
    names: tuple[str, ...] = (
        "_flat_weights_names",
        "_all_weights",
        "mode",
        "input_size",
        "hidden_size",
        "num_layers",
        "bias",
    )
    names += ("batch_first", "dropout", "bidirectional", "proj_size", "training")
    names += ("nonlinearity",) if isinstance(module, nn.RNN) else ()
    vars(twin).update({name: getattr(module, name) for name in names}, cell=_cell(module), _stepper=Stepper())
    share_weights(module, twin)
    return twin


def share_weights(module: nn.RNNBase, twin: Recurrent) -> None:
    """Give `twin` the weights of `module`: the same objects, or what a parametrisation makes of its own now."""
    twin._parameters.update({name: getattr(module, name) for name in module._flat_weights_names})
