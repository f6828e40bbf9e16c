"""`DropIn`, a layer that torch.nn has too: an instance of torch's class, with elman's `forward`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.fx import Proxy
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from elman.errors import SettingError
from elman.kernels.call import check_memory, is_dynamo_onnx_export, is_onnx_export, refusal_of_zeros
from elman.kernels.dispatch import is_strict
from elman.layers import compilation as compilation  # torch.compile takes the layers
from elman.layers import direct
from elman.layers.arguments import check_lengths
from elman.layers.recurrent import HALF, Recurrent

OWN = ("cell", "_stepper", "_observer", "variational", "init", "learn_initial_state")
"""What elman's layers carry beyond torch's."""


class DropInType(type):
    """The class of a class that stands for one of torch.nn's, and is equal to it: `type(layer) == torch.nn.LSTM`.

    Programs pick layers by class as often as by isinstance: torch's quantization and many initialisations look up
    `type(layer)` in a set or a dictionary.
    """

    def __eq__(cls, other: object) -> bool:
        return isinstance(other, type) and stands_for(cls) is stands_for(other)

    def __hash__(cls) -> int:
        original = stands_for(cls)
        return type.__hash__(cls) if original is cls else hash(original)


def stands_for(cls: type) -> type:
    """Return the class that a class stands for: torch's for elman's layers, the user's for its accelerated form."""
    original: type = vars(cls).get("_original", cls)
    return original


class DropIn(Recurrent, metaclass=DropInType):
    """Layers that torch.nn has too. A subclass derives from torch's layer besides, and names it as `torch_class`.

    Parameters, attributes and the methods that are not about running are torch's. Where no engine can run a call,
    torch's own operator does.

    Attributes:
        torch_class: torch's layer of the same kind.
    """

    torch_class: ClassVar[type[nn.RNNBase]]

    mode: str

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._all_weights = [self._names(k, d) for k in range(self.num_layers) for d in range(self.num_directions)]
        self._flat_weights_names = [name for names in self._all_weights for name in names]
        # What torch.nn does not have is not of torch's kinds, and whatever converts layers by their kind refuses it.
        if not self.learn_initial_state and self.cell.kernel in MODES:
            self.mode = MODES[self.cell.kernel]

    def _names(self, layer: int, direction: int) -> list[str]:
        suffix = f"_l{layer}" + ("_reverse" if direction else "")
        names = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if self.bias else [])]
        return [name + suffix for name in (*names, *(["weight_hr"] if self.proj_size else []))]

    @property
    def _flat_weights(self) -> list[Any]:
        """The parameters in torch's order, as they are now: nothing is kept that could go stale."""
        parameters = self._parameters  # quicker than the attributes; computed weights are not there
        names = self._flat_weights_names
        return [parameters[name] if name in parameters else getattr(self, name, None) for name in names]

    @_flat_weights.setter
    def _flat_weights(self, weights: Sequence[Any]) -> None:
        parameters = [self._parameters.get(name) for name in self._flat_weights_names]
        own = {id(p) for p in parameters}
        if all(p is None or id(w) in own for p, w in zip(parameters, weights, strict=False)):
            return
        raise SettingError(
            "_flat_weights cannot be set to other tensors than the layer's parameters",
            should="the parameters, which the layer reads at each call",
            found="other tensors in their place",
            hint="layer.weight_ih_l0 = Parameter(...), or torch.nn.utils.parametrize for computed weights",
        )

    @property
    def _flat_weight_refs(self) -> list[Any]:
        return []

    @_flat_weight_refs.setter
    def _flat_weight_refs(self, references: object) -> None:
        pass

    def _update_flat_weights(self) -> None:
        pass

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()

    def flatten_parameters(self) -> None:
        """Do what torch's layer does: on a GPU, for cuDNN, put the parameters into one block of memory."""
        if "_flat_weights_names" in self.__dict__:
            self.torch_class.flatten_parameters(self)  # type: ignore[arg-type]

    def __prepare_scriptable__(self) -> nn.Module:
        """Return torch's layer with the same parameters, which is what `torch.jit.script` compiles.

        Raises:
            SettingError: torch.nn has no such layer.
        """
        refusal = self._options_refusal()
        if refusal is not None:
            raise SettingError(
                "torch.jit.script cannot compile this layer",
                should="options that torch.nn has too, for which torch's own operator runs",
                found=refusal,
                hint="torch.export",
            )
        warn_of_scripting("layer")
        original = stands_for(type(self))
        base: Any = self.torch_class if issubclass(original, Recurrent) else original
        layer: nn.RNNBase = base.__new__(base)
        layer.__dict__.update({name: value for name, value in vars(self).items() if name not in OWN})
        layer._init_flat_weights()
        return layer

    def _options_refusal(self) -> str | None:
        if "mode" not in self.__dict__:
            return "learn_initial_state=True" if self.learn_initial_state else f"the cell {type(self.cell).__name__}"
        if self.variational and self.dropout and self.training:
            return "variational=True while training"
        return None

    def torch_refusal(
        self, x_TBI: Tensor | None, lengths: Tensor | Sequence[int] | None, resets: Tensor | None
    ) -> str | None:
        """Return why torch's own operator cannot run a call of all layers, or None."""
        option = self._options_refusal()
        if option is not None:
            return f"torch.nn has no {option}"
        if resets is not None:
            return "torch.nn has no resets="
        if lengths is not None and _is_recorded():
            return "torch.nn has no lengths=, and the call is traced"
        if lengths is not None and torch.compiler.is_compiling():
            return "torch.nn has no lengths=, and the call is compiled"
        if x_TBI is not None and 0 in x_TBI.shape[:2]:
            return "torch's operator does not take an empty sequence or batch"
        if lengths is not None and not torch.as_tensor(lengths).all():
            return "torch.nn has no packed sequences without a step"
        if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
            return "the call is compiled, which torch's operator would break in two"
        if torch._C._functorch.peek_interpreter_stack() is not None:
            return "torch's operator has no rule for a function transform (torch.func: vmap, grad, jvp)"
        if forward_ad._current_level >= 0:
            return "torch's operator has no forward-mode differentiation"
        return None

    def _forward_torch(self, input: Any, hx: Any, lengths: Tensor | Sequence[int] | None = None) -> tuple[Any, Any]:
        check_memory((input, *states(hx), *self._flat_weights))
        forward: Any = self.torch_class.forward
        if lengths is not None:
            return self._forward_padded(input, hx, torch.as_tensor(lengths, device="cpu"))
        if not self.proj_size:
            return forward(self, input, hx)  # type: ignore[no-any-return]
        with warnings.catch_warnings():  # that oneDNN has no projections, where nobody asked for oneDNN
            warnings.filterwarnings("ignore", message="LSTM with projections is not supported")
            return forward(self, input, hx)  # type: ignore[no-any-return]

    def _forward_padded(self, input: Tensor, hx: Any, lengths_B: Tensor) -> tuple[Tensor, Any]:
        T = input.shape[1 if self.batch_first else 0]
        is_sorted = bool((lengths_B[1:] <= lengths_B[:-1]).all())
        packed = pack_padded_sequence(input, lengths_B, self.batch_first, enforce_sorted=is_sorted)
        packed, state = self._forward_torch(packed, hx)
        return pad_packed_sequence(packed, self.batch_first, total_length=T)[0], state

    def _forward_intercepted(self, input: Any, hx: Any, lengths: Any, resets: Any) -> Any:
        if type(input) is Tensor and lengths is None and resets is None and stands_for(type(self)) is self.torch_class:
            result = direct.run(self, input, hx)
            if result is not None:
                return result
        if isinstance(input, Proxy) and type(self).forward is Recurrent.forward:
            return _leaf(self, input, hx, lengths, resets)
        x = input.data if isinstance(input, PackedSequence) else input
        is_seen = any(map(_is_overridden, (x, *states(hx), *self._flat_weights)))
        if not is_seen and not _is_recorded():
            return self._forward_half(x, input, hx, lengths, resets)
        if is_dynamo_onnx_export() or self.torch_refusal(None, lengths, resets) is not None:
            return None
        return self._forward_torch(input, hx)

    def _forward_half(self, x: Tensor, input: Any, hx: Any, lengths: Any, resets: Any) -> Any:
        """Return the result of a call that no engine on the CPU runs for its type; nothing is prepared for one.

        Errors are left to the usual way, which checks the arguments.
        """
        if not isinstance(x, Tensor) or not x.is_cpu or not (x.dtype in HALF or torch.is_autocast_enabled("cpu")):
            return None
        if is_strict() or self._observer is not None or torch.compiler.is_compiling():
            return None
        try:
            if lengths is not None:
                if input.dim() != 3:
                    return None
                T, B = (input.shape[1], input.shape[0]) if self.batch_first else (input.shape[0], input.shape[1])
                lengths = check_lengths(lengths, T, B)
            why = self.torch_refusal(None if x is not input else x, lengths, resets)
            tensors = (t for t in (x, *states(hx), *self._flat_weights) if t is not None)
            if why is None and refusal_of_zeros(tensors) is None:
                return self._forward_torch(input, hx, lengths)
        except Exception:
            return None
        return None


