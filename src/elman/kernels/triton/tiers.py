"""Which of the three tiers runs a call, and on what tiles: arithmetic on sizes, without Triton and without a GPU.

1, alone: all of W fits into one program; each program runs all steps of its rows, and never waits for another.
2, resident: W is spread over programs that all run at once, each with the rows of its units; a barrier a step.
3, steps: a product and a pointwise kernel a step, for what is too large.
"""

from __future__ import annotations

from typing import NamedTuple

# Bytes of W that a program keeps: half of a multiprocessor's registers (256 KiB on NVIDIA's cards since Volta), so that
# the other half is left for the accumulators, the state and addresses.
KEPT = 128 * 1024
# Rows of a tile of the tensor cores; a smaller batch fills the rest with nothing.
LEAST_ROWS = 16


class Kind(NamedTuple):
    """What a cell needs: gates in W, blocks of H numbers kept a step, and whether a second state is carried."""

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
    """A tier and its tiles."""

    tier: int
    BB: int  # rows of a program
    BH: int  # units of a program
    KP: int  # units that its product reads: H up to the next power of two
    warps: int

    def grid(self, B: int, H: int) -> tuple[int, int]:
        """Return how many programs there are along the batch and along the units."""
        return -(-B // self.BB), -(-H // self.BH)


def plan(kind: str, B: int, H: int, bytes_of_number: int, processors: int, tier: int | None = None) -> Plan:
    """Choose the tier for a layer.

    Args:
        kind: of cell, one of `KINDS`.
        B, H: rows of the batch and hidden units.
        bytes_of_number: of the type in which W is kept.
        processors: multiprocessors of the card; a program of the second tier has one for itself.
        tier: the one to take if it is possible; None for the first that is.
    """
    for number, make in ((1, _alone), (2, _resident)):
        found = make(kind, B, H, bytes_of_number, processors) if tier in (None, number) else None
        if found is not None:
            return found
    return Plan(3, 16, 64 if H >= 64 else 16, LEAST_ROWS, 4)


def _alone(kind: str, B: int, H: int, size: int, processors: int) -> Plan | None:
    KP = _power(H)
    kept = KINDS[kind].blocks * KP * KP * size
    return Plan(1, LEAST_ROWS, KP, KP, 4 if kept <= KEPT // 4 else 8) if kept <= KEPT else None


def _resident(kind: str, B: int, H: int, size: int, processors: int) -> Plan | None:
    """Return the most programs that fit on the card at once: the less each has to do, the sooner the step is over."""
    KP, blocks = _power(H), KINDS[kind].blocks
    for BB in (LEAST_ROWS, 2 * LEAST_ROWS):
        for BH in (LEAST_ROWS // blocks * 2, 16, 32, 64, 128, 256):
            found = Plan(2, BB, max(BH, 8), KP, 8)
            rows, units = found.grid(B, H)
            if blocks * found.BH * KP * size <= KEPT and rows * units <= processors:
                return found
    return None


def _power(H: int) -> int:
    return max(LEAST_ROWS, 1 << (H - 1).bit_length())


def kept_bytes(kind: str, T: int, B: int, H: int, bytes_of_number: int, recompute: bool) -> int:
    """Return the bytes that stay between the passes beside input and output: gates, and c before each step."""
    blocks = 0 if recompute or KINDS[kind].blocks == 1 else KINDS[kind].blocks
    return (blocks + (kind == "lstm")) * T * B * H * bytes_of_number
