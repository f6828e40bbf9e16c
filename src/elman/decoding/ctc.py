"""CTC decoding: greedy, and prefix beam search with a language model.

A path has a symbol or the blank at every step; it stands for the sequence that is left after repetitions are merged
and blanks removed (Graves et al. 2006, connectionist temporal classification). Greedy decoding takes the sequence of
the most probable path; prefix beam search adds up the paths of each sequence (Hannun et al. 2014,
https://arxiv.org/abs/1408.2873), and can weight it with a language model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from elman.errors import SettingError

NEVER = -math.inf


class TimedSequence(NamedTuple):
    """A decoded sequence with the step of each symbol.

    Attributes:
        token_ids: the symbols.
        steps: of each symbol, its first step on the best path.
        score: for ranking, greater is better: `log_p`, and in a beam what the language model and the bonus add.
        log_p: log p of the paths, in nats, without any language model: greedy of the best one, in a beam of all that
            were found.
    """

    token_ids: list[int]
    steps: list[int]
    score: float
    log_p: float


class Emission(NamedTuple):
    """A symbol that the network writes.

    Attributes:
        token_id: the symbol.
        step: its first step on the best path.
        end: the last step of the run of steps at which it is the most probable one.
        probability: the greatest of the symbol before the next one.
    """

    token_id: int
    step: int
    end: int
    probability: float


def emissions(log_p_TV: Tensor, timed: TimedSequence) -> list[Emission]:
    """Return where the symbols of a sequence are written and how sure the network is of each.

    Args:
        log_p_TV: log-probabilities.
        timed: a sequence that was decoded from them.
    """
    best_T = log_p_TV.argmax(1).tolist()
    symbols = []
    ends = [*timed.steps, len(best_T)][1:]
    for token_id, step, following in zip(timed.token_ids, timed.steps, ends, strict=True):
        end = step
        while end + 1 < following and best_T[end] == best_T[end + 1] == token_id:
            end += 1
        probability = math.exp(float(log_p_TV[step : max(following, step + 1), token_id].max()))
        symbols.append(Emission(token_id, step, end, probability))
    return symbols


def ctc_nats(log_p_TV: Tensor, token_ids: Sequence[int], *, blank: int = 0) -> float:
    """Return -log p of symbols, summed over all paths, in nats; infinite where there are too few steps for them."""
    if not len(log_p_TV):
        return math.inf if len(token_ids) else 0.0
    symbols_1S, sizes_1 = torch.tensor([token_ids], dtype=torch.long), torch.tensor([len(token_ids)])
    steps_1 = torch.tensor([len(log_p_TV)])
    nats = functional.ctc_loss(log_p_TV[:, None], symbols_1S, steps_1, sizes_1, blank=blank, reduction="sum")
    return float(nats)


class LanguageScore(Protocol):
    """Language model of prefix beam search; `state` is what the model stores of a prefix."""

    def begin(self) -> Any:
        """Return the state of the empty prefix."""

    def extend(self, state: Any, token_id: int) -> tuple[float, Any]:
        """Return log p(symbol | prefix), in nats, and the state after the symbol."""

    def end(self, state: Any) -> float:
        """Return log p(end | prefix), in nats."""


class GreedyDecoder:
    """Greedy decoding of a stream: symbols are final at once.

    Args:
        blank: the number of the blank.
    """

    def __init__(self, blank: int = 0) -> None:
        self.blank, self.last, self.step = blank, blank, 0

    def push(self, scores_TV: Tensor) -> list[Emission]:
        """Take T more steps, (T, V), and return the new symbols, each with its first step alone."""
        symbols = []
        best_T = scores_TV.argmax(1)
        log_p_T = scores_TV.log_softmax(1).gather(1, best_T[:, None])[:, 0]
        for log_p, token_id in zip(log_p_T.tolist(), best_T.tolist(), strict=True):
            if token_id not in (self.last, self.blank):
                symbols.append(Emission(token_id, self.step, self.step, math.exp(log_p)))
            self.last, self.step = token_id, self.step + 1
        return symbols


def greedy(scores_TBV: Tensor, lengths_B: Sequence[int], *, blank: int = 0) -> list[TimedSequence]:
    """Return the sequence of the most probable path of each row.

    Args:
        scores_TBV: logits or log-probabilities.
        lengths_B: steps of each row.
        blank: the number of the blank.
    """
    log_p_TBV = scores_TBV.log_softmax(2)
    sequences = []
    for b, length in enumerate(lengths_B):
        symbols = GreedyDecoder(blank).push(log_p_TBV[:length, b])
        log_p = float(log_p_TBV[:length, b].amax(1).sum())
        sequences.append(TimedSequence([s.token_id for s in symbols], [s.step for s in symbols], log_p, log_p))
    return sequences


class _Path(NamedTuple):
    """One path: its log p, and the steps at which its symbols appear."""

    log_p: float = NEVER
    steps: tuple[int, ...] = ()


NO_PATH = _Path()


@dataclass
class _Prefix:
    """The paths of one prefix.

    Attributes:
        blank: log p of the paths that end in a blank.
        symbol: log p of the paths that end in a symbol.
        best_blank: the most probable path that ends in a blank.
        best_symbol: the most probable path that ends in a symbol.
        language: weighted log p of the language model, with the bonus for each symbol.
        state: of the language model.
    """

    blank: float = NEVER
    symbol: float = NEVER
    best_blank: _Path = NO_PATH
    best_symbol: _Path = NO_PATH
    language: float = 0.0
    state: Any = None

    @property
    def total(self) -> float:
        return _add(self.blank, self.symbol)

    @property
    def best(self) -> _Path:
        return max(self.best_blank, self.best_symbol)

    @property
    def score(self) -> float:
        return self.total + self.language


_Prefixes = dict[tuple[int, ...], _Prefix]


@dataclass(frozen=True)
class PrefixBeam:
    """Prefix beam search.

    Args:
        width: beam width.
        blank: the number of the blank.
        language: a language model; None: no language model.
        weight: of the language model's log-probabilities.
        bonus: added for each symbol, against the language model's bias to short sequences.
        candidates: how many of the most probable symbols of a step extend a prefix; 0: all.

    Raises:
        SettingError: an invalid width.
    """

    width: int = 16
    blank: int = 0
    language: LanguageScore | None = None
    weight: float = 0.5
    bonus: float = 0.0
    candidates: int = 0

    def __post_init__(self) -> None:
        if self.width < 1 or self.candidates < 0:
            raise SettingError(
                "invalid beam",
                should="a width of 1 or more, and 0 or more candidates",
                found=f"width {self.width}, candidates {self.candidates}",
                hint="width 16",
            )

    def search(self, scores_TV: Tensor) -> list[TimedSequence]:
        """Return the best sequences of one row, (T, V) logits or log-probabilities, the best first, at most `width`."""
        log_p_TV = scores_TV.detach().float().log_softmax(1)
        start = _Prefix(blank=0.0, best_blank=_Path(0.0), state=self.language.begin() if self.language else None)
        alive: _Prefixes = {(): start}
        for step, log_p_V in enumerate(log_p_TV):
            alive = self._advance(alive, step, log_p_V)
        sequences = []
        for prefix, paths in alive.items():
            end = self.weight * self.language.end(paths.state) if self.language else 0.0
            sequences.append(TimedSequence(list(prefix), list(paths.best.steps), paths.score + end, paths.total))
        return sorted(sequences, key=lambda sequence: -sequence.score)

    def _advance(self, alive: _Prefixes, step: int, log_p_V: Tensor) -> _Prefixes:
        """Take one step of all prefixes, and keep the best."""
        log_p: list[float] = log_p_V.tolist()
        count = min(self.candidates or len(log_p), len(log_p))
        chosen = [c for c in torch.topk(log_p_V, count).indices.tolist() if c != self.blank]
        grown: _Prefixes = {}
        for prefix, paths in alive.items():
            same = grown.setdefault(prefix, _Prefix(language=paths.language, state=paths.state))
            best = paths.best
            same.blank = _add(same.blank, paths.total + log_p[self.blank])
            same.best_blank = _Path(best.log_p + log_p[self.blank], best.steps)
            if prefix:
                same.symbol = _add(same.symbol, paths.symbol + log_p[prefix[-1]])
                again = _Path(paths.best_symbol.log_p + log_p[prefix[-1]], paths.best_symbol.steps)
                same.best_symbol = max(same.best_symbol, again)
            for token_id in chosen:
                # A repetition is a new symbol only after a blank.
                repeated = prefix and token_id == prefix[-1]
                before, path = (paths.blank, paths.best_blank) if repeated else (paths.total, best)
                if before == NEVER:
                    continue
                longer = self._extended(grown, prefix, paths, token_id)
                longer.symbol = _add(longer.symbol, before + log_p[token_id])
                if path.log_p + log_p[token_id] > longer.best_symbol.log_p:
                    longer.best_symbol = _Path(path.log_p + log_p[token_id], (*path.steps, step))
        return dict(sorted(grown.items(), key=lambda item: -item[1].score)[: self.width])

    def _extended(self, grown: _Prefixes, prefix: tuple[int, ...], paths: _Prefix, token_id: int) -> _Prefix:
        longer = (*prefix, token_id)
        if longer not in grown:
            gain, state = self.language.extend(paths.state, token_id) if self.language else (0.0, None)
            language = paths.language + self.weight * gain + self.bonus
            grown[longer] = _Prefix(language=language, state=state)
        return grown[longer]


def _add(a: float, b: float) -> float:
    """Return log(exp(a) + exp(b))."""
    if a == NEVER or b == NEVER:
        return max(a, b)
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))
