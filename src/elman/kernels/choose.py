"""The only place that picks a kernel, and says why."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from elman.kernels import eager
from elman.kernels.eager import State, Steps
from elman.kernels.weights import Weights

# Every kernel is a module with `refusal` and `unroll`; the fastest comes first, the last one takes everything.
KERNELS = {"eager": eager}


class Choice(NamedTuple):
    """Which kernel runs a call, and why each faster one does not."""

    name: str
    refusals: dict[str, str]


def choose(
    cell: Steps,
    x_TBI: Tensor,
    state: State,
    weights: Weights,
    *,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
    reverse: bool = False,
) -> Choice:
    """Return the fastest kernel that can run the call, with the reason why each faster one cannot."""
    refusals: dict[str, str] = {}
    for name, kernel in KERNELS.items():
        why = kernel.refusal(cell, x_TBI, state, weights, lengths=lengths, resets=resets, reverse=reverse)
        if why is None:
            return Choice(name, refusals)
        refusals[name] = why
    raise AssertionError("the last kernel takes everything")


def unroll(
    cell: Steps,
    x_TBI: Tensor,
    state: State,
    weights: Weights,
    *,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, State]:
    """Run one layer in one direction by the kernel that `choose` picks; the contract is `eager.unroll`'s."""
    choice = choose(cell, x_TBI, state, weights, lengths=lengths, resets=resets, reverse=reverse)
    return KERNELS[choice.name].unroll(
        cell, x_TBI, state, weights, lengths=lengths, resets=resets, reverse=reverse
    )
