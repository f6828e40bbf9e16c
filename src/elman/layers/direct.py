"""The short way to torch's operator, for calls that no engine on the CPU runs for their number type.

The operator takes little time on short sequences, so that every check before it counts: what is usual is looked at
here, and anything else is left to the usual way, torch's errors included.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import _VF, Tensor
from torch.autograd import forward_ad

from elman.kernels.dispatch import is_strict
from elman.layers.recurrent import HALF

_has_torch_function = torch._C._has_torch_function
_is_autocast_enabled = torch.is_autocast_enabled
_is_any_autocast_enabled = torch._C._is_any_autocast_enabled
_is_compiling = torch.compiler.is_compiling
_tracing_state = torch._C._get_tracing_state
_transforms = torch._C._functorch.peek_interpreter_stack
_address = Tensor.data_ptr

OPERATORS: dict[str, Any] = {
    "RNN_TANH": _VF.rnn_tanh,
    "RNN_RELU": _VF.rnn_relu,
    "GRU": _VF.gru,
    "LSTM": _VF.lstm,
}
"""Torch's operators, by its names of the cells."""


def run(layer: Any, x: Tensor, hx: Any) -> tuple[Tensor, Any] | None:
    """Return what torch's `forward` gives for a batch of sequences in memory, or None if it is not to run, or not so.

    The layer is a `DropIn`. No class but torch's may stand behind it: another may have methods of its own that torch's
    `forward` calls.
    """
    if _is_compiling() or not x.is_cpu or not (x.dtype in HALF or _is_autocast_enabled("cpu")):
        return None
    if _tracing_state() is not None or _transforms() is not None or forward_ad._current_level >= 0:
        return None
    mode = vars(layer).get("mode")
    if mode is None or is_strict() or layer._observer is not None or layer.proj_size or layer.variational:
        return None
    sizes = x.shape
    if len(sizes) != 3 or sizes[2] != layer.input_size:
        return None
    is_lstm = mode == "LSTM"
    expected = (layer.num_layers * layer.num_directions, sizes[0 if layer.batch_first else 1], layer.hidden_size)
    if hx is None:
        state = (x.new_zeros(expected),) * (1 + is_lstm)
    else:
        state = hx if is_lstm else (hx,)
        if type(state) is not tuple or len(state) != 1 + is_lstm:
            return None
        for tensor in state:
            if type(tensor) is not Tensor or tensor.shape != expected:
                return None
    weights = layer._flat_weights
    tensors = (x, *state, *weights)
    if _has_torch_function(tensors) or (x.dtype != weights[0].dtype and not _is_any_autocast_enabled()):
        return None
    try:
        if 0 in map(_address, tensors):  # no memory: an empty tensor, zeros that have none, or memory that was freed
            return None
    except (RuntimeError, TypeError):  # tensors without an address, and weights that are none
        return None
    first = state if is_lstm else state[0]
    options = (layer.bias, layer.num_layers, layer.dropout, layer.training, layer.bidirectional, layer.batch_first)
    output, *after = OPERATORS[mode](x, first, weights, *options)
    return output, tuple(after) if is_lstm else after[0]
