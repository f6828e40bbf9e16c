"""The forward pass: one kernel for the three tiers, which differ in where the product of the past comes from.

ALONE (1): one program has all of W and all units of its rows; h stays with it.
RESIDENT (2): a program has the rows of W of its units; h goes through y, with a barrier a step.
STEPS (3): the product h W^T was made outside, of `state` (B, H), h before the step; the kernel is launched for one step
    and leaves there h before the next.

`work` (T, B, blocks * H) holds the input's part of the pre-activations, in torch's order of the gates, and is where the
gates are kept: (i, f, g, o), or (r, z, n, the past's part of n). Each number is read and written by one program only.
"""

import triton
import triton.language as tl

from elman.kernels.triton.barrier import meet
from elman.kernels.triton.cells import gru, lstm, rnn
from elman.kernels.triton.indexing import begin, exist, place_of, state_before


@triton.jit
def rows_of_w(hh, first, columns, H, BH: tl.constexpr, BLOCKS: tl.constexpr, GATES: tl.constexpr):
    """W^T for some units with the gates of a unit side by side, (k, BH * BLOCKS)."""
    n = tl.arange(0, BH * BLOCKS)
    unit, gate = first + n // BLOCKS, n % BLOCKS
    mask = (columns < H)[:, None] & ((unit < H) & (gate < GATES))[None, :]
    return tl.load(hh + (gate * H + unit)[None, :] * H + columns[:, None], mask=mask, other=0.0)


@triton.jit
def by_gate(acc, BB: tl.constexpr, BH: tl.constexpr):
    """Take four gates that lie side by side apart, each (BB, BH)."""
    even, odd = tl.split(tl.reshape(acc, (BB, BH, 2, 2)))
    a0, a2 = tl.split(even)
    a1, a3 = tl.split(odd)
    return a0, a1, a2, a3


@triton.jit(do_not_specialize=["s0", "s1", "T", "programs"])
def forward(
    work, product, state, y, past, carry, h0, hh, b_n, h_initial, c_initial, lengths, fresh, counters,
    s0, s1, T, B, H, programs,
    KIND: tl.constexpr, GATES: tl.constexpr, BLOCKS: tl.constexpr, TIER: tl.constexpr,
    REVERSE: tl.constexpr, RAGGED: tl.constexpr, RESETS: tl.constexpr,
    KEEP_GATES: tl.constexpr, KEEP_PAST: tl.constexpr,
    BB: tl.constexpr, BH: tl.constexpr, KP: tl.constexpr,
    DOT: tl.constexpr, ACC: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Run the steps number s0 to s1 for BB rows and BH units; `carry` (B, H) is c, or h in the type of accumulation."""
    first = tl.program_id(1) * BH
    rows = tl.cast(tl.program_id(0), tl.int64) * BB + tl.arange(0, BB)
    units, columns = first + tl.arange(0, BH), tl.arange(0, KP)
    is_row, is_unit = rows < B, units < H
    own, seen = is_row[:, None] & is_unit[None, :], is_row[:, None] & (columns < H)[None, :]
    at, at_work = rows[:, None] * H + units[None, :], rows[:, None] * (BLOCKS * H) + units[None, :]
    step_y, step_work = tl.cast(B, tl.int64) * H, tl.cast(B, tl.int64) * (BLOCKS * H)

    if TIER != 3:
        w = rows_of_w(hh, first, columns, H, BH, BLOCKS, GATES).to(DOT)
    if KIND == "gru" or KIND == "lstm":
        m = tl.load(carry + at, mask=own, other=0.0).to(ACC)
    if KIND == "gru":
        bias = tl.zeros((BH,), ACC)
        if b_n is not None:
            bias = tl.load(b_n + units, mask=is_unit, other=0.0).to(ACC)
    if TIER == 1:
        h = tl.load(h0 + at, mask=own, other=0.0)

    for s in range(s0, s1):
        t = place_of(s, T, REVERSE)
        there = exist(lengths, t, rows, is_row, RAGGED)[:, None]
        x = work + t * step_work + at_work
        x0 = tl.load(x, mask=own, other=0.0).to(ACC)  # on its way while the product runs
        if BLOCKS > 1:
            x1 = tl.load(x + H, mask=own, other=0.0).to(ACC)
            x2 = tl.load(x + 2 * H, mask=own, other=0.0).to(ACC)
        if KIND == "lstm":
            x3 = tl.load(x + 3 * H, mask=own, other=0.0).to(ACC)
        if TIER == 1:
            if RESETS:
                starts = begin(fresh, t, rows, is_row, B)[:, None]
                h = tl.where(starts, tl.load(h_initial + units, mask=is_unit, other=0.0)[None, :], h)
            before = h
        elif TIER == 2:
            before = state_before(
                y, h0, h_initial, lengths, fresh, s, T, rows, columns, is_row, seen, B, H,
                REVERSE, RAGGED, RESETS, ".cg",
            )  # fmt: skip
        if TIER != 3:
            acc = tl.dot(before.to(DOT), w, input_precision=PRECISION, out_dtype=ACC)

        p = product + rows[:, None] * (GATES * H) + units[None, :] if TIER == 3 else None
        if BLOCKS > 1:
            if TIER == 3:
                a0 = tl.load(p, mask=own, other=0.0).to(ACC)
                a1 = tl.load(p + H, mask=own, other=0.0).to(ACC)
                a2 = tl.load(p + 2 * H, mask=own, other=0.0).to(ACC)
            else:
                a0, a1, a2, a3 = by_gate(acc, BB, BH)
            if RESETS:
                starts = begin(fresh, t, rows, is_row, B)[:, None]
                m_initial = h_initial if KIND == "gru" else c_initial
                m = tl.where(starts, tl.load(m_initial + units, mask=is_unit, other=0.0).to(ACC)[None, :], m)
            if KEEP_PAST:
                tl.store(past + t * step_y + at, m, mask=own)
            if KIND == "lstm":
                if TIER == 3:
                    a3 = tl.load(p + 3 * H, mask=own, other=0.0).to(ACC)
                k0, k1, k2, k3, after, new = lstm(x0, x1, x2, x3, a0, a1, a2, a3, m)
            else:
                k3 = a2 + bias[None, :]
                k0, k1, k2, new = gru(x0, x1, x2, a0, a1, k3, m)
                after = new
            m = tl.where(there, after, m)
            if KEEP_GATES:
                tl.store(x, k0, mask=own)
                tl.store(x + H, k1, mask=own)
                tl.store(x + 2 * H, k2, mask=own)
                tl.store(x + 3 * H, k3, mask=own)
        else:
            a0 = tl.load(p, mask=own, other=0.0).to(ACC) if TIER == 3 else acc
            new = rnn(x0, a0, KIND)

        if y is not None:
            tl.store(y + t * step_y + at, tl.where(there, new, 0.0), mask=own)
        if TIER == 1:
            h = tl.where(there, new.to(h.dtype), h)
        if TIER == 3 and state is not None:
            h = tl.where(there, new.to(state.dtype.element_ty), tl.load(state + at, mask=own, other=0.0))
            if RESETS:
                following = is_row & (s + 1 < T)
                starts = begin(fresh, place_of(s + 1, T, REVERSE), rows, following, B)[:, None]
                h = tl.where(starts, tl.load(h_initial + units, mask=is_unit, other=0.0)[None, :], h)
            tl.store(state + at, h, mask=own)
        if TIER == 2 and s + 1 < s1:
            meet(counters + tl.program_id(0), (s + 1 - s0) * programs)

    if KIND == "gru" or KIND == "lstm":
        tl.store(carry + at, m, mask=own)