MODES = {"rnn_tanh": "RNN_TANH", "rnn_relu": "RNN_RELU", "gru": "GRU", "lstm": "LSTM"}
"""Torch's name of a cell, by ours."""


def _leaf(layer: DropIn, input: Proxy, hx: Any, lengths: Any, resets: Any) -> Proxy:
    """Return the call of a layer as one node of the graph that torch.fx traces, as it does torch.nn's layers."""
    options = {name: value for name, value in (("lengths", lengths), ("resets", resets)) if value is not None}
    tracer = input.tracer
    path = tracer.path_of_module(layer)  # type: ignore[attr-defined]
    return tracer.create_proxy("call_module", path, (input,) if hx is None else (input, hx), options)


def _is_recorded() -> bool:
    return torch._C._get_tracing_state() is not None or is_onnx_export()


def states(hx: Any) -> tuple[Any, ...]:
    """Return a state as a user gives it, whatever that is, as a tuple."""
    return tuple(hx) if isinstance(hx, tuple | list) else (hx,)


def warn_of_scripting(kind: str) -> None:
    """Warn that `torch.jit.script` compiles torch's layer or cell instead of elman's."""
    warnings.warn(
        f"torch.jit.script puts torch.nn's {kind} in the place of elman's, in the model it is given too; "
        "elman.accelerate(model) afterwards makes it elman's again",
        stacklevel=3,
    )


def _is_overridden(value: Any) -> bool:
    """Whether a value takes calls of torch's functions into its own hands by `__torch_function__`."""
    method = getattr(type(value), "__torch_function__", None)
    if method is None or method is torch._C._disabled_torch_function_impl:
        return False
    return getattr(method, "__func__", method) is not Tensor.__torch_function__.__func__  # type: ignore[attr-defined]
