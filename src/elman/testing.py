"""The laws of recurrent layers, as tests that anyone can run: `check_cell(MyCell())`, `check_kernel(my_kernel)`.

A law is a function of a kernel, a cell and a `Case`; it raises `LawBroken` with the numbers that broke it. The
project's own tests run the same laws over every cell and kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError, gradcheck

from elman.kernels import eager
from elman.kernels.weights import Weights
from elman.layers.cell import Cell, State

# The one table of tolerances, relative to the largest number compared (at least 1); nothing loosens it.
TOLERANCE: dict[torch.dtype, float] = {
    torch.float64: 1e-10,  # sums of some thousand products, each rounded to 1e-16
    torch.float32: 2e-5,  # the same at 6e-8, and kernels add in different orders
}


class LawBroken(AssertionError):  # noqa: N818  (it is what an assertion raises, with a law's name)
    """A cell or a kernel breaks a law."""


class Kernel(Protocol):
    """A module or object with `unroll`, as `elman.kernels.eager`."""

    def unroll(
        self,
        cell: Cell,
        x_TBI: Tensor,
        state: State,
        weights: Weights,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
        reverse: bool = False,
    ) -> tuple[Tensor, State]: ...


@dataclass(frozen=True)
class Case:
    """What a law is tried on; everything follows from the fields, so that a failure can be repeated."""

    T: int = 5  # steps
    B: int = 3  # sequences
    I: int = 2  # features
    H: int = 3  # units
    P: int = 0  # size of the projection, 0 for none
    bias: bool = True  # whether b_ih and b_hh exist
    initial: bool = False  # whether the initial state is learned
    lengths: bool = False  # whether sequences differ in length
    resets: bool = False  # whether sequences begin anew inside
    reverse: bool = False  # whether time runs backwards
    dtype: torch.dtype = torch.float64  # of all numbers
    seed: int = 0  # of all random numbers


class Arguments(NamedTuple):
    """The arguments of `unroll` but for the cell."""

    x_TBI: Tensor
    state: State
    weights: Weights
    lengths: Tensor | None
    resets: Tensor | None
    reverse: bool

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor that has a gradient, by name."""
        named: dict[str, Tensor | None] = {"x": self.x_TBI}
        named |= {f"state[{k}]": s for k, s in enumerate(self.state)}
        named |= {name: getattr(self.weights, name) for name in ("ih", "hh", "b_ih", "b_hh", "hr")}
        named |= {f"initial[{k}]": s for k, s in enumerate(self.weights.initial or ())}
        return {name: tensor for name, tensor in named.items() if tensor is not None}


def make_arguments(cell: Cell, case: Case) -> Arguments:
    """Draw the arguments of `unroll` for a case."""
    generator = torch.Generator().manual_seed(case.seed)

    def draw(*shape: int, scale: float = 1.0) -> Tensor:
        # Drawn in float64 whatever the type, so that a case means the same numbers in both.
        return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(case.dtype)

    T, B, H = case.T, case.B, case.H
    P, rows = case.P or H, len(cell.gates) * H
    sizes = (P, *(H for _ in cell.states[1:]))
    scale = 1.0 / max(P, 1) ** 0.5
    weights = Weights(
        ih=draw(rows, case.I, scale=0.5),
        hh=draw(rows, P, scale=scale),
        b_ih=draw(rows, scale=0.5) if case.bias else None,
        b_hh=draw(rows, scale=0.5) if case.bias else None,
        hr=draw(case.P, H, scale=scale) if case.P else None,
        initial=tuple(draw(size) for size in sizes) if case.initial else None,
    )
    return Arguments(
        x_TBI=draw(T, B, case.I),
        state=tuple(draw(B, size) for size in sizes),
        weights=weights,
        lengths=torch.randint(0, T + 1, (B,), generator=generator) if case.lengths else None,
        resets=torch.rand(T, B, generator=generator) < 0.3 if case.resets else None,
        reverse=case.reverse,
    )


def run(kernel: Kernel, cell: Cell, arguments: Arguments) -> tuple[Tensor, State]:
    """Call a kernel's `unroll`."""
    x_TBI, state, weights, lengths, resets, reverse = arguments
    return kernel.unroll(cell, x_TBI, state, weights, lengths=lengths, resets=resets, reverse=reverse)


