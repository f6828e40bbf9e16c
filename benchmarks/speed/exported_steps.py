"""Time of one step of exported layers: generated C beside RTNeural, ONNX Runtime, `layer.step` and torch.nn.

    python benchmarks/speed/exported_steps.py [--rtneural CHECKOUT] [--out docs/results/export-steps]

Every export is compared with its layer before it is timed; RTNeural by the program that the export has for it. All run
on one thread, with one input, and take turns; the time is the least processor time. A checkout of RTNeural has xsimd in
modules/xsimd, as a submodule.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from speed import machine
from torch import nn

import elman

PUBLISHED = {"LSTM-32": 0.88, "LSTM-64": 3.2}
"""Microseconds of a step that RTNeural publishes for models whose layers are known at compile time."""

SIZES = {"LSTM": (8, 16, 32, 64, 128), "GRU": (32, 64)}

BACKENDS = ("XSIMD", "EIGEN", "STL")

COMPILERS = {"gcc": ["gcc", "-std=c99", "-O3", "-march=native"], "clang": ["clang", "-std=c99", "-O3", "-march=native"]}

RTNEURAL = """
#include <RTNeural/RTNeural.h>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <string>

template <typename Model, int size>
int run(const char* name)
{
    alignas(64) static Model model;
    alignas(64) float x[16] = {};
    const std::string folder(name);
    std::ifstream file(folder + "/model.json"), inputs(folder + "/input.csv"), outputs(folder + "/output.csv");
    model.parseJson(file);
    model.reset();
    while (inputs >> x[0]) {
        model.forward(x);
        for (int j = 0; j < size; j++) {
            float expected = NAN;
            outputs >> expected;
            outputs.ignore(1);
            if (!(std::fabs(model.getOutputs()[j] - expected) < 1e-4f))
                return 1;
        }
    }
    double best = 1e9;
    x[0] = 0.5f;
    volatile float sink = 0.0f;
    for (int round = 0; round < 5; round++) {
        const std::clock_t begin = std::clock();
        long steps = 0;
        double seconds;
        do {
            for (int i = 0; i < 256; i++, steps++)
                sink = model.forward(x);
            seconds = (double)(std::clock() - begin) / (double)CLOCKS_PER_SEC;
        } while (seconds < 0.02);
        best = seconds / (double)steps < best ? seconds / (double)steps : best;
    }
    std::printf("%.9g\\n", 1e6 * best);
    return sink == sink ? 0 : 1;
}

int main(int, char** arguments)
{
    using namespace RTNeural;
CASES
    return 2;
}
"""

CASE = """\
    if (std::strcmp(arguments[1], "{cell}-{size}") == 0)
        return run<ModelT<float, 1, {size}, {cell}LayerT<float, 1, {size}>>, {size}>(arguments[1]);
