"""What a step of the GPU engine should cost on an H100, by arithmetic. Nothing is run.

It prints the table of docs/decisions/0005-the-gpu-engine.md, whose sources for the constants stand there too. It is a
bound with latencies added, to choose between designs and to have something that a measurement can prove wrong.
"""

from __future__ import annotations

from typing import NamedTuple

from elman.kernels.triton.plan import KINDS, PROCESSORS, kept_bytes, plan

CLOCK = 1.755e9  # Hz
SHARED = 128  # bytes a clock that a multiprocessor reads from its shared memory
MMA = 0.62 * 4096  # bf16 operations a clock of a multiprocessor by mma.sync, which does not reach the full rate
SPECIAL = 16  # exponentials and reciprocals a clock of a multiprocessor
L2 = 260  # clocks to the second-level cache and back
EXCHANGE = 200  # clocks: a tile through shared memory between two products, and the barriers of a program
MEMORY = 3.35e12  # bytes a second
TENSOR = 0.7 * 989e12  # operations a second of a large bf16 product
CACHE = 5.5e12  # bytes a second from the second-level cache, for all multiprocessors together
NODE = 1.3e-6  # seconds between two kernels of a graph that depend on each other
FUNCTIONS = {"rnn_tanh": 2, "gru": 6, "lstm": 10}  # special operations of a unit: two for each sigmoid or tanh
SIZE = 2  # bytes of a number


class Step(NamedTuple):
    """Microseconds of one forward step, part by part."""

    product: float
    pointwise: float
    waiting: float
    memory: float

    @property
    def total(self) -> float:
        """The parts follow each other; what memory streams runs beside them."""
        return max(self.product + self.pointwise + self.waiting, self.memory)


def step(kind: str, B: int, H: int) -> tuple[str, Step]:
    """Return the tier with its programs, and the cost of a forward step that keeps the gates, in bf16."""
    found = plan(kind, B, H, SIZE)
    rows, units = found.grid(B, H)
    cell = KINDS[kind]
    # Read the input's part, write gates, c and y.
    moved = (cell.gates * H * B * SIZE + kept_bytes(kind, 1, B, H, SIZE, False) + B * H * SIZE) / MEMORY
    if found.tier == 3:
        weights = cell.gates * H * H
        product = max(2 * B * weights / TENSOR, weights * SIZE / CACHE)
        pointwise = moved + cell.gates * B * H * 8 / CACHE  # the product in float32 goes through the cache
        return "3", Step(product * 1e6, pointwise * 1e6, 2 * NODE * 1e6, moved * 1e6)
    columns = cell.blocks * found.BH
    waves = -(-rows * units // PROCESSORS)
    product = max(columns * found.KP * SIZE / SHARED, 2 * found.BB * columns * found.KP / MMA)
    pointwise = found.BB * found.BH * FUNCTIONS[kind] / SPECIAL
    # Tier 2: y to the cache, the arrival, a look that comes in time half of the time, and y back.
    waiting = EXCHANGE + (4.5 * L2 if units > 1 else 0)
    parts = [waves * clocks / CLOCK * 1e6 for clocks in (product, pointwise, waiting)]
    return f"{found.tier}: {rows} x {units}", Step(*parts, moved * 1e6)


def table() -> str:
    rows = [["cell", "B", "H", "tier: programs", "product", "pointwise", "waiting", "memory", "us a step"]]
    rows.append(["---"] * len(rows[0]))
    for kind in ("lstm", "gru", "rnn_tanh"):
        for H in (64, 128, 256, 512, 1024, 2048):
            for B in (1, 64, 256):
                tier, cost = step(kind, B, H)
                rows.append([kind, str(B), str(H), tier, *(f"{part:.2f}" for part in cost), f"{cost.total:.2f}"])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    print(table())
