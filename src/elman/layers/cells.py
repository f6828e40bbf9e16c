"""`RNNCell`, `GRUCell` and `LSTMCell`: torch.nn's cells, one step at a call, with elman's `forward`."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import _VF, Tensor, nn
from torch.fx import Proxy

from elman.kernels.dispatch import (
    FEW_WEIGHTS,
    MODE,
    TORCH,
    Choice,
    Stepper,
    check_strict,
    choose_step,
    forget,
    is_plain,
    is_slower,
    is_strict,
    run_step,
)
from elman.kernels.weights import Weights
from elman.layers import gru, lstm, rnn
from elman.layers.cell import Cell, State
from elman.layers.drop_in import DropInType, states, warn_of_scripting
from elman.layers.recurrent import HALF

_is_autocast_enabled = torch.is_autocast_enabled
_is_grad_enabled = torch.is_grad_enabled
_tracing_state = torch._C._get_tracing_state
_is_compiling = torch.compiler.is_compiling
_PLAIN = (Tensor, nn.Parameter)


class DropInCell(nn.RNNCellBase, metaclass=DropInType):
    """Cells that torch.nn has too. A subclass derives from torch's cell besides, and names it as `torch_class`.

    Everything but `forward` is torch's. Where no engine runs a call, or torch's own operator is quicker, that operator
    does, and it answers whatever is wrong with a call.

    Attributes:
        torch_class: torch's cell of the same kind.
        gates: their number.
        has_c: whether the state is a pair.
    """

    torch_class: ClassVar[type[nn.RNNCellBase]]
    gates: ClassVar[int]
    has_c: ClassVar[bool] = False

    _stepper: Stepper | None = None

    def steps(self) -> Cell | None:
        """Return what a step computes, as `elman.Recurrent` runs it; None where torch has no such step either."""
        raise NotImplementedError

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """Run one step.

        Args:
            input: (B, I), or (I,) for a single sequence.
            hx: the state before the step, (B, H) or (H,), for an LSTM a tuple of two; None stands for zeros.

        Returns:
            The state after the step, of the same shape.

        Raises:
            ValueError: a tensor of a wrong number of dimensions, as torch.nn's cell.
            RuntimeError: a tensor of another wrong shape or type, as torch.nn's cell.
        """
        if _is_compiling():
            return self.torch_class.forward(self, input, hx)
        if type(input) is not Tensor or _tracing_state() is not None:
            proxy = next((t for t in (input, *states(hx)) if isinstance(t, Proxy)), None)
            return self._forward_torch(input, hx) if proxy is None else self._leaf(proxy, input, hx)
        if ((input.dtype in HALF or _is_autocast_enabled("cpu")) and not is_strict()) or self._is_torchs(input):
            return self._forward_direct(input, hx)
        after = None if _is_grad_enabled() else self._quick(input, hx)
        if after is None:
            after = self._run(input, hx)
        return self._forward_torch(input, hx) if after is None else after

    def _is_torchs(self, input: Tensor) -> bool:
        """Whether torch's operator is quicker, as far as a first look shows, which costs less than all others."""
        differentiate = _is_grad_enabled()
        if differentiate:
            weight = self._parameters.get("weight_hh")
            if weight is None or not weight.requires_grad:
                return False
        numbers = self.gates * self.hidden_size * (self.input_size + self.hidden_size)
        return is_slower(self.gates, input.shape[0] if input.dim() > 1 else 1, numbers, differentiate)

    def _operator(self) -> Any:
        """Return torch's operator for a step."""
        raise NotImplementedError

    def _forward_direct(self, input: Tensor, hx: Any) -> Any:
        """Run torch's operator; without its `forward` where the call is a usual one, which saves two microseconds."""
        if _is_compiling() or input.dim() != 2 or not self._has_usual(hx):
            return self.torch_class.forward(self, input, hx)
        parameters = self._parameters
        try:
            ih, hh = parameters["weight_ih"], parameters["weight_hh"]
            b_ih, b_hh = parameters["bias_ih"], parameters["bias_hh"]
        except KeyError:  # computed weights
            return self.torch_class.forward(self, input, hx)
        return self._operator()(input, hx, ih, hh, b_ih, b_hh)

    def _has_usual(self, hx: Any) -> bool:
        """Whether a state is given as the operator takes it."""
        if not self.has_c:
            return type(hx) is Tensor and hx.dim() == 2
        if type(hx) is not tuple or len(hx) != 2:
            return False
        h, c = hx
        return type(h) is type(c) is Tensor and h.dim() == c.dim() == 2

    def _quick(self, input: Tensor, hx: Any) -> Any:
        """Return the state after a step without gradients on weights that are ready, or None."""
        stepper = self._stepper
        if stepper is None or hx is None:
            return None
        if not self.has_c:
            if not isinstance(hx, Tensor):
                return None
            result = stepper.step(self._parameters, input, hx.unsqueeze(0))
            return None if result is None else result[0]
        if not isinstance(hx, tuple | list) or len(hx) != 2 or not all(isinstance(s, Tensor) for s in hx):
            return None
        h, c = hx
        result = stepper.step(self._parameters, input, (h.unsqueeze(0), c.unsqueeze(0)))
        return None if result is None else (result[0], result[2].squeeze_(0))

    def _run(self, input: Tensor, hx: Any) -> Any:
        """Return the state after a step on the engine, or None: torch's operator is to run."""
        prepared = self._prepare(input, hx) if is_plain() else None
        if prepared is None:
            return None
        x_BI, state = prepared
        cell, weights = self.steps(), self._weights()
        if cell is None or weights is None:
            return None
        choice = choose_step(cell, x_BI, state, weights)
        if choice.name == TORCH:
            return None
        after = run_step(cell, x_BI, state, weights)
        if not _is_grad_enabled():
            if self._stepper is None:
                self._stepper = Stepper()
            assert cell.kernel is not None
            self._stepper.prepare(cell.kernel, [weights], self._parameters)
        if input.dim() == 1:
            after = tuple([s.squeeze(0) for s in after])
        return after if len(after) == 2 else after[0]

    def _prepare(self, input: Any, hx: Any) -> tuple[Tensor, State] | None:
        """Return the arguments with a batch, or None where torch's operator is to look at them."""
        if type(input) not in _PLAIN or input.dim() not in (1, 2):
            return None
        H = self.hidden_size
        if hx is None:
            zeros = input.new_zeros(*input.shape[:-1], H)
            hx = (zeros, zeros) if self.has_c else zeros
        if isinstance(hx, tuple | list) != self.has_c:
            return None
        state = tuple(hx) if self.has_c else (hx,)
        if len(state) != 1 + self.has_c or not all(type(s) in _PLAIN and s.dim() == input.dim() for s in state):
            return None
        if input.dim() == 1:
            input, state = input.unsqueeze(0), tuple([s.unsqueeze(0) for s in state])
        B, I = input.shape
        rows = self.gates * H
        fits = B > 0 and self.weight_ih.shape == (rows, I) and self.weight_hh.shape == (rows, H)
        return (input, state) if fits and all(s.shape == (B, H) for s in state) else None

    def _weights(self) -> Weights | None:
        """Return the parameters, or None where they are computed for each call, so that packing them is no use."""
        parameters: Any = self._parameters
        ih, hh = parameters.get("weight_ih"), parameters.get("weight_hh")
        if ih is None or hh is None or not ih.is_leaf or not hh.is_leaf:
            return None
        return Weights(ih, hh, parameters.get("bias_ih"), parameters.get("bias_hh"))

    def choose(self, input: Any, hx: Any = None) -> Choice:
        """Return what a call runs on, with the reason where it is no engine; see `elman.explain`."""
        if not is_plain():
            return Choice(TORCH, {"cpu": MODE})
        cell, prepared, weights = self.steps(), self._prepare(input, hx), self._weights()
        if weights is None:
            return Choice(TORCH, {"cpu": "the weights are computed for each call"})
        if prepared is None or cell is None:
            return Choice(TORCH, {"cpu": "the call is not that of plain tensors of fitting shapes"})
        return choose_step(cell, *prepared, weights)

    def _forward_torch(self, input: Any, hx: Any) -> Any:
        check_strict(self.choose, input, hx)
        return self.torch_class.forward(self, input, hx)

    def _leaf(self, proxy: Proxy, input: Any, hx: Any) -> Proxy:
        """Return the call as one node of the graph that torch.fx traces, as it does torch.nn's cells."""
        tracer = proxy.tracer
        path = tracer.path_of_module(self)  # type: ignore[attr-defined]
        return tracer.create_proxy("call_module", path, (input,) if hx is None else (input, hx), {})

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        # Parameters may be swapped for others, which torch does only where nothing refers to them weakly.
        forget(self._parameters.values())
        vars(self).pop("_stepper", None)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def __prepare_scriptable__(self) -> nn.Module:
        """Return torch's cell with the same parameters, which is what `torch.jit.script` compiles."""
        warn_of_scripting("cell")
        cell = self.torch_class.__new__(self.torch_class)
        cell.__dict__.update({name: value for name, value in vars(self).items() if name != "_stepper"})
        return cell


