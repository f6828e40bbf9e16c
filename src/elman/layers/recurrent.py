"""`Recurrent`, the runner of a cell: layers and directions, with torch's parameters, states and conventions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import Parameter, functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from elman.errors import SettingError, ShapeError
from elman.kernels.dispatch import (
    Stepper,
    TorchRefusal,
    forget,
    prepare_steps,
    step,
    unroll,
    unroll_unless_torch,
)
from elman.kernels.eager import Options
from elman.kernels.results import batch_first, one_layer, without_batch
from elman.kernels.weights import Weights
from elman.layers.arguments import (
    check_bool,
    check_dropout,
    check_input,
    check_lengths,
    check_projection,
    check_size,
    check_state_shape,
    check_type,
)
from elman.layers.cell import Cell, State
from elman.layers.stack import FIRST, RecurrentBase
from elman.shapes import check_shape

_tracing_state = torch._C._get_tracing_state

_is_autocast_enabled = torch.is_autocast_enabled

HALF = (torch.bfloat16, torch.float16)

Hidden = Tensor | tuple[Tensor, ...]
"""A state as the user sees it: a tensor for a cell with one state, a tuple of them for one with more."""


class Observer(Protocol):
    """What runs each layer and direction of a `Recurrent` in the kernels' place, as `Recurrent._observer`.

    It takes what `elman.kernels.dispatch.unroll` takes, after the number of the layer and of the direction (0 forward,
    1 reverse), and returns what that returns; on the way it sees all inputs and outputs.
    """

    def __call__(
        self, layer: int, direction: int, /, cell: Cell, x_TBI: Tensor, state: State, weights: Weights, *,
        lengths: Tensor | None = None, resets: Tensor | None = None, reverse: bool = False,
    ) -> tuple[Tensor, State]:  # fmt: skip
        """Return the output and the state after the last step."""


class Recurrent(RecurrentBase):
    """Layers of any cell. `elman.RNN`, `elman.GRU` and `elman.LSTM` are this with a cell chosen.

    Args:
        cell: what one step does, see `elman.Cell`.
        input_size: I, features of the input at each step.
        hidden_size: H, hidden units.
        num_layers: L, layers, each fed with the outputs of the one below.
        bias: whether b_ih and b_hh exist.
        batch_first: input and output are (B, T, ...) instead of (T, B, ...).
        dropout: probability of dropping an output between layers, while training.
        bidirectional: a second set of weights runs from the last step to the first.
        proj_size: P, size of a projection of the first state; 0 stands for none.
        device: of the parameters.
        dtype: of the parameters.
        variational: one dropout mask for all steps of a sequence (Gal and Ghahramani, 2016).
        init: the initialisation by name, see `elman.layers.initialise.INITIALISATIONS`.
        learn_initial_state: the initial state is a parameter of each layer and direction instead of zeros.

    Raises:
        SettingError: an invalid size or probability, or an unknown initialisation.

    Attributes:
        cells: of a subclass that chooses its cell, those that it can choose.
    """

    cells: ClassVar[tuple[type[Cell], ...]] = ()

    variational: bool = False  # of a layer that another class has built
    _observer: Observer | None = None

    def __init__(
        self, cell: Cell, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
        device: torch.device | str | None = None, dtype: torch.dtype | None = None,
        *, variational: bool = False, init: str = "torch", learn_initial_state: bool = False,
    ) -> None:  # fmt: skip
        nn.Module.__init__(self)  # not torch.nn's own layer of this kind, where the class is one of these
        if not isinstance(cell, Cell):
            found = f"the class {cell.__name__}" if isinstance(cell, type) else repr(cell)
            raise SettingError("cell is not a cell", should="an instance of a Cell", found=found, hint="MyCell()")
        self.cell = cell
        self.input_size, self.hidden_size = check_size("input_size", input_size), check_size("hidden_size", hidden_size)
        self.num_layers = check_size("num_layers", num_layers)
        self.bias, self.batch_first = check_bool("bias", bias), check_bool("batch_first", batch_first)
        self.dropout = check_dropout(self, dropout, self.num_layers)
        self.bidirectional, self.proj_size = bool(bidirectional), check_projection(proj_size, self.hidden_size)
        self.variational, self.init, self.learn_initial_state = variational, init, learn_initial_state
        self._stepper = Stepper()
        self._create_parameters(device, dtype)
        self.reset_parameters()

    @property
    def is_observed(self) -> bool:
        """Whether a call is more than its own `forward`: an `Observer` runs the layers, or hooks are registered."""
        hooks = (value for name, value in vars(self).items() if name.startswith(("_forward", "_backward")))
        return self._observer is not None or any(hooks)

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Hidden | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, Hidden]:
        """Run over whole sequences.

        Args:
            input: (T, B, I), (B, T, I) with `batch_first`, (T, I) for a single sequence, or a PackedSequence.
            hx: the state to continue from, of the shape that comes back; None stands for the initial state.
            lengths: (B,), how many steps of each sequence exist, 0 to T, in any order. The output beyond is zero
                and what the input holds there changes nothing.
            resets: booleans of the shape of the input without its features, true where a step begins a new
                sequence: the state is put back to the layer's initial one there (not to `hx`).

        Returns:
            output: like the input, with D * H features (D * P under a projection).
            hx: the state after the last step of each sequence, (L*D, B, H) for each of the cell's states.

        Raises:
            ShapeError: a tensor of the wrong shape or type, or lengths outside 0 to T.
        """
        if (
            type(input) is not Tensor
            or _tracing_state() is not None
            or type(self._parameters.get(FIRST)) is not Parameter
            or input.dtype in HALF
            or _is_autocast_enabled("cpu")
        ):
            result: tuple[Any, Any] | None = self._forward_intercepted(input, hx, lengths, resets)
            if result is not None:
                return result
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx, lengths, resets)
        x_TBI, state, lengths_B, resets_TB = self.prepare(input, hx, lengths, resets)
        refusal = partial(self.torch_refusal, x_TBI, lengths, resets)
        unrolled = self._unroll(x_TBI, state, lengths_B, resets_TB, torch_refusal=refusal)
        if unrolled is None:
            return self._forward_torch(input, hx, lengths)
        y_TBH, state = unrolled
        observed = self._observer is not None
        if input.dim() == 2:
            state = tuple(without_batch(s, observed) for s in state)
            return without_batch(y_TBH, observed), self._pack_state(state)
        return batch_first(y_TBH, observed) if self.batch_first else y_TBH, self._pack_state(state)

    def over_symbols(
        self, symbols: Tensor, table_VI: Tensor, hx: Hidden | None = None, *, resets: Tensor | None = None
    ) -> tuple[Tensor, Hidden]:
        """Run over the rows of a table: up to rounding what `self(table_VI[symbols], hx, resets=resets)` gives.

        The lowest layer needs U e for the row e of each symbol, and there are only V of these: the columns of U E^T for
        the table E. So U E^T takes the place of U, and the symbol's place among V that of its row: V numbers a step
        instead of I, and no gradient of the input. With few symbols and long rows that saves much of a training step.

        Args:
            symbols: numbers from 0 to V - 1, (T, B), or (B, T) with `batch_first`.
            table_VI: the row of each symbol, of an embedding for example.
            hx: as in `forward`.
            resets: as in `forward`.

        Returns:
            As `forward`.

        Raises:
            ShapeError: as in `forward`.
        """
        check_shape("symbols", symbols, "BT" if self.batch_first else "TB")
        check_shape("table", table_VI, "VI", I=self.input_size)
        V = len(table_VI)
        one_hot = table_VI.new_zeros(*symbols.shape, V).scatter_(2, symbols.long()[:, :, None], 1.0)
        x_TBV, state, _, resets_TB = self.prepare(one_hot, hx, None, resets, features=V)
        lowest = [self.weights(0, direction) for direction in range(self.num_directions)]
        lowest = [weights._replace(ih=weights.ih @ table_VI.t()) for weights in lowest]
        unrolled = self._unroll(x_TBV, state, None, resets_TB, lowest)
        assert unrolled is not None
        y_TBH, state = unrolled
        return y_TBH.transpose(0, 1) if self.batch_first else y_TBH, self._pack_state(state)

    def prepare(
        self, input: Tensor, hx: Hidden | None, lengths: Tensor | Sequence[int] | None, resets: Tensor | None, *,
        features: int | None = None,
    ) -> tuple[Tensor, State, Tensor | None, Tensor | None]:  # fmt: skip
        """Check the arguments of `forward`, and return them as the kernels take them: time first, with a batch.

        `features` is the width of the input where that is not the layer's own.

        Raises:
            ShapeError: a tensor of the wrong shape or type, or lengths outside 0 to T.
        """
        single = isinstance(input, Tensor) and input.dim() == 2
        check_input(type(self).__name__, input, features or self.input_size, self.batch_first, resets)
        weight = self._first_weight()
        if input.dtype != weight.dtype:
            check_type("input", input, weight)
        if single:
            if lengths is not None:
                should, found = "input (T, B, I)", "input (T, I)"
                raise ShapeError("lengths are for a batch", should=should, found=found, hint="input[:length]")
            input = input.unsqueeze(1)
            resets = resets if resets is None else resets.unsqueeze(1)
        elif self.batch_first:
            input = input.transpose(0, 1)
            resets = resets if resets is None else resets.transpose(0, 1)
        T, B = input.shape[:2]
        lengths_B = None if lengths is None else check_lengths(lengths, T, B)
        state = self.initial_state(B) if hx is None else self._check_state(hx, None if single else B)
        return input, state, lengths_B, resets

    def step(self, input: Tensor, hx: Hidden | None = None) -> tuple[Tensor, Hidden]:
        """Run one step: the same numbers as `forward` gives for it within a sequence.

        In training with dropout between layers each step draws its own mask, also where `variational` would keep one
        for a whole sequence: a step knows of no other.

        Without gradients (`torch.no_grad()` or `inference_mode()`), on the CPU and from a given state, a step of all
        layers is a single call that takes a few microseconds.

        Args:
            input: (B, I), or (I,) for a single sequence.
            hx: as in `forward`.

        Returns:
            output: (B, H), or (H,).
            hx: the state after the step. Like the output it has memory of its own, which no later step touches.

        Raises:
            SettingError: the layer is bidirectional; its output needs the future.
            ShapeError: as in `forward`.
        """
        if not torch.compiler.is_compiling() and not (self.training and self.dropout):
            quick = self._stepper.step(self._parameters, input, hx)
            if quick is not None:
                return quick[0], self._pack_state(quick[1:])
        self._check_step(input)
        self._run_weight_hooks(input, hx)
        single = input.dim() == 1
        # A step is a sequence of length one: (T, B, I) or (T, I).
        x_TBI, state, _, _ = self.prepare(input.unsqueeze(0 if single or not self.batch_first else 1), hx, None, None)
        states = [tuple(s[layer] for s in state) for layer in range(self.num_layers)]
        weights = [self.weights(layer) for layer in range(self.num_layers)]
        y_BH, after = x_TBI[0], []
        for layer in range(self.num_layers):
            y_BH, *others = step(self.cell, y_BH, states[layer], weights[layer])
            after.append((y_BH, *others))
            if self.training and self.dropout and layer + 1 < self.num_layers:
                y_BH = self._drop(y_BH[None])[0]
        if not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            prepare_steps(self._stepper, self.cell, x_TBI[0], states, weights, self._parameters)
        state = tuple(torch.stack(each) for each in zip(*after, strict=True))
        if single:
            return y_BH[0], self._pack_state(tuple(s[:, 0] for s in state))
        return y_BH, self._pack_state(state)

    def _run_weight_hooks(self, input: Tensor, hx: Hidden | None) -> None:
        """Run the hooks that compute weights before a call, as pruning and the old weight_norm and spectral_norm do."""
        if self._forward_pre_hooks and any(name.startswith("weight_") for name in vars(self)):
            for hook in tuple(self._forward_pre_hooks.values()):
                hook(self, (input, hx))

    def _check_step(self, input: Tensor) -> None:
        if self.bidirectional:
            raise SettingError(
                "a bidirectional layer cannot run step by step",
                should="bidirectional=False",
                found="bidirectional=True, whose output at a step depends on all later ones",
                hint="call the layer on the whole sequence",
            )
        if not isinstance(input, Tensor) or input.dim() not in (1, 2):
            found = str(tuple(input.shape)) if isinstance(input, Tensor) else type(input).__name__
            raise ShapeError("the input of a step has a wrong shape", should="(B, I) or (I,)", found=found)

    def _unroll(
        self, x_TBI: Tensor, state: State, lengths_B: Tensor | None, resets_TB: Tensor | None,
        lowest: Sequence[Weights] | None = None, torch_refusal: TorchRefusal | None = None,
    ) -> tuple[Tensor, State] | None:  # fmt: skip
        """Run all layers, the lowest one with the given weights for each direction, or with its own.

        With `torch_refusal`: None, and nothing is run, where torch's own operator is the one to run.
        """
        after: list[State] = []
        for layer in range(self.num_layers):
            outputs: list[Tensor] = []
            for direction in range(self.num_directions):
                before = tuple([s[len(after)] for s in state])
                run = unroll if self._observer is None else partial(self._observer, layer, direction)
                weights = self.weights(layer, direction) if layer or lowest is None else lowest[direction]
                options: Options = {"lengths": lengths_B, "resets": resets_TB, "reverse": direction == 1}
                if torch_refusal is not None and self._observer is None and not after:
                    first = unroll_unless_torch(self.cell, x_TBI, before, weights, torch_refusal, **options)
                    if first is None:
                        return None
                    y_TBH, last = first
                else:
                    y_TBH, last = run(self.cell, x_TBI, before, weights, **options)
                outputs.append(y_TBH)
                after.append(last)
            x_TBI = outputs[0] if len(outputs) == 1 else torch.cat(outputs, 2)
            if self.training and self.dropout and layer + 1 < self.num_layers:
                x_TBI = self._drop(x_TBI)
        if len(after) == 1:
            return x_TBI, tuple([one_layer(s, self._observer is not None) for s in after[0]])
        return x_TBI, tuple(torch.stack(each) for each in zip(*after, strict=True))

    def _drop(self, x_TBI: Tensor) -> Tensor:
        if not self.variational:
            return functional.dropout(x_TBI, self.dropout)
        return x_TBI * functional.dropout(torch.ones_like(x_TBI[:1]), self.dropout)

    def _forward_packed(
        self, packed: PackedSequence, hx: Hidden | None, lengths: Tensor | Sequence[int] | None, resets: Tensor | None
    ) -> tuple[PackedSequence, Hidden]:
        padded, counts = self.unpack(packed, lengths, resets)
        x_TBI, state, lengths_B, _ = self.prepare(padded, hx, counts, None)
        refusal = partial(self.torch_refusal, x_TBI, None, None)
        unrolled = self._unroll(x_TBI, state, lengths_B, None, torch_refusal=refusal)
        if unrolled is None:
            return self._forward_torch(packed, hx)
        output, state = unrolled
        if self.batch_first:
            output = output.transpose(0, 1)
        order = packed.sorted_indices
        if order is not None:
            output = output.index_select(0 if self.batch_first else 1, order)
            counts = counts[order.to(counts.device)]
        data, batch_sizes, _, _ = pack_padded_sequence(output, counts, self.batch_first)
        return PackedSequence(data, batch_sizes, order, packed.unsorted_indices), self._pack_state(state)

    def torch_refusal(
        self, x_TBI: Tensor | None, lengths: Tensor | Sequence[int] | None, resets: Tensor | None
    ) -> str | None:
        """Return why torch's own operator cannot run a call of all layers, or None; see `elman.layers.drop_in`."""
        return f"torch.nn has no layer of the cell {type(self.cell).__name__}"

    def _forward_torch(self, input: Any, hx: Any, lengths: Any = None) -> tuple[Any, Any]:
        """Run torch's own operator over a call that `torch_refusal` lets pass."""
        raise NotImplementedError

    def _forward_intercepted(self, input: Any, hx: Any, lengths: Any, resets: Any) -> Any:
        """Return the result of a call that is traced, in half precision or on no plain tensors, or None."""
        return None

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        # Parameters may be swapped for others, which torch does only where nothing refers to them weakly.
        forget(self._parameters.values())
        self._stepper = Stepper()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def unpack(
        self, packed: PackedSequence, lengths: Tensor | Sequence[int] | None, resets: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return a PackedSequence as `forward` runs it: the padded tensor and the lengths.

        Raises:
            ShapeError: there are lengths or resets beside it.
        """
        if lengths is not None or resets is not None:
            raise ShapeError(
                "a PackedSequence brings its own lengths",
                should="neither lengths= nor resets= beside it",
                found="lengths=" if lengths is not None else "resets=",
                hint="pass the padded tensor with lengths= and resets=",
            )
        padded, counts = pad_packed_sequence(packed, batch_first=self.batch_first)
        return padded, counts

    def _check_state(self, hx: Hidden, batch_size: int | None) -> State:
        """Return hx as (L*D, B, H) tensors; `batch_size` None: it is that of a single sequence, without B."""
        names = self.cell.states
        state = (hx,) if isinstance(hx, Tensor) else tuple(hx) if isinstance(hx, tuple | list) else ()
        fits = len(state) == len(names) and isinstance(hx, Tensor) == (len(names) == 1)
        if not fits or not all(isinstance(s, Tensor) for s in state):
            should = "a tensor" if len(names) == 1 else f"a tuple of tensors ({', '.join(names)})"
            kinds = ", ".join(type(s).__name__ for s in state)
            found = "a tensor" if isinstance(hx, Tensor) else f"{type(hx).__name__} ({kinds})"
            hint = "hx=None to begin anew"
            raise ShapeError("hx is not a state of this layer", should=should, found=found, hint=hint)
        count, weight = self.num_layers * self.num_directions, self._first_weight()
        batch = () if batch_size is None else (batch_size,)
        shapes = [(count, *batch, size) for size in self._state_sizes()]
        check_state_shape(names, state, shapes, batch_size is not None)
        for name, tensor in zip(names, state, strict=True):
            check_type(f"hx ({name})", tensor, weight)
        return state if batch_size is not None else tuple(s.unsqueeze(1) for s in state)

    def _pack_state(self, state: State) -> Hidden:
        return state[0] if len(state) == 1 else state
