"""Check, then time: elman's layers on the CPU beside torch.nn and, where installed, JAX's scan and ONNX Runtime.

    python benchmarks/speed/speed.py [--cases 0,3,5] [--cells RNN,GRU,LSTM] [--what full,ragged,steps] [--quick]
                               [--out docs/results/speed]
    python benchmarks/speed/speed.py --device cuda [--cells ...] [--types bf16,fp16,fp32,tf32] [--minutes 7.5]

Every case is checked before it is timed: outputs and all gradients against torch.nn in float64, steps to the bit
against the whole run, and the outputs of the others against elman's, so that all do the same. The implementations take
turns, so that whatever else the machine does meets all of them; a ratio is the median of the ratios of the turns. The
rate of a plain matrix product is measured in the same turns, and each case is given as a share of it.
Writes OUT.json, OUT.md and, where matplotlib is installed, OUT.png. `pip install '.[bench]'` brings the others.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import CASES, RAGGED, STEPS, Case
from peers import GATES, Runner, jax_runner, onnx_runner, torch_runner
from results import plot, table
from torch import Tensor, nn

import elman
from elman.kernels import cpu

SGEMM = 1024  # size of the matrix product that sets the rate
WARM = 0.005  # seconds that each runs before it is timed
TOLERANCE = 1e-4  # of float32 against float64, relative to the largest number: sums of up to 10^5 products


def build(kind: str, case: Case) -> tuple[Any, nn.Module, Tensor, Tensor]:
    """Return elman's layer, torch's with the same weights, an input and a gradient of the output."""
    torch.manual_seed(0)
    theirs = getattr(nn, kind)(case.I, case.H)
    ours = getattr(elman, kind)(case.I, case.H)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs, torch.randn(case.T, case.B, case.I), torch.randn(case.T, case.B, case.H) / case.B


def check(ours: nn.Module, theirs: nn.Module, x: Tensor, d_y: Tensor, lengths: Tensor | None) -> float:
    """Return the largest error of outputs and gradients against float64; stop where it is too large."""
    exact = type(theirs)(theirs.input_size, theirs.hidden_size).double()
    exact.load_state_dict(theirs.state_dict())
    mask = 1.0 if lengths is None else (torch.arange(len(x))[:, None] < lengths)[:, :, None]
    results: list[list[Tensor]] = []
    for layer in (ours, exact):
        dtype = next(layer.parameters()).dtype
        leaf = x.to(dtype, copy=True).requires_grad_()
        layer.zero_grad()
        options = {"lengths": lengths} if lengths is not None and layer is ours else {}
        y = layer(leaf, **options)[0] * mask
        y.backward(d_y.to(dtype))
        results.append([y.detach(), leaf.grad, *(p.grad for p in layer.parameters())])
        layer.zero_grad()
    errors = [((a - b).abs().max() / b.abs().max().clamp_min(1e-3)).item() for a, b in zip(*results, strict=True)]
    if not max(errors) < TOLERANCE:
        sys.exit(f"elman is wrong, nothing is timed: {ours}, errors {errors}")
    return max(errors)


def check_others(runners: dict[str, Runner | None]) -> None:
    """Stop where another one computes something else than elman: a ratio would say nothing."""
    outputs = {name: r.infer() for name, r in runners.items() if r is not None and r.infer is not None}
    own = torch.as_tensor(outputs.pop("elman"))
    for name, output in outputs.items():
        found = torch.as_tensor(np.array(output)).reshape(own.shape)
        if not (found - own).abs().max() < TOLERANCE * max(1.0, own.abs().max().item()):
            sys.exit(f"{name} computes something else, nothing is timed")


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def take_turns(runs: dict[str, Callable[[], object]], budget: float) -> dict[str, list[float]]:
    """Time each run once a turn, for `budget` seconds or 50 turns, at least 5 (3 where a turn takes seconds).

    Threads of some implementations go on spinning for a while when they are done; so each is run for some milliseconds
    before it is timed, at least once, which finds the others' threads asleep and the machine as a loop of training or
    a stream of calls finds it: the caches its own, the processor at its speed after the pause.
    """
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    start = time.perf_counter()

    def enough(turns: int) -> bool:
        elapsed = time.perf_counter() - start
        return turns >= 50 or (turns >= 5 and elapsed > budget) or (turns >= 3 and elapsed > max(10.0, budget))

    while not enough(len(times["elman"])):
        for name, run in runs.items():
            time.sleep(0.002)
            warm = seconds(run)
            while warm < WARM:
                warm += seconds(run)
            times[name].append(seconds(run))
    return times


def ratios(times: dict[str, list[float]]) -> dict[str, float]:
    """Return how many times longer each other takes: the median over the turns."""
    return {
        name: statistics.median(t / o for t, o in zip(values, times["elman"], strict=True))
        for name, values in times.items()
        if name not in ("elman", "sgemm")
    }


def sgemm() -> Callable[[], object]:
    a, b = torch.randn(SGEMM, SGEMM), torch.randn(SGEMM, SGEMM)
    out = torch.empty(SGEMM, SGEMM)
    return lambda: torch.mm(a, b, out=out)


def describe(kind: str, case: Case, what: str, flops: int, times: dict[str, list[float]]) -> dict[str, Any]:
    """Return one line of the result."""
    own = statistics.median(times["elman"])
    share = statistics.median(s / o for s, o in zip(times["sgemm"], times["elman"], strict=True))
    rate = flops / own / 1e9
    return {
        "cell": kind,
        "case": list(case),
        "what": what,
        "milliseconds": round(own * 1e3, 4),
        "best_milliseconds": round(min(times["elman"]) * 1e3, 4),
        "gflops": round(rate, 1),
        "share_of_sgemm": round(flops / (2 * SGEMM**3) * share, 3),
        "ratios": {name: round(r, 2) for name, r in ratios(times).items()},
        "turns": len(times["elman"]),
    }


def measure_case(kind: str, case: Case, budget: float) -> Iterator[dict[str, Any]]:
    """Yield the training step and the forward pass of one case."""
    ours, theirs, x, d_y = build(kind, case)
    error = check(ours, theirs, x, d_y, None)
    runners: dict[str, Runner | None] = {
        "elman": torch_runner(ours, x, d_y),
        "torch": torch_runner(theirs, x, d_y),
        "jax": jax_runner(kind, ours.weights(), x, d_y),
        "onnxruntime": onnx_runner(kind, ours.weights(), x),
    }
    check_others(runners)
    for what in ("train", "infer"):
        runs = {name: run for name, r in runners.items() if r is not None and (run := getattr(r, what)) is not None}
        times = take_turns(runs | {"sgemm": sgemm()}, budget)
        yield describe(kind, case, what, case.flops(GATES[kind], what == "train"), times) | {"error": error}


def measure_ragged(kind: str, case: Case, budget: float) -> Iterator[dict[str, Any]]:
    """Time a ragged batch against packed torch.nn, and against the full batch by the tokens that are there."""
    ours, theirs, x, d_y = build(kind, case)
    lengths = torch.randint(case.T // 4, case.T + 1, (case.B,), generator=torch.Generator().manual_seed(0))
    error = check(ours, theirs, x, d_y, lengths)
    runs = {
        "elman": torch_runner(ours, x, d_y, lengths).train,
        "torch packed": torch_runner(theirs, x, d_y, lengths, packed=True).train,
        "elman full": torch_runner(ours, x, d_y).train,
        "sgemm": sgemm(),
    }
    times = take_turns({name: run for name, run in runs.items() if run is not None}, budget)
    share = lengths.sum().item() / (case.T * case.B)
    line = describe(kind, case, "ragged", int(share * case.flops(GATES[kind], True)), times)
    full = line["ratios"].pop("elman full")
    yield line | {"error": error, "time_over_tokens": round(1 / full / share, 3)}


def measure_step(kind: str, case: Case, budget: float) -> Iterator[dict[str, Any]]:
    """Time one step from Python, by `layer.step` from the state before, and one inside a sequence."""
    ours, theirs, x, d_y = build(kind, case._replace(T=500))
    error = check(ours, theirs, x, d_y, None)

    def stream() -> tuple[list[Tensor], Any]:
        outputs, state = [], start
        for x_BI in inputs:
            y, state = ours.step(x_BI, state)
            outputs.append(y)
        return outputs, state

    def stream_of_torch() -> None:
        state = None
        for x_TBI in inputs_of_torch:
            _, state = theirs(x_TBI, state)

    with torch.no_grad():
        start = ours.step(x[0])[1]
        inputs, inputs_of_torch = list(x), list(x[:50, None])
        if not torch.equal(torch.stack(stream()[0]), ours(x, start)[0]):
            sys.exit(f"a step of {ours} differs from the whole run, nothing is timed")
        runs: dict[str, Callable[[], object]] = {
            "elman": stream,
            "torch": stream_of_torch,
            "inside": lambda: ours(x),
            "sgemm": sgemm(),
        }
        times = take_turns(runs, budget)
    times["torch"] = [t * 10 for t in times["torch"]]
    line = describe(kind, case, "step", 500 * case.flops(GATES[kind], False), times)
    line["ratios"].pop("inside")
    yield line | {
        "error": error,
        "milliseconds": round(line["milliseconds"] / 500, 5),
        "best_milliseconds": round(line["best_milliseconds"] / 500, 5),
        "microseconds_from_python": round(statistics.median(times["elman"]) * 2000, 2),
        "microseconds_inside": round(statistics.median(times["inside"]) * 2000, 2),
        "best_microseconds": [round(min(times[n]) * 2000, 2) for n in ("elman", "inside")],
    }


def machine() -> dict[str, Any]:
    """Return what a figure means nothing without."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    model = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    versions = {"python": platform.python_version(), "torch": torch.__version__, "elman": elman.__version__}
    threads = torch.get_num_threads()
    isa = cpu.passes._engine.isa()
    return {"processor": model[0], "threads": threads, "isa": isa, "commit": commit, **versions}


