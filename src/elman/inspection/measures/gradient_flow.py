"""Gradient by lag: how much of an error at step t reaches step t - k, and what that lag contributes to dE/dW.

    dE/dW = sum over lags k of  sum over t of  dE_t/ds_t  ( product of ds_j/ds_{j-1}, j = t-k+1 .. t )  d+s_{t-k}/dW

For one lag, the vectors dE_t/ds_{t-k} of all t, and of all sequences, go one step further back together: one product
with W for all of them. So K lags take K products of (T*B, G*H) by (G*H, H), and memory for one lag at a time. The
result is exact.

The sum over pairs is from Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, zip_longest
from typing import NamedTuple

import torch
from torch import Tensor

from elman.inspection.capture.replay import Linear

# Below this share of the largest error the rest is lost in float32's rounding: the walk ends.
NEGLIGIBLE = 1e-9
QUANTILES = (0.1, 0.5, 0.9)
HORIZON_SHARE = 0.01  # the horizon is where less than this share is left
MAX_VECTORS = 128  # errors of a call, at each lag, that the participation ratio is computed from


@dataclass(frozen=True)
class GradientFlow:
    """Decay of the backpropagated error by lag; every ratio is |dE_t/ds_{t-k}| / |dE_t/ds_t|.

    Attributes:
        lags: K, the largest lag that was followed.
        median: of the ratios, for k = 0..K, over t and the sequences.
        p10: their 10 % quantile.
        p90: their 90 % quantile.
        counts: how many (t, sequence) each of them is over.
        participation_ratio: for k = 0..K, how many directions the errors span; empty from a probe.
        error_norm: median of |dE_t/ds_t| itself, where it is not zero.
        supervised_share: the share of the steps with an error of their own: 1 if every step has a loss, 1/T if only the
            last one has.
        half_life: the first lag whose median is at most 1/2; None: none within K.
        horizon: the first lag whose median is under 1 %; None: none within K.
        factor_per_lag: by which the median is multiplied with every further lag, on average.
    """

    lags: int
    median: tuple[float, ...]
    p10: tuple[float, ...]
    p90: tuple[float, ...]
    counts: tuple[int, ...]
    participation_ratio: tuple[float, ...]
    error_norm: float
    supervised_share: float
    half_life: int | None
    horizon: int | None
    factor_per_lag: float


@dataclass(frozen=True)
class LagContributions:
    """What each lag contributes to dE/dW, in Frobenius norms.

    Attributes:
        norms: |contribution of lag k|, k = 0..K.
        cumulative_share: the norms up to lag k over the sum of all norms, `remainder` included.
        projections: <contribution, dE/dW> / |dE/dW|^2; with that of the lags over K they sum to 1.
        total_norm: |dE/dW|.
        remainder: |dE/dW - sum of the contributions|: the lags over K, and rounding.
        usable_memory: the first lag whose cumulative share is at least 95 %; None: the lags over K hold more than 5 %.
    """

    norms: tuple[float, ...]
    cumulative_share: tuple[float, ...]
    projections: tuple[float, ...]
    total_norm: float
    remainder: float
    usable_memory: int | None


class LagStep(NamedTuple):
    """One lag of one call of a layer.

    Attributes:
        ratios: |dE_t/ds_{t-k}| / |dE_t/ds_t| of each existing pair (t, sequence).
        contribution: of the lag to dE/dW.
        errors_NS: dE_t/ds_{t-k} / |dE_t/ds_t| of at most MAX_VECTORS of these pairs, all states concatenated.
    """

    ratios: Tensor
    contribution: Tensor
    errors_NS: Tensor


@torch.no_grad()
def backpropagate(linear: Linear) -> tuple[Tensor, Tensor]:
    """Return dE/dW of one call, by backpropagation step by step, and its norm for each sequence alone, (B,)."""
    trace = linear.trace
    d_gh_TBGH = torch.zeros_like(trace.gh_TBGH)
    d_state = tuple(torch.zeros_like(e[0]) for e in trace.error)
    for t in reversed(range(trace.T)):
        d_after = tuple((e[t] + d)[None] for e, d in zip(trace.error, d_state, strict=True))
        d_gh, d_before = linear.pull(t, t + 1, d_after)
        d_gh_TBGH[t] = d_gh[0]
        thread = trace.thread_TB[t][:, None]
        d_state = tuple(torch.where(thread, d[0], 0) for d in d_before)
    d_W = torch.zeros_like(trace.weights.hh)
    norms_B = d_W.new_zeros(trace.B)
    for b in range(trace.B):  # one by one: B gradients of W at once could be large
        own = d_gh_TBGH[:, b].flatten(1).T @ trace.before[0][:, b]
        norms_B[b] = own.norm()
        d_W += own
    return d_W, norms_B


@torch.no_grad()
def walk(linear: Linear, lags: int) -> Iterator[LagStep]:
    """Go back lag by lag, k = 0..lags, for all error steps at once; stops early where the errors are negligible.

    Args:
        linear: the linearised call.
        lags: K.
    """
    trace, T = linear.trace, linear.trace.T
    zero, d_state = torch.zeros_like(trace.weights.hh), trace.error
    start_TB = _norm(trace.error)
    alive_TB = trace.exists_TB & (start_TB > 0)
    least = float(start_TB.max()) * NEGLIGIBLE if start_TB.numel() else 0.0
    for k in range(min(lags, T - 1) + 1):
        n = T - k
        norm_TB = _norm(d_state)
        ratios = torch.nan_to_num((norm_TB / start_TB[k:])[alive_TB], nan=torch.inf, posinf=torch.inf)
        if not bool(torch.isfinite(norm_TB).all()):  # overflow
            yield LagStep(ratios, zero, zero[:0])
            return
        d_gh, d_before = linear.pull(0, n, d_state)
        contribution = d_gh.flatten(2).flatten(0, 1).T @ trace.before[0][:n].flatten(0, 1)
        yield LagStep(ratios, contribution, _error_sample(d_state, start_TB[k:], alive_TB))
        if not bool((norm_TB > least).any()):
            return
        thread_TB = trace.thread_TB[1:n]
        d_state = tuple(torch.where(thread_TB[:, :, None], d[1:], 0) for d in d_before)
        alive_TB = alive_TB[1:] & thread_TB


def measure(linears: Sequence[Linear], totals: Sequence[Tensor], lags: int) -> tuple[GradientFlow, LagContributions]:
    """Measure the gradient by lag of one layer in one direction over all of its calls.

    Args:
        linears: the linearised calls.
        totals: dE/dW of each, as `backpropagate` returns it.
        lags: K.
    """
    total = torch.stack(list(totals)).sum(0)
    rest, size = total.clone(), float(total.norm())
    rows: list[tuple[int, float, float, float]] = []
    norms, projections, directions = [], [], []
    for steps in zip_longest(*(walk(linear, lags) for linear in linears)):
        here = [step for step in steps if step is not None]
        contribution = torch.stack([step.contribution for step in here]).sum(0)
        rest -= contribution
        norms.append(float(contribution.norm()))
        projections.append(float((contribution * total).sum()) / (size**2 or 1.0))
        rows.append(_quantiles(torch.cat([step.ratios for step in here]).sort().values))
        directions.append(participation_ratio([step.errors_NS for step in here]))
    return _flow(rows, lags, linears, directions), _contributions(norms, projections, size, float(rest.norm()))


@torch.no_grad()
def decay(linears: Sequence[Linear], lags: int, pairs: int) -> GradientFlow:
    """Measure the gradient by lag alone, from a sample of the error steps, and no further than to the horizon.

    Args:
        linears: as in `measure`.
        lags: K.
        pairs: how many (t, sequence) of each call are followed back, spread evenly over those with an error.
    """
    rows: list[tuple[int, float, float, float]] = []
    for steps in zip_longest(*(_sampled_walk(linear, lags, pairs) for linear in linears)):
        # For a few numbers a tensor is slower.
        rows.append(_quantiles(sorted(torch.cat([ratios for ratios in steps if ratios is not None]).tolist())))
        count, _, median, _ = rows[-1]
        if count and median < HORIZON_SHARE:
            break
    return _flow(rows, lags, linears)


def _sampled_walk(linear: Linear, lags: int, pairs: int) -> Iterator[Tensor]:
    """Yield the ratios of a sample of pairs, lag by lag; each pair is a row, which ends where its thread ends."""
    trace = linear.trace
    start_TB = _norm(trace.error)
    places = (trace.exists_TB & (start_TB > 0)).nonzero()
    places = places[torch.linspace(0, len(places) - 1, min(pairs, len(places))).long()]
    t_N, b_N = places.unbind(1)
    # The depth of a step is its distance from the last step that passed no state on. The deepest pairs come first, so
    # that the rows which are still alive are always the first ones.
    steps_T1 = torch.arange(trace.T, device=t_N.device)[:, None]
    depth_N = (steps_T1 - torch.where(trace.thread_TB, 0, steps_T1).cummax(0).values)[t_N, b_N]
    order = depth_N.argsort(descending=True)
    t_N, b_N, depths = t_N[order], b_N[order], depth_N[order].tolist()
    start_N = start_TB[t_N, b_N]
    d_state = tuple(e[t_N, b_N] for e in trace.error)
    N = len(depths)
    for k in range(lags + 1):
        yield torch.nan_to_num(_norm(d_state) / start_N[:N], nan=torch.inf, posinf=torch.inf)
        while N and depths[N - 1] <= k:
            N -= 1
        if not N:
            return
        _, d_before = linear.at(t_N[:N] - k, b_N[:N]).pull(0, N, tuple(d[:N, None] for d in d_state))
        d_state = tuple(d[:, 0] for d in d_before)


def _error_sample(d_state: Sequence[Tensor], start_TB: Tensor, alive_TB: Tensor) -> Tensor:
    """Return the errors of at most MAX_VECTORS pairs, evenly spread, each divided by its length at lag 0."""
    places = alive_TB.nonzero()
    t_N, b_N = places[torch.linspace(0, len(places) - 1, min(MAX_VECTORS, len(places))).long()].unbind(1)
    return torch.cat([d[t_N, b_N] for d in d_state], -1) / start_TB[t_N, b_N][:, None]


def participation_ratio(blocks: Sequence[Tensor]) -> float:
    """Return how many directions the rows span: their participation ratio, (sum of s^2)^2 / sum of s^4.

    s are the singular values of all rows together. Orthogonal rows of one length in n directions have n, parallel rows
    1; no rows, or only zeros, have 0.
    """
    largest = max((float(rows.abs().max()) for rows in blocks if rows.numel()), default=0.0)
    if not largest > 0:
        return 0.0
    rows_NS = torch.cat([rows for rows in blocks if rows.numel()]).double() / largest
    gram_NN = rows_NS @ rows_NS.T
    return float(gram_NN.trace() ** 2 / gram_NN.square().sum())


def _flow(
    rows: list[tuple[int, float, float, float]], lags: int, linears: Sequence[Linear], directions: Sequence[float] = ()
) -> GradientFlow:
    error_N = torch.cat([_norm(linear.trace.error)[linear.trace.exists_TB] for linear in linears])
    nonzero_N = error_N[error_N > 0]
    while len(rows) > 1 and not rows[-1][0]:  # no step is that far from its error
        rows.pop()
    counts, p10, median, p90 = zip(*rows, strict=True)
    return GradientFlow(
        lags=lags,
        median=median,
        p10=p10,
        p90=p90,
        counts=counts,
        participation_ratio=tuple(directions[: len(counts)]),
        error_norm=float(nonzero_N.median()) if len(nonzero_N) else 0.0,
        supervised_share=len(nonzero_N) / max(1, len(error_N)),
        half_life=next((k for k, m in enumerate(median) if m <= 0.5), None),
        horizon=next((k for k, m in enumerate(median) if m < HORIZON_SHARE), None),
        factor_per_lag=_factor_per_lag(median),
    )


def _contributions(norms: list[float], projections: list[float], total: float, remainder: float) -> LagContributions:
    # Rounding leaves a small remainder even when every lag was followed.
    significant = remainder if remainder > 1e-4 * total else 0.0
    whole = max(sum(norms) + significant, 1e-300)
    share = tuple(so_far / whole for so_far in accumulate(norms))
    usable = next((k for k, s in enumerate(share) if s >= 0.95), None) if total > 0 else None
    return LagContributions(tuple(norms), share, tuple(projections), total, remainder, usable)


def _factor_per_lag(median: Sequence[float]) -> float:
    """Return the mean factor per lag, from lag 0 to the last lag whose median is neither negligible nor an overflow."""
    last = max((k for k, m in enumerate(median) if 1e-6 < m < 1e30), default=0)
    return (median[last] / median[0]) ** (1 / last) if last and median[0] > 0 else 1.0


def _norm(state: Sequence[Tensor]) -> Tensor:
    """Return the length of the gradient of all states together, (T, B)."""
    norm_TB: Tensor = torch.linalg.vector_norm(torch.cat(list(state), dim=-1), dim=-1)
    return norm_TB


def _quantiles(ordered: Sequence[float] | Tensor) -> tuple[int, float, float, float]:
    """Return how many numbers there are, and their quantiles."""
    count = len(ordered)
    # Nearest rank: interpolation would turn an infinity beside a number into a NaN.
    p10, median, p90 = (float(ordered[round(q * (count - 1))]) if count else 0.0 for q in QUANTILES)
    return count, p10, median, p90
