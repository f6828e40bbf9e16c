"""Running a model once while every recurrent layer in it writes down what comes in, what goes out, and its gradient.

For the length of `recording`, each recurrent layer of the model, elman's or torch.nn's, is answered for by a
`Recorder`: the same weights, run layer by layer and direction by direction through our kernels. What the loss says
about the output of each of them (the error that arrives from above) is then one ordinary backward pass away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from elman.errors import ElmanError, NonFiniteError
from elman.kernels.dispatch import unroll
from elman.kernels.weights import Weights
from elman.layers import GRU, LSTM, Recurrent
from elman.layers.cell import Cell, State
from elman.layers.recurrent import Hidden
from elman.layers.rnn import CELLS

LossFunction = Callable[[nn.Module, Any], Tensor]
"""`loss(model, batch)` returns the scalar that training would descend."""


class Strand(NamedTuple):
    """One layer in one direction: what a verdict is given on."""

    module: str  # the name of the module in the model; "" for the model itself
    layer: int
    direction: int  # 0 forward, 1 reverse

    def __str__(self) -> str:
        return f"{self.module or 'model'} layer {self.layer}" + (" reverse" if self.direction else "")


@dataclass(eq=False)
class Passage:
    """One pass of a sequence batch through a strand, as the kernel saw it, and the error that came back."""

    strand: Strand
    cell: Cell
    weights: Weights
    x_TBI: Tensor
    state: State  # before the first step
    lengths: Tensor | None
    resets: Tensor | None
    y_TBP: Tensor  # an alias that only what lies above has used, so that its gradient is the error from above
    last: State  # aliases too
    d_y_TBP: Tensor | None = None
    d_last: tuple[Tensor | None, ...] = ()


class Recorder(Recurrent):
    """A recurrent layer that shares another one's parameters and records its passages.

    Args:
        layer: the layer to answer for.
        name: its name in the model.
        passages: where the records go.
        window: cut the gradient every so many steps, as truncated backpropagation through time does; None: never.
    """

    def __init__(
        self, layer: Recurrent | nn.RNNBase, name: str, passages: list[Passage], window: int | None = None
    ) -> None:
        nn.Module.__init__(self)  # not Recurrent's: no parameter is made here
        self._source = (layer,)  # in a tuple, so that it does not become a part of this module
        self._name, self._passages, self._window = name, passages, window
        self.cell = cell_of(layer)
        self.input_size, self.hidden_size, self.num_layers = layer.input_size, layer.hidden_size, layer.num_layers
        self.bias, self.batch_first, self.dropout = layer.bias, layer.batch_first, float(layer.dropout)
        self.bidirectional, self.proj_size = layer.bidirectional, layer.proj_size
        self.variational = getattr(layer, "variational", False)
        self.learn_initial_state = getattr(layer, "learn_initial_state", False)
        self.training = layer.training

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("weight_", "bias_", "initial_")):  # also where something else than a parameter stands there
            return getattr(self._source[0], name)
        return super().__getattr__(name)

    def _unroll_layers(
        self, x_TBI: Tensor, state: State, lengths_B: Tensor | None, resets_TB: Tensor | None
    ) -> tuple[Tensor, State]:
        after: list[State] = []
        for layer in range(self.num_layers):
            outputs: list[Tensor] = []
            for direction in range(self.num_directions):
                before = tuple(s[len(after)] for s in state)
                strand = Strand(self._name, layer, direction)
                y_TBP, last = self._run(strand, x_TBI, before, lengths_B, resets_TB)
                outputs.append(y_TBP)
                after.append(last)
            x_TBI = torch.cat(outputs, 2)
            if self.training and self.dropout and layer + 1 < self.num_layers:
                x_TBI = self._drop(x_TBI)
        return x_TBI, tuple(torch.stack(each) for each in zip(*after, strict=True))

    def _run(
        self, strand: Strand, x_TBI: Tensor, before: State, lengths_B: Tensor | None, resets_TB: Tensor | None
    ) -> tuple[Tensor, State]:
        weights = self.weights(strand.layer, strand.direction)
        state = before
        outputs: list[Tensor] = []
        reverse = strand.direction == 1
        for start, stop in _pieces(len(x_TBI), self._window, reverse):
            if outputs:  # a cut: the numbers go on, the gradient does not
                state = tuple(s.detach() for s in state)
                if reverse and resets_TB is not None:  # the mark of this boundary lies in the piece before
                    inside_B = True if lengths_B is None else (lengths_B > stop).to(x_TBI.device)
                    state = _put_back(state, weights, resets_TB[stop] & inside_B)
            y_TBP, state = unroll(
                self.cell,
                x_TBI[start:stop],
                state,
                weights,
                lengths=None if lengths_B is None else (lengths_B - start).clamp(0, stop - start),
                resets=None if resets_TB is None else resets_TB[start:stop],
                reverse=reverse,
            )
            outputs.append(y_TBP)
        state = tuple(s.view_as(s) for s in state)
        y_TBP = torch.cat(outputs[::-1] if reverse else outputs) if len(outputs) != 1 else outputs[0]
        y_TBP = y_TBP.view_as(y_TBP)
        for tensor in (y_TBP, *state):
            if not tensor.requires_grad:  # frozen weights: nothing below needs a gradient, but we want this one
                tensor.requires_grad_()
        given = (x_TBI.detach(), _detach(before), lengths_B, resets_TB)
        self._passages.append(Passage(strand, self.cell, weights, *given, y_TBP, state))
        return y_TBP, state

    def _pack_state(self, state: State) -> Hidden:
        source = self._source[0]
        return source._pack_state(state) if isinstance(source, Recurrent) else super()._pack_state(state)


def cell_of(layer: Recurrent | nn.RNNBase) -> Cell:
    """Return the cell of a layer of ours or of torch.nn."""
    if isinstance(layer, Recurrent):
        return layer.cell
    if isinstance(layer, nn.LSTM):
        return LSTM(1, 1).cell
    if isinstance(layer, nn.GRU):
        return GRU(1, 1).cell
    return CELLS[layer.mode.removeprefix("RNN_").lower()]()


def recurrent_layers(model: nn.Module) -> dict[str, Recurrent | nn.RNNBase]:
    """Return the recurrent layers of a model by name.

    Raises:
        ElmanError: there is none.
    """
    found = {name: m for name, m in model.named_modules() if isinstance(m, Recurrent | nn.RNNBase)}
    if not found:
        raise ElmanError(
            "the model has no recurrent layer",
            should="an elman.RNN, GRU, LSTM or Recurrent, or a torch.nn.RNN, GRU or LSTM somewhere in it",
            found=", ".join(sorted({type(m).__name__ for m in model.modules()})),
            hint="a torch.nn.LSTMCell called in a loop is not seen; use the layer of the same name",
        )
    return found


@contextmanager
def recording(model: nn.Module, *, window: int | None = None, dropout: bool = False) -> Iterator[list[Passage]]:
    """Record what runs through the recurrent layers of a model; all is put back afterwards.

    Args:
        model: any module with recurrent layers.
        window: cut the gradient every so many steps; None: never.
        dropout: leave the model in the mode it is in, instead of the evaluation mode.
    """
    passages: list[Passage] = []
    modes = {module: module.training for module in model.modules()}
    layers = recurrent_layers(model)
    if not dropout:
        model.eval()
    try:
        for name, layer in layers.items():
            layer.__dict__["forward"] = Recorder(layer, name, passages, window).forward
        with torch.enable_grad():
            yield passages
    finally:
        for layer in layers.values():
            layer.__dict__.pop("forward", None)
        for module, mode in modes.items():
            module.training = mode


class Recording(NamedTuple):
    """One batch, forward and backward."""

    loss: float
    passages: list[Passage]
    gradients: dict[str, Tensor]  # of every parameter that has one, by name


def record(
    model: nn.Module,
    batch: Any,
    loss: LossFunction,
    *,
    window: int | None = None,
    finite: bool = True,
    weights: bool = True,
    dropout: bool = False,
) -> Recording:
    """Run one batch forward and backward under `recording`; `.grad` of the parameters is left as it is.

    Args:
        model: any module with recurrent layers.
        batch: what `loss` takes.
        loss: see `LossFunction`.
        window: cut the gradient every so many steps; None: never.
        finite: whether a loss that is infinite or not a number is refused.
        weights: whether the gradients of the parameters are wanted too, which is a part of the work.
        dropout: leave the model in the mode it is in, instead of the evaluation mode.

    Raises:
        ElmanError: no recurrent layer, one that did not run, or a loss that is no scalar with a gradient.
        NonFiniteError: the loss is infinite or not a number.
    """
    with recording(model, window=window, dropout=dropout) as passages:
        value = _checked(loss(model, batch), finite)
        if not passages:
            raise ElmanError("no recurrent layer ran", should="a loss that calls the model", found="no call of one")
        wanted: list[Tensor] = []
        for passage in passages:
            wanted += [passage.y_TBP, *passage.last]
        named = {name: p for name, p in model.named_parameters() if weights and p.requires_grad}
        found = torch.autograd.grad(value, [*wanted, *named.values()], allow_unused=True)
    rest = iter(found)
    for passage in passages:
        passage.d_y_TBP = next(rest)
        passage.d_last = tuple(next(rest) for _ in passage.last)
        passage.y_TBP, passage.last = passage.y_TBP.detach(), _detach(passage.last)
    gradients = {name: d for name, d in zip(named, rest, strict=True) if d is not None}
    return Recording(float(value.detach()), passages, gradients)


def _checked(value: object, finite: bool) -> Tensor:
    if not (isinstance(value, Tensor) and value.numel() == 1 and value.requires_grad):
        found = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        if isinstance(value, Tensor) and value.numel() == 1:
            found = "a number without a gradient"
        raise ElmanError(
            "the loss cannot be differentiated",
            should="loss(model, batch) returns one number that depends on the model's weights",
            found=found,
            hint="reduce it with .mean(), and do not call .item() or .detach()",
        )
    if finite and not bool(torch.isfinite(value)):
        raise NonFiniteError(
            "the loss is not finite",
            should="a finite number",
            found=str(float(value.detach())),
            hint="diagnose an earlier checkpoint, or train with a smaller --set learning_rate=... and --set clip=1.0",
        )
    return value.reshape(())


def _pieces(T: int, window: int | None, reverse: bool) -> Sequence[tuple[int, int]]:
    """Return the (start, stop) of each run between two cuts, in the order of the run."""
    if not window:
        return [(0, T)]
    if reverse:  # the run begins at the last step, and so do the windows
        return [(max(0, stop - window), stop) for stop in range(T, 0, -window)] or [(0, 0)]
    return [(start, min(T, start + window)) for start in range(0, T, window)] or [(0, 0)]


def _put_back(state: State, weights: Weights, fresh_B: Tensor) -> State:
    initial = weights.initial or tuple(torch.zeros_like(s[0]) for s in state)
    return tuple(torch.where(fresh_B[:, None], i.detach().expand_as(s), s) for i, s in zip(initial, state, strict=True))


def _detach(state: State) -> State:
    return tuple(s.detach() for s in state)
