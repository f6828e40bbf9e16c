"""`RecurrentBase`, the layers and directions of a cell: sizes, parameters and initial states, with torch's names."""

from __future__ import annotations

import inspect
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from elman.kernels.dispatch import check_memory
from elman.kernels.weights import Weights
from elman.layers.cell import Cell, State
from elman.layers.initialise import initialise

FIRST = "weight_ih_l0"


class RecurrentBase(nn.Module):
    """What `Recurrent` runs; see there for the attributes."""

    cell: Cell
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    bidirectional: bool
    proj_size: int

    # Those of a layer that another class has built.
    init: str = "torch"
    learn_initial_state: bool = False

    @property
    def num_directions(self) -> int:
        """D: 2 when bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """Features of the output at each step: D * (P or H)."""
        return self.num_directions * self._state_sizes()[0]

    def _state_sizes(self) -> tuple[int, ...]:
        return (self.proj_size or self.hidden_size, *[self.hidden_size] * (len(self.cell.states) - 1))

    def _first_weight(self) -> Tensor:
        weight = self._parameters.get(FIRST)  # quicker than the attribute; a parametrised weight is not there
        return self.weight_ih_l0 if weight is None else weight  # type: ignore[return-value]

    def _create_parameters(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        rows, states = len(self.cell.gates) * self.hidden_size, self._state_sizes()
        for layer in range(self.num_layers):
            width = self.input_size if layer == 0 else self.output_size
            shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, width), "weight_hh": (rows, states[0])}
            if self.bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if self.proj_size:
                shapes["weight_hr"] = (self.proj_size, self.hidden_size)
            if self.learn_initial_state:
                shapes |= {f"initial_{name}": (size,) for name, size in zip(self.cell.states, states, strict=True)}
            for direction in range(self.num_directions):
                for name, shape in shapes.items():
                    parameter = Parameter(torch.empty(shape, device=device, dtype=dtype))
                    self.register_parameter(name + _suffix(layer, direction), parameter)

    def reset_parameters(self) -> None:
        """Fill all parameters anew by `init`; with "torch" and one seed the numbers are torch.nn's."""
        for weights in self._every_weights():
            initialise(self.init, self.cell, weights, self.hidden_size)

    def weights(self, layer: int = 0, direction: int = 0) -> Weights:
        """Return the parameters of one layer in one direction (0 forward, 1 reverse)."""
        suffix = _suffix(layer, direction)
        parameters = self._parameters

        def get(name: str) -> Any:
            # The dictionary first: a module's attributes take a microsecond each. Parametrised weights are not in it.
            weight = parameters.get(name + suffix)
            return getattr(self, name + suffix) if weight is None else weight

        return Weights(
            get("weight_ih"),
            get("weight_hh"),
            get("bias_ih") if self.bias else None,
            get("bias_hh") if self.bias else None,
            get("weight_hr") if self.proj_size else None,
            tuple(get(f"initial_{s}") for s in self.cell.states) if self.learn_initial_state else None,
        )

    def _every_weights(self) -> list[Weights]:
        return [self.weights(k, d) for k in range(self.num_layers) for d in range(self.num_directions)]

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters layer by layer, as torch.nn gives them."""
        return [[t for t in weights[:5] if t is not None] for weights in self._every_weights()]

    def flatten_parameters(self) -> None:
        """Do nothing; it is here because programs written for torch.nn call it."""

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first step: zeros or the learned one, (L*D, B, H) for each state."""
        if not self.learn_initial_state:
            first, count = self._first_weight(), self.num_layers * self.num_directions
            return tuple([first.new_zeros(count, batch_size, size) for size in self._state_sizes()])
        rows = [weights.initial or () for weights in self._every_weights()]
        check_memory(chain.from_iterable(rows))
        return tuple(torch.stack(each)[:, None].expand(-1, batch_size, -1) for each in zip(*rows, strict=True))

    def extra_repr(self) -> str:
        """Return the constructor's arguments that are not at their defaults, so that the repr can be pasted back."""
        parts: list[str] = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value: Any = getattr(self, name, None)
            if name == "dtype":
                weight = self.weight_ih_l0
                assert isinstance(weight, Tensor)
                value = None if weight.dtype == torch.get_default_dtype() else weight.dtype
            if parameter.default is inspect.Parameter.empty:
                parts.append(repr(value))
            elif name != "device" and value != parameter.default and (value or parameter.default):
                parts.append(f"{name}={value!r}")
        return ", ".join(parts)


def _suffix(layer: int, direction: int) -> str:
    return f"_l{layer}_reverse" if direction else f"_l{layer}"
