"""The plan of a call: which of the three tiers runs it, and on what tiles; arithmetic on sizes, without a GPU.

1, alone: all of W fits into one program; each program runs all steps of its rows, and never waits for another.
2, resident: W is spread over programs that all run at once, each with the rows of its units; a barrier a step.
3, steps: a product and a pointwise kernel a step, for what is too large.
"""

from __future__ import annotations

from typing import NamedTuple

# An H100: multiprocessors, and bytes of shared memory that one program may have.
PROCESSORS, SHARED = 132, 227 * 1024
# Bytes of it that are left for reductions and exchanges between the threads of a program.
SPARE = 8 * 1024
# Units that a program of a tier can multiply by without tensor cores: with more, a thread spills kilobytes.
MOST_EXACT = {1: 64, 2: 512}
# Rows of a tile of the tensor cores; a smaller batch fills the rest with nothing.
LEAST_ROWS = 16


class Kind(NamedTuple):
    """What a cell needs.

    Attributes:
        gates: in W.
        blocks: of H numbers that are kept for each step.
        carries: whether a state is carried from step to step beside the output.
    """

    gates: int
    blocks: int
    carries: bool


KINDS = {
    "rnn_tanh": Kind(1, 1, False),
    "rnn_relu": Kind(1, 1, False),
    "rnn_sigmoid": Kind(1, 1, False),
    "rnn_identity": Kind(1, 1, False),
    "gru": Kind(3, 4, True),
    "lstm": Kind(4, 4, True),
}


class Plan(NamedTuple):
    """A tier and its tiles.

    Attributes:
        tier: 1, 2 or 3, see above.
        BB: rows of a program.
        BH: units of a program.
        KP: units that its product reads: H up to the next power of two.
        warps: of a program.
    """

    tier: int
    BB: int
    BH: int
    KP: int
    warps: int

    def grid(self, B: int, H: int) -> tuple[int, int]:
        """Return how many programs there are along the batch and along the units."""
        return -(-B // self.BB), -(-H // self.BH)


def plan(
    kind: str, B: int, H: int, size: int, processors: int = PROCESSORS, shared: int = SHARED,
    tier: int | None = None, exact: bool = False,
) -> Plan:  # fmt: skip
    """Choose the tier for a layer.

    Args:
        kind: of cell, one of `KINDS`.
        B: rows of the batch.
        H: hidden units.
        size: bytes of a number, as W is kept.
        processors: multiprocessors of the card; a program of the second tier has one for itself.
        shared: bytes of shared memory that one program may have; W stays there.
        tier: the one to take if it is possible; None for the first that is.
        exact: whether products are float32 without TF32, which the tensor cores do not do.
    """
    if size == 8 and tier is None:  # Triton's compiler fails on products in float64
        tier = 3
    if tier in (None, 1):
        alone = _alone(kind, H, size, shared)
        if alone is not None and not (exact and MOST_EXACT[1] < alone.KP):
            return alone
    if tier in (None, 2):
        resident = _resident(kind, B, H, size, processors, shared)
        if resident is not None and not (exact and MOST_EXACT[2] < resident.KP):
            return resident
    return pointwise(H)


def pointwise(H: int) -> Plan:
    """Return the tiles of a kernel without a product."""
    return Plan(3, LEAST_ROWS, 64 if H >= 64 else 16, LEAST_ROWS, 4)


def _alone(kind: str, H: int, size: int, shared: int) -> Plan | None:
    KP, blocks = _power(H), KINDS[kind].blocks
    w, exchanged = blocks * KP * KP * size, LEAST_ROWS * blocks * KP * size
    if w + exchanged + SPARE > shared:
        return None
    return Plan(1, LEAST_ROWS, KP, KP, 4 if w <= 32 * 1024 else 8)


def _resident(kind: str, B: int, H: int, size: int, processors: int, shared: int) -> Plan | None:
    """Return the most programs that fit on the card at once: the less each has to do, the sooner the step is over."""
    KP, blocks = _power(H), KINDS[kind].blocks
    for BB in (LEAST_ROWS, 2 * LEAST_ROWS):
        for BH in (8, 16, 32, 64, 128, 256):
            candidate = Plan(2, BB, BH, KP, 8)
            rows, units = candidate.grid(B, H)
            fits = (blocks * BH + BB) * KP * size + SPARE <= shared
            if fits and blocks * BH >= 16 and rows * units <= processors:
                return candidate
    return None


def _power(H: int) -> int:
    return max(LEAST_ROWS, 1 << (H - 1).bit_length())


def kept_bytes(kind: str, T: int, B: int, H: int, size: int, recompute: bool) -> int:
    """Return the bytes that stay between the passes beside input and output: gates, and c before each step."""
    blocks = 0 if recompute or KINDS[kind].blocks == 1 else KINDS[kind].blocks
    return (blocks + (kind == "lstm")) * T * B * H * size