class RNNCell(DropInCell, nn.RNNCell):
    """One step of a plain recurrent network, as `torch.nn.RNNCell`: its arguments, parameters, results and errors.

    With gradients torch's own operator runs for a batch of one and for few weights: no kernel is quicker.
    """

    _original = torch_class = nn.RNNCell
    gates: ClassVar[int] = 1

    def _operator(self) -> Any:
        return _PLAIN_OPERATORS[self.nonlinearity]

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """Run one step, see `DropInCell.forward`."""
        # So few weights that learn are not worth another look at the call.
        if (
            _is_grad_enabled()
            and type(input) is Tensor
            and self.hidden_size * (self.input_size + self.hidden_size) < FEW_WEIGHTS
        ):
            weight = self._parameters.get("weight_hh")
            if weight is not None and weight.requires_grad:
                return self._forward_direct(input, hx)
        return super().forward(input, hx)

    def steps(self) -> Cell | None:
        """Return what a step computes, see `DropInCell.steps`."""
        return _PLAIN_STEPS.get(self.nonlinearity)


_PLAIN_STEPS: dict[str, Cell] = {"tanh": rnn.TanhCell(), "relu": rnn.ReluCell()}
_PLAIN_OPERATORS: dict[str, Any] = {"tanh": _VF.rnn_tanh_cell, "relu": _VF.rnn_relu_cell}


class GRUCell(DropInCell, nn.GRUCell):
    """One step of a gated recurrent unit, as `torch.nn.GRUCell`: its arguments, parameters, results and errors."""

    _original = torch_class = nn.GRUCell
    gates: ClassVar[int] = 3

    def _operator(self) -> Any:
        return _VF.gru_cell

    def steps(self) -> Cell:
        """Return what a step computes, see `DropInCell.steps`."""
        return _GRU_STEP


_GRU_STEP = gru.GRUEquations()


class LSTMCell(DropInCell, nn.LSTMCell):
    """One step of long short-term memory, as `torch.nn.LSTMCell`: its arguments, parameters, results and errors."""

    _original = torch_class = nn.LSTMCell
    gates: ClassVar[int] = 4
    has_c: ClassVar[bool] = True

    def _operator(self) -> Any:
        return _VF.lstm_cell

    def steps(self) -> Cell:
        """Return what a step computes, see `DropInCell.steps`."""
        return _LSTM_STEP


_LSTM_STEP = lstm.LSTMEquations()

CELLS: dict[type[nn.RNNCellBase], type[DropInCell]] = {cell.torch_class: cell for cell in (RNNCell, GRUCell, LSTMCell)}
"""Elman's cells by torch's."""
