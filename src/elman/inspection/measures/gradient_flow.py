"""The sum over (t, k), taken apart: how much of an error at step t reaches step t - k, and what it adds to dE/dW there.

    dE/dW = sum over lags k of  sum over t of  dE_t/ds_t  ( product of ds_j/ds_{j-1}, j = t-k+1 .. t )  d+s_{t-k}/dW

For one lag, the vectors dE_t/ds_{t-k} of all t, and of all sequences, go one step further back together: one product
with W for all of them. So K lags take K products of (T*B, G*H) by (G*H, H), and memory for one lag at a time; nothing
is sampled and nothing is left out.

The sum over pairs is from Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

import torch
from torch import Tensor

from elman.inspection.capture.replay import Linear

# Below this share of the largest error, what is still under way is lost in float32's rounding: the walk ends.
NOTHING_LEFT = 1e-9
QUANTILES = (0.1, 0.5, 0.9)
GONE = 0.01  # the horizon is where less than this share is left
VECTORS = 128  # how many errors of a passage, at each lag, the number of their directions is measured with


@dataclass(frozen=True)
class Flow:
    """How long an error stays alive on its way back; every ratio is |dE_t/ds_{t-k}| / |dE_t/ds_t|."""

    lags: int  # K, the largest lag that was followed
    median: tuple[float, ...]  # for k = 0..K, over t and the sequences
    low: tuple[float, ...]  # the 10 % quantile
    high: tuple[float, ...]  # the 90 % quantile
    pairs: tuple[int, ...]  # over how many (t, sequence) each of them is
    directions: tuple[float, ...]  # for k = 0..K, in how many directions the errors point; empty from a probe
    error: float  # median of |dE_t/ds_t| itself, where it is not zero
    spoken: float  # share of the steps that have an error of their own: 1 where each is judged, 1/T where the last is
    half_life: int | None  # the first lag whose median is at most 1/2; None: none is, within K
    horizon: int | None  # the first lag whose median is under 1 %; None likewise
    per_lag: float  # by what the median is multiplied with every further lag, on average


@dataclass(frozen=True)
class Parts:
    """What each lag contributes to dE/dW; the sizes are Frobenius norms."""

    size: tuple[float, ...]  # |part of lag k|, k = 0..K
    share: tuple[float, ...]  # cumulative: the sizes up to lag k over all sizes, `beyond` among them
    along: tuple[float, ...]  # <part, dE/dW> / |dE/dW|^2, which sums to 1 with that of the lags beyond K
    total: float  # |dE/dW|
    beyond: float  # |dE/dW - sum of the parts|: what lies at lags over K, and rounding
    usable: int | None  # the first lag whose share is at least 95 %; None: the lags over K hold more than 5 %


class Deltas(NamedTuple):
    """One strand's whole backward pass."""

    d_gh_TBGH: Tensor  # the gradient of W h + b, in the order of the run
    d_W: Tensor  # dE/dW
    norms_B: Tensor  # |dE/dW| of each sequence alone


class Step(NamedTuple):
    """One lag of one passage."""

    ratios: Tensor  # |dE_t/ds_{t-k}| / |dE_t/ds_t| of each pair that exists
    part: Tensor  # what the lag adds to dE/dW
    errors_NS: Tensor  # dE_t/ds_{t-k} / |dE_t/ds_t| of some of these pairs, at most VECTORS, all states side by side


@torch.no_grad()
def backpropagate(linear: Linear) -> Deltas:
    """Return dE/dW of one passage by walking back step by step, and what each sequence has in it."""
    trace = linear.trace
    T = trace.T
    d_gh_TBGH = torch.zeros_like(trace.gh_TBGH)
    d_state = tuple(torch.zeros_like(e[0]) for e in trace.error)
    for t in reversed(range(T)):
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
    return Deltas(d_gh_TBGH, d_W, norms_B)


