"""N-gram language model, for prefix beam search."""

from __future__ import annotations

import math
from collections.abc import Sequence

from elman.errors import SettingError

State = tuple[int, ...]


class NGrams:
    """N-gram model with absolute discounting and interpolation.

    p(w | h) = max(0, c(h w) - d) / c(h) + d n(h) / c(h) p(w | h less its first symbol), where c counts in the training
    sequences and n(h) is the number of different symbols that follow h; the lowest order is the uniform distribution
    (Ney, Essen and Kneser 1994, "On structuring probabilistic dependences in stochastic language modelling").

    Args:
        sequences: for training, token ids below `size`.
        size: number of symbols; the end counts as one more.
        order: n; 1: unigrams, 2: bigrams, and so on.
        discount: d, from 0 to 1.

    Raises:
        SettingError: an invalid order or discount.
    """

    def __init__(self, sequences: Sequence[Sequence[int]], size: int, *, order: int = 2, discount: float = 0.5) -> None:
        if order < 1 or not 0 <= discount <= 1:
            raise SettingError(
                "invalid n-grams",
                should="an order of 1 or more, and a discount from 0 to 1",
                found=f"order {order}, discount {discount:g}",
            )
        self.edge, self.order, self.discount = size, order, discount
        self.followers: dict[State, dict[int, int]] = {}
        for sequence in sequences:
            marked = [self.edge, *sequence, self.edge]
            for position in range(1, len(marked)):
                for length in range(min(order, position + 1)):
                    after = self.followers.setdefault(tuple(marked[position - length : position]), {})
                    after[marked[position]] = after.get(marked[position], 0) + 1
        self.totals = {state: sum(after.values()) for state, after in self.followers.items()}
        self._cache: dict[tuple[State, int], float] = {}

    def begin(self) -> State:
        """Return the state of the empty prefix: the edge of a sequence."""
        return (self.edge,)[: self.order - 1]

    def extend(self, state: State, token_id: int) -> tuple[float, State]:
        """Return log p(symbol | the symbols before), in nats, and the state after the symbol."""
        after = (*state, token_id)
        return self._log_p(state, token_id), after[max(0, len(after) - self.order + 1) :]

    def end(self, state: State) -> float:
        """Return log p(the end | the symbols before), in nats."""
        return self._log_p(state, self.edge)

    def _log_p(self, state: State, token_id: int) -> float:
        if (state, token_id) not in self._cache:
            p = 1 / (self.edge + 1)
            for length in range(len(state) + 1):
                history = state[len(state) - length :]
                if history in self.followers:
                    after, total = self.followers[history], self.totals[history]
                    left = self.discount * len(after) / total
                    p = max(0.0, after.get(token_id, 0) - self.discount) / total + left * p
            self._cache[state, token_id] = math.log(max(p, 1e-300))
        return self._cache[state, token_id]
