"""Check, then time: elman's layers on a GPU beside torch.nn: `speed.py --device cuda` runs it.

Every case is checked before it is timed: outputs and all gradients of its first steps against torch.nn in float64. The
two take turns, and a ratio is the median of the ratios of the turns. A case is given in us per step and TFLOP/s, and as
a share of its limit: the larger of bytes over bandwidth and operations over matrix rate, both measured in the same run.
What has to be read and written counts once: input, output, weights, and in training what the passes hand over and the
gradients. The whole table keeps to a budget: repetitions are as many as there is time for, and the cases that there was
no time or memory for are named in the result.
"""

from __future__ import annotations

import itertools
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from cases import Case
from peers import GATES, torch_runner
from results import geometric_mean
from torch import Tensor, nn

import elman
from elman.kernels.triton.plan import kept_bytes

TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32, "tf32": torch.float32}
# Of outputs and gradients against float64, relative to the largest number: what a step rounds, some steps of it.
TOLERANCE = {"bf16": 6e-2, "fp16": 1e-2, "tf32": 1e-2, "fp32": 1e-4}
KINDS = {"RNN": "rnn_tanh", "GRU": "gru", "LSTM": "lstm"}
CHECKED = 32  # steps


def cases() -> list[Case]:
    """Return all sizes, the shorter sequences first: where time runs out, every H and B has been seen once."""
    sizes = itertools.product((512, 2048), (64, 128, 256, 512, 1024, 2048), (1, 16, 64, 256))
    return [Case(T, B, H, H) for T, H, B in sizes]


class Limits(NamedTuple):
    """What the card does in this run."""

    flops: float  # of a large matrix product of the type, a second
    bytes: float  # that a large copy reads and writes, a second

    def seconds(self, kind: str, case: Case, size: int, training: bool) -> float:
        """Return the least time that a case can take: the larger of its operations' and its bytes'."""
        T, B, I, H = case
        weights = GATES[kind] * H * (I + H + 2)
        moved = (T * B * (I + H) + weights) * size
        if training:
            moved = 2 * moved + 2 * kept_bytes(KINDS[kind], T, B, H, size, False) + T * B * H * size
        return max(case.flops(GATES[kind], training) / self.flops, moved / self.bytes)


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(run: Callable[[], object], device: str) -> float:
    wait(device)
    start = time.perf_counter()
    run()
    wait(device)
    return time.perf_counter() - start


def measure_limits(name: str, device: str, size: int = 8192) -> Limits:
    a = torch.randn(size, size, device=device, dtype=TYPES[name])
    b, out = torch.randn_like(a), torch.empty_like(a)
    rate = min(seconds(lambda: torch.mm(a, b, out=out), device) for _ in range(8))
    copy = min(seconds(lambda: out.copy_(a), device) for _ in range(8))
    return Limits(2 * size**3 / rate, 2 * a.nbytes / copy)


def build(kind: str, case: Case, name: str, device: str) -> tuple[Any, nn.Module, Tensor, Tensor]:
    """Return elman's layer, torch's with the same weights, an input and a gradient of the output."""
    torch.manual_seed(0)
    theirs = getattr(nn, kind)(case.I, case.H, device=device, dtype=TYPES[name])
    ours = getattr(elman, kind)(case.I, case.H, device=device, dtype=TYPES[name])
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(case.T, case.B, case.I, device=device, dtype=TYPES[name])
    return ours, theirs, x, torch.randn(case.T, case.B, case.H, device=device, dtype=TYPES[name]) / case.B


def errors(ours: nn.Module, theirs: nn.Module, x: Tensor, d_y: Tensor) -> tuple[float, float]:
    """Return the largest error of elman's layer and of torch's, over outputs and gradients, against float64."""
    exact = type(theirs)(theirs.input_size, theirs.hidden_size).double().to(x.device)
    exact.load_state_dict(theirs.state_dict())
    results: list[list[Tensor]] = []
    for layer in (exact, ours, theirs):
        dtype = next(layer.parameters()).dtype
        leaf = x.to(dtype, copy=True).requires_grad_()
        layer.zero_grad()
        y = layer(leaf)[0]
        y.backward(d_y.to(dtype))
        results.append([y.detach(), leaf.grad, *(p.grad for p in layer.parameters())])
        layer.zero_grad()
    wanted, *found = results
    return tuple(  # type: ignore[return-value]
        max(((f - w).abs().max() / w.abs().max().clamp_min(1e-3)).item() for f, w in zip(one, wanted, strict=True))
        for one in found
    )


