"""The eager kernel: any cell, dtype and device, double backward included, in ordinary PyTorch operations.

It is the definition that the faster kernels are held to, and what runs where none of them can.
"""

from __future__ import annotations

from typing import ClassVar, Protocol, TypedDict, Unpack

import torch
from torch import Tensor
from torch.nn import functional

from elman.kernels.weights import Weights

State = tuple[Tensor, ...]


class Steps(Protocol):
    """What this kernel needs of a cell (see `elman.layers.cell.Cell`)."""

    gates: ClassVar[tuple[str, ...]]
    states: ClassVar[tuple[str, ...]]
    kernel: ClassVar[str | None]

    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: State) -> State:
        """Return the state after one step."""


class Options(TypedDict, total=False):
    """The keyword arguments of `unroll`."""

    lengths: Tensor | None
    resets: Tensor | None
    reverse: bool


def refusal(cell: Steps, x_TBI: Tensor, state: State, weights: Weights, **options: Unpack[Options]) -> str | None:
    """Return why this kernel cannot run the call, or None: it always can."""
    return None


def unroll(
    cell: Steps, x_TBI: Tensor, state: State, weights: Weights, *,
    lengths: Tensor | None = None, resets: Tensor | None = None, reverse: bool = False,
) -> tuple[Tensor, State]:  # fmt: skip
    """Run one layer in one direction over a whole sequence.

    Args:
        cell: what happens in one step.
        x_TBI: the input.
        state: the state before the first step that is run, one (B, H) tensor for each of the cell's states
            ((B, P) for the first one under a projection).
        weights: see `Weights`.
        lengths: (B,) integers in 0..T, how many steps of each row exist. The output beyond is zero, the returned
            state is the one after the row's last step, and what input and resets hold there changes nothing.
        resets: (T, B) booleans, true where a step begins a new sequence: the state is put back to
            `weights.initial` there. In reverse the same boundary is crossed from the other side, so the state is put
            back before step t where `resets[t + 1]` is true.
        reverse: run from the last step (of each row) to the first.

    Returns:
        y_TBH: the first state after every step, (T, B, P).
        state: the state after the last step that was run.
    """
    T, B, _ = x_TBI.shape
    exists_TB = None
    if lengths is not None:
        steps = torch.arange(T, device=x_TBI.device)
        exists_TB = steps[:, None] < lengths.to(x_TBI.device)[None, :]
        x_TBI = x_TBI.masked_fill(~exists_TB[:, :, None], 0)
        resets = None if resets is None else resets & exists_TB
    if resets is not None and reverse:
        last = torch.zeros_like(resets[:1])
        resets = torch.cat([resets[1:], last])
    initial = initial_state(state, weights) if resets is not None else state

    G, H = len(cell.gates), weights.hh.shape[0] // len(cell.gates)
    gx = functional.linear(x_TBI, weights.ih, weights.b_ih).view(T, B, G, H).unbind(0)
    y: list[Tensor] = []
    for t in reversed(range(T)) if reverse else range(T):
        before = state
        if resets is not None:
            fresh = resets[t][:, None]
            before = tuple(torch.where(fresh, i, s) for i, s in zip(initial, state, strict=True))
        gh_BGH = functional.linear(before[0], weights.hh, weights.b_hh).view(B, G, H)
        after = cell.step(gx[t], gh_BGH, before)
        if weights.hr is not None:
            after = (functional.linear(after[0], weights.hr), *after[1:])
        if exists_TB is None:
            y.append(after[0])
            state = after
        else:
            exists = exists_TB[t][:, None]
            y.append(torch.where(exists, after[0], 0))
            state = tuple(torch.where(exists, a, s) for a, s in zip(after, state, strict=True))
    if not y:
        return x_TBI.new_zeros(0, B, state[0].shape[1]), state
    return torch.stack(y[::-1] if reverse else y), state


def initial_state(state: State, weights: Weights) -> State:
    """Return what a reset puts each of `state` back to: `weights.initial` for every row, or zeros."""
    if weights.initial is None:
        return tuple(torch.zeros_like(s) for s in state)
    return tuple(i.to(s.dtype).expand_as(s) for i, s in zip(weights.initial, state, strict=True))