@torch.no_grad()
def walk(linear: Linear, lags: int) -> Iterator[Step]:
    """Go back lag by lag, k = 0..lags, for all error steps at once; ends early where nothing is left.

    Args:
        linear: the passage.
        lags: K.
    """
    nothing = torch.zeros_like(linear.trace.weights.hh)
    trace = linear.trace
    T = trace.T
    d_state = trace.error
    start_TB = _norm(trace.error)
    alive_TB = trace.exists_TB & (start_TB > 0)
    enough = float(start_TB.max()) * NOTHING_LEFT if start_TB.numel() else 0.0
    for k in range(min(lags, T - 1) + 1):
        n = T - k
        norm_TB = _norm(d_state)
        ratios = torch.nan_to_num((norm_TB / start_TB[k:])[alive_TB], nan=torch.inf, posinf=torch.inf)
        if not bool(torch.isfinite(norm_TB).all()):  # exploded beyond the numbers
            yield Step(ratios, nothing, nothing[:0])
            return
        d_gh, d_before = linear.pull(0, n, d_state)
        yield Step(ratios, _product(d_gh, trace.before[0][:n]), _some(d_state, start_TB[k:], alive_TB))
        if not bool((norm_TB > enough).any()):
            return
        thread_TB = trace.thread_TB[1:n]
        d_state = tuple(torch.where(thread_TB[:, :, None], d[1:], 0) for d in d_before)
        alive_TB = alive_TB[1:] & thread_TB


def measure(linears: Sequence[Linear], totals: Sequence[Tensor], lags: int) -> tuple[Flow, Parts]:
    """Measure the flow through one strand over all of its passages.

    Args:
        linears: the passages.
        totals: dE/dW of each, as `backpropagate` returns it.
        lags: K.
    """
    total = torch.stack(list(totals)).sum(0)
    rest, size = total.clone(), float(total.norm())
    quantiles: list[list[float]] = []
    pairs: list[int] = []
    sizes, along, directions = [], [], []
    for steps in zip_longest(*(walk(linear, lags) for linear in linears)):
        here = [step for step in steps if step is not None]
        part = torch.stack([step.part for step in here]).sum(0)
        rest -= part
        sizes.append(float(part.norm()))
        along.append(float((part * total).sum()) / (size**2 or 1.0))
        ratios = torch.cat([step.ratios for step in here])
        pairs.append(ratios.numel())
        quantiles.append(_quantiles(ratios))
        directions.append(directions_of([step.errors_NS for step in here]))
    return (
        _flow(quantiles, pairs, lags, linears, directions),
        _parts(sizes, along, size, float(rest.norm())),
    )


@torch.no_grad()
def decay(linears: Sequence[Linear], lags: int, pairs: int) -> Flow:
    """Measure the gradient by lag alone, from some of the error steps, and no further than to the horizon.

    Args:
        linears: as in `measure`.
        lags: K.
        pairs: how many (t, sequence) of each passage are followed back, spread evenly over those with an error.
    """
    quantiles: list[list[float]] = []
    counts: list[int] = []
    for steps in zip_longest(*(_sampled_walk(linear, lags, pairs) for linear in linears)):
        ratios = torch.cat([ratios for ratios in steps if ratios is not None])
        counts.append(ratios.numel())
        ordered = sorted(ratios.tolist())  # a few numbers, for which a tensor would take longer
        quantiles.append([ordered[round(q * (len(ordered) - 1))] if ordered else 0.0 for q in QUANTILES])
        if counts[-1] and quantiles[-1][1] < GONE:
            break
    return _flow(quantiles, counts, lags, linears)


def _sampled_walk(linear: Linear, lags: int, pairs: int) -> Iterator[Tensor]:
    """Yield the ratios of some pairs, lag by lag; each pair is a row of its own, which ends where its thread does."""
    trace = linear.trace
    start_TB = _norm(trace.error)
    places = (trace.exists_TB & (start_TB > 0)).nonzero()
    places = places[torch.linspace(0, len(places) - 1, min(pairs, len(places))).long()]
    t_N, b_N = places.unbind(1)
    # A thread of steps is as long as it is since the last step that handed nothing on; the longest threads go first, so
    # that those which are still on their way are always the first rows.
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


