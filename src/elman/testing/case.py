"""Cases of the laws, the arguments that follow from them, and the comparison of results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from elman.kernels.weights import Weights
from elman.layers.cell import Cell, State

# The one table of tolerances, relative to the largest number compared (at least 1); nothing loosens it.
TOLERANCE: dict[torch.dtype, float] = {
    torch.float64: 1e-10,  # sums of some thousand products, each rounded to 1e-16
    torch.float32: 2e-5,  # the same at 6e-8, and kernels add in different orders
    torch.float16: 4e-3,  # what is stored is rounded to 5e-4 a step, and some steps of that add up; sums are in float32
    torch.bfloat16: 3e-2,  # the same at 4e-3
}


class LawBroken(AssertionError):  # noqa: N818  (it is what an assertion raises, with a law's name)
    """A cell or a kernel breaks a law."""


class Kernel(Protocol):
    """A module or object with `unroll`, as `elman.kernels.eager`."""

    def unroll(
        self, cell: Cell, x_TBI: Tensor, state: State, weights: Weights, *,
        lengths: Tensor | None = None, resets: Tensor | None = None, reverse: bool = False,
    ) -> tuple[Tensor, State]:  # fmt: skip
        """Run one layer in one direction, see `elman.kernels.eager.unroll`."""


@dataclass(frozen=True)
class Case:
    """What a law is tried on; everything follows from the fields, so that a failure can be repeated.

    Attributes:
        T: steps.
        B: sequences.
        I: features.
        H: units.
        P: size of the projection, 0 for none.
        bias: whether b_ih and b_hh exist.
        initial: whether the initial state is learned.
        lengths: whether sequences differ in length.
        resets: whether sequences begin anew inside.
        reverse: whether time runs backwards.
        dtype: of all numbers.
        seed: of all random numbers.
    """

    T: int = 5
    B: int = 3
    I: int = 2
    H: int = 3
    P: int = 0
    bias: bool = True
    initial: bool = False
    lengths: bool = False
    resets: bool = False
    reverse: bool = False
    dtype: torch.dtype = torch.float64
    seed: int = 0


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


def check_close(what: str, actual: Tensor, expected: Tensor) -> None:
    """Compare two tensors under `TOLERANCE`.

    Raises:
        LawBroken: they differ in shape or type, by too much, or one of them holds a NaN.
    """
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        raise LawBroken(f"{what}: {actual.dtype} {tuple(actual.shape)}, not {expected.dtype} {tuple(expected.shape)}")
    if not actual.numel():
        return
    scale = max(1.0, expected.abs().max().item())
    worst = (actual - expected).abs().max().item() / scale
    if not worst <= TOLERANCE[expected.dtype]:  # a NaN is not
        raise LawBroken(f"{what}: differs by {worst:.3g}, allowed is {TOLERANCE[expected.dtype]:.3g}")


def check_results(what: str, actual: tuple[Tensor, State], expected: tuple[Tensor, State]) -> None:
    """Compare outputs and states under `TOLERANCE`."""
    check_close(f"{what}: y", actual[0], expected[0])
    for k, (f, w) in enumerate(zip(actual[1], expected[1], strict=True)):
        check_close(f"{what}: state[{k}]", f, w)


def directions(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return fixed random tensors of the same shapes, to project results onto."""
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t.dtype) for t in tensors]


def gradients(kernel: Kernel, cell: Cell, arguments: Arguments) -> dict[str, Tensor]:
    """Return the gradient of a fixed random projection of y and the last state, by the name of each tensor."""
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in arguments.tensors().items()}
    with torch.enable_grad():
        y, state = run(kernel, cell, with_tensors(arguments, leaves))
        results = (y, *state)
        total = torch.stack([(r * d).sum() for r, d in zip(results, directions(results), strict=True)]).sum()
        grads = torch.autograd.grad(total, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, grads, strict=True))


def with_tensors(arguments: Arguments, tensors: dict[str, Tensor]) -> Arguments:
    """Return the arguments with other tensors in place of those of `Arguments.tensors`."""

    def several(name: str) -> Iterator[Tensor]:
        return (tensor for key, tensor in tensors.items() if key.startswith(name + "["))

    initial = None if arguments.weights.initial is None else tuple(several("initial"))
    b_ih, b_hh, hr = (tensors.get(name) for name in ("b_ih", "b_hh", "hr"))
    weights = Weights(tensors["ih"], tensors["hh"], b_ih, b_hh, hr, initial)
    return arguments._replace(x_TBI=tensors["x"], state=tuple(several("state")), weights=weights)
