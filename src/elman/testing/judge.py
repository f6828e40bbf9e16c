"""The NumPy reference as a law: it shares no code with the kernels that it is compared to."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from elman.kernels.weights import Weights
from elman.layers.cell import Cell
from elman.reference import unroll
from elman.reference.weights import LayerWeights
from elman.testing.case import Case, Kernel, check_close, check_results, directions, gradients, make_arguments, run


def equals_the_reference(kernel: Kernel, cell: Cell, case: Case) -> None:
    """y, the last state and every gradient are those of `elman.reference`, for the cells that it has."""
    judge = reference_of(cell)
    if judge is None:
        return
    arguments = make_arguments(cell, case)
    x, state, weights, lengths, resets, reverse = arguments
    theirs = LayerWeights(**{name: _numpy(w) for name, w in weights._asdict().items()})
    y, last, tape = unroll.forward(
        judge, _numpy(x), _numpy(state), theirs, lengths=_numpy(lengths), resets=_numpy(resets), reverse=reverse
    )
    expected = [torch.from_numpy(r).to(case.dtype) for r in (y, *last)]
    actual_y, actual_state = run(kernel, cell, arguments)
    check_results("reference", (actual_y, actual_state), (expected[0], tuple(expected[1:])))
    d_y, *d_state = [d.double().numpy() for d in directions(expected)]
    d = unroll.backward(tape, d_y, tuple(d_state))
    d_arguments = arguments._replace(
        x_TBI=torch.from_numpy(d.x_TBI),
        state=tuple(torch.from_numpy(s) for s in d.state),
        weights=Weights(*(_torch(w) for w in d.weights)),
    )
    actual = gradients(kernel, cell, arguments)
    for name, d_expected in d_arguments.tensors().items():
        check_close(f"gradient of {name}", actual[name], d_expected.to(case.dtype))


def _numpy(value: Any) -> Any:
    """Return a tensor, or a tuple of them, as float64 (or integer or boolean) arrays; None stays None."""
    if value is None or isinstance(value, tuple):
        return value and tuple(_numpy(v) for v in value)
    return (value.double() if value.is_floating_point() else value).numpy()


def _torch(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_torch(v) for v in value)
    return None if value is None else torch.from_numpy(value)


def reference_of(cell: Cell) -> unroll.CellStep | None:
    """Return the reference of a cell, or None.

    It is looked up by `cell.kernel` in the `STEPS` of the module of `elman.reference` of that name, or of what stands
    before its first underscore: "rnn_tanh" is in `elman.reference.rnn`.
    """
    name = cell.kernel or ""
    for stem in (name, name.partition("_")[0]):
        if stem and find_spec(f"elman.reference.{stem}"):
            reference: unroll.CellStep | None = getattr(import_module(f"elman.reference.{stem}"), "STEPS", {}).get(name)
            return reference
    return None
