"""TorchRL's `LSTMModule` and `GRUModule` with elman's kernels as their backend.

    from elman.integrations.rl.torchrl import LSTMModule

They are TorchRL's classes with the same arguments, keys, shapes and state dicts, and follow `set_recurrent_mode`. In
recurrent mode each trajectory of a batch becomes a sequence of its own, from the state stored at its first step, and
the kernels run over all of them without computing the padding.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from elman.errors import SettingError, ShapeError, extra
from elman.layers.accelerate import accelerate
from elman.layers.recurrent import Recurrent

with extra("rl", "a recurrent module for TorchRL"):
    from tensordict import TensorDictBase
    from tensordict.nn import dispatch
    from torchrl.modules import GRUModule as TorchrlGRUModule
    from torchrl.modules import LSTMModule as TorchrlLSTMModule

BACKEND = "elman"

PARTS = (0.45, 0.8, 1.0)
"""The shares of the trajectories, shortest first, up to which they are padded together: padding costs memory."""

FEW = 192
"""Trajectories below which all are padded together, so that the kernels have enough rows for a matrix product."""


class SequenceModule:
    """What the modules of this file add to TorchRL's: the backend "elman", which is the default.

    Args:
        args: as for TorchRL's module of the same name.
        options: likewise. Any other `recurrent_backend` than "elman" is TorchRL's own.
    """

    in_keys: list[Any]
    out_keys: list[Any]
    recurrent_mode: bool
    recurrent_backend: str

    _layer_name: str

    def __init__(self, *args: Any, **options: Any) -> None:
        own = options.get("recurrent_backend", BACKEND) == BACKEND
        if own:
            options.pop("recurrent_backend", None)
        super().__init__(*args, **options)
        if own:
            for name, reason in accelerate(self).kept.items():  # type: ignore[arg-type]
                layer = getattr(self, name)
                if getattr(layer, "learn_initial_state", False):
                    hint = "a TensorDictPrimer, which puts the first state into the batch"
                    raise SettingError(
                        "TorchRL keeps states in its batches", should="learn_initial_state=False", hint=hint
                    )
                if not isinstance(layer, Recurrent):
                    warnings.warn(f"{name} runs by TorchRL's backend 'pad': {reason}", stacklevel=2)
            self.recurrent_backend = BACKEND

    def _run(self, tensordict: TensorDictBase) -> bool:
        """Run the layer and set the output keys; False: nothing is done, it is a call for TorchRL's own backends."""
        layer = getattr(self, self._layer_name)
        if self.recurrent_backend != BACKEND or not isinstance(layer, Recurrent) or torch.compiler.is_compiling():
            return False
        count = len(layer.cell.states)
        value = tensordict.get(self.in_keys[0])
        stored = [tensordict.get(key, None) for key in self.in_keys[1 : 1 + count]]
        shape, missing = tensordict.shape, [state is None for state in stored]
        if value is None or (self.recurrent_mode and not shape):
            return False  # which TorchRL refuses
        if any(missing) != all(missing):
            should, found = f"{self.in_keys[1 : 1 + count]}, or none of them", str(list(tensordict.keys(True, True)))
            raise ShapeError("a batch has only some of the states", should=should, found=found)
        steps = shape[-1] if self.recurrent_mode else 1
        x_BTI = value.reshape(-1, steps, value.shape[-1])
        starts_BT = tensordict.get("is_init").reshape(-1, steps)
        states = None if any(missing) else [s.reshape(-1, steps, *s.shape[-2:]) for s in stored]
        if self.recurrent_mode:
            outputs = unroll_trajectories(layer, x_BTI, states, starts_BT)
        else:
            outputs = _step(layer, x_BTI, states, starts_BT)
        for key, output in zip(self.out_keys, outputs, strict=True):
            tensordict.set(key, output.reshape(*shape, *output.shape[2:]))
        return True


def _step(layer: Any, x_BTI: Tensor, states: list[Tensor] | None, starts_BT: Tensor) -> list[Tensor]:
    """Run one step for each row: from zeros where a trajectory begins, else from the state given."""
    B = len(x_BTI)
    if states is None:
        before = layer.initial_state(B)
    else:
        before = [torch.where(starts_BT[:, :, None, None], 0.0, s)[:, 0].transpose(0, 1).contiguous() for s in states]
    y_BH, after = layer.step(x_BTI[:, 0], _as_hidden(before))
    return [y_BH[:, None], *[s.transpose(0, 1)[:, None] for s in _as_states(after)]]


