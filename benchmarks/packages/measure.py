"""Check and time one program in the environment of its package; the result goes to standard output as JSON.

    python benchmarks/packages/measure.py openunmix --threads 1,2 --seconds 5 --clock wall

Three models have the same weights: torch's, the same after `elman.accelerate`, and torch's in float64, which judges the
others. These take turns, so that whatever else the machine does meets both; a ratio is the median of the ratios of the
turns, with the interval that holds the median with a confidence of 95 %.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.metadata
import json
import logging
import math
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import recording
import torch
from programs.program import Package, Program
from programs.table import PACKAGES
from torch import Tensor, nn

import elman

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
RATE = 1e-6  # of the optimiser: a step costs what it costs, and the model stays the one that was checked


def main() -> None:
    """Measure one package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[package.name for package in PACKAGES])
    parser.add_argument("--threads", default="1")
    parser.add_argument("--seconds", type=float, default=5.0, help="for a training step; an inference gets half")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    package = next(package for package in PACKAGES if package.name == options.name)
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a package prints is no part of the result
    threads = [int(count) for count in options.threads.split(",")]
    json.dump(measure(package, threads, options.seconds, CLOCKS[options.clock]), output)


def measure(package: Package, threads: list[int], seconds: float, clock: Callable[[], float]) -> dict[str, Any]:
    """Return the whole result of a package."""
    torch.manual_seed(0)
    torch.set_num_threads(threads[0])
    module, function = package.program.split(":")
    program: Program = getattr(importlib.import_module(f"programs.{module}"), function)()
    ours = copy.deepcopy(program.model)
    acceleration = elman.accelerate(ours)
    models = {"torch": program.model, "elman": ours}
    names = {id(layer): name for name, layer in recording.recurrent_layers(program.model).items()}
    swapped = [f"{name or 'the model'}: {describe(layer)}" for name, layer in acceleration.swapped.items()]
    result: dict[str, Any] = {
        "version": importlib.metadata.version(package.name),
        "parameters": sum(p.numel() for p in program.model.parameters()),
        "swapped": swapped,
        "kept": [f"{name or 'the model'}: {why}" for name, why in acceleration.kept.items()],
        "layers": len(names),
        "errors": errors(program, models),
        "times": [],
    }
    for count in threads:
        torch.set_num_threads(count)
        result["times"] += times(program, models, acceleration, count, seconds, clock)
    return result


def describe(layer: Any) -> str:
    """Return a layer or cell in short: its kind, sizes and what is not usual."""
    if isinstance(layer, nn.RNNCellBase):
        return f"{type(layer).__name__}({layer.input_size}, {layer.hidden_size})"
    extras = [f"{layer.num_layers} layers"] if layer.num_layers > 1 else []
    extras += ["bidirectional"] if layer.bidirectional else []
    extras += [f"proj_size={layer.proj_size}"] if layer.proj_size else []
    return ", ".join([f"{type(layer).__name__}({layer.input_size}, {layer.hidden_size})", *extras])


def double(value: Any) -> Any:
    """Return a batch in float64."""
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: double(item) for key, item in value.items()}
    return type(value)(map(double, value)) if isinstance(value, list | tuple) else value


