"""Long trials of exported C and RTNeural models: every float, 100,000 steps, 32-bit Arm, and RTNeural's own loader.

    python tests/exporters/export_trials.py FOLDER [--rtneural CHECKOUT] [--only MACHINE]

What is not installed (clang, a compiler for Arm with qemu-arm, a checkout of RTNeural) is skipped and named. The exit
code is 1 where a number is out of its bound.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

import elman
from elman.exporters.c.mathematics import EXP_ERROR, SIGMOID_ERROR, TANH_ERROR
from elman.exporters.c.source import sources
from elman.exporters.chain import chain_of

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion")
MACHINES: dict[str, tuple[list[str], list[str]]] = {
    "gcc -O3 -march=native": (["gcc", "-O3", "-march=native"], []),
    "gcc -O2": (["gcc", "-O2"], []),
    "clang -O3 -march=native": (["clang", "-O3", "-march=native"], []),
    "gcc -O1 with sanitizers": (["gcc", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"], []),
    "32-bit Arm, qemu": (["arm-linux-gnueabihf-gcc", "-O3", "-mfpu=neon-vfpv4", "-static"], ["qemu-arm"]),
}
STEPS, INPUT = 100_000, 8
FLOAT_BOUND = 1e-5
INT8_BOUND = 0.02
"""Of the root mean square of the difference, as a share of that of the output."""

DRIVER = """
#include "model.h"
#include <stdio.h>

int main(void)
{
    static model_state state;
    static float x[MODEL_INPUT_SIZE], y[MODEL_OUTPUT_SIZE];
    model_reset(&state);
    while (fread(x, sizeof(float), MODEL_INPUT_SIZE, stdin) == MODEL_INPUT_SIZE) {
        model_step(x, &state, y);
        if (fwrite(y, sizeof(float), MODEL_OUTPUT_SIZE, stdout) != MODEL_OUTPUT_SIZE)
            return 1;
    }
    return 0;
}
"""

FLOATS = """
#include "model.c"
#include <stdio.h>

static void look(double *worst, double value, double exact)
{
    const double error = fabs(value - exact) / fabs(exact);
    if (!(error <= *worst))
        *worst = error;
}

