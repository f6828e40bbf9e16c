"""Generation: a model's own output as its next input, one symbol at a time, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from elman.errors import SettingError

S = TypeVar("S")

Step = Callable[[Tensor, S], tuple[Tensor, S]]
"""`step(ids_B, state) -> (logits_BV, state)`: one step of a model."""


def generate(
    step: Step[S],
    state: S,
    first: Sequence[int],
    *,
    sampler: Callable[[Tensor], Tensor],
    length: int | None = None,
) -> Iterator[int]:
    """Yield symbols one by one, each as soon as it is made.

    Nothing is kept but the state, so memory does not grow with the length.

    Args:
        step: one step of the model, for one sequence: ids (1,) and a state to logits (1, V) and the state.
        state: the state before `first`.
        first: the prompt, at least one symbol; they are read, not yielded.
        sampler: logits (1, V) to ids (1,): a `Sampler`, with its generator bound if it should have one.
        length: how many symbols; None: without end.

    Raises:
        SettingError: the prompt is empty or the length negative; at the call, not at the first symbol.
    """
    if len(first) == 0:
        raise SettingError(
            "the prompt is empty", should="at least one symbol to begin with", found="none", hint="--prompt TEXT"
        )
    if length is not None and length < 0:
        raise SettingError("the length is impossible", should="0 or more", found=str(length), hint="--length 300")
    return _generate(step, state, first, sampler, length)


def _generate(
    step: Step[S], state: S, first: Sequence[int], sampler: Callable[[Tensor], Tensor], length: int | None
) -> Iterator[int]:
    if length == 0:
        return
    for number in first[:-1]:
        _, state = _quiet(step, int(number), state)
    number, made = int(first[-1]), 0
    while length is None or made < length:
        logits_BV, state = _quiet(step, number, state)
        number = int(sampler(logits_BV))
        made += 1
        yield number


def _quiet(step: Step[S], number: int, state: S) -> tuple[Tensor, S]:
    """Take one step without a graph. The mode is left before each yield, so that it does not leak to the caller."""
    with torch.no_grad():
        return step(torch.tensor([number]), state)
