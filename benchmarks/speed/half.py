"""Check, then time: layers and cells in bfloat16 and under autocast on the CPU beside torch.nn's.

    python benchmarks/speed/half.py [--seconds 100] [--clock processor] [--threads 1] [--float32] [--out FILE]

No engine runs these types on the CPU: elman's layers call torch's operator, so that a ratio below 1 would be what a
layer costs beside it. Results and gradients are torch's to the bit, which is checked first. Then both take turns of a
few milliseconds, the first of each turn in turns too, and a ratio is the median of the ratios of the turns. Processor
time on one thread is hardly moved by what else the machine does. `--float32` adds short sequences on the engine.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from cases import Case
from torch import Tensor, nn

import elman

CLOCKS: dict[str, Callable[[], float]] = {"processor": time.process_time, "wall": time.perf_counter}
TURN = 0.004  # seconds that each runs in a turn
LAYERS = (Case(1, 1, 64, 64), Case(20, 8, 64, 64), Case(100, 32, 128, 128))
CELLS = (Case(1, 1, 64, 64), Case(1, 32, 256, 256))
SHORT = (Case(1, 1, 8, 8), Case(5, 1, 16, 16), Case(20, 4, 16, 16))


class Measurement(NamedTuple):
    """One layer or cell, the type of a call, its sizes, and whether it is a training step."""

    name: str
    mode: str
    case: Case
    train: bool


def measurements(float32: bool) -> Iterator[Measurement]:
    for train in (False, True):
        for mode in ("bfloat16", "autocast"):
            for name in ("RNN", "GRU", "LSTM"):
                yield from (Measurement(name, mode, case, train) for case in LAYERS)
                yield from (Measurement(f"{name}Cell", mode, case, train) for case in CELLS)
        for name in ("RNN", "GRU", "LSTM") if float32 else ():
            yield from (Measurement(name, "float32", case, train) for case in SHORT)


def flat(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [tensor for part in value for tensor in flat(part)]


def call(layer: nn.Module, of: Measurement, arguments: tuple[Any, ...]) -> Callable[[], list[Tensor]]:
    """Return what is timed: a forward pass, or a training step, whose gradients come after the outputs."""
    parameters = list(layer.parameters())
    context = torch.autocast("cpu", torch.bfloat16) if of.mode == "autocast" else nullcontext()

    def infer() -> list[Tensor]:
        with torch.no_grad(), context:
            return flat(layer(*arguments))

    def train() -> list[Tensor]:
        with context:
            outputs = flat(layer(*arguments))
        return [*outputs, *torch.autograd.grad(outputs[0].sum(), parameters)]

    return train if of.train else infer


def build(of: Measurement) -> tuple[Callable[[], list[Tensor]], Callable[[], list[Tensor]]]:
    """Return the calls of elman's layer and of torch's with the same weights."""
    torch.manual_seed(0)
    is_cell, (T, B, I, H) = of.name.endswith("Cell"), of.case
    dtype = torch.bfloat16 if of.mode == "bfloat16" else torch.float32
    theirs, ours = (getattr(module, of.name)(I, H, dtype=dtype) for module in (nn, elman))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(*(() if is_cell else (T,)), B, I, dtype=dtype)
    arguments: tuple[Any, ...] = (x,)
    if is_cell:
        h = torch.zeros(B, H, dtype=dtype)
        arguments = (x, (h, h) if of.name == "LSTMCell" else h)
    return call(ours, of, arguments), call(theirs, of, arguments)


def check(of: Measurement, ours: Callable[[], list[Tensor]], theirs: Callable[[], list[Tensor]]) -> None:
    for a, b in zip(ours(), theirs(), strict=True):
        is_same = torch.equal(a, b) if of.mode != "float32" else torch.allclose(a, b, rtol=1e-4, atol=1e-4)
        if a.dtype != b.dtype or not is_same:
            sys.exit(f"elman differs from torch, nothing is timed: {of}")


def measure(of: Measurement, seconds: float, clock: Callable[[], float]) -> dict[str, Any]:
    """Return the median ratio of torch's time to elman's, its quartiles and both times."""
    ours, theirs = build(of)
    check(of, ours, theirs)
    start = time.perf_counter()
    ours()
    count = max(1, int(TURN / (time.perf_counter() - start)))
    end = time.perf_counter() + seconds

    def turn(run: Callable[[], list[Tensor]]) -> float:
        begin = clock()
        for _ in range(count):
            run()
        return (clock() - begin) / count

    times: list[tuple[float, float]] = []
    while len(times) < 5 or time.perf_counter() < end:
        own, other = (turn(ours), turn(theirs)) if len(times) % 2 else (turn(theirs), turn(ours))[::-1]
        times.append((own, other))
    ratios = [other / own for own, other in times]
    low, middle, high = statistics.quantiles(ratios, n=4)
    micro = [round(statistics.median(column) * 1e6, 1) for column in zip(*times, strict=True)]
    return {
        "name": of.name, "type": of.mode, "case": list(of.case), "train": of.train, "ratio": round(middle, 3),
        "quartiles": [round(low, 3), round(high, 3)], "microseconds": micro[0], "microseconds_torch": micro[1],
        "turns": len(times),
    }  # fmt: skip


def table(lines: list[dict[str, Any]]) -> str:
    rows = ["| layer | T, B, I, H | what | type | elman, µs | torch, µs | torch / elman (quartiles) |"]
    rows.append("| --- | --- | --- | --- | --- | --- | --- |")
    for line in lines:
        sizes, what = ", ".join(map(str, line["case"])), "training step" if line["train"] else "forward pass"
        ratio = f"{line['ratio']:.2f} ({line['quartiles'][0]:.2f} to {line['quartiles'][1]:.2f})"
        times = f"{line['microseconds']:.0f} | {line['microseconds_torch']:.0f}"
        rows.append(f"| {line['name']} | {sizes} | {what} | {line['type']} | {times} | {ratio} |")
    rows.append("")
    for mode in dict.fromkeys(line["type"] for line in lines):
        for kind in ("layers", "cells"):
            chosen = [
                x["ratio"] for x in lines if x["type"] == mode and x["name"].endswith("Cell") == (kind == "cells")
            ]
            if chosen:
                mean = math.exp(statistics.fmean(map(math.log, chosen)))
                rows.append(f"{mode}, {kind}: geometric mean {mean:.2f}, lowest {min(chosen):.2f} of {len(chosen)}")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=100.0, help="of all measurements together")
    parser.add_argument("--clock", choices=CLOCKS, default="processor")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--float32", action="store_true", help="short sequences in float32 too, which the engine runs")
    parser.add_argument("--out", type=Path, help="a JSON file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    chosen = list(measurements(options.float32))
    gc.disable()
    lines = []
    for of in chosen:
        lines.append(measure(of, options.seconds / len(chosen), CLOCKS[options.clock]))
        gc.collect()
    print(table(lines))
    print(f"torch {torch.__version__}, {options.threads} thread(s), {options.clock} time, {platform.machine()}")
    if options.out:
        options.out.write_text(json.dumps({"torch": torch.__version__, "lines": lines}, indent=1))


if __name__ == "__main__":
    main()