int main(void)
{
    double errors[3] = {0.0, 0.0, 0.0};
    for (uint32_t bits = 0x00800000u; bits < 0x7f800000u; bits += STRIDE)
        for (uint32_t sign = 0; sign < 2; sign++) {
            number x;
            x.bits = bits | sign << 31;
            const double exact = (double)x.value;
            if (fabs(exact) <= 87.0) {
                const exp_parts e = parts_of_exp(x.value, 87.0f);
                look(&errors[0], (double)MULTIPLY_ADD(e.power, e.rest, e.power), exp(exact));
                look(&errors[1], (double)sigmoid(x.value), 1.0 / (1.0 + exp(-exact)));
            }
            if (fabs(exact) > 1e-37)
                look(&errors[2], (double)hyperbolic_tangent(x.value), tanh(exact));
        }
    printf("%.4g %.4g %.4g\\n", errors[0], errors[1], errors[2]);
    return 0;
}
"""


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def write(folder: Path, layer: nn.Module, *, int8: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in sources(chain_of(layer), "model", int8=int8)[0].items():
        (folder / name).write_text(text)


def build(folder: Path, machine: str, main: str, files: list[str], *options: str) -> list[str]:
    command, runner = MACHINES[machine]
    (folder / "driver.c").write_text(main)
    subprocess.run([*command, *STRICT, *options, *files, "-lm", "-o", "program"], cwd=folder, check=True)
    return [*runner, str(folder / "program")]


def functions(folder: Path, machine: str, stride: int) -> bool:
    write(folder, nn.GRU(2, 2))
    text = FLOATS.replace("STRIDE", f"{stride}u")
    program = build(folder, machine, text, ["driver.c"], "-Wno-unused-function")
    errors = [float(word) for word in subprocess.run(program, capture_output=True, check=True).stdout.split()]
    bounds = (EXP_ERROR, SIGMOID_ERROR, TANH_ERROR)
    passed = all(error <= bound for error, bound in zip(errors, bounds, strict=True))
    kind = "every float" if stride == 1 else f"one float in {stride:,}"
    say(f"{machine}: {kind}: exp {errors[0]:.3g}, sigmoid {errors[1]:.3g}, tanh {errors[2]:.3g}: {verdict(passed)}")
    return passed


def long_run(folder: Path, machine: str, name: str, layer: nn.Module, *, int8: bool) -> bool:
    write(folder, layer, int8=int8)
    x = np.random.default_rng(3).standard_normal((STEPS, INPUT)).astype(np.float32)
    with torch.no_grad():
        expected = layer(torch.from_numpy(x)[:, None])[0][:, 0].numpy()
    program = build(folder, machine, DRIVER, ["model.c", "driver.c"])
    done = subprocess.run(program, input=x.astype("<f4").tobytes(), capture_output=True, check=True)
    y = np.frombuffer(done.stdout, "<f4").reshape(expected.shape)
    largest = float(np.abs(y - expected).max())
    share = float(np.sqrt(np.square(y - expected).mean() / np.square(expected).mean()))
    passed = share <= INT8_BOUND if int8 else largest <= FLOAT_BOUND
    kind = "int8" if int8 else "float32"
    say(f"{machine}: {name}, {kind}, {STEPS:,} steps: largest {largest:.2g}, rms {share:.2%}: {verdict(passed)}")
    return passed


def rtneural(folder: Path, checkout: Path) -> bool:
    passed = True
    models = {
        "lstm": elman.LSTM(3, 16, 2), "gru": nn.GRU(1, 16, 3), "no-bias": nn.GRU(2, 5, bias=False),
        "lstm-32": nn.LSTM(1, 32), "gru-64": nn.GRU(1, 64),
    }  # fmt: skip
    backends = {
        "STL": ["-DRTNEURAL_USE_STL=1"],
        "Eigen": ["-DRTNEURAL_USE_EIGEN=1", "-I", str(checkout / "modules" / "Eigen")],
    }
    for name, model in models.items():
        out = folder / name
        elman.export(model, out, to="rtneural")
        for backend, options in backends.items():
            command = ["g++", "-std=c++17", "-O1", "-w", "-DRTNEURAL_DEFAULT_ALIGNMENT=16", *options]
            subprocess.run([*command, "-I", str(checkout), "check.cpp", "-o", "check"], cwd=out, check=True)
            done = subprocess.run(["./check"], cwd=out, capture_output=True, text=True)
            say(f"RTNeural's loader, {backend}: {name}: {done.stdout.strip()}: {verdict(done.returncode == 0)}")
            passed = passed and done.returncode == 0
    return passed


def verdict(passed: bool) -> str:
    return "passed" if passed else "FAILED"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rtneural", type=Path, help="a checkout of RTNeural")
    parser.add_argument("--stride", type=int, default=1, help="of the floats that functions are tried on")
    parser.add_argument("--only", default="", help="a part of the names of the machines to run")
    arguments = parser.parse_args()
    results = []
    for number, (machine, (command, runner)) in enumerate(MACHINES.items()):
        if arguments.only not in machine:
            continue
        missing = [tool for tool in (command[0], *runner) if shutil.which(tool) is None]
        if missing:
            say(f"{machine}: skipped, {missing[0]} is not installed")
            continue
        slow = bool(runner) or "sanitizers" in machine
        folder = arguments.folder / str(number)
        results.append(functions(folder / "functions", machine, arguments.stride * (4001 if slow else 1)))
        torch.manual_seed(0)
        for name, layer in {"GRU-64": nn.GRU(INPUT, 64), "LSTM-2x32": nn.LSTM(INPUT, 32, 2)}.items():
            for int8 in (False, True):
                results.append(long_run(folder / name, machine, name, layer, int8=int8))
    if arguments.rtneural is None:
        say("RTNeural's loader: skipped, --rtneural names no checkout")
    else:
        results.append(rtneural(arguments.folder / "rtneural", arguments.rtneural))
    say(f"{results.count(True)} of {len(results)} passed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