def main() -> None:
    parser = argparse.ArgumentParser(description="Check, then time elman's layers beside their peers.")
    parser.add_argument("--cells", default="RNN,GRU,LSTM", help="which cells, separated by commas")
    parser.add_argument(
        "--cases", default="", help="numbers of the cases in cases.py, separated by commas; all if left out"
    )
    parser.add_argument("--what", default="full,ragged,steps", help="which kinds of runs, separated by commas")
    parser.add_argument("--quick", action="store_true", help="0.3 seconds for each measurement instead of 1.5")
    parser.add_argument("--out", type=Path, help="where to write .json, .md and .png")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: see speed_cuda.py")
    parser.add_argument("--types", default="bf16", help="of numbers on a GPU, separated by commas")
    parser.add_argument("--minutes", type=float, default=7.5, help="for the whole table on a GPU")
    chosen = parser.parse_args()
    if chosen.device == "cuda":
        import speed_cuda

        sys.exit(speed_cuda.run(chosen.cells.split(","), chosen.types.split(","), chosen.minutes, chosen.out))
    cases = [CASES[int(k)] for k in chosen.cases.split(",")] if chosen.cases else CASES
    kinds = chosen.what.split(",")
    budget = 0.3 if chosen.quick else 1.5
    lines: list[dict[str, Any]] = []
    for kind in chosen.cells.split(","):
        for measure, what, sizes in (
            (measure_case, "full", cases),
            (measure_ragged, "ragged", RAGGED),
            (measure_step, "steps", STEPS),
        ):
            for case in sizes if what in kinds else ():
                found = list(measure(kind, case, budget))
                lines += found
                print(json.dumps(found[0]), file=sys.stderr, flush=True)
    facts = machine()
    print(json.dumps(facts) + "\n\n" + table(lines))
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.with_suffix(".json").write_text(json.dumps({"machine": facts, "lines": lines}, indent=1) + "\n")
        chosen.out.with_suffix(".md").write_text(f"`{json.dumps(facts)}`\n\n{table(lines)}")
        if not plot(lines, chosen.out.with_suffix(".png")):
            print("no plot: pip install '.[plot]' brings matplotlib", file=sys.stderr)


if __name__ == "__main__":
    main()
