"""Check, then time: the output layer with its loss, forward and backward, beside torch's linear and cross_entropy.

    python benchmarks/speed/output_layer.py [--rounds 5] [--threads 2] [--out docs/results/output-layer] [--quick]

Loss and gradients of both are held to float64 before anything is timed. A run of one is followed by a run of the other,
so that whatever else the machine does meets both; the ratio is that of medians, of the wall's clock and of the
processors'. On a machine that does other work the second says more. Workspace is what the process grows by beyond the
gradients, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from speed import machine
from torch import Tensor
from torch.nn import functional

import elman

CASES = [  # N, H, V
    (1680, 650, 33_278),
    (700, 650, 10_000),
    (700, 650, 5_000),
    (2048, 512, 1_000),
    (512, 256, 200),
    (2048, 512, 65),
    (512, 128, 50),
    (32, 128, 50),
]
TOLERANCE = 1e-5  # of float32, relative to the largest number


def by_torch(s: Tensor, V: Tensor, c: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(functional.linear(s, V, c), target)


SIDES: dict[str, Callable[..., Tensor]] = {"torch": by_torch, "elman": elman.linear_cross_entropy}


def draw(N: int, H: int, V: int) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(1)
    s, weight, c = (torch.randn(*size, generator=generator) for size in ((N, H), (V, H), (V,)))
    return [s, weight.mul_(H**-0.5), c], torch.randint(V, (N,), generator=generator)


def run(side: str, leaves: list[Tensor], target: Tensor) -> list[Tensor]:
    """Return the loss and the gradients."""
    for leaf in leaves:
        leaf.grad = None
    loss = SIDES[side](*leaves, target)
    loss.backward()
    return [loss.detach(), *(leaf.grad for leaf in leaves)]  # type: ignore[list-item]


def check(N: int, H: int, V: int) -> None:
    """Compare both sides with float64 for at most 200 rows, and stop where they differ."""
    tensors, target = draw(min(N, 200), H, V)
    exact = run("torch", [t.double().requires_grad_() for t in tensors], target)
    for side in SIDES:
        made = run(side, [t.clone().requires_grad_() for t in tensors], target)
        errors = [float((m - e).abs().max() / e.abs().max()) for m, e in zip(made, exact, strict=True)]
        if not max(errors) < TOLERANCE:
            sys.exit(f"{side} differs from float64 at {N, H, V}, nothing is timed: {errors}")


def times(case: tuple[int, int, int], rounds: int) -> dict[str, Any]:
    """Return the median seconds of each side and of the matrix product, by the wall's clock and the processors'."""
    N, H, V = case
    tensors, target = draw(*case)
    leaves = [t.requires_grad_() for t in tensors]
    repeats = max(1, min(200, round(3e9 / (6 * N * H * V))))
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    runs: dict[str, Callable[[], object]] = {side: lambda side=side: run(side, leaves, target) for side in SIDES}  # type: ignore[misc]
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in (*runs, "product")}
    for _ in range(rounds + 1):
        for name, body in (*runs.items(), ("product", lambda: a @ b)):
            count = repeats if name in runs else 4
            wall, processors = time.perf_counter(), time.process_time()
            for _ in range(count):
                body()
            seconds[name].append(((time.perf_counter() - wall) / count, (time.process_time() - processors) / count))
    medians = {
        name: [statistics.median(column) for column in zip(*values[1:], strict=True)]
        for name, values in seconds.items()
    }
    return {
        "case": case,
        "milliseconds": {side: round(medians[side][0] * 1e3, 4) for side in SIDES},
        "processor_milliseconds": {side: round(medians[side][1] * 1e3, 4) for side in SIDES},
        "ratio": round(medians["torch"][0] / medians["elman"][0], 2),
        "processor_ratio": round(medians["torch"][1] / medians["elman"][1], 2),
        "share_of_sgemm": round(6 * N * H * V / medians["elman"][1] / (2 * 1024**3 / medians["product"][1]), 2),
    }


def workspace(side: str, case: tuple[int, int, int]) -> float:
    """Return the megabytes that a process of its own grows by beyond the gradients."""
    command = [sys.executable, __file__, "--workspace", side, *map(str, case)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def grow(side: str, case: tuple[int, int, int]) -> float:
    small, target = draw(64, case[1], 64)
    run(side, [t.requires_grad_() for t in small], target)
    tensors, target = draw(*case)
    leaves = [t.requires_grad_() for t in tensors]
    before = peak()
    made = run(side, leaves, target)
    return peak() - before - sum(t.numel() * t.element_size() for t in made) / 2**20


def peak() -> float:
    """Return the most megabytes that this process has had, of its own: `getrusage` begins with its parent's."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def page(result: dict[str, Any], command: str) -> str:
    names = ["torch, ms", "elman, ms", "torch / elman", "by processor time", "of SGEMM", "workspace, MB"]
    rows = [["N x H, V", *names], ["---", *["---:"] * len(names)]]
    for line in result["lines"]:
        N, H, V = line["case"]
        space = line.get("workspace")
        rows.append([
            f"{N:,} x {H}, {V:,}", *(f"{line['milliseconds'][side]:.3g}" for side in SIDES), f"{line['ratio']:.2f}",
            f"{line['processor_ratio']:.2f}", f"{line['share_of_sgemm']:.0%}",
            "" if space is None else f"{space['torch']:.0f} / {space['elman']:.0f}",
        ])  # fmt: skip
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    m = result["machine"]
    return f"""# Speed: the output layer with its loss

`elman.linear_cross_entropy` beside torch's `linear` and `cross_entropy`, float32, forward and backward with all three
gradients, {result["threads"]} threads. Both were held to float64 first. Times are medians of {result["rounds"]}
alternating runs.

    {command}

{table}

Processor time is that of all threads, and is what compares the two on a machine that does other work. "Of SGEMM" is
the rate of elman's three products beside torch's product of two matrices of 1,024 by 1,024, in processor time.
Workspace is torch / elman, beyond inputs and gradients.

Machine: {json.dumps(m)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the output layer with its loss beside torch.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="no workspace")
    parser.add_argument("--cases", type=int, nargs="*", help="the numbers of the cases to run; all without it")
    parser.add_argument("--out", type=Path, help="write OUT.json and OUT.md")
    parser.add_argument("--workspace", nargs=4, metavar=("SIDE", "N", "H", "V"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.workspace:
        side, *sizes = given.workspace
        N, H, V = map(int, sizes)
        print(grow(side, (N, H, V)))
        return
    lines = []
    for case in [CASES[i] for i in given.cases] if given.cases else CASES:
        check(*case)
        line = times(case, given.rounds)
        if not given.quick and case[0] * case[2] > 1 << 20:
            line["workspace"] = {side: round(workspace(side, case), 1) for side in SIDES}
        lines.append(line)
        print(json.dumps(line), flush=True)
    result = {"machine": machine(), "threads": given.threads, "rounds": given.rounds, "lines": lines}
    if given.out:
        given.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
        options = f"--rounds {given.rounds} --threads {given.threads} --out {given.out}"
        command = f"python benchmarks/speed/output_layer.py {options}"
        given.out.with_suffix(".md").write_text(page(result, command))


if __name__ == "__main__":
    main()