def take_turns(runs: dict[str, Callable[[], object]], device: str, budget: float) -> dict[str, list[float]]:
    """Time each run once a turn, for `budget` seconds or 30 turns, at least 3."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    start = time.perf_counter()
    while len(times["elman"]) < 3 or (time.perf_counter() - start < budget and len(times["elman"]) < 30):
        for name, run in runs.items():
            times[name].append(seconds(run, device))
    return times


def measure(kind: str, case: Case, name: str, device: str, limits: Limits, budget: float) -> Iterator[dict[str, Any]]:
    """Yield the training step and the forward pass of one case; what is wrong is not timed."""
    ours, theirs, x, d_y = build(kind, case, name, device)
    (choice,) = elman.explain(ours, x).choices.values()
    line = {"cell": kind, "case": list(case), "type": name, "kernel": choice.name}
    if choice.name == "triton":
        from elman.kernels.triton import launch

        line["tier"] = launch.plan_for(KINDS[kind], x, case.H, None).tier
    line["error"], line["error_of_torch"] = errors(ours, theirs, x[:CHECKED], d_y[:CHECKED])
    if not line["error"] < TOLERANCE[name]:
        yield line | {"what": "wrong"}
        return
    own, their = torch_runner(ours, x, d_y), torch_runner(theirs, x, d_y)
    for what in ("train", "infer"):
        times = take_turns({"elman": getattr(own, what), "torch": getattr(their, what)}, device, budget / 2)
        took = statistics.median(times["elman"])
        ratio = statistics.median(t / o for t, o in zip(times["torch"], times["elman"], strict=True))
        training = what == "train"
        yield line | {
            "what": what,
            "microseconds_a_step": round(took / case.T * 1e6, 3),
            "tflops": round(case.flops(GATES[kind], training) / took / 1e12, 3),
            "share_of_limit": round(limits.seconds(kind, case, x.element_size(), training) / took, 4),
            "torch_over_elman": round(ratio, 3),
            "turns": len(times["elman"]),
        }


def measure_all(
    kinds: Sequence[str], names: Sequence[str], sizes: Sequence[Case], device: str, minutes: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Limits]]:
    """Return the lines, the cases left out with the reason, and the limits, in no more than about `minutes`."""
    start = time.monotonic()
    lines: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    limits: dict[str, Limits] = {}
    todo = [(case, kind, name) for case in sizes for name in names for kind in kinds]
    for place, (case, kind, name) in enumerate(todo):
        left = minutes * 60 - (time.monotonic() - start)
        what = {"cell": kind, "case": list(case), "type": name}
        if left <= 0:
            left_out.append(what | {"why": "no time left"})
            continue
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name == "tf32"
        try:
            if name not in limits:
                limits[name] = measure_limits(name, device, 8192 if device == "cuda" else 64)
            found = list(measure(kind, case, name, device, limits[name], min(2.0, left / (len(todo) - place) / 2)))
        except torch.cuda.OutOfMemoryError:
            left_out.append(what | {"why": "not enough memory"})
            continue
        lines += found
        print(json.dumps(found[0]), file=sys.stderr, flush=True)
    return lines, left_out, limits


def table(lines: list[dict[str, Any]], left_out: list[dict[str, Any]]) -> str:
    """Return the result as a Markdown table, with the geometric means, and the cases that are missing."""
    rows = [["cell", "T, B, I, H", "type", "what", "kernel", "us a step", "TFLOP/s", "of limit", "torch / elman"]]
    rows.append(["---"] * len(rows[0]))
    for line in lines:
        first = [line["cell"], ", ".join(map(str, line["case"])), line["type"], line["what"]]
        kernel = f"{line['kernel']} {line.get('tier', '')}".strip()
        if line["what"] == "wrong":
            rows.append([*first, kernel, "", "", "", f"error {line['error']:.2g}"])
            continue
        rate = [f"{line['microseconds_a_step']:.3g}", f"{line['tflops']:.3g}", f"{line['share_of_limit']:.1%}"]
        rows.append([*first, kernel, *rate, f"{line['torch_over_elman']:.2f}"])
    for cell, name, what in itertools.product(GATES, TYPES, ("train", "infer")):
        chosen = [n for n in lines if (n["cell"], n["type"], n["what"]) == (cell, name, what)]
        if chosen:
            mean = geometric_mean([n["torch_over_elman"] for n in chosen])
            rows.append([cell, "geometric mean", name, what, "", "", "", "", mean])
    text = "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"
    if left_out:
        missing = "; ".join(f"{m['cell']} {tuple(m['case'])} {m['type']}: {m['why']}" for m in left_out)
        text += f"\nLeft out, {len(left_out)}: {missing}\n"
    return text


def plot(lines: list[dict[str, Any]], path: Path) -> bool:
    """Draw how many times longer torch.nn takes over H, a panel for each cell, a line for each B; False without it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    trained = [line for line in lines if line["what"] == "train"]
    figure = Figure(figsize=(12, 4), layout="constrained")
    for axes, cell in zip(figure.subplots(1, len(GATES), squeeze=False)[0], GATES, strict=True):
        series: dict[tuple[str, int, int], list[tuple[int, float]]] = {}
        for line in trained:
            T, B, _, H = line["case"]
            if line["cell"] == cell:
                series.setdefault((line["type"], T, B), []).append((H, line["torch_over_elman"]))
        for (name, T, B), points in series.items():
            axes.plot(*zip(*sorted(points), strict=True), "o-", label=f"{name} T {T} B {B}")
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_title(f"{cell}: torch.nn's time over elman's, training step", fontsize="medium")
        axes.set_xlabel("H")
        if series:
            axes.legend(fontsize="x-small")
    figure.savefig(path)
    return True


def run(kinds: Sequence[str], names: Sequence[str], minutes: float, out: Path | None) -> int:
    """Measure, print and write; return the exit code."""
    if not torch.cuda.is_available():
        print("--device cuda needs a GPU and a torch that is built for it; none is here", file=sys.stderr)
        return 2
    lines, left_out, limits = measure_all(kinds, names, cases(), "cuda", minutes)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    facts: dict[str, Any] = {"card": torch.cuda.get_device_name(), "commit": commit, "cuda": torch.version.cuda}
    facts |= {"torch": torch.__version__, "cudnn": torch.backends.cudnn.version(), "python": platform.python_version()}
    facts["limits"] = {name: limit._asdict() for name, limit in limits.items()}
    print(json.dumps(facts) + "\n\n" + table(lines, left_out))
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        found = {"machine": facts, "lines": lines, "left_out": left_out}
        out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
        out.with_suffix(".md").write_text(f"`{json.dumps(facts)}`\n\n{table(lines, left_out)}")
        if not plot(lines, out.with_suffix(".png")):
            print("no plot: pip install '.[plot]' brings matplotlib", file=sys.stderr)
    return 1 if any(line["what"] == "wrong" for line in lines) else 0
