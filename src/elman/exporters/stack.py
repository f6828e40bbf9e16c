"""`LayerStack`: the weights of a recurrent layer as NumPy arrays, whatever class the layer has. Targets write this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elman.errors import ExportError
from elman.kernels.weights import Weights
from elman.layers.accelerate import TWINS, twin_of
from elman.layers.cell import Cell
from elman.layers.cells import CELLS
from elman.layers.recurrent import Recurrent

Array = NDArray[Any]

STANDARD = {
    "rnn_tanh": ("rnn", "tanh"),
    "rnn_relu": ("rnn", "relu"),
    "rnn_sigmoid": ("rnn", "sigmoid"),
    "rnn_identity": ("rnn", "identity"),
    "gru": ("gru", None),
    "lstm": ("lstm", None),
}
"""The cell and the nonlinearity that a target knows by name, by the kernel of a cell of ours."""

OWN = "own"
"""What `LayerStack.cell` is where the equations are those of a cell without such a name."""


@dataclass(frozen=True)
class Direction:
    """The weights of one layer in one direction, in torch's order of gates: LSTM i, f, g, o; GRU r, z, n.

    Attributes:
        U: of the input, (G*H, I).
        W: of the past, (G*H, P); without a projection P = H.
        b: the bias beside U, (G*H,), or None.
        b_hidden: the bias beside W, (G*H,), or None.
        projection: (P, H), or None.
    """

    U: Array
    W: Array
    b: Array | None
    b_hidden: Array | None
    projection: Array | None


@dataclass(frozen=True)
class Layer:
    """One layer in both directions.

    Attributes:
        forward: from the first step to the last.
        reverse: from the last to the first, or None.
    """

    forward: Direction
    reverse: Direction | None

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The one or two directions, forward first."""
        return (self.forward,) if self.reverse is None else (self.forward, self.reverse)