def check_close(what: str, found: Tensor, wanted: Tensor) -> None:
    """Compare two tensors under `TOLERANCE`.

    Raises:
        LawBroken: they differ in shape or type, by too much, or one of them holds a NaN.
    """
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        raise LawBroken(f"{what}: {found.dtype} {tuple(found.shape)}, not {wanted.dtype} {tuple(wanted.shape)}")
    if not found.numel():
        return
    scale = max(1.0, wanted.abs().max().item())
    worst = (found - wanted).abs().max().item() / scale
    if not worst <= TOLERANCE[wanted.dtype]:  # a NaN is not
        raise LawBroken(f"{what}: differs by {worst:.3g}, allowed is {TOLERANCE[wanted.dtype]:.3g}")


def _check_results(what: str, found: tuple[Tensor, State], wanted: tuple[Tensor, State]) -> None:
    check_close(f"{what}: y", found[0], wanted[0])
    for k, (f, w) in enumerate(zip(found[1], wanted[1], strict=True)):
        check_close(f"{what}: state[{k}]", f, w)


def _piece(arguments: Arguments, start: int, stop: int, state: State) -> Arguments:
    """Return the arguments for the steps start..stop of the same sequences, from a given state."""
    lengths, resets = arguments.lengths, arguments.resets
    if resets is not None:
        resets = resets[start:stop]
    if lengths is not None:
        lengths = (lengths - start).clamp(0, stop - start)
    return arguments._replace(x_TBI=arguments.x_TBI[start:stop], state=state, lengths=lengths, resets=resets)


def _run_pieces(kernel: Kernel, cell: Cell, arguments: Arguments, cuts: list[int]) -> tuple[Tensor, State]:
    edges = [0, *cuts, arguments.x_TBI.shape[0]]
    pieces = list(pairwise(edges))
    outputs, state = [], arguments.state
    for start, stop in reversed(pieces) if arguments.reverse else pieces:
        y, state = run(kernel, cell, _piece(arguments, start, stop, state))
        outputs.append(y)
    return torch.cat(outputs[::-1] if arguments.reverse else outputs), state


def _without_resets_at(arguments: Arguments, cuts: Iterable[int]) -> Arguments:
    """In reverse a reset acts on the step before it, which a cut at that place would hide from the kernel."""
    if arguments.resets is None or not arguments.reverse:
        return arguments
    resets = arguments.resets.clone()
    for cut in cuts:
        resets[cut : cut + 1] = False
    return arguments._replace(resets=resets)


def cut_anywhere(kernel: Kernel, cell: Cell, case: Case) -> None:
    """A sequence run in two pieces, the state handed over, gives what it gives in one."""
    for cut in range(case.T + 1):
        arguments = _without_resets_at(make_arguments(cell, case), [cut])
        _check_results(f"cut at {cut}", _run_pieces(kernel, cell, arguments, [cut]), run(kernel, cell, arguments))


def step_equals_scan(kernel: Kernel, cell: Cell, case: Case) -> None:
    """One step at a time gives what all at once gives."""
    cuts = list(range(1, case.T))
    arguments = _without_resets_at(make_arguments(cell, case), cuts)
    _check_results("step by step", _run_pieces(kernel, cell, arguments, cuts), run(kernel, cell, arguments))


def _rows(arguments: Arguments, rows: Tensor) -> Arguments:
    lengths, resets = arguments.lengths, arguments.resets
    return arguments._replace(
        x_TBI=arguments.x_TBI[:, rows],
        state=tuple(s[rows] for s in arguments.state),
        lengths=None if lengths is None else lengths[rows],
        resets=None if resets is None else resets[:, rows],
    )


def batch_order(kernel: Kernel, cell: Cell, case: Case) -> None:
    """Rows of a batch do not know each other: in another order, or alone, each gives the same."""
    arguments = make_arguments(cell, case)
    y, state = run(kernel, cell, arguments)
    order = torch.randperm(case.B, generator=torch.Generator().manual_seed(case.seed))
    for rows in [order, *torch.arange(case.B)[:, None]] if case.B else []:
        wanted = y[:, rows], tuple(s[rows] for s in state)
        _check_results(f"rows {rows.tolist()}", run(kernel, cell, _rows(arguments, rows)), wanted)