def unroll_trajectories(
    layer: Any, x_BTI: Tensor, states: list[Tensor] | None, starts_BT: Tensor
) -> list[Tensor]:  # fmt: skip
    """Run a layer over rows that hold several trajectories each.

    Args:
        layer: one of elman's layers, with `batch_first`.
        x_BTI: the inputs.
        states: (B, T, L, H) for each of the cell's states: the state before each step, of which only those at the
            first steps of trajectories are read. None stands for zeros.
        starts_BT: true where a trajectory begins; every row begins with one, whatever it says there.

    Returns:
        The outputs (B, T, H); and for each state (B, T, L, H): at the last step of each trajectory the state after
        it, zeros elsewhere.
    """
    B, T = starts_BT.shape
    starts_BT = starts_BT.clone()
    starts_BT[:, :1] = True
    first_N = starts_BT.flatten().nonzero()[:, 0]
    lengths_N = torch.diff(first_N, append=first_N.new_tensor([B * T]))
    before = None if states is None else [s.flatten(0, 1)[first_N].transpose(0, 1).contiguous() for s in states]
    if len(first_N) == B:
        y_BTH, after = layer(x_BTI, None if before is None else _as_hidden(before))
        lasts = _as_states(after)
    elif _is_state(layer) and _begins_with_zeros(before, first_N, T):
        resets_BT = starts_BT.clone()
        resets_BT[:, 0] = False  # there the stored state counts
        hx = None if states is None else states[0][:, 0].transpose(0, 1).contiguous()
        y_BTH, _ = layer(x_BTI, hx, resets=resets_BT)
        lasts = [y_BTH.flatten(0, 1)[first_N + lengths_N - 1][None]]
    else:
        y_RH, lasts = _unroll_folded(layer, x_BTI.flatten(0, 1), before, first_N, lengths_N)
        y_BTH = y_RH.view(B, T, -1)
    ends_N = first_N + lengths_N - 1
    filled = []
    for last in lasts:
        after_RLH = last.new_zeros(B * T, last.shape[0], last.shape[2]).index_copy_(0, ends_N, last.transpose(0, 1))
        filled.append(after_RLH.view(B, T, *after_RLH.shape[1:]))
    return [y_BTH, *filled]


def _is_state(layer: Any) -> bool:
    """Return whether the output at a step is all of the state after it."""
    return len(layer.cell.states) == 1 and layer.num_layers * layer.num_directions == 1


def _begins_with_zeros(before: list[Tensor] | None, first_N: Tensor, T: int) -> bool:
    """Return whether the trajectories that begin within a row begin with zeros, which need no gradient."""
    if before is None:
        return True
    within_N = first_N % T != 0
    return not any(s.requires_grad or s[:, within_N].any() for s in before)


def _unroll_folded(
    layer: Any, x_RI: Tensor, before: list[Tensor] | None, first_N: Tensor, lengths_N: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Run a layer over trajectories that lie one after the other in R rows, in groups of similar length.

    Returns:
        The outputs (R, H), and each state after the last step of each trajectory, (L, N, H).
    """
    N, R = len(first_N), len(x_RI)
    order_N = lengths_N.argsort()
    cuts = [int(part * N) for part in PARTS] if N >= FEW else [N]
    outputs, lasts, place_R, count = [], [], torch.empty(R, dtype=torch.long, device=x_RI.device), 0
    for begin, end in zip([0, *cuts], cuts, strict=False):
        members = order_N[begin:end]
        lengths = lengths_N[members]
        t_T1 = torch.arange(int(lengths.max()), device=x_RI.device)[:, None]
        row_TN = first_N[members] + t_T1
        x_TNI = x_RI[row_TN.clamp(max=R - 1)]  # beyond its length a sequence is not read
        hx = None if before is None else _as_hidden([s[:, members] for s in before])
        y_NTH, after = layer(x_TNI.transpose(0, 1), hx, lengths=lengths)
        inside = (t_T1 < lengths).flatten().nonzero()[:, 0]
        place_R[row_TN.flatten()[inside]] = inside + count
        count += row_TN.numel()
        outputs.append(y_NTH.transpose(0, 1).flatten(0, 1))
        lasts.append(_as_states(after))
    y_RH = (outputs[0] if len(outputs) == 1 else torch.cat(outputs))[place_R]
    back_N = torch.empty_like(order_N)
    back_N[order_N] = torch.arange(N, device=order_N.device)
    return y_RH, [torch.cat(each, 1)[:, back_N] for each in zip(*lasts, strict=True)]


def _as_hidden(states: Any) -> Any:
    return states[0] if len(states) == 1 else tuple(states)


def _as_states(hidden: Any) -> list[Tensor]:
    return [hidden] if isinstance(hidden, Tensor) else list(hidden)


class LSTMModule(SequenceModule, TorchrlLSTMModule):
    """`torchrl.modules.LSTMModule` with the backend "elman"."""

    _layer_name = "lstm"

    @dispatch
    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Run one step or, in recurrent mode, whole trajectories; as TorchRL's module."""
        return tensordict if self._run(tensordict) else super().forward(tensordict)


class GRUModule(SequenceModule, TorchrlGRUModule):
    """`torchrl.modules.GRUModule` with the backend "elman"."""

    _layer_name = "gru"

    @dispatch
    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Run one step or, in recurrent mode, whole trajectories; as TorchRL's module."""
        return tensordict if self._run(tensordict) else super().forward(tensordict)
