"""A layer over a whole sequence: the order of the steps, ragged batches, resets, and the sums of the gradients.

What one step does is defined by the cell (rnn.py, gru.py, lstm.py). All cells have in common that the input and the
past reach the gates by one matrix product each, and that the first state, the output, may be projected:

    gx_t = U x_t + b_ih                the weights `ih`; G blocks of H rows, one for each gate
    gh_t = W h_{t-1} + b_hh            the weights `hh`
    m_t, ... = step(gx_t, gh_t, state)
    h_t = R m_t                        the weights `hr`; without a projection R is the identity and h_t is m_t

Backward, the steps are walked the other way. Each cell turns the gradient of its new state into the gradients of
gx, gh and the old state. Every weight gradient is then one sum over steps and sequences:

    dE/dU = sum_t d_gx_t x_t^T         dE/dW = sum_t d_gh_t h_{t-1}^T         dE/dR = sum_t d_h_t m_t^T

which is also how the gradient is taken apart again, step by step (`contributions`).
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elman.errors import ShapeError
from elman.reference.activations import Array
from elman.reference.weights import CompleteWeights, LayerWeights, State, as_state, complete
from elman.shapes import check_shape


class CellStep(Protocol):
    """One step of a recurrent layer, forward and backward. Gates are lists of (B, H) arrays in the cell's order."""

    gates: ClassVar[tuple[str, ...]]
    states: ClassVar[tuple[str, ...]]

    def step(self, gx: list[Array], gh: list[Array], state: State) -> tuple[State, State]:
        """Return the state after the step, and the arrays that `step_backward` needs."""

    def step_backward(self, kept: State, d_state: State) -> tuple[list[Array], list[Array], State]:
        """Return the gradients of gx, of gh, and of the old state as far as it does not pass through gh."""


class LayerGradients(NamedTuple):
    """dE/dx, dE/d the state that was passed in, and dE/d every weight."""

    x_TBI: Array
    state: State
    weights: LayerWeights


class LayerContributions(NamedTuple):
    """What the step k adds to a gradient for the error given at step t: entry [t, k] of each array.

    It is zero where step k cannot reach step t: where k lies after t in the order of the run, beyond a reset, or in
    the padding. Summed over both axes the first two are the totals of `backward` (without an error on the last state).

    Attributes:
        ih: (T, T, G*H, I).
        hh: (T, T, G*H, P).
        state: for each state, (T, T, B, P) or (T, T, B, H): dE_t/d the state that step k hands on.
    """

    ih: Array
    hh: Array
    state: State


class Tape(NamedTuple):
    """What a forward pass leaves for the backward pass.

    Attributes:
        cell: that ran.
        given: the weights as they were passed.
        whole: the same with nothing missing.
        order: the steps in the order in which they ran.
        exists_TB1: false in the padding.
        fresh_TB1: true where the state is put back before the step.
        x_TBI: zero in the padding.
        past_TBP: h_{t-1}, after a reset if there is one.
        m_TBH: the output before the projection.
        kept: for each step, what the cell keeps.
    """

    cell: CellStep
    given: LayerWeights
    whole: CompleteWeights
    order: range
    exists_TB1: NDArray[np.bool_]
    fresh_TB1: NDArray[np.bool_]
    x_TBI: Array
    past_TBP: Array
    m_TBH: Array
    kept: list[State]


class StepGradients(NamedTuple):
    """The gradients that arrive at each step, before they are summed to gradients of the weights.

    Attributes:
        gx_TBG: (T, B, G*H).
        gh_TBG: (T, B, G*H).
        after: of the states after the step.
        before: of the states that the step starts from.
        state: of the state that was passed in.
    """

    gx_TBG: Array
    gh_TBG: Array
    after: State
    before: State
    state: State


