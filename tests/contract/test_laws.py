"""Every law, over every cell and every kernel, on sizes that Hypothesis draws."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.kernels.dispatch import KERNELS
from elman.layers import LAYERS, layer_class
from elman.layers.cell import Cell
from elman.layers.lstm import LSTMEquations
from elman.testing import LAWS, Case, LawBroken, check_kernel, check_laws, make_arguments

# The kernels of this device; tests/kernels/triton holds the GPU's to the same laws.
HERE = [name for name, kernel in KERNELS.items() if getattr(kernel, "device", "cpu") == "cpu"]

ALL_CELLS: list[Cell] = [cell() for layer in map(layer_class, LAYERS) for cell in layer.cells]

sizes = st.sampled_from([1, 2, 3, 5, 7, 11, 17, 33])  # below, across and beyond a vector of a processor
cases = st.builds(
    Case,
    T=st.sampled_from([0, 1, 2, 3, 6]),
    B=st.sampled_from([0, 1, 2, 3, 5]),
    I=sizes,
    H=sizes,
    bias=st.booleans(),
    initial=st.booleans(),
    lengths=st.booleans(),
    resets=st.booleans(),
    reverse=st.booleans(),
    dtype=st.sampled_from([torch.float64, torch.float64, torch.float32]),
    seed=st.integers(0, 1000),
)


def accepts(kernel: str, cell: Cell, case: Case) -> bool:
    x_TBI, state, weights, lengths, resets, reverse = make_arguments(cell, case)
    options = {"lengths": lengths, "resets": resets, "reverse": reverse}
    return KERNELS[kernel].refusal(cell, x_TBI, state, weights, **options) is None


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
@pytest.mark.parametrize("kernel", HERE)
@settings(max_examples=30)
@given(case=cases)
def test_every_kernel_obeys_every_law_for_every_cell(kernel: str, cell: Cell, law: str, case: Case) -> None:
    if accepts(kernel, cell, case):
        LAWS[law](KERNELS[kernel], cell, case)


@settings(max_examples=30)
@given(case=cases, proj=st.integers(1, 4))
def test_laws_hold_under_a_projection(case: Case, proj: int) -> None:
    check_laws(KERNELS["eager"], LSTMEquations(), replace(case, H=5, P=proj))


@pytest.mark.parametrize("kernel", HERE)
def test_a_kernel_is_held_to_the_laws_by_one_call(kernel: str) -> None:
    check_kernel(KERNELS[kernel], ALL_CELLS)


class Forgetful:
    """A kernel that loses something, to see that the laws notice."""

    def __init__(self, **changes: object) -> None:
        self.changes = changes

    def unroll(self, cell, x_TBI, state, weights, *, lengths=None, resets=None, reverse=False):  # type: ignore[no-untyped-def]
        arguments = {"lengths": lengths, "resets": resets, "reverse": reverse} | self.changes
        return KERNELS["eager"].unroll(cell, x_TBI, state, weights, **arguments)


class RowSum(Forgetful):
    """A kernel whose rows know each other."""

    def unroll(self, cell, x_TBI, state, weights, **options):  # type: ignore[no-untyped-def]
        return super().unroll(cell, x_TBI + x_TBI.sum(1, keepdim=True), state, weights, **options)


class WrongGradient(Forgetful):
    """A kernel whose backward pass forgets the initial state."""

    def unroll(self, cell, x_TBI, state, weights, **options):  # type: ignore[no-untyped-def]
        return super().unroll(cell, x_TBI, tuple(s.detach() for s in state), weights, **options)


class ForgetsState(Forgetful):
    """A kernel that starts from zeros."""

    def unroll(self, cell, x_TBI, state, weights, **options):  # type: ignore[no-untyped-def]
        return super().unroll(cell, x_TBI, tuple(torch.zeros_like(s) for s in state), weights, **options)


@pytest.mark.parametrize(
    ("law", "kernel"),
    [
        ("a sequence may be cut anywhere", ForgetsState()),
        ("one step at a time equals all at once", ForgetsState()),
        ("the order of a batch does not matter", RowSum()),
        ("padding changes nothing", Forgetful(lengths=None)),
        ("a reset starts anew", Forgetful(resets=None)),
        ("reverse is flipped", Forgetful(reverse=False)),
        ("the gradient is right", WrongGradient()),
        ("it equals the reference", WrongGradient()),
        ("it equals the reference", ForgetsState()),
    ],
)
def test_each_law_catches_what_breaks_it(law: str, kernel: Forgetful) -> None:
    with pytest.raises(LawBroken):
        LAWS[law](kernel, LSTMEquations(), Case(T=6, lengths=law == "padding changes nothing"))