def padding_changes_nothing(kernel: Kernel, cell: Cell, case: Case) -> None:
    """A row of a ragged batch gives what it gives alone at its own length; beyond its end y is 0, whatever x holds.

    The gradients are those of a batch padded with zeros, also where the padding is NaN.
    """
    arguments = make_arguments(cell, replace(case, lengths=True))
    assert arguments.lengths is not None
    beyond_TB = torch.arange(case.T)[:, None] >= arguments.lengths
    poisoned = arguments._replace(x_TBI=arguments.x_TBI.masked_fill(beyond_TB[:, :, None], float("nan")))
    y, state = run(kernel, cell, poisoned)
    if bool((y[beyond_TB] != 0).any()):
        raise LawBroken("the output beyond a row's end is not zero")
    for row, length in enumerate(arguments.lengths.tolist()):
        alone = _rows(arguments, torch.tensor([row]))
        resets = None if alone.resets is None else alone.resets[:length]
        alone = alone._replace(x_TBI=alone.x_TBI[:length], resets=resets, lengths=None)
        found = y[:length, row : row + 1], tuple(s[row : row + 1] for s in state)
        _check_results(f"row {row} of length {length}", found, run(kernel, cell, alone))
    zeros = arguments._replace(x_TBI=arguments.x_TBI.masked_fill(beyond_TB[:, :, None], 0))
    for (name, found_d), wanted_d in zip(
        gradients(kernel, cell, poisoned).items(), gradients(kernel, cell, zeros).values(), strict=True
    ):
        check_close(f"gradient of {name} under padding", found_d, wanted_d)


def resets_start_anew(kernel: Kernel, cell: Cell, case: Case) -> None:
    """From a reset on, a row gives what a new sequence from the initial state gives."""
    arguments = make_arguments(cell, replace(case, resets=True, lengths=False))
    resets_TB = arguments.resets
    assert resets_TB is not None
    y, state = run(kernel, cell, arguments)
    initial = eager.initial_state(arguments.state, arguments.weights)
    for row in range(case.B):
        one = _rows(arguments._replace(resets=None), torch.tensor([row]))
        starts = [t for t in range(case.T) if resets_TB[t, row]]
        edges = [0, *starts, case.T]
        pieces = list(pairwise(edges))
        for number, (start, stop) in enumerate(reversed(pieces) if case.reverse else pieces):
            before = one.state if number == 0 else tuple(i[row : row + 1] for i in initial)
            wanted_y, wanted_state = run(kernel, cell, _piece(one, start, stop, before))
            check_close(f"row {row} from {start} to {stop}", y[start:stop, row : row + 1], wanted_y)
        if not (case.reverse and starts[:1] == [0]):  # then nothing runs after the last reset
            for k, wanted in enumerate(wanted_state):
                check_close(f"row {row}: state[{k}]", state[k][row : row + 1], wanted)


def reverse_is_flipped(kernel: Kernel, cell: Cell, case: Case) -> None:
    """Running in reverse is running forwards over the flipped sequence."""
    arguments = make_arguments(cell, replace(case, lengths=False, resets=False, reverse=True))
    y, state = run(kernel, cell, arguments._replace(x_TBI=arguments.x_TBI.flip(0), reverse=False))
    _check_results("reversed", run(kernel, cell, arguments), (y.flip(0), state))


def _directions(tensors: Iterable[Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t.dtype) for t in tensors]


def gradients(kernel: Kernel, cell: Cell, arguments: Arguments) -> dict[str, Tensor]:
    """Return the gradient of a fixed random projection of y and the last state, by the name of each tensor."""
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in arguments.tensors().items()}
    with torch.enable_grad():
        y, state = run(kernel, cell, _with_tensors(arguments, leaves))
        results = (y, *state)
        total = torch.stack([(r * d).sum() for r, d in zip(results, _directions(results), strict=True)]).sum()
        found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, found, strict=True))