def forward(
    cell: CellStep, x_TBI: Array, state: State, weights: LayerWeights, *,
    lengths: ArrayLike | None = None, resets: ArrayLike | None = None, reverse: bool = False,
) -> tuple[Array, State, Tape]:  # fmt: skip
    """Run one layer in one direction over a whole sequence.

    Args:
        cell: what happens in one step.
        x_TBI: the input.
        state: the state before the first step that is run, (B, P) for the first of the cell's states, (B, H) else.
        weights: see `LayerWeights`.
        lengths: (B,) integers in 0..T, how many steps of each row exist. Beyond them the output is zero, the state
            stays, and what input and resets hold there changes nothing.
        resets: (T, B) booleans, true where a step begins a new sequence: the state is put back to `weights.initial`
            before it. In reverse the same boundary is crossed from the other side, so the state is put back before
            step t where `resets[t + 1]` is true.
        reverse: run from the last step to the first.

    Returns:
        The first state after every step, (T, B, P); the state after the last step; the tape for `backward`.

    Raises:
        ShapeError: sizes do not fit each other, or a length is not in 0..T.
    """
    x_TBI = np.asarray(x_TBI, dtype=np.float64)
    T, B, I = check_shape("x", x_TBI, "TBI").values()
    whole = complete(weights, cell.gates, cell.states, I)
    state = as_state("state", state, cell.states, like=_zeros(B, whole.initial))
    exists_TB1 = _exists(T, B, lengths)
    fresh_TB1 = _fresh(resets, exists_TB1, reverse)
    x_TBI = np.where(exists_TB1, x_TBI, 0.0)

    P, H = whole.hr.shape
    past_TBP, m_TBH, y_TBP = np.zeros((T, B, P)), np.zeros((T, B, H)), np.zeros((T, B, P))
    kept: list[State] = [()] * T
    order = range(T)[::-1] if reverse else range(T)
    for t in order:
        before = _where(fresh_TB1[t], whole.initial, state)
        past_TBP[t] = before[0]
        gx = x_TBI[t] @ whole.ih.T + whole.b_ih
        gh = before[0] @ whole.hh.T + whole.b_hh
        (m_TBH[t], *others), kept[t] = cell.step(_split(cell, gx), _split(cell, gh), before)
        after = (m_TBH[t] @ whole.hr.T, *others)
        state = _where(exists_TB1[t], after, state)
        y_TBP[t] = np.where(exists_TB1[t], after[0], 0.0)
    tape = Tape(cell, weights, whole, order, exists_TB1, fresh_TB1, x_TBI, past_TBP, m_TBH, kept)
    return y_TBP, state, tape


def backward(tape: Tape, d_y_TBH: Array, d_state: State | None = None) -> LayerGradients:
    """Return the gradients of x, the state that was passed in, and every weight.

    Args:
        tape: what `forward` returned.
        d_y_TBH: the gradient of the output, (T, B, P).
        d_state: the gradient of the last state; None stands for zeros.

    Raises:
        ShapeError: a gradient has another shape than what it is the gradient of.
    """
    d, given = deltas(tape, d_y_TBH, d_state), tape.given
    # Where a step started from the initial state, the gradient of what it started from is the initial state's.
    d_initial = tuple(np.where(tape.fresh_TB1, d_s, 0.0).sum(axis=(0, 1)) for d_s in d.before)
    weights = LayerWeights(
        ih=np.einsum("tbg,tbi->gi", d.gx_TBG, tape.x_TBI),
        hh=np.einsum("tbg,tbp->gp", d.gh_TBG, tape.past_TBP),
        b_ih=None if given.b_ih is None else d.gx_TBG.sum(axis=(0, 1)),
        b_hh=None if given.b_hh is None else d.gh_TBG.sum(axis=(0, 1)),
        hr=None if given.hr is None else np.einsum("tbp,tbh->ph", d.after[0], tape.m_TBH),
        initial=None if given.initial is None else d_initial,
    )
    return LayerGradients(d.gx_TBG @ tape.whole.ih, d.state, weights)


def contributions(tape: Tape, d_y_TBH: Array) -> LayerContributions:
    """Return, for every pair of an error step t and a step k, what k adds to dE_t/dU and dE_t/dW.

    The error of each step is sent back alone, and the sums over steps that make a weight gradient are left open.
    This takes T backward passes and T^2 times the memory of the weights: it is for looking, not for training.

    Args:
        tape: what `forward` returned.
        d_y_TBH: the gradient of the output; `d_y_TBH[t]` is the gradient of E_t.
    """
    T, B, I = tape.x_TBI.shape
    G, P = tape.whole.hh.shape
    ih, hh = np.zeros((T, T, G, I)), np.zeros((T, T, G, P))
    state = tuple(np.zeros((T, T, B, *i.shape)) for i in tape.whole.initial)
    for t in range(T):
        d_only_t = np.zeros((T, B, P))
        d_only_t[t] = d_y_TBH[t]
        d = deltas(tape, d_only_t)
        ih[t] = np.einsum("kbg,kbi->kgi", d.gx_TBG, tape.x_TBI)
        hh[t] = np.einsum("kbg,kbp->kgp", d.gh_TBG, tape.past_TBP)
        for s, d_s in zip(state, d.after, strict=True):
            s[t] = d_s
    return LayerContributions(ih, hh, state)


