"""The laws: functions of a kernel, a cell and a case that raise `LawBroken` with the numbers that broke them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError, gradcheck

from elman.kernels import eager
from elman.layers.cell import Cell, State
from elman.testing.case import (
    Arguments,
    Case,
    Kernel,
    LawBroken,
    check_close,
    check_results,
    directions,
    gradients,
    make_arguments,
    run,
    with_tensors,
)  # fmt: skip
from elman.testing.judge import equals_the_reference


def _piece(arguments: Arguments, start: int, stop: int, state: State) -> Arguments:
    """Return the arguments for the steps start..stop of the same sequences, from a given state."""
    lengths, resets = arguments.lengths, arguments.resets
    if resets is not None:
        resets = resets[start:stop]
    if lengths is not None:
        lengths = (lengths - start).clamp(0, stop - start)
    return arguments._replace(x_TBI=arguments.x_TBI[start:stop], state=state, lengths=lengths, resets=resets)


def _run_pieces(kernel: Kernel, cell: Cell, arguments: Arguments, cuts: list[int]) -> tuple[Tensor, State]:
    pieces = list(pairwise([0, *cuts, arguments.x_TBI.shape[0]]))
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
        check_results(f"cut at {cut}", _run_pieces(kernel, cell, arguments, [cut]), run(kernel, cell, arguments))


def step_equals_scan(kernel: Kernel, cell: Cell, case: Case) -> None:
    """One step at a time gives what all at once gives."""
    cuts = list(range(1, case.T))
    arguments = _without_resets_at(make_arguments(cell, case), cuts)
    check_results("step by step", _run_pieces(kernel, cell, arguments, cuts), run(kernel, cell, arguments))


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
        expected = y[:, rows], tuple(s[rows] for s in state)
        check_results(f"rows {rows.tolist()}", run(kernel, cell, _rows(arguments, rows)), expected)


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
        actual = y[:length, row : row + 1], tuple(s[row : row + 1] for s in state)
        check_results(f"row {row} of length {length}", actual, run(kernel, cell, alone))
    zeros = arguments._replace(x_TBI=arguments.x_TBI.masked_fill(beyond_TB[:, :, None], 0))
    expected_d = gradients(kernel, cell, zeros)
    for name, actual_d in gradients(kernel, cell, poisoned).items():
        check_close(f"gradient of {name} under padding", actual_d, expected_d[name])


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
        pieces = list(pairwise([0, *starts, case.T]))
        for number, (start, stop) in enumerate(reversed(pieces) if case.reverse else pieces):
            before = one.state if number == 0 else tuple(i[row : row + 1] for i in initial)
            wanted_y, expected_state = run(kernel, cell, _piece(one, start, stop, before))
            check_close(f"row {row} from {start} to {stop}", y[start:stop, row : row + 1], wanted_y)
        if not (case.reverse and starts[:1] == [0]):  # then nothing runs after the last reset
            for k, expected in enumerate(expected_state):
                check_close(f"row {row}: state[{k}]", state[k][row : row + 1], expected)


def reverse_is_flipped(kernel: Kernel, cell: Cell, case: Case) -> None:
    """Running in reverse is running forwards over the flipped sequence."""
    arguments = make_arguments(cell, replace(case, lengths=False, resets=False, reverse=True))
    y, state = run(kernel, cell, arguments._replace(x_TBI=arguments.x_TBI.flip(0), reverse=False))
    check_results("reversed", run(kernel, cell, arguments), (y.flip(0), state))


def gradient_is_right(kernel: Kernel, cell: Cell, case: Case) -> None:
    """The backward pass agrees with finite differences, for the input, the state, every weight and the initial state.

    In float64, along random directions (torch.autograd.gradcheck). Where no step is run, the state's gradient is
    what came in and every other one is zero.
    """
    arguments = make_arguments(cell, replace(case, dtype=torch.float64))
    if not case.T or not case.B:
        d_state = directions([arguments.x_TBI[:, :, :0], *arguments.state])[1:]
        arrived = {f"state[{k}]": d for k, d in enumerate(d_state)}
        for name, actual in gradients(kernel, cell, arguments).items():
            check_close(f"gradient of {name} without a step", actual, arrived.get(name, torch.zeros_like(actual)))
        return
    names = list(arguments.tensors())
    leaves = [tensor.clone().requires_grad_() for tensor in arguments.tensors().values()]

    def call(*tensors: Tensor) -> State:
        y, state = run(kernel, cell, with_tensors(arguments, dict(zip(names, tensors, strict=True))))
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
    "it equals the reference": equals_the_reference,
}