def _with_tensors(arguments: Arguments, tensors: dict[str, Tensor]) -> Arguments:
    def several(name: str) -> Iterator[Tensor]:
        return (tensor for key, tensor in tensors.items() if key.startswith(name + "["))

    weights = Weights(
        ih=tensors["ih"],
        hh=tensors["hh"],
        b_ih=tensors.get("b_ih"),
        b_hh=tensors.get("b_hh"),
        hr=tensors.get("hr"),
        initial=None if arguments.weights.initial is None else tuple(several("initial")),
    )
    return arguments._replace(x_TBI=tensors["x"], state=tuple(several("state")), weights=weights)


def gradient_is_right(kernel: Kernel, cell: Cell, case: Case) -> None:
    """The backward pass agrees with finite differences, for the input, the state, every weight and the initial state.

    In float64, along random directions (torch.autograd.gradcheck). Where no step is run, the state's gradient is
    what came in and every other one is zero.
    """
    arguments = make_arguments(cell, replace(case, dtype=torch.float64))
    if not case.T or not case.B:
        arrived = dict(
            zip(
                ["y", *(f"state[{k}]" for k in range(len(cell.states)))],
                _directions([arguments.x_TBI[:, :, :0], *arguments.state]),
                strict=True,
            )
        )
        for name, found in gradients(kernel, cell, arguments).items():
            check_close(f"gradient of {name} without a step", found, arrived.get(name, torch.zeros_like(found)))
        return
    names = list(arguments.tensors())
    leaves = [tensor.clone().requires_grad_() for tensor in arguments.tensors().values()]

    def call(*tensors: Tensor) -> State:
        y, state = run(kernel, cell, _with_tensors(arguments, dict(zip(names, tensors, strict=True))))
        return (y, *state)

    try:
        gradcheck(call, leaves, fast_mode=True)
    except (GradcheckError, RuntimeError) as error:
        raise LawBroken(f"gradient: {error}") from error


Law = Callable[[Kernel, Cell, Case], None]

LAWS: dict[str, Law] = {
    "a sequence may be cut anywhere": cut_anywhere,
    "one step at a time equals all at once": step_equals_scan,
    "the order of a batch does not matter": batch_order,
    "padding changes nothing": padding_changes_nothing,
    "a reset starts anew": resets_start_anew,
    "reverse is flipped": reverse_is_flipped,
    "the gradient is right": gradient_is_right,
}

CASES: tuple[Case, ...] = (
    Case(),
    Case(T=0),
    Case(T=1, B=1, I=1, H=1),
    Case(B=0),
    Case(T=6, I=4, H=5, lengths=True, resets=True, initial=True, seed=1),
    Case(T=6, H=4, bias=False, lengths=True, resets=True, reverse=True, seed=2),
    Case(T=4, B=2, H=7, dtype=torch.float32, seed=3),
)


def check_cell(cell: Cell | type[Cell], cases: Iterable[Case] = CASES) -> None:
    """Hold a cell to the contract and to every law, on the eager kernel.

    Raises:
        LawBroken: the cell breaks a law, or its declaration and its step disagree; the message names the case.
    """
    cell = cell() if isinstance(cell, type) else cell
    kind = type(cell).__name__
    for name, declared in (("gates", cell.gates), ("states", cell.states)):
        if not declared or len(set(declared)) != len(declared):
            raise LawBroken(f"{kind}.{name} should be a tuple of different names, is {declared!r}")
    for case in cases:
        arguments = make_arguments(cell, case)
        gates_BGH = torch.zeros(case.B, len(cell.gates), case.H, dtype=case.dtype)
        after = cell.step(gates_BGH, gates_BGH, arguments.state)
        shapes = [tuple(s.shape) for s in after]
        if not isinstance(after, tuple) or shapes != [(case.B, case.H)] * len(cell.states):
            raise LawBroken(f"{kind}.step should return {len(cell.states)} tensors (B, H), returns {shapes}")
        check_laws(eager, cell, case)


def check_laws(kernel: Kernel, cell: Cell, case: Case) -> None:
    """Hold a kernel to every law for one cell and one case.

    Raises:
        LawBroken: the message names the law, the cell and the case.
    """
    for name, law in LAWS.items():
        try:
            law(kernel, cell, case)
        except LawBroken as error:
            raise LawBroken(f"{name}: {type(cell).__name__}: {error}\n  {case}") from error
