"""Indexing of steps in time, and the state before a step: the same for both passes and all tiers."""

import triton
import triton.language as tl


@triton.jit
def place_of(s, T, REVERSE: tl.constexpr):
    """The row of the time axis that the step number s works on."""
    t = s
    if REVERSE:
        t = T - 1 - s
    return t


@triton.jit
def exist(lengths, t, rows, is_row, RAGGED: tl.constexpr):
    """Which of the rows have a step t."""
    there = is_row
    if RAGGED:
        there = is_row & (t < tl.load(lengths + rows, mask=is_row, other=0))
    return there


@triton.jit
def begin(fresh, t, rows, is_row, B):
    """Which of the rows are put back to the initial state before the step t."""
    return tl.load(fresh + t * tl.cast(B, tl.int64) + rows, mask=is_row, other=0) != 0


@triton.jit
def state_before(
    y, h0, h_initial, lengths, fresh, s, T, rows, columns, is_row, mask, B, H,
    REVERSE: tl.constexpr, RAGGED: tl.constexpr, RESETS: tl.constexpr, MODIFIER: tl.constexpr,
):  # fmt: skip
    """The state h before the step number s, (rows, columns), from the output of the step before or from h0."""
    t = place_of(s, T, REVERSE)
    before = t - 1
    if REVERSE:
        before = t + 1
    begun = is_row & (s > 0)
    if REVERSE and RAGGED:
        begun = begun & (before < tl.load(lengths + rows, mask=is_row, other=0))
    at = rows[:, None] * H + columns[None, :]
    start = y + before * (tl.cast(B, tl.int64) * H)
    first = tl.load(h0 + at, mask=mask & ~begun[:, None], other=0.0)
    last = tl.load(start + at, mask=mask & begun[:, None], other=0.0, cache_modifier=MODIFIER)
    h = tl.where(begun[:, None], last, first)
    if RESETS:
        initial = tl.load(h_initial + columns, mask=columns < H, other=0.0)
        h = tl.where(begin(fresh, t, rows, is_row, B)[:, None], initial[None, :], h)
    return h