def _product(d_gh: Tensor, before: Tensor) -> Tensor:
    """Return the sum over steps and sequences of d_gh times the state before, (G*H, P)."""
    return d_gh.flatten(2).flatten(0, 1).T @ before.flatten(0, 1)


def _some(d_state: Sequence[Tensor], start_TB: Tensor, alive_TB: Tensor) -> Tensor:
    """Return the errors of at most VECTORS pairs, spread evenly over all, as shares of their length at lag 0."""
    places = alive_TB.nonzero()
    t_N, b_N = places[torch.linspace(0, len(places) - 1, min(VECTORS, len(places))).long()].unbind(1)
    return torch.cat([d[t_N, b_N] for d in d_state], -1) / start_TB[t_N, b_N][:, None]


def directions_of(each: Sequence[Tensor]) -> float:
    """Return in how many directions the rows point: their participation ratio, (sum of s^2)^2 / sum of s^4.

    s are the singular values of all rows together. Rows of one length in n directions at right angles have n, rows in
    one direction 1, whatever their lengths and signs; no rows, or none that is not zero, have 0.
    """
    largest = max((float(rows.abs().max()) for rows in each if rows.numel()), default=0.0)
    if not largest > 0:
        return 0.0
    rows_NS = torch.cat([rows for rows in each if rows.numel()]).double() / largest
    gram_NN = rows_NS @ rows_NS.T
    return float(gram_NN.trace() ** 2 / gram_NN.square().sum())


def _flow(
    quantiles: list[list[float]],
    pairs: list[int],
    lags: int,
    linears: Sequence[Linear],
    directions: Sequence[float] = (),
) -> Flow:
    error_N = torch.cat([_norm(linear.trace.error)[linear.trace.exists_TB] for linear in linears])
    spoken_N = error_N[error_N > 0]
    while len(pairs) > 1 and not pairs[-1]:  # no step is that far from its error
        pairs.pop()
        quantiles.pop()
    low, median, high = (tuple(q[i] for q in quantiles) for i in range(3))
    return Flow(
        lags=lags,
        median=median,
        low=low,
        high=high,
        pairs=tuple(pairs),
        directions=tuple(directions[: len(pairs)]),
        error=float(spoken_N.median()) if len(spoken_N) else 0.0,
        spoken=len(spoken_N) / max(1, len(error_N)),
        half_life=next((k for k, m in enumerate(median) if m <= 0.5), None),
        horizon=next((k for k, m in enumerate(median) if m < GONE), None),
        per_lag=_per_lag(median),
    )


def _parts(sizes: list[float], along: list[float], total: float, beyond: float) -> Parts:
    # Rounding leaves a little of the total over even when every lag was followed.
    significant = beyond if beyond > 1e-4 * total else 0.0
    whole = max(sum(sizes) + significant, 1e-300)
    share, so_far = [], 0.0
    for each in sizes:
        so_far += each
        share.append(so_far / whole)
    usable = next((k for k, s in enumerate(share) if s >= 0.95), None) if total > 0 else None
    return Parts(tuple(sizes), tuple(share), tuple(along), total, beyond, usable)


def _per_lag(median: Sequence[float]) -> float:
    """Return the mean factor per lag, from lag 0 to the last lag that can still be told from zero or infinity."""
    last = max((k for k, m in enumerate(median) if 1e-6 < m < 1e30), default=0)
    return (median[last] / median[0]) ** (1 / last) if last and median[0] > 0 else 1.0


def _norm(state: Sequence[Tensor]) -> Tensor:
    """Return the length of the gradient of all states together, (T, B)."""
    norm_TB: Tensor = torch.linalg.vector_norm(torch.cat(list(state), dim=-1), dim=-1)
    return norm_TB


def _quantiles(values: Tensor) -> list[float]:
    if not values.numel():
        return [0.0, 0.0, 0.0]
    ordered = values.flatten().sort().values
    # Nearest rank: interpolation would turn an infinity beside a number into a NaN.
    return [float(ordered[round(q * (len(ordered) - 1))]) for q in QUANTILES]