@dataclass(frozen=True)
class LayerStack:
    """A recurrent layer as a target writes it: L layers in D directions, without dropout.

    Attributes:
        cell: "rnn", "gru" or "lstm"; "own" for other equations, which are in `equations`.
        nonlinearity: of the plain network "tanh", "relu", "sigmoid" or "identity"; of the other cells None.
        input_size: I.
        hidden_size: H.
        layers: from the lowest to the highest.
        batch_first: whether the layer takes (B, T, I). Targets write (T, B, I) all the same.
        initial: the learned initial states, one (L*D, P or H) array for each state, or None for zeros.
        states: the names of the states; the first is the output.
        gates: the names of the gates, in the order of the rows of U and W.
        equations: the cell, whose `step` a target with other equations translates.
        title: the layer, as messages call it.
    """

    cell: str
    nonlinearity: str | None
    input_size: int
    hidden_size: int
    layers: tuple[Layer, ...]
    batch_first: bool
    initial: tuple[Array, ...] | None
    states: tuple[str, ...]
    gates: tuple[str, ...]
    equations: Cell
    title: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numbers: float32 or float64."""
        return self.layers[0].forward.U.dtype

    @property
    def num_directions(self) -> int:
        """D: 2 for layers that read from the last step to the first too, else 1."""
        return len(self.layers[0].directions)

    @property
    def projection_size(self) -> int | None:
        """P, or None without a projection."""
        projection = self.layers[0].forward.projection
        return None if projection is None else len(projection)

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """The features of each state: P or H of the first, H of the others."""
        return (self.projection_size or self.hidden_size, *[self.hidden_size] * (len(self.states) - 1))

    @property
    def output_size(self) -> int:
        """The features of the output at each step, D * (P or H)."""
        return self.num_directions * self.state_sizes[0]

    def initial_states(self, batch_size: int) -> tuple[Array, ...]:
        """Return the states before the first step, one (L*D, B, P or H) array each: zeros or the learned ones."""
        count = len(self.layers) * self.num_directions
        if self.initial is None:
            return tuple(np.zeros((count, batch_size, size), self.dtype) for size in self.state_sizes)
        return tuple(np.repeat(rows[:, None], batch_size, axis=1) for rows in self.initial)


def is_layer(module: object) -> bool:
    """Return whether a module is a recurrent layer or cell, of ours or of torch.nn."""
    return isinstance(module, Recurrent | nn.RNNBase | nn.RNNCellBase)


def stack_of(layer: nn.Module) -> LayerStack:
    """Return the weights and options of a recurrent layer.

    Args:
        layer: `elman.RNN`, `GRU`, `LSTM` or `Recurrent`, torch.nn's, one inside `elman.accelerate`, or a cell of these,
            which is a layer of one.

    Raises:
        ExportError: another module, a layer with a `forward` of its own, or weights that are not float32 or float64.
    """
    title = f"{type(layer).__name__}({layer.extra_repr()})" if is_layer(layer) else type(layer).__name__
    if isinstance(layer, nn.RNNCellBase):
        return _stack(title, _equations_of(layer, title), [[_weights_of_cell(layer)]], layer.input_size, False)
    runner = as_recurrent(layer)
    weights = [[runner.weights(k, d) for d in range(runner.num_directions)] for k in range(runner.num_layers)]
    return _stack(title, runner.cell, weights, runner.input_size, runner.batch_first)


def as_recurrent(layer: nn.Module) -> Recurrent:
    """Return a layer of ours with the same weights: the layer itself where it is one.

    Raises:
        ExportError: it is not a recurrent layer, or has a `forward` of its own.
    """
    if not isinstance(layer, Recurrent | nn.RNNBase):
        raise ExportError(
            f"{type(layer).__name__} is not a recurrent layer",
            should="RNN, GRU, LSTM or a cell, of elman or torch.nn, or elman.Recurrent",
            found=f"{type(layer).__module__}.{type(layer).__name__}",
        )
    forwards = (Recurrent.forward, *(torch_class.forward for torch_class in TWINS))
    if "forward" in vars(layer) or type(layer).forward not in forwards:
        raise ExportError(
            f"{type(layer).__name__} has a forward of its own, which no target knows",
            should="the forward of elman's or torch.nn's layer",
            found=f"{type(layer).__module__}.{type(layer).__name__}.forward",
            hint="export the layer inside, or the whole model with inputs=",
        )
    return layer if isinstance(layer, Recurrent) else twin_of(layer)


def _equations_of(cell: nn.RNNCellBase, title: str) -> Cell:
    twin: Any = next((twin for torch_class, twin in CELLS.items() if isinstance(cell, torch_class)), None)
    equations: Cell | None = None if twin is None else twin.steps(cell)
    if equations is None:
        raise ExportError(f"{title} has no equations that are known", should="an RNNCell, GRUCell or LSTMCell")
    return equations


def _weights_of_cell(cell: nn.RNNCellBase) -> Weights:
    biases = (cell.bias_ih, cell.bias_hh) if cell.bias else (None, None)
    return Weights(cell.weight_ih, cell.weight_hh, *biases)


def _stack(title: str, cell: Cell, weights: list[list[Weights]], input_size: int, batch_first: bool) -> LayerStack:
    every = [each for row in weights for each in row]
    layers = tuple(_layer(title, row) for row in weights)
    initial = None
    if every[0].initial is not None:
        rows = [each.initial or () for each in every]
        initial = tuple(np.stack([_array(title, part) for part in parts]) for parts in zip(*rows, strict=True))
    kind, nonlinearity = STANDARD.get(cell.kernel or "", (OWN, None))
    hidden_size = len(every[0].hh) // len(cell.gates)
    return LayerStack(
        kind, nonlinearity, input_size, hidden_size, layers, batch_first, initial, cell.states, cell.gates, cell, title
    )


def _layer(title: str, weights: list[Weights]) -> Layer:
    return Layer(_direction(title, weights[0]), _direction(title, weights[1]) if len(weights) > 1 else None)


def _direction(title: str, weights: Weights) -> Direction:
    arrays = (None if part is None else _array(title, part) for part in weights[:5])
    return Direction(*arrays)  # type: ignore[arg-type]


def _array(title: str, tensor: Tensor) -> Array:
    if tensor.dtype not in (torch.float32, torch.float64) or tensor.is_meta:
        raise ExportError(
            f"the weights of {title} cannot be exported",
            should="float32 or float64, with memory",
            found="the device meta" if tensor.is_meta else str(tensor.dtype),
            hint="layer.float()",
        )
    array: Array = tensor.detach().cpu().resolve_neg().contiguous().numpy().copy()
    if not np.isfinite(array).all():
        raise ExportError(
            f"{title} has weights that are not finite",
            should="finite weights",
            found="a weight that is infinite or not a number",
            hint="train again, with a smaller learning rate",
        )
    return array
