"""Beam search over a step function, for many rows at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from elman.decoding.limits import DecodingLimits
from elman.errors import SettingError

S = TypeVar("S")

NEVER = -1e30  # the score of an empty place in the beam


class Hypothesis(NamedTuple):
    """A decoded sequence.

    Attributes:
        token_ids: the symbols, without the end symbol.
        score: for ranking; greater is better.
        log_probability: of all its symbols, the end included, in nats.
        ended: whether it has an end symbol; otherwise it was cut at the maximum length.
        guarded: whether the limit of repetitions kept it from its most probable symbol.
    """

    token_ids: list[int]
    score: float
    log_probability: float
    ended: bool
    guarded: bool = False


@dataclass(frozen=True)
class Beam(Generic[S]):
    """Beam search over a model with a step function.

    A finished sequence Y of n symbols, its end included, is ranked as in Wu et al. 2016
    (https://arxiv.org/abs/1609.08144):

        score(Y) = log p(Y) / ((5 + n) / 6) ^ length_penalty + bonus(state)

    A row ends when K sequences are finished and no unfinished one can surpass them.

    Args:
        step: (ids_N, state) -> (logits_NV, state), N rows of hypotheses.
        select: (state, rows_M) -> the state of these rows, each of 0 to N - 1, in this order.
        begin: the token id before a sequence.
        end: the token id that ends one.
        width: K, the beam width; 1: greedy.
        length_penalty: 0 ranks by probability, which favours short sequences; 0.6 to 1 is usual in translation.
        bonus: state -> (N,), at most 0, of a sequence that ends in this state, such as a weight times `coverage`.
        limits: of repetitions; None for none.
        never: token ids that are never written.

    Raises:
        SettingError: the width is below 1 or the penalty negative.
    """

    step: Callable[[Tensor, S], tuple[Tensor, S]]
    select: Callable[[S, Tensor], S]
    begin: int
    end: int
    width: int = 5
    length_penalty: float = 0.6
    bonus: Callable[[S], Tensor] | None = None
    limits: DecodingLimits | None = None
    never: range = range(0)

    def __post_init__(self) -> None:
        if self.width < 1 or self.length_penalty < 0:
            raise SettingError(
                "invalid beam",
                should="a width of 1 or more, and a length penalty of 0 or more",
                found=f"width {self.width}, length penalty {self.length_penalty}",
                hint="width 5, length penalty 0.6",
            )

    @torch.no_grad()
    def search(self, state: S, rows: int, limits: list[int]) -> list[list[Hypothesis]]:
        """Return the best sequences of each row, the best first, at most K.

        Args:
            state: of the B rows before the first symbol.
            rows: B.
            limits: (B,), the maximum number of symbols of each row, the end included, at least 1.
        """
        K, search = self.width, _Search(self, rows, limits)
        state = self.select(state, torch.arange(rows).repeat_interleave(K))
        ids_N = torch.full((rows * K,), self.begin)
        while any(search.open):
            logits_NV, state = self.step(ids_N, state)
            bonus_N = self.bonus(state) if self.bonus else torch.zeros(rows * K)
            log_p_NV = logits_NV.float().log_softmax(1).cpu()
            if self.never:
                log_p_NV[:, self.never.start : self.never.stop] = NEVER
            from_N, ids_N = search.advance(log_p_NV, bonus_N.cpu())
            state = self.select(state, from_N)
        return [sorted(hypotheses, key=_rank)[:K] for hypotheses in search.finished]

    def penalty(self, length: int) -> float:
        """Return what the log-probability of a sequence of `length` symbols is divided by."""
        return float(((5 + length) / 6) ** self.length_penalty)


class _Search(Generic[S]):
    """The hypotheses of all rows while they grow."""

    def __init__(self, beam: Beam[S], rows: int, limits: list[int]) -> None:
        self.beam, self.rows, self.limits, self.length = beam, rows, limits, 0
        # At first the K hypotheses of a row are equal, so that all but the first are empty.
        self.total_BK = torch.full((rows, beam.width), NEVER)
        self.total_BK[:, 0] = 0.0
        self.written_BKT = torch.empty((rows, beam.width, 0), dtype=torch.int64)
        self.bonus_BK = torch.zeros(rows, beam.width)
        self.guarded_BK = torch.zeros((rows, beam.width), dtype=torch.bool)
        self.finished: list[list[Hypothesis]] = [[] for _ in range(rows)]
        self.open = [limit >= 1 for limit in limits]

    def advance(self, log_p_NV: Tensor, bonus_N: Tensor) -> tuple[Tensor, Tensor]:
        """Take the log-probabilities of the next symbols; return the continued hypotheses, (N,), and their symbols."""
        B, K, V = self.rows, self.beam.width, log_p_NV.shape[1]
        self.length += 1
        log_p_NV = self._guard(log_p_NV)
        sums_BC = (self.total_BK.reshape(-1, 1) + log_p_NV).view(B, K * V)
        # The end symbol takes at most K of the 2 K best, so that at least K are left to continue.
        best_BC, places_BC = sums_BC.topk(min(2 * K, K * V), 1)
        from_BC, ids_BC = places_BC // V, places_BC % V
        self._finish(best_BC, from_BC, ids_BC, bonus_N.view(B, K))
        scores_BC = best_BC.masked_fill(ids_BC == self.beam.end, NEVER)
        if scores_BC.shape[1] < K:
            scores_BC = torch.nn.functional.pad(scores_BC, (0, K - scores_BC.shape[1]), value=NEVER)
            from_BC = torch.nn.functional.pad(from_BC, (0, K - from_BC.shape[1]))
            ids_BC = torch.nn.functional.pad(ids_BC, (0, K - ids_BC.shape[1]), value=self.beam.end)
        self.total_BK, places_BK = scores_BC.topk(K, 1)
        self.total_BK = self.total_BK.clamp(min=NEVER)
        from_BK, ids_BK = from_BC.gather(1, places_BK), ids_BC.gather(1, places_BK)
        previous_BKT = self.written_BKT.gather(1, from_BK[..., None].expand(-1, -1, self.written_BKT.shape[2]))
        self.written_BKT = torch.cat([previous_BKT, ids_BK[..., None]], 2)
        self.bonus_BK = bonus_N.view(B, K).gather(1, from_BK)
        self.guarded_BK = self.guarded_BK.gather(1, from_BK)
        self._close()
        return (from_BK + torch.arange(B)[:, None] * K).flatten(), ids_BK.flatten()

    def _guard(self, log_p_NV: Tensor) -> Tensor:
        """Return the log-probabilities without the symbols that would repeat too often."""
        limits = self.beam.limits
        ids_NP = limits.repeating(self.written_BKT.flatten(0, 1)) if limits else None
        if ids_NP is None:
            return log_p_NV
        rows_M, periods_M = (ids_NP >= 0).nonzero(as_tuple=True)
        ids_M = ids_NP[rows_M, periods_M]
        struck_M = log_p_NV.argmax(1)[rows_M] == ids_M
        self.guarded_BK.view(-1)[rows_M[struck_M]] = True
        return log_p_NV.index_put((rows_M, ids_M), torch.tensor(NEVER))

    def _finish(self, best_BC: Tensor, from_BC: Tensor, ids_BC: Tensor, bonus_BK: Tensor) -> None:
        """Store the sequences that end now; an end symbol counts only among the K best of its row."""
        ends = (ids_BC == self.beam.end) & (best_BC > NEVER / 2)
        for b, c in ends[:, : self.beam.width].nonzero().tolist():
            if self.open[b]:
                k = int(from_BC[b, c])
                self._add(b, k, float(best_BC[b, c]), float(bonus_BK[b, k]), True)

    def _add(self, b: int, k: int, total: float, bonus: float, ended: bool) -> None:
        score = total / self.beam.penalty(self.length) + bonus
        guarded = bool(self.guarded_BK[b, k])
        self.finished[b].append(Hypothesis(self.written_BKT[b, k].tolist(), score, total, ended, guarded))

    def _close(self) -> None:
        """Close the rows at their limit, or without an unfinished sequence that can become one of the K best."""
        for b in range(self.rows):
            if not self.open[b]:
                continue
            alive = [k for k in range(self.beam.width) if self.total_BK[b, k] > NEVER / 2]
            if self.length >= self.limits[b]:
                for k in alive:
                    self._add(b, k, float(self.total_BK[b, k]), float(self.bonus_BK[b, k]), False)
                self.open[b] = False
                continue
            self.finished[b].sort(key=_rank)
            complete = len(self.finished[b]) >= self.beam.width
            bound = max((float(self.total_BK[b, k]) for k in alive), default=NEVER) / self.beam.penalty(self.limits[b])
            self.open[b] = bool(alive) and not (complete and self.finished[b][self.beam.width - 1].score >= bound)


def coverage(attended_NS: Tensor, lengths_N: Tensor) -> Tensor:
    """Return the sum of log(min(attention, 1)) over the symbols of each source, (N,): 0 if all are covered.

    Wu et al. 2016, equation 14, with attention clamped to at least 1e-9.

    Args:
        attended_NS: the attention on each source symbol, summed over all steps.
        lengths_N: symbols of each source.
    """
    exists_NS = torch.arange(attended_NS.shape[1], device=attended_NS.device) < lengths_N[:, None]
    return attended_NS.clamp(1e-9, 1.0).log().masked_fill(~exists_NS, 0.0).sum(1)


def _rank(hypothesis: Hypothesis) -> tuple[bool, float]:
    """Order sequences with an end symbol before those that were cut, then by score."""
    return (not hypothesis.ended, -hypothesis.score)