"""


def compiled_c(layer: nn.Module, folder: Path, precision: str, compiler: str) -> Callable[[], float] | None:
    if shutil.which(COMPILERS[compiler][0]) is None:
        return None
    out = folder / f"{precision}-{compiler}"
    elman.export(layer, out, to="c", precision=precision)
    subprocess.run([*COMPILERS[compiler], "model.c", "main.c", "-lm", "-o", "program"], cwd=out, check=True)
    return partial(program_time, [str(out / "program"), "time"], out)


def compiled_rtneural(names: list[str], folder: Path, checkout: Path, backend: str) -> Path:
    """Return a program that checks and times RTNeural on the exports below a folder."""
    includes = {"STL": "", "EIGEN": f"{checkout}/modules/Eigen", "XSIMD": f"{checkout}/modules/xsimd/include"}
    alignment = 64 if backend == "XSIMD" else 32
    options = ["-std=c++17", "-O3", "-march=native", "-w", f"-DRTNEURAL_USE_{backend}=1"]
    options += [f"-DRTNEURAL_DEFAULT_ALIGNMENT={alignment}", "-DEIGEN_STACK_ALLOCATION_LIMIT=0"]
    options += [f"-I{each}" for each in (checkout, includes[backend]) if each]
    cases = [CASE.format(cell=name.split("-")[0], size=name.split("-")[1]) for name in names]
    (folder / "time.cpp").write_text(RTNEURAL.replace("CASES\n", "".join(cases)))
    subprocess.run(["g++", *options, "time.cpp", "-o", backend], cwd=folder, check=True)
    return folder / backend


def python_steps(layer: nn.Module, folder: Path) -> dict[str, Callable[[], float]]:
    from elman.exporters.layer_cases import LayerCase
    from elman.exporters.onnx.runtime import OnnxSession, case_feeds
    from elman.exporters.stack import stack_of

    elman.export(layer, folder / "onnx", to="onnx")
    stack, session = stack_of(layer), OnnxSession(folder / "onnx" / "step.onnx")
    x = torch.full((1, 1), 0.5)
    case = LayerCase("one step", x[None].numpy())
    feeds = {**case_feeds(stack, case), "x": x.numpy()}
    ours, theirs = elman.accelerate(layer).model, getattr(nn, type(layer).__name__)(1, stack.hidden_size)
    zeros = torch.zeros(1, 1, stack.hidden_size)
    hx = (zeros, zeros) if stack.cell == "lstm" else zeros
    return {
        "ONNX Runtime, step.onnx": lambda: processor_microseconds(lambda: session.run(feeds)),
        "elman, layer.step": lambda: processor_microseconds(lambda: ours.step(x, hx)),
        "torch.nn, one step": lambda: processor_microseconds(lambda: theirs(x[None], hx)),
    }


def build_layer(name: str) -> Any:
    torch.manual_seed(0)
    cell, size = name.split("-")
    return getattr(nn, cell)(1, int(size))


def measure(names: list[str], checkout: Path | None, turns: int, folder: Path) -> dict[str, dict[str, float]]:
    """Return the microseconds by the layer and by what ran."""
    runs: dict[str, dict[str, Callable[[], float] | None]] = {}
    for name in names:
        layer, own = build_layer(name), folder / f"{name}-own"
        runs[name] = {
            "C, float32, gcc": compiled_c(layer, own, "float32", "gcc"),
            "C, float32, clang": compiled_c(layer, own, "float32", "clang"),
            "C, int8, gcc": compiled_c(layer, own, "int8", "gcc"),
        }
        elman.export(layer, folder / name, to="rtneural")
    for backend in BACKENDS if checkout is not None else ():
        program = compiled_rtneural(names, folder, checkout, backend)
        for name in names:
            runs[name][f"RTNeural, {backend}"] = partial(program_time, [str(program), name], folder)
    results: dict[str, dict[str, float]] = {}
    for name in names:
        runs[name] |= python_steps(build_layer(name), folder / f"{name}-own")
        best = results[name] = {}
        for _ in range(turns):
            for title, run in runs[name].items():
                if run is not None:
                    best[title] = min(best.get(title, float("inf")), run())
    return results


def program_time(command: list[str], folder: Path) -> float:
    return float(subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout)


def processor_microseconds(run: Callable[[], object]) -> float:
    """Return the processor time of a call: the least mean of five rounds, as the programs measure theirs."""
    best = float("inf")
    for _ in range(5):
        begin, calls = time.process_time(), 0
        while time.process_time() - begin < 0.02:
            for _ in range(64):
                run()
            calls += 64
        best = min(best, (time.process_time() - begin) / calls)
    return best * 1e6


def table(results: dict[str, dict[str, float]]) -> str:
    titles = list(dict.fromkeys(title for times in results.values() for title in times))
    lines = ["| | " + " | ".join(results) + " |", "| --- |" + " ---: |" * len(results)]
    for title in titles:
        cells = [f"{times[title]:.2f}" if title in times else "" for times in results.values()]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    published = [str(PUBLISHED.get(name, "")) for name in results]
    return "\n".join([*lines, "| RTNeural, published | " + " | ".join(published) + " |"]) + "\n"


PAGE = """\
# One step of an exported layer

Microseconds of processor time of one step with one input, on one thread: the least of {turns} turns. Weights are
float32 where int8 is not named. Programs are compiled by `-O3 -march=native`. The command is
`python benchmarks/speed/exported_steps.py`, which compares every export with its layer first. RTNeural runs models
whose layers are known at compile time{note}; its published figures are of an older desktop processor. A step of ONNX
Runtime, elman or torch includes the call from Python.

{table}
Machine: {machine}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rtneural", type=Path, help="a checkout of RTNeural")
    parser.add_argument("--out", type=Path, help="write .md and .json here")
    parser.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    checkout = None if arguments.rtneural is None else arguments.rtneural.absolute()
    names = [f"{cell}-{size}" for cell, sizes in SIZES.items() for size in sizes]
    with TemporaryDirectory() as folder, torch.no_grad():
        results = measure(names, checkout, arguments.turns, Path(folder))
    facts: dict[str, Any] = {**machine(), "load": f"{os.getloadavg()[0]:.1f} processes on {os.cpu_count()} cores"}
    facts["compilers"] = {
        name: subprocess.run([command[0], "--version"], capture_output=True, text=True).stdout.split("\n")[0]
        for name, command in COMPILERS.items()
        if shutil.which(command[0])
    }
    print(table(results))
    if arguments.out is not None:
        arguments.out.with_suffix(".json").write_text(
            json.dumps({"machine": facts, "results": results}, indent=1) + "\n"
        )
        note = "" if checkout is not None else ", and was not built here"
        described = ", ".join(f"{key} {value}" for key, value in facts.items())
        page = PAGE.format(turns=arguments.turns, note=note, table=table(results), machine=described)
        arguments.out.with_suffix(".md").write_text(page)


if __name__ == "__main__":
    main()
