from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

class Packed:
    """The weights of one layer and direction, ready for the forward pass."""

    def matches(
        self, ih: Tensor, hh: Tensor, b_ih: Tensor | None, b_hh: Tensor | None, trusted: bool, threads: int
    ) -> bool: ...

class Stack:
    """Layers of one direction, each fed by the one below, ready to run a step in one call."""

    def __init__(
        self, layers: Sequence[tuple[Packed, tuple[Tensor | None, ...]]], parameters: Mapping[str, Tensor | None]
    ) -> None: ...
    def step(
        self, parameters: Mapping[str, Tensor | None], x: Tensor, hx: object, threads: int, poison: bool, promise: int
    ) -> tuple[Tensor, ...] | None: ...

KINDS: dict[str, tuple[int, int]]

def isa() -> str: ...
def isas() -> list[str]: ...
def alike(*tensors: Tensor | None) -> bool: ...
def saved_width(kind: int, H: int, single: bool) -> int: ...
def fresh(items: tuple[tuple[int, ...] | Tensor | None, ...], single: bool, large: int, poison: bool) -> list[Any]: ...
def has_strides(call: tuple[Tensor | None, ...]) -> bool: ...
def pack(
    kind: int, f: int, ih: Tensor, hh: Tensor, b_ih: Tensor | None, b_hh: Tensor | None, threads: int
) -> Packed: ...
def forward(
    kind: int,
    f: int,
    packed: Packed | None,
    call: tuple[Tensor | None, ...],
    reverse: bool,
    threads: int,
    y: Tensor,
    hn: Tensor,
    cn: Tensor | None,
    saved: Tensor | None,
) -> None: ...
def step(
    packed: Packed, x: Tensor, h: Tensor, c: Tensor | None, h_out: Tensor, c_out: Tensor | None, threads: int
) -> None: ...
def backward(
    kind: int,
    f: int,
    call: tuple[Tensor | None, ...],
    reverse: bool,
    threads: int,
    saved: Tensor,
    given: tuple[Tensor | None, ...],
    made: list[Tensor | None],
) -> None: ...
def linear_cross_entropy(
    call: tuple[Tensor | None, ...], ignored: int, smoothing: float, z: float, threads: int
) -> None: ...
def activation(f: int, x: Tensor, y: Tensor) -> None: ...
