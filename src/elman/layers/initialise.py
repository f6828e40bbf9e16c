"""Initialisations of recurrent weights, by name; `name=value` where one takes a number, as in "chrono=784"."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from elman.errors import SettingError, look_up
from elman.kernels.weights import Weights
from elman.layers.cell import Cell


def torch_uniform(cell: Cell, weights: Weights, hidden_size: int, value: float) -> None:
    """Every weight and bias uniform in -1/sqrt(H) .. 1/sqrt(H), as torch.nn does it, in the same order."""
    bound = 1 / math.sqrt(hidden_size)
    for tensor in (weights.ih, weights.hh, weights.b_ih, weights.b_hh, weights.hr):
        if tensor is not None:
            nn.init.uniform_(tensor, -bound, bound)


def orthogonal(cell: Cell, weights: Weights, hidden_size: int, value: float) -> None:
    """W of every gate `value` times an orthogonal matrix, U by Glorot and Bengio (2010), biases zero.

    Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning", 2014.
    """
    _glorot_input_zero_biases(weights, hidden_size)
    for block in torch.split(weights.hh, hidden_size):
        _orthogonal(block, value)


def identity(cell: Cell, weights: Weights, hidden_size: int, value: float) -> None:
    """W `value` times the identity matrix, U normal with deviation 0.001, biases zero: the IRNN, for relu.

    Le, Jaitly and Hinton, "A simple way to initialize recurrent networks of rectified linear units", 2015.

    Raises:
        SettingError: the cell has gates or the layer a projection; the identity is meant for the plain network, such as
            RNN with nonlinearity='relu'.
    """
    _refuse_gates(cell, weights, "identity")
    _glorot_input_zero_biases(weights, hidden_size)
    nn.init.normal_(weights.ih, std=0.001)
    weights.hh.copy_(value * torch.eye(hidden_size))


def rotation(cell: Cell, weights: Weights, hidden_size: int, value: float) -> None:
    """W turns each pair of units by an angle of its own; U normal with deviation 0.01, biases zero.

    The angles are spread evenly over 0 .. 2 pi / `value`, so that the slowest pairs hardly turn and the fastest come
    round in `value` steps: a pair that turns by an angle adds up the input's Fourier component at it, and choosing the
    shortest period of interest spends no unit on faster ones. U is so small that tanh stays in its straight part over
    hundreds of steps, and a pair is no other pair's business, until training makes it so.

    W of rotations is from Henaff, Szlam and LeCun, "Recurrent orthogonal networks and long-memory tasks", 2016; small
    angles for long memory from Orvieto and others, "Resurrecting recurrent neural networks for long sequences", 2023.

    Raises:
        SettingError: as for `identity`; or the period is under 2 steps, which no sequence can show.
    """
    _refuse_gates(cell, weights, "rotation")
    if value < 2:
        raise SettingError(
            "'rotation' needs the shortest period in steps", should="2 or more", found=f"{value:g}", hint="'rotation=4'"
        )
    _glorot_input_zero_biases(weights, hidden_size)
    nn.init.normal_(weights.ih, std=0.01)
    pairs = hidden_size // 2
    jittered = torch.arange(pairs, device=weights.hh.device) + torch.rand(pairs, device=weights.hh.device)
    angles = jittered.double() / max(1, pairs) * (2 * math.pi / value)
    cosine, sine = angles.cos().to(weights.hh.dtype), angles.sin().to(weights.hh.dtype)
    nn.init.eye_(weights.hh)  # an odd unit stands still
    first = torch.arange(0, 2 * pairs, 2, device=weights.hh.device)
    second = first + 1
    weights.hh[first, first] = weights.hh[second, second] = cosine
    weights.hh[second, first] = sine
    weights.hh[first, second] = -sine


def chrono(cell: Cell, weights: Weights, hidden_size: int, value: float) -> None:
    """As `orthogonal`, with biases that spread the memory of the units over 1 to `value` steps.

    The gate that keeps the past gets the bias log(u), u uniform in 1 .. value - 1, and an LSTM's input gate
    gets its negative. Tallec and Ollivier, "Can recurrent neural networks warp time?", 2018.

    Raises:
        SettingError: `value` is less than 2, or no gate of the cell keeps the past.
    """
    if value < 2:
        raise SettingError(
            "'chrono' needs the longest memory in steps", should="2 or more", found=f"{value:g}", hint="'chrono=200'"
        )
    orthogonal(cell, weights, hidden_size, 1.0)
    keep = _bias_that_keeps(cell, weights, hidden_size, "chrono")
    nn.init.uniform_(keep, 1, value - 1).log_()
    if cell.writes is not None:
        _bias(cell, weights, hidden_size, cell.writes).copy_(-keep)


def forget_bias(cell: Cell, weights: Weights, hidden_size: int, value: float) -> None:
    """As `orthogonal`, with the bias of the gate that keeps the past at `value`, so that it starts open.

    Jozefowicz, Zaremba and Sutskever, "An empirical exploration of recurrent network architectures", 2015.
    """
    orthogonal(cell, weights, hidden_size, 1.0)
    _bias_that_keeps(cell, weights, hidden_size, "forget_bias").fill_(value)


class Initialisation(NamedTuple):
    """How a layer's weights are filled, and the value of its number where the name stands alone.

    Attributes:
        fill: from (cell, weights, hidden size, value); it changes the weights in place.
        default: the value where none is given; None: it takes no number.
    """

    fill: Callable[[Cell, Weights, int, float], None]
    default: float | None


INITIALISATIONS: dict[str, Initialisation] = {
    "torch": Initialisation(torch_uniform, None),
    "orthogonal": Initialisation(orthogonal, 1.0),
    "identity": Initialisation(identity, 1.0),
    "rotation": Initialisation(rotation, 2.0),
    "chrono": Initialisation(chrono, 1000.0),
    "forget_bias": Initialisation(forget_bias, 1.0),
}


@torch.no_grad()
def initialise(spec: str, cell: Cell, weights: Weights, hidden_size: int) -> None:
    """Fill `weights` in place; a learned initial state starts at zero.

    Args:
        spec: a name in `INITIALISATIONS`, or `name=number`.
        cell: of the layer.
        weights: of one layer and direction.
        hidden_size: H.

    Raises:
        SettingError: an unknown name, a number that is none or not taken, or a cell that it does not fit.
    """
    name, has_value, text = str(spec).partition("=")
    fill, default = look_up("initialisation", name, INITIALISATIONS)
    try:
        value = float(text) if has_value else (default or 0.0)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (has_value and default is None):
        raise SettingError(
            f"the initialisation {spec!r} cannot be read",
            should=f"{name!r}" + (f" or '{name}=NUMBER', such as '{name}={default:g}'" if default is not None else ""),
            found=repr(spec),
        )
    fill(cell, weights, hidden_size, value)
    for tensor in weights.initial or ():
        tensor.zero_()


def _orthogonal(matrix: Tensor, gain: float) -> None:
    """Fill an orthogonal matrix; it is drawn in float32 at least, since half precision has no QR."""
    wide = matrix if matrix.dtype == torch.float64 else matrix.float()
    matrix.copy_(nn.init.orthogonal_(torch.empty_like(wide), gain))


def _glorot_input_zero_biases(weights: Weights, hidden_size: int) -> None:
    for block in torch.split(weights.ih, hidden_size):
        nn.init.xavier_uniform_(block)
    if weights.hr is not None:
        _orthogonal(weights.hr, 1.0)
    for bias in (weights.b_ih, weights.b_hh):
        if bias is not None:
            bias.zero_()


def _refuse_gates(cell: Cell, weights: Weights, init: str) -> None:
    if len(cell.gates) != 1 or weights.hr is not None:
        raise SettingError(
            f"the initialisation {init!r} is for the plain network",
            should="a cell with one gate, such as RNN",
            found=f"{type(cell).__name__} with gates {', '.join(cell.gates)}",
            hint="'chrono' or 'forget_bias' for gated cells",
        )


def _bias(cell: Cell, weights: Weights, hidden_size: int, gate: str) -> Tensor:
    assert weights.b_ih is not None
    return weights.b_ih.narrow(0, cell.gates.index(gate) * hidden_size, hidden_size)


def _bias_that_keeps(cell: Cell, weights: Weights, hidden_size: int, init: str) -> Tensor:
    """Return the bias of the gate that, at 1, keeps the past."""
    if cell.keeps is None or weights.b_ih is None:
        raise SettingError(
            f"the initialisation {init!r} sets the bias of the gate that keeps the past",
            should="a cell that declares it (Cell.keeps), as LSTM and GRU do, with bias=True",
            found=f"{type(cell).__name__} with gates {', '.join(cell.gates)} and bias={weights.b_ih is not None}",
            hint="'orthogonal' for any cell, 'identity' for RNN with nonlinearity='relu'",
        )
    return _bias(cell, weights, hidden_size, cell.keeps)
