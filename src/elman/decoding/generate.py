"""Autoregressive generation, one symbol at a time, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
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
    device: torch.device | str = "cpu",
) -> Iterator[int]:
    """Yield token ids one by one.

    Only the state is stored, so that memory does not grow with the length.

    Args:
        step: one step of the model, for one sequence: token ids (1,) and a state to logits (1, V) and the state.
        state: the state before `first`.
        first: the token ids of the prompt, at least one; they are read, not yielded.
        sampler: logits (1, V) to token ids (1,): a `Sampler`, with its generator bound if it has one.
        length: how many token ids; None: endless.
        device: of the model and of the token ids.

    Raises:
        SettingError: the prompt is empty or the length negative; raised at the call, not at the first symbol.
    """
    if len(first) == 0:
        raise SettingError("the prompt is empty", should="at least one symbol", found="none", hint="--prompt TEXT")
    if length is not None and length < 0:
        raise SettingError("invalid value for length", should="0 or more", found=str(length), hint="--length 300")

    def step_without_grad(token_id: int, state: S) -> tuple[Tensor, S]:
        with torch.no_grad():  # it ends before each yield, so that it does not affect the caller
            return step(torch.tensor([token_id], device=device), state)

    def token_ids(state: S) -> Iterator[int]:
        if length == 0:
            return
        for token_id in first[:-1]:
            _, state = step_without_grad(int(token_id), state)
        token_id = int(first[-1])
        for _ in count() if length is None else range(length):
            logits_BV, state = step_without_grad(token_id, state)
            token_id = int(sampler(logits_BV))
            yield token_id

    return token_ids(state)
