"""Recording of one batch: what comes into every recurrent layer of a model, what goes out, and its gradient.

For the length of `recording` each recurrent module of the model has a `Recorder` as its observer. A module of torch.nn
is run by our layer of the same kind, with the same weights. What the loss says about the output of each layer and
direction (the error that arrives from above) is then one ordinary backward pass away.
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
from elman.layers.accelerate import share_weights, twin_of
from elman.layers.cell import Cell, State
from elman.layers.recurrent import Recurrent

LossFunction = Callable[[nn.Module, Any], Tensor]
"""`loss(model, batch)` returns the scalar that training would descend."""


class LayerDirection(NamedTuple):
    """One layer in one direction of a recurrent module: what a verdict is given on.

    Attributes:
        module: the name of the module in the model; "" for the model itself.
        layer: the number of the layer in the module.
        direction: 0 forward, 1 reverse.
    """

    module: str
    layer: int
    direction: int

    def __str__(self) -> str:
        return f"{self.module or 'model'} layer {self.layer}" + (" reverse" if self.direction else "")


@dataclass(eq=False)
class CapturedCall:
    """One run of a layer in one direction over a batch, as the kernel saw it, and the error that came back.

    Attributes:
        strand: the layer and direction.
        cell: of the layer.
        weights: that the kernel was given.
        x_TBI: the input.
        state: before the first step.
        lengths: of the sequences; None: all have T steps.
        resets: (T, B), true where a step begins a new sequence.
        y_TBP: the output.
        last: the state after the last step.
        d_y_TBP: dE/dy as far as the layers above and the loss use y; None: they do not.
        d_last: the same for each state in `last`.
    """

    strand: LayerDirection
    cell: Cell
    weights: Weights
    x_TBI: Tensor
    state: State
    lengths: Tensor | None
    resets: Tensor | None
    y_TBP: Tensor
    last: State
    d_y_TBP: Tensor | None = None
    d_last: tuple[Tensor | None, ...] = ()


class Recorder:
    """The observer of one recurrent module that records every run of its layers.

    Args:
        name: of the module in the model.
        calls: where the records go.
        window: cut the gradient every so many steps, as truncated backpropagation through time does; None: never.
    """

    def __init__(self, name: str, calls: list[CapturedCall], window: int | None = None) -> None:
        self._name, self._calls, self._window = name, calls, window

    def __call__(
        self,
        layer: int,
        direction: int,
        /,
        cell: Cell,
        x_TBI: Tensor,
        state: State,
        weights: Weights,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
        reverse: bool = False,
    ) -> tuple[Tensor, State]:
        """Run the layer, see `elman.layers.recurrent.Observer`."""
        before = state
        outputs: list[Tensor] = []
        for start, stop in _pieces(len(x_TBI), self._window, reverse):
            if outputs:  # a cut: the numbers continue, the gradient does not
                state = tuple(s.detach() for s in state)
                if reverse and resets is not None:  # the mark of this boundary lies in the piece before
                    inside_B = True if lengths is None else (lengths > stop).to(x_TBI.device)
                    state = _put_back(state, weights, resets[stop] & inside_B)
            y_TBP, state = unroll(
                cell,
                x_TBI[start:stop],
                state,
                weights,
                lengths=None if lengths is None else (lengths - start).clamp(0, stop - start),
                resets=None if resets is None else resets[start:stop],
                reverse=reverse,
            )
            outputs.append(y_TBP)
        state = tuple(s.view_as(s) for s in state)
        y_TBP = torch.cat(outputs[::-1] if reverse else outputs) if len(outputs) != 1 else outputs[0]
        y_TBP = y_TBP.view_as(y_TBP)
        for tensor in (y_TBP, *state):
            if not tensor.requires_grad:  # frozen weights: nothing below needs a gradient, but we want this one
                tensor.requires_grad_()
        strand = LayerDirection(self._name, layer, direction)
        inputs = (x_TBI.detach(), _detach(before), lengths, resets)
        self._calls.append(CapturedCall(strand, cell, weights, *inputs, y_TBP, state))
        # Copies go on, so that the gradient of what is recorded is all of the error from above, also where the model
        # changes them in place.
        return y_TBP.clone(), tuple(s.clone() for s in state)


def _twin_forward(layer: nn.RNNBase, recorder: Recorder) -> Callable[..., Any]:
    """Return the `forward` of a layer of torch.nn, run by our layer of the same kind under the recorder."""
    twin = twin_of(layer)
    twin._observer = recorder

    def forward(input: Any, hx: Any = None) -> Any:
        share_weights(layer, twin)  # at every call: parametrised weights are computed anew
        return twin(input, hx)

    return forward


def recurrent_layers(model: nn.Module) -> dict[str, Recurrent | nn.RNNBase]:
    """Return the recurrent layers of a model by name.

    Raises:
        ElmanError: there is none.
    """
    layers = {name: m for name, m in model.named_modules() if isinstance(m, Recurrent | nn.RNNBase)}
    if not layers:
        raise ElmanError(
            "the model has no recurrent layer",
            should="an elman.RNN, GRU, LSTM or Recurrent, or a torch.nn.RNN, GRU or LSTM somewhere in it",
            found=", ".join(sorted({type(m).__name__ for m in model.modules()})),
            hint="a torch.nn.LSTMCell called in a loop is not seen; use the layer of the same name",
        )
    return layers


@contextmanager
def recording(model: nn.Module, *, window: int | None = None, dropout: bool = False) -> Iterator[list[CapturedCall]]:
    """Record what runs through the recurrent layers of a model; all is put back afterwards.

    Args:
        model: any module with recurrent layers.
        window: cut the gradient every so many steps; None: never.
        dropout: leave the model in the mode it is in, instead of the evaluation mode.
    """
    calls: list[CapturedCall] = []
    modes = {module: module.training for module in model.modules()}
    layers = recurrent_layers(model)
    if not dropout:
        model.eval()
    try:
        for name, layer in layers.items():
            recorder = Recorder(name, calls, window)
            if isinstance(layer, Recurrent):
                layer._observer = recorder
            else:
                layer.__dict__["forward"] = _twin_forward(layer, recorder)
        with torch.enable_grad():
            yield calls
    finally:
        for layer in layers.values():
            if isinstance(layer, Recurrent):
                layer._observer = None
            else:
                layer.__dict__.pop("forward", None)
        for module, mode in modes.items():
            module.training = mode


class Recording(NamedTuple):
    """One batch, forward and backward.

    Attributes:
        loss: its value.
        calls: of every recurrent layer, in the order of the run.
        gradients: of every parameter that has one, by name.
    """

    loss: float
    calls: list[CapturedCall]
    gradients: dict[str, Tensor]


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
        weights: whether the gradients of the parameters are computed too.
        dropout: leave the model in the mode it is in, instead of the evaluation mode.

    Raises:
        ElmanError: no recurrent layer, one that did not run, or a loss that is not a scalar with a gradient.
        NonFiniteError: the loss is infinite or not a number.
    """
    with recording(model, window=window, dropout=dropout) as calls:
        value = _checked(loss(model, batch), finite)
        if not calls:
            raise ElmanError("no recurrent layer ran", should="a loss that calls the model", found="no call of one")
        outputs = [tensor for call in calls for tensor in (call.y_TBP, *call.last)]
        named = {name: p for name, p in model.named_parameters() if weights and p.requires_grad}
        grads = torch.autograd.grad(value, [*outputs, *named.values()], allow_unused=True)
    rest = iter(grads)
    for call in calls:
        call.d_y_TBP = next(rest)
        call.d_last = tuple(next(rest) for _ in call.last)
        call.y_TBP, call.last = call.y_TBP.detach(), _detach(call.last)
    gradients = {name: d for name, d in zip(named, rest, strict=True) if d is not None}
    return Recording(float(value.detach()), calls, gradients)


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
