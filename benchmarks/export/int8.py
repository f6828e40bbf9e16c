"""What int8 weights cost an exported run: the size of its graphs, and its quality on its validation data.

    python benchmarks/export/int8.py --data DATA [--minutes M] [--runs FOLDER] [--out docs/results/export-int8.md]

Three recipes are trained with seed 1, where FOLDER has no run of them yet, exported in both precisions, and evaluated
by ONNX Runtime. DATA has tinyshakespeare/input.txt; the two others take the built-in data.
"""

from __future__ import annotations

import argparse
import datetime
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import elman
from elman.exporters.applications.application import validation_data
from elman.exporters.onnx.runtime import OnnxSession
from elman.exporters.stack import stack_of

CHUNK = 2048


def bits(predictor: Any, data: Any, whole: OnnxSession) -> float:
    """Return bits per symbol over the validation text, read once in order."""
    stack, ids = stack_of(predictor.model.recurrent), np.asarray(data.token_ids, np.int64)
    states, total = dict(zip(stack.states, stack.initial_states(1), strict=True)), 0.0
    for begin in range(0, len(ids) - 1, CHUNK):
        x, following = ids[begin : begin + CHUNK], ids[begin + 1 : begin + CHUNK + 1]
        y, *after = whole.run({"x": x[:, None], **states})
        states = dict(zip(states, after, strict=True))
        y = y[: len(following), 0].astype(np.float64)
        log_p = y - y.max(1, keepdims=True)
        log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
        total -= log_p[np.arange(len(following)), following].sum()
    return total / (len(ids) - 1) / math.log(2)


def accuracy(predictor: Any, data: Any, whole: OnnxSession) -> float:
    """Return the share of right classes over all validation examples, in percent."""
    form, right = predictor.form, 0
    for n in map(int, data.chosen):
        x = np.array(data.input[n])
        x = (x * np.asarray(form.unit) + np.asarray(form.offset)) if form.offset else x.astype(np.float32)
        (y,) = whole.run({"x": x[:, None], "lengths": np.array([len(x)], np.int32)})
        right += int(y[0].argmax() == np.ravel(data.target[n])[0])
    return 100 * right / len(data)


def pinball(predictor: Any, data: Any, whole: OnnxSession) -> float:
    """Return the mean pinball loss over all validation windows and quantiles, in deviations."""
    batch, scaler = data.batch(np.arange(len(data))), predictor.spec.scaler
    series = batch.series_B.numpy()
    mean, deviation = (part.ravel()[series] for part in (scaler.mean, scaler.deviation))
    x = np.where(batch.past_seen_TB.numpy() > 0, batch.past_TB.numpy() * deviation + mean, np.nan)
    known = batch.known_SBK.numpy() * scaler.known_deviation + scaler.known_mean
    (y,) = whole.run({"x": x, "series": series, "known": known, "calendar": batch.calendar_SBK.numpy()})
    errors = batch.future_FB.numpy()[..., None] - (y - mean[:, None]) / deviation[:, None]
    levels = np.array([float(level) for level in predictor.levels])
    losses = np.maximum(levels * errors, (levels - 1) * errors)
    return float(losses[batch.future_seen_FB.numpy() > 0].mean())


CASES: dict[str, tuple[str, Callable[[Any, Any, OnnxSession], float], str]] = {
    "language-model": ("bits per character, tiny Shakespeare", bits, "tinyshakespeare/input.txt"),
    "classify": ("accuracy in percent, digits", accuracy, ""),
    "forecast": ("pinball loss in deviations, sunspots", pinball, ""),
}


def row(recipe: str, run: Path, folder: Path) -> str:
    """Export a run twice, and return its line of the table."""
    title, quality, _ = CASES[recipe]
    predictor, sizes, values = elman.load(run), [], []
    data = validation_data(predictor)
    for precision in ("float32", "int8"):
        place = folder / f"{recipe}-{precision}"
        elman.export(predictor, place, precision=precision)
        sizes.append(sum(each.stat().st_size for each in place.glob("*.onnx")))
        values.append(quality(predictor, data, OnnxSession(place / "whole.onnx", weights_in_float32=True)))
    numbers = f"{sizes[0]:,} | {sizes[1]:,} | {sizes[1] / sizes[0]:.3f} | {values[0]:.4f} | {values[1]:.4f}"
    return f"| {recipe} | {title} | {numbers} | {values[1] - values[0]:+.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--runs", type=Path, help="a folder of runs named after their recipes")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    lines = ["| recipe | quality | float32, bytes | int8, bytes | ratio | float32 | int8 | difference |"]
    lines.append("| --- | --- |" + " ---: |" * 6)
    with tempfile.TemporaryDirectory() as made:
        for recipe, (_, _, source) in CASES.items():
            run = (arguments.runs or Path(made)) / recipe
            if not run.exists():
                words = ["train", recipe, *([str(arguments.data / source)] if source else []), "--out", str(run)]
                words += ["--minutes", str(arguments.minutes), "--seed", "1"]
                subprocess.run([sys.executable, "-m", "elman", *words], check=True)
            lines.append(row(recipe, run, Path(made)))
            print(lines[-1], flush=True)
    page = f"""# Export: int8 weights

Sizes of all `.onnx` files of an exported run, and its quality on all of its validation data by ONNX Runtime. Runs have
seed 1, the settings of their recipes, and at most {arguments.minutes:g} minutes of training on one thread.

{chr(10).join(lines)}

Command: `python benchmarks/export/int8.py --data DATA --minutes {arguments.minutes:g}`,
{datetime.date.today()}, commit {commit},
{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}.
"""
    if arguments.out is not None:
        arguments.out.write_text(page)


if __name__ == "__main__":
    main()
