"""Questions that a session asks of a next-item predictor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Histories = Sequence[NDArray[np.int64]]


@dataclass(frozen=True)
class Question:
    """What comes after `history`, the known items of a session so far.

    Attributes:
        history: (T,) int64, T of 1 or more.
        target: the item that came, -1 for an unknown one.
    """

    history: NDArray[np.int64]
    target: int


def questions(session: NDArray[Any]) -> Iterator[Question]:
    """Yield the questions that a session asks: its evaluated events that come after a known item.

    Args:
        session: structured steps with the fields `item` (-1 where unknown) and `judged`.
    """
    items = session["item"].astype(np.int64)
    known = items[items >= 0]
    before: NDArray[np.int64] = np.cumsum(items >= 0) - (items >= 0)
    for n in np.flatnonzero(session["judged"]):
        if before[n]:
            yield Question(known[: before[n]], int(items[n]))


Predictor = Callable[[Histories], Tensor]
"""The known items of N sessions so far, (T_n,) each, at least one -> scores, (N, V)."""
