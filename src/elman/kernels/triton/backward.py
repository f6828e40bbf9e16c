"""The backward pass: one kernel for the three tiers (see `forward`), from the last step to the first.

It writes d_work (T, B, blocks * H), the gradients of the pre-activations, zero where a row has no step: (i, f, g, o),
or (n, r, z, the past's part of n), so that those of the input's part and those of the past's part are each one piece.
All gradients of weights, of the input and of the biases are products and sums of it outside.

What a step owes to the one before it is d_work W. ALONE makes that product at once; the others at the beginning of the
next round, after a barrier (RESIDENT) or from `product`, made outside (STEPS). So the last of them is made outside too.
"""

import triton
import triton.language as tl

from elman.kernels.triton.barrier import meet
from elman.kernels.triton.cells import gru_backward, lstm_backward, rnn_backward
from elman.kernels.triton.indexing import begin, exist, place_of, state_before


@triton.jit
def columns_of_w(hh, gate, units, columns, H):
    """W of one gate, (j, units)."""
    mask = (columns < H)[:, None] & (units < H)[None, :]
    return tl.load(hh + (gate * H + columns)[:, None] * H + units[None, :], mask=mask, other=0.0)


@triton.jit(do_not_specialize=["n0", "n1", "T", "programs"])
def backward(
    work, d_work, product, y, past, d_y, d_h, d_c, d_h_initial, d_c_initial,
    h0, hh, h_initial, lengths, fresh, counters,
    n0, n1, T, B, H, programs,
    KIND: tl.constexpr, GATES: tl.constexpr, BLOCKS: tl.constexpr, TIER: tl.constexpr,
    REVERSE: tl.constexpr, RAGGED: tl.constexpr, RESETS: tl.constexpr,
    BB: tl.constexpr, BH: tl.constexpr, KP: tl.constexpr,
    DOT: tl.constexpr, ACC: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Run the rounds n0 to n1, round n for step T - 1 - n; d_h, d_c and the initial states' are (B, H), in and out."""
    rows = tl.cast(tl.program_id(0), tl.int64) * BB + tl.arange(0, BB)
    units, columns = tl.program_id(1) * BH + tl.arange(0, BH), tl.arange(0, KP)
    is_row, is_unit = rows < B, units < H
    own, seen = is_row[:, None] & is_unit[None, :], is_row[:, None] & (columns < H)[None, :]
    at, at_work = rows[:, None] * H + units[None, :], rows[:, None] * (BLOCKS * H) + units[None, :]
    step_y, step_work = tl.cast(B, tl.int64) * H, tl.cast(B, tl.int64) * (BLOCKS * H)
    recurrent = (BLOCKS - GATES) * H  # where the past's part begins in d_work

    if TIER != 3:
        w0 = columns_of_w(hh, 0, units, columns, H).to(DOT)
        if GATES > 1:
            w1 = columns_of_w(hh, 1, units, columns, H).to(DOT)
            w2 = columns_of_w(hh, 2, units, columns, H).to(DOT)
        if GATES > 3:
            w3 = columns_of_w(hh, 3, units, columns, H).to(DOT)
    dh = tl.load(d_h + at, mask=own, other=0.0)
    if KIND == "lstm":
        dc = tl.load(d_c + at, mask=own, other=0.0)
    if RESETS:
        dh_initial = tl.load(d_h_initial + at, mask=own, other=0.0)
        if KIND == "lstm":
            dc_initial = tl.load(d_c_initial + at, mask=own, other=0.0)

    for n in range(n0, n1):
        s = T - 1 - n
        t = place_of(s, T, REVERSE)
        there = exist(lengths, t, rows, is_row, RAGGED)[:, None]
        # What was kept is on its way while the product runs.
        if BLOCKS > 1:
            kept = work + t * step_work + at_work
            k0 = tl.load(kept, mask=own & there, other=0.0).to(ACC)
            k1 = tl.load(kept + H, mask=own & there, other=0.0).to(ACC)
            k2 = tl.load(kept + 2 * H, mask=own & there, other=0.0).to(ACC)
            k3 = tl.load(kept + 3 * H, mask=own & there, other=0.0).to(ACC)
        if KIND == "lstm":
            c = tl.load(past + t * step_y + at, mask=own & there, other=0.0).to(ACC)
        elif KIND == "gru":
            h = state_before(
                y, h0, h_initial, lengths, fresh, s, T, rows, units, is_row, own, B, H, REVERSE, RAGGED, RESETS, ""
            ).to(ACC)  # fmt: skip
        else:
            h = tl.load(y + t * step_y + at, mask=own & there, other=0.0).to(ACC)
        if TIER != 1:
            later = place_of(s + 1, T, REVERSE)
            if TIER == 3:
                dh += tl.load(product + at, mask=own & (n > 0), other=0.0)
            else:
                d = d_work + later * step_work + recurrent + rows[:, None] * (BLOCKS * H) + columns[None, :]
                have = seen & (n > 0)
                g = tl.load(d, mask=have, other=0.0, cache_modifier=".cg").to(DOT)
                dh = tl.dot(g, w0, dh, input_precision=PRECISION, out_dtype=ACC)
                if GATES > 1:
                    g = tl.load(d + H, mask=have, other=0.0, cache_modifier=".cg").to(DOT)
                    dh = tl.dot(g, w1, dh, input_precision=PRECISION, out_dtype=ACC)
                    g = tl.load(d + 2 * H, mask=have, other=0.0, cache_modifier=".cg").to(DOT)
                    dh = tl.dot(g, w2, dh, input_precision=PRECISION, out_dtype=ACC)
                if GATES > 3:
                    g = tl.load(d + 3 * H, mask=have, other=0.0, cache_modifier=".cg").to(DOT)
                    dh = tl.dot(g, w3, dh, input_precision=PRECISION, out_dtype=ACC)
            if RESETS:
                starts = begin(fresh, later, rows, is_row & (n > 0), B)[:, None]
                dh_initial += tl.where(starts, dh, 0.0)
                dh = tl.where(starts, 0.0, dh)

        out = dh
        if d_y is not None:
            out += tl.load(d_y + t * step_y + at, mask=own & there, other=0.0).to(ACC)
        d = d_work + t * step_work + at_work
        if KIND == "lstm":
            e0, e1, e2, e3, dc_before = lstm_backward(k0, k1, k2, k3, c, out, dc)
            direct = tl.zeros((BB, BH), ACC)
            dc = tl.where(there, dc_before, dc)
            if RESETS:
                starts = begin(fresh, t, rows, is_row, B)[:, None]
                dc_initial += tl.where(starts, dc, 0.0)
                dc = tl.where(starts, 0.0, dc)
        elif KIND == "gru":
            e0, e1, e2, e3, direct = gru_backward(k0, k1, k2, k3, h, out)
        else:
            e0 = rnn_backward(h, out, KIND)
            direct = tl.zeros((BB, BH), ACC)

        e0 = tl.where(there, e0, 0.0)
        tl.store(d, e0, mask=own)
        if GATES > 1:
            e1, e2, e3 = tl.where(there, e1, 0.0), tl.where(there, e2, 0.0), tl.where(there, e3, 0.0)
            tl.store(d + H, e1, mask=own)
            tl.store(d + 2 * H, e2, mask=own)
            tl.store(d + 3 * H, e3, mask=own)
        dh = tl.where(there, direct, dh)

        if TIER == 1:
            if KIND == "gru":
                dh = tl.dot(e1.to(DOT), w0, dh, input_precision=PRECISION, out_dtype=ACC)
                dh = tl.dot(e2.to(DOT), w1, dh, input_precision=PRECISION, out_dtype=ACC)
                dh = tl.dot(e3.to(DOT), w2, dh, input_precision=PRECISION, out_dtype=ACC)
            else:
                dh = tl.dot(e0.to(DOT), w0, dh, input_precision=PRECISION, out_dtype=ACC)
                if KIND == "lstm":
                    dh = tl.dot(e1.to(DOT), w1, dh, input_precision=PRECISION, out_dtype=ACC)
                    dh = tl.dot(e2.to(DOT), w2, dh, input_precision=PRECISION, out_dtype=ACC)
                    dh = tl.dot(e3.to(DOT), w3, dh, input_precision=PRECISION, out_dtype=ACC)
            if RESETS:
                starts = begin(fresh, t, rows, is_row, B)[:, None]
                dh_initial += tl.where(starts, dh, 0.0)
                dh = tl.where(starts, 0.0, dh)
        if TIER == 2 and n + 1 < n1:
            meet(counters + tl.program_id(0), (n + 1 - n0) * programs)

    tl.store(d_h + at, dh, mask=own)
    if KIND == "lstm":
        tl.store(d_c + at, dc, mask=own)
    if RESETS:
        tl.store(d_h_initial + at, dh_initial, mask=own)
        if KIND == "lstm":
            tl.store(d_c_initial + at, dc_initial, mask=own)
