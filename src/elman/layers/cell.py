"""Cells, the extension point: a cell declares its gates, its states and one step; a runner does the rest."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

State = tuple[Tensor, ...]
"""One tensor for each name in `Cell.states`, each (B, H)."""


class Cell:
    """A recurrent cell: a pure description of one step, without parameters.

    A subclass sets `gates` and `states` and writes `step`. The output of a step is its first state.

    Attributes:
        gates: names of the gates, in the order of the rows of the weights (as in torch.nn where torch has the cell).
        states: names of the states; the first one is the output.
        keeps: the gate that keeps the past where it is 1, if there is one; initialisations of long memory set its bias.
        writes: the gate that lets new content in beside it, if there is one.
        sigmoid_gates: the gates that are a sigmoid of the sum of their two parts.
        candidate: the gate that is a tanh of the sum of its two parts and becomes new content, if there is one.
        candidate_reset: the sigmoid gate that multiplies the past's part of the candidate, if there is one.
        kernel: the name under which the reference and the fast kernels know exactly this step, or None. It is not
            inherited by a subclass that writes its own step, so that a changed cell never runs the old equations.
    """

    gates: ClassVar[tuple[str, ...]] = ()
    states: ClassVar[tuple[str, ...]] = ("h",)
    keeps: ClassVar[str | None] = None
    writes: ClassVar[str | None] = None
    sigmoid_gates: ClassVar[tuple[str, ...]] = ()
    candidate: ClassVar[str | None] = None
    candidate_reset: ClassVar[str | None] = None
    kernel: ClassVar[str | None] = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "step" in cls.__dict__ and "kernel" not in cls.__dict__:
            cls.kernel = None

    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: State) -> State:
        """Return the state after one step.

        Args:
            gx_BGH: what the input sends to each gate, U x_t + b_ih.
            gh_BGH: what the past sends to each gate, W h_{t-1} + b_hh.
            state: the state before the step, one (B, H) tensor for each name in `states`.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
