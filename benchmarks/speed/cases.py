"""The cases that speed is measured on: sizes of a layer, from a single stream to a large batch."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """Sizes of one call of a layer."""

    T: int  # steps
    B: int  # sequences
    I: int  # features
    H: int  # units

    def flops(self, gates: int, training: bool) -> int:
        """Return the floating-point operations of the matrix products; the backward pass has twice the forward's."""
        return 2 * self.T * self.B * gates * self.H * (self.I + self.H) * (3 if training else 1)


CASES = (
    Case(100, 1, 128, 128),
    Case(100, 32, 128, 128),
    Case(100, 32, 256, 256),
    Case(100, 64, 512, 512),
    Case(35, 20, 650, 650),
    Case(1000, 1, 256, 256),
    Case(1000, 32, 64, 64),
    Case(784, 64, 1, 128),
    Case(200, 16, 80, 320),
    Case(50, 128, 300, 300),
)

# Ragged batches: lengths uniform in T/4..T.
RAGGED = (Case(200, 32, 64, 128), Case(400, 64, 80, 256))

# Single steps from Python and inside a sequence, batch of one.
STEPS = (Case(1, 1, 32, 32), Case(1, 1, 64, 64), Case(1, 1, 256, 256))
