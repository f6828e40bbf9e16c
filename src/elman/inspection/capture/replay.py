"""Replay of a captured call: every step of the cell, one by one, and each step's backward pass as a linear map.

A trace stands in the order of the run: index 0 is the step that ran first, also where time runs backwards, so that
nothing below has to know about directions, padding or resets.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from elman.errors import ElmanError
from elman.inspection.capture.recorder import CapturedCall
from elman.kernels.weights import Weights
from elman.layers.cell import Cell, State

# One step of the cell and one of a fast kernel round differently; beyond this they compute different things.
AGREEMENT = 1e-3


@dataclass(eq=False)
class Trace:
    """Every step of a captured call in the order of the run, without gradients.

    Attributes:
        cell: of the layer.
        weights: of the layer.
        gx_TBGH: what the input sends to the gates.
        gh_TBGH: what the past sends to the gates.
        before: the states that each step starts from, (T, B, .).
        after: the states after each step, (T, B, .).
        error: what the layers above say about each state: dE_t/ds_t without what comes from later steps of this layer.
        exists_TB: false in the padding.
        thread_TB: true where a step hands its gradient on to the step before: no reset, no padding, not the first.
    """

    cell: Cell
    weights: Weights
    gx_TBGH: Tensor
    gh_TBGH: Tensor
    before: State
    after: State
    error: State
    exists_TB: Tensor
    thread_TB: Tensor

    @property
    def T(self) -> int:
        """How many steps."""
        return len(self.gx_TBGH)

    @property
    def B(self) -> int:
        """How many sequences."""
        return int(self.gx_TBGH.shape[1])

    def apply(self, pick: Callable[[Tensor], Tensor]) -> Trace:
        """Return a trace with `pick` applied to every tensor over steps and sequences."""
        gx, gh, exists, thread = map(pick, (self.gx_TBGH, self.gh_TBGH, self.exists_TB, self.thread_TB))
        before, after, error = (tuple(map(pick, state)) for state in (self.before, self.after, self.error))
        return Trace(self.cell, self.weights, gx, gh, before, after, error, exists, thread)


@torch.no_grad()
def replay(call: CapturedCall, rows: int | None = None) -> Trace:
    """Run the steps of a captured call one by one, along the outputs that the kernel gave, and keep every state.

    Args:
        call: what `record` returned.
        rows: only the first so many sequences.

    Raises:
        ElmanError: the layer computed something else than its cell's steps, so that nothing can be measured.
    """
    cell, reverse = call.cell, call.strand.direction == 1
    weights, x_TBI = call.weights, call.x_TBI[:, :rows]
    T, B, _ = x_TBI.shape
    exists_TB, fresh_TB = _marks(call, T, B)
    if reverse:
        x_TBI, exists_TB, fresh_TB = x_TBI.flip(0), exists_TB.flip(0), fresh_TB.flip(0)
    x_TBI = x_TBI.masked_fill(~exists_TB[:, :, None], 0)
    G, H = len(cell.gates), weights.hh.shape[0] // len(cell.gates)
    gx_TBGH = functional.linear(x_TBI, weights.ih, weights.b_ih).view(T, B, G, H)
    y_TBP = call.y_TBP[:, :B].flip(0) if reverse else call.y_TBP[:, :B]
    state = tuple(s[:B] for s in call.state)
    initial = tuple(i.expand_as(s) for i, s in zip(weights.initial or map(_no_state, state), state, strict=True))
    # Every step starts from the kernel's own output, not from ours: in a chaotic network two roundings soon have
    # nothing in common. So the first state of all steps is known at once, and only the others need a loop.
    h_TBP = torch.cat([state[0][None], y_TBP])[:T]
    h_TBP[1:] = torch.where(exists_TB[: T - 1, :, None], h_TBP[1:], state[0])
    h_TBP = torch.where(fresh_TB[:, :, None], initial[0], h_TBP)
    gh_TBGH = functional.linear(h_TBP, weights.hh, weights.b_hh).view(T, B, G, H)
    others: State = ()
    others_after: State = ()
    if len(state) == 1:
        (m,) = cell.step(gx_TBGH.flatten(0, 1), gh_TBGH.flatten(0, 1), (h_TBP.flatten(0, 1),))
        m_TBH = m.view(T, B, H)
    else:
        m_TBH, others, others_after = _others(cell, gx_TBGH, gh_TBGH, h_TBP, state, initial, exists_TB, fresh_TB)
    own_TBP = m_TBH if weights.hr is None else functional.linear(m_TBH, weights.hr)
    _check(call, (own_TBP - y_TBP)[exists_TB].abs())
    before_T, after_T = (h_TBP, *others), (y_TBP, *others_after)
    thread_TB = exists_TB & ~fresh_TB
    thread_TB[1:] &= exists_TB[:-1]
    thread_TB[:1] = False
    error = _error(call, after_T, exists_TB, reverse)
    return Trace(cell, weights, gx_TBGH, gh_TBGH, before_T, after_T, error, exists_TB, thread_TB)


def _others(
    cell: Cell,
    gx_TBGH: Tensor,
    gh_TBGH: Tensor,
    h_TBP: Tensor,
    state: State,
    initial: State,
    exists_TB: Tensor,
    fresh_TB: Tensor,
) -> tuple[Tensor, State, State]:
    """Return what each step makes of the first state, and the other states before and after each step."""
    T, B, _, H = gh_TBGH.shape
    m_TBH = gh_TBGH.new_empty(T, B, H)
    others = state[1:]
    before_T, after_T = (tuple(s.new_empty(T, *s.shape) for s in others) for _ in range(2))
    for t in range(T):
        fresh, exists = fresh_TB[t][:, None], exists_TB[t][:, None]
        others = tuple(torch.where(fresh, i, s) for i, s in zip(initial[1:], others, strict=True))
        m_TBH[t], *after = cell.step(gx_TBGH[t], gh_TBGH[t], (h_TBP[t], *others))
        for b_T, a_T, b, a in zip(before_T, after_T, others, after, strict=True):
            b_T[t], a_T[t] = b, a
        others = tuple(torch.where(exists, a, s) for a, s in zip(after, others, strict=True))
    return m_TBH, before_T, after_T


def _no_state(s: Tensor) -> Tensor:
    return torch.zeros_like(s[0]) if len(s) else s


def _marks(call: CapturedCall, T: int, B: int) -> tuple[Tensor, Tensor]:
    """Return, in the order of time, which steps exist and which start from the initial state by a reset."""
    device = call.x_TBI.device
    exists_TB = torch.ones(T, B, dtype=torch.bool, device=device)
    fresh_TB = torch.zeros_like(exists_TB)
    if call.lengths is not None:
        exists_TB = torch.arange(T, device=device)[:, None] < call.lengths.to(device)[None, :B]
    if call.resets is not None:
        fresh_TB = call.resets[:, :B] & exists_TB
        if call.strand.direction == 1:
            fresh_TB = torch.cat([fresh_TB[1:], torch.zeros_like(fresh_TB[:1])])
    return exists_TB, fresh_TB


def _error(call: CapturedCall, like: State, exists_TB: Tensor, reverse: bool) -> State:
    """Return the error of every state; that of the last state is added to its last step."""
    error = tuple(torch.zeros_like(s) for s in like)
    T, B = exists_TB.shape
    if call.d_y_TBP is not None:
        d_y_TBP = call.d_y_TBP[:, :B]
        error[0].add_((d_y_TBP.flip(0) if reverse else d_y_TBP) * exists_TB[:, :, None])
    rows = torch.arange(B, device=exists_TB.device)
    if T:
        any_B = exists_TB.any(0)
        last_B = (exists_TB * torch.arange(1, T + 1, device=exists_TB.device)[:, None]).argmax(0)
        for e, d in zip(error, call.d_last, strict=True):
            if d is not None:
                e[last_B, rows] += torch.where(any_B[:, None], d[:B], 0)
    return error


def _check(call: CapturedCall, apart: Tensor) -> None:
    scale = float(call.y_TBP.abs().max()) if apart.numel() else 0.0
    worst = float(apart.max()) if apart.numel() else 0.0
    if math.isfinite(scale) and not worst <= AGREEMENT * max(scale, 1.0):
        raise ElmanError(
            f"{call.strand} does not compute what its cell's steps compute",
            should=f"at every step what {call.cell!r} makes of the state before, to within {AGREEMENT:g}",
            found=f"a difference of {worst:.3g}",
            hint="switch the layer's extra options off for the diagnosis",
        )


class Linear:
    """The backward pass of every step of a trace: from the gradient after a step to the gradient before it.

    In most cells a unit's gates and states meet only each other, so that each step's derivative is a few numbers per
    unit. They are computed once, for all steps, and a backward pass is then a multiplication and a product with W.
    A cell for which that does not hold (its own derivative decides) is differentiated anew each time.

    Attributes:
        gates: for each state, d state / d gates, (T, B, G, H); None where it is zero, or the cell mixes units.
        carry: for each state after and each before, d after / d before past the gates, (T, B, H); None likewise.
        unitwise: whether these numbers are all there is.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        S = len(trace.before)
        self.gates: list[Tensor | None] = [None] * S
        self.carry: list[list[Tensor | None]] = [[None] * S for _ in range(S)]
        self.unitwise = True
        if trace.T and trace.B:
            self._differentiate()

    def _differentiate(self) -> None:
        trace = self.trace
        T, B = trace.exists_TB.shape
        gh, before, after = self._step(0, T)
        for s, state in enumerate(after):
            d_gh, *d_before = torch.autograd.grad(state.sum(), [gh, *before], retain_graph=True, allow_unused=True)
            self.gates[s] = None if d_gh is None else d_gh.view(T, B, *d_gh.shape[1:])
            for k, d in enumerate(d_before):
                if d is not None and bool(d.any()):
                    self.carry[s][k] = d.view(T, B, -1)
        generator = torch.Generator().manual_seed(0)
        probe = tuple(torch.randn(a.shape, generator=generator).to(a).view(T, B, -1) for a in after)
        expected = torch.autograd.grad(after, [gh, *before], [p.flatten(0, 1) for p in probe], allow_unused=True)
        fits = all(c is None or c.shape[-1] == trace.gx_TBGH.shape[-1] for row in self.carry for c in row)
        self.unitwise = fits and self._agrees(expected, probe)
        if not self.unitwise:
            self.gates, self.carry = [None] * len(after), [[None] * len(after) for _ in after]

    def _agrees(self, expected: tuple[Tensor | None, ...], probe: State) -> bool:
        actual = self._by_unit(0, self.trace.T, probe)
        pairs = zip((actual[0], *actual[1]), expected, strict=True)
        return all(
            bool(torch.allclose(f.flatten(0, 1), torch.zeros_like(f).flatten(0, 1) if w is None else w, 1e-3, 1e-4))
            or not bool(torch.isfinite(f).all())  # an overflow says nothing about the cell
            for f, w in pairs
        )

    @torch.enable_grad()
    def _step(self, start: int, stop: int) -> tuple[Tensor, State, State]:
        trace = self.trace
        gh = trace.gh_TBGH[start:stop].flatten(0, 1).detach().requires_grad_()
        before = tuple(b[start:stop].flatten(0, 1).detach().requires_grad_() for b in trace.before)
        return gh, before, trace.cell.step(trace.gx_TBGH[start:stop].flatten(0, 1), gh, before)

    def rows(self, start: int, stop: int) -> Linear:
        """Return the same for some of the sequences, without computing anything again."""
        return self._apply(lambda values: values[:, start:stop])

    def at(self, t_N: Tensor, b_N: Tensor) -> Linear:
        """Return what `pull` needs of single steps: number n is step t_N[n] of sequence b_N[n], in a batch of one."""
        return self._apply(lambda values: values[t_N, b_N].unsqueeze(1), trace=not self.unitwise)

    def _apply(self, pick: Callable[[Tensor], Tensor], trace: bool = True) -> Linear:
        part = copy.copy(self)
        if trace:
            part.trace = self.trace.apply(pick)
        part.gates = [None if g is None else pick(g) for g in self.gates]
        part.carry = [[None if c is None else pick(c) for c in row] for row in self.carry]
        return part

    @torch.no_grad()
    def pull(self, start: int, stop: int, d_after: State) -> tuple[Tensor, State]:
        """Take gradients of the states after steps start..stop back to the gates and the states before them.

        Args:
            start: the first step.
            stop: the step after the last.
            d_after: for each state (N, B, .), N = stop - start, or any N where stop - start is 1.

        Returns:
            d_gh: the gradient of W h + b of each gate, (N, B, G, H).
            d_before: for each state, (N, B, .); through the gates and past them.
        """
        weights = self.trace.weights
        d_m = d_after[0] if weights.hr is None else d_after[0] @ weights.hr
        run = self._by_unit if self.unitwise else self._by_autograd
        d_gh, d_past = run(start, stop, (d_m, *d_after[1:]))
        return d_gh, (d_past[0] + d_gh.flatten(-2) @ weights.hh, *d_past[1:])

    def _by_unit(self, start: int, stop: int, d_after: State) -> tuple[Tensor, State]:
        d_gh: Tensor | None = None
        for d, gate in zip(d_after, self.gates, strict=True):
            if gate is not None:
                part = d.unsqueeze(-2)
                d_gh = part * gate[start:stop] if d_gh is None else torch.addcmul(d_gh, part, gate[start:stop])
        if d_gh is None:
            d_gh = d_after[0].new_zeros(*d_after[0].shape[:-1], *self.trace.gh_TBGH.shape[2:])
        d_before = []
        for k, before in enumerate(self.trace.before):
            total = before.new_zeros(*d_after[0].shape[:-1], before.shape[-1])
            for s, d in enumerate(d_after):
                carry = self.carry[s][k]
                if carry is not None:
                    total = torch.addcmul(total, d, carry[start:stop])
            d_before.append(total)
        return d_gh, tuple(d_before)

    def _by_autograd(self, start: int, stop: int, d_after: State) -> tuple[Tensor, State]:
        N, B = len(d_after[0]), self.trace.B
        if stop - start != N:  # many gradients for one step: one by one
            each = [self._by_autograd(start, stop, tuple(d[n : n + 1] for d in d_after)) for n in range(N)]
            d_ghs, d_befores = zip(*each, strict=True)
            return torch.cat(d_ghs), tuple(torch.cat(d) for d in zip(*d_befores, strict=True))
        gh, before, after = self._step(start, stop)
        grads = torch.autograd.grad(
            after, [gh, *before], [d.flatten(0, 1) for d in d_after], allow_unused=True, materialize_grads=True
        )
        d_gh, *d_before = (g.view(N, B, *g.shape[1:]) for g in grads)
        return d_gh, tuple(d_before)