def errors(program: Program, models: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return how far outputs and gradients are from float64: the norm of the difference over the norm."""
    exact = copy.deepcopy(program.model).double()
    batches = {"torch": program.batch, "elman": program.batch, "exact": double(program.batch)}
    outputs: dict[str, Tensor] = {}
    gradients: dict[str, dict[str, Tensor]] = {}
    for name, model in (models | {"exact": exact}).items():
        with torch.no_grad():
            outputs[name] = program.output(model.eval(), batches[name]).double()
        rates = without_dropout(model.train())
        model.zero_grad()
        program.loss(model, batches[name]).backward()
        gradients[name] = {n: p.grad.double() for n, p in model.named_parameters() if p.grad is not None}
        model.zero_grad()
        for module, attribute, rate in rates:
            setattr(module, attribute, rate)
    result: dict[str, dict[str, float]] = {"outputs": {}, "gradients": {}}
    for name in models:
        result["outputs"][name] = distance([outputs[name]], [outputs["exact"]])
        mine, true = gradients[name], gradients["exact"]
        if mine.keys() != true.keys():
            sys.exit(f"{name} has gradients for other parameters: {mine.keys() ^ true.keys()}")
        result["gradients"][name] = distance(list(mine.values()), list(true.values()))
    return result


def distance(values: list[Tensor], exact: list[Tensor]) -> float:
    """Return the norm of the difference over the norm of what is exact."""
    difference = sum(float((a - b).square().sum()) for a, b in zip(values, exact, strict=True))
    return math.sqrt(difference / sum(float(b.square().sum()) for b in exact))


def without_dropout(model: nn.Module) -> list[tuple[nn.Module, str, float]]:
    """Set every rate of dropout to 0 and return what it was: float64 draws other masks than float32."""
    rates = []
    for module in model.modules():
        for attribute in ("p", "dropout", "dropprob", "dropout_rate", "inplace_rate"):
            rate = getattr(module, attribute, None)
            if isinstance(rate, float) and rate and ("rop" in type(module).__name__ or isinstance(module, nn.RNNBase)):
                rates.append((module, attribute, rate))
                setattr(module, attribute, 0.0)
    return rates


def times(
    program: Program,
    models: dict[str, Any],
    acceleration: Any,
    threads: int,
    seconds: float,
    clock: Callable[[], float],
) -> list[dict[str, Any]]:
    """Return one entry for each of training step, inference and fit."""
    entries = []
    for what, budget in (("training step", seconds), ("inference", seconds / 2)):
        runs = {name: step(program, model, what == "training step") for name, model in models.items()}
        turns = take_turns(runs, budget, clock, 5)
        calls = recording.record(program.model, runs["torch"])
        layers = recording.layer_runs(models, calls, what == "training step")
        entry = summary(turns) | {"what": what, "threads": threads, "layers": []}
        alone = take_turns(layers, budget, clock, 3)
        for name, layer_calls in calls.items():
            share = [alone[f"{side} {name}"] for side in ("torch", "elman")]
            entry["layers"].append(
                recording.sizes(models["torch"], name, layer_calls)
                | {"swapped": name in acceleration.swapped}
                | {"torch": statistics.median(share[0]), "elman": statistics.median(share[1])}
            )
        entries.append(entry)
    if program.fit is not None:
        fits = {"torch": lambda: program.fit(lambda model: None), "elman": lambda: program.fit(elman.accelerate)}
        turns = take_turns(fits, 2 * seconds, clock, 3)
        entries.append(summary(turns) | {"what": "fit", "threads": threads})
    return entries


def step(program: Program, model: Any, train: bool) -> Callable[[], object]:
    """Return a training step with its optimiser, or an inference."""

    def infer() -> None:
        model.eval()
        with torch.no_grad():
            program.output(model, program.batch)

    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=RATE)

    def training_step() -> None:
        model.train()
        optimizer.zero_grad()
        program.loss(model, program.batch).backward()
        optimizer.step()

    return training_step if train else infer


def take_turns(
    runs: dict[str, Callable[[], object]], budget: float, clock: Callable[[], float], least: int
) -> dict[str, list[float]]:
    """Time each run once a turn, for `budget` seconds or 60 turns, but at least `least` times."""
    for run in runs.values():
        run()
    turns: dict[str, list[float]] = {name: [] for name in runs}
    start = time.perf_counter()
    k = 0
    while runs and (k < least or (time.perf_counter() - start < budget and k < 60)):
        for name in list(runs) if k % 2 == 0 else list(runs)[::-1]:
            begin = clock()
            runs[name]()
            turns[name].append(clock() - begin)
        k += 1
    return turns


def summary(turns: dict[str, list[float]]) -> dict[str, Any]:
    """Return both medians in seconds, the median of the ratios and the interval of that median."""
    ratios = sorted(a / b for a, b in zip(turns["torch"], turns["elman"], strict=True))
    edge = max(0, int(len(ratios) / 2 - 0.98 * math.sqrt(len(ratios))))
    interval = [ratios[edge], ratios[-1 - edge]]
    medians = {name: statistics.median(values) for name, values in turns.items()}
    return medians | {"ratio": statistics.median(ratios), "interval": interval, "turns": len(ratios)}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