def deltas(tape: Tape, d_y_TBH: Array, d_state: State | None = None) -> StepGradients:
    """Walk the steps backward and return the gradients that arrive at each; arguments are those of `backward`."""
    cell, whole = tape.cell, tape.whole
    T, B, P = tape.past_TBP.shape
    d_y_TBH = np.asarray(d_y_TBH, dtype=np.float64)
    check_shape("d_y", d_y_TBH, "TBP", T=T, B=B, P=P)
    nothing = _zeros(B, whole.initial)
    d_state = nothing if d_state is None else as_state("d_state", d_state, cell.states, like=nothing)

    G = len(whole.ih)
    d_gx_TBG, d_gh_TBG = np.zeros((T, B, G)), np.zeros((T, B, G))
    d_after_T = tuple(np.zeros((T, *d.shape)) for d in d_state)
    d_before_T = tuple(np.zeros((T, *d.shape)) for d in d_state)
    for t in tape.order[::-1]:
        exists, fresh = tape.exists_TB1[t], tape.fresh_TB1[t]
        # In the padding the gradient of the state goes past the step, and the step gets none.
        d_after = _where(exists, (d_state[0] + d_y_TBH[t], *d_state[1:]), nothing)
        d_m = d_after[0] @ whole.hr
        d_gx, d_gh, d_direct = cell.step_backward(tape.kept[t], (d_m, *d_after[1:]))
        d_gx_TBG[t], d_gh_TBG[t] = np.concatenate(d_gx, axis=1), np.concatenate(d_gh, axis=1)
        d_before = (d_direct[0] + d_gh_TBG[t] @ whole.hh, *d_direct[1:])
        # A reset cuts the thread: what came before it gets nothing, the initial state gets all (see `backward`).
        d_state = _where(exists, _where(fresh, nothing, d_before), d_state)
        for all_T, d_t in zip((*d_after_T, *d_before_T), (*d_after, *d_before), strict=True):
            all_T[t] = d_t
    return StepGradients(d_gx_TBG, d_gh_TBG, d_after_T, d_before_T, d_state)


def _split(cell: CellStep, g_BG: Array) -> list[Array]:
    return np.split(g_BG, len(cell.gates), axis=1)


def _where(mask_B1: NDArray[np.bool_], yes: State, no: State) -> State:
    return tuple(np.where(mask_B1, a, b) for a, b in zip(yes, no, strict=True))


def _zeros(rows: int, vectors: State) -> State:
    """Return a state of zeros for `rows` sequences, each part as wide as its vector."""
    return tuple(np.zeros((rows, v.size)) for v in vectors)


def _exists(T: int, B: int, lengths: ArrayLike | None) -> NDArray[np.bool_]:
    if lengths is None:
        return np.ones((T, B, 1), dtype=np.bool_)
    lengths_B = np.asarray(lengths)
    check_shape("lengths", lengths_B, "B", B=B)
    if ((lengths_B < 0) | (lengths_B > T)).any():
        raise ShapeError("a length does not fit the input", should=f"0 to {T}", found=str(lengths_B.tolist()))
    return np.asarray(np.arange(T)[:, None, None] < lengths_B[:, None])


def _fresh(resets: ArrayLike | None, exists_TB1: NDArray[np.bool_], reverse: bool) -> NDArray[np.bool_]:
    if resets is None:
        return np.zeros_like(exists_TB1)
    resets_TB = np.asarray(resets, dtype=np.bool_)
    T, B, _ = exists_TB1.shape
    check_shape("resets", resets_TB, "TB", T=T, B=B)
    fresh_TB1 = resets_TB[:, :, None] & exists_TB1  # a mark in the padding means nothing
    if reverse:
        fresh_TB1 = np.concatenate([fresh_TB1[1:], np.zeros_like(fresh_TB1[:1])])
    return fresh_TB1
