"""The page of the packages: what is swapped, how exact it is, how fast, and how fast it could be."""

from __future__ import annotations

import math
from typing import Any

from programs.table import PACKAGES

HEAD = """# Other packages with `elman.accelerate`

Each package runs unmodified, with random weights, and again with one line more: `elman.accelerate(model)`. The result
is of `python benchmarks/packages/packages.py ENVIRONMENTS`, whose programs say what each model is given.

- **From float64**: the norm of the difference from the same model in float64, over the norm; torch's beside elman's.
  Gradients are of all parameters together, with dropout off.
- **Training step**: loss, gradients and Adam. **Inference**: the model without gradients.
  **Fit**: the package's own program, with its data loaders, and its forecast where it has one.
- **torch / elman**: the median of the ratios of turns, and the interval that holds it with a confidence of 95 %.
- **Recurrent**: the share of the time that torch's recurrent layers take when the same calls are repeated alone.
  **Layers alone**: how many times longer torch takes for these calls.
- **Bound**: what Amdahl's law leaves for the whole, if each layer gains what it gains alone. **Bound of the results**:
  the same, if each gains what the nearest case of [the results on speed](speed-lstm.md) does: of the same cell, with
  the closest sizes by the logarithms of length, batch, inputs and cells. Those are of full batches on two threads, so
  that this bound is a guide elsewhere. Beside each is how much of it is reached.
  A layer that is not swapped gains nothing.
"""

REINFORCEMENT = "RecurrentPPO of sb3-contrib is measured with the other algorithms of reinforcement learning, not here."


def page(results: dict[str, Any], speeds: dict[str, list[dict[str, Any]]]) -> str:
    """Return the whole page."""
    chosen = [(package, results[package.name]) for package in PACKAGES if package.name in results]
    run = [(package, result) for package, result in chosen if "failure" not in result]
    swaps = [["package", "version", "model", "parameters", "swapped", "not swapped, and why", "note"]]
    exact = [["package", "outputs, torch", "outputs, elman", "gradients, torch", "gradients, elman"]]
    for package, result in run:
        kept = "<br>".join(result["kept"]) or "none"
        swapped = "<br>".join(result["swapped"]) or "none"
        size = f"{result['parameters'] / 1e6:.2g} M"
        swaps.append([package.name, result["version"], package.model, size, swapped, kept, package.note])
        errors = [result["errors"][kind][side] for kind in ("outputs", "gradients") for side in ("torch", "elman")]
        exact.append([package.name, *(f"{error:.1e}" for error in errors)])
    failures = [
        f"- {package.name} ({package.model}): {result['failure']}" for package, result in chosen if "failure" in result
    ]
    parts = [HEAD, "## What is swapped\n", table(swaps), "## From float64\n", table(exact), "## Speed\n"]
    rows = speed_rows(run, speeds)
    parts += [machines(run), summary(run, rows), table(rows)]
    parts += ["## What does not run\n", "\n".join([*failures, f"- {REINFORCEMENT}"]) + "\n"]
    return "\n".join(parts)


def machines(run: list[Any]) -> str:
    """Return what was measured with, once where it is the same for all."""
    groups: dict[str, list[str]] = {}
    for package, result in run:
        groups.setdefault(", ".join(f"{k} {v}" for k, v in result["machine"].items()), []).append(package.name)
    return (
        "\n".join(f"`{text}`: {', '.join(names) if len(groups) > 1 else 'all'}" for text, names in groups.items())
        + "\n"
    )


def summary(run: list[Any], rows: list[list[str]]) -> str:
    """Return how many of the measurements reach their bounds, and which are slower."""
    entries = [(package.name, entry) for package, result in run for entry in result["times"]]
    slower = [
        f"{name} ({entry['what']}, {entry['threads']} threads)" for name, entry in entries if entry["interval"][1] < 1
    ]
    lines = [f"Significantly slower with elman (the whole interval below 1): {', '.join(slower) or 'none'}."]
    for column, name in ((8, "the bound"), (9, "the bound of the results")):
        reached = [int(row[column].split("(")[1].rstrip("%)")) for row in rows[1:] if row[column]]
        lines.append(f"At least 90 % of {name} is reached in {sum(r >= 90 for r in reached)} of {len(reached)} runs.")
    return " ".join(lines) + "\n"


def speed_rows(run: list[Any], speeds: dict[str, list[dict[str, Any]]]) -> list[list[str]]:
    """Return a row for each package, kind of run and number of threads."""
    columns = ["package", "what", "threads", "torch, ms", "elman, ms", "torch / elman"]
    rows = [[*columns, "recurrent", "layers alone", "bound (reached)", "bound of the results (reached)"]]
    for package, result in run:
        for entry in result["times"]:
            low, high = entry["interval"]
            times = [f"{1e3 * entry[side]:.3g}" for side in ("torch", "elman")]
            row = [
                package.name,
                entry["what"],
                str(entry["threads"]),
                *times,
                f"{entry['ratio']:.2f} ({low:.2f} to {high:.2f})",
            ]
            rows.append(row + (amdahl(entry, speeds) if entry.get("layers") else [""] * 4))
    return rows


def amdahl(entry: dict[str, Any], speeds: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the share of the recurrent layers, their gain alone, and both bounds with what is reached of each."""
    layers = entry["layers"]
    torch = sum(layer["torch"] for layer in layers)
    scale = min(1.0, entry["torch"] / torch) / entry["torch"]  # layers alone can take longer than within, by chance
    alone = [layer["elman"] if layer["swapped"] else layer["torch"] for layer in layers]
    near = [layer["torch"] / (nearest(layer, entry["what"], speeds) if layer["swapped"] else 1.0) for layer in layers]
    cells = [f"{scale * torch:.0%}", f"{torch / sum(alone):.2f}"]
    for shorter in (alone, near):
        bound = 1 / (1 - scale * torch + scale * sum(shorter))
        cells.append(f"{bound:.2f} ({entry['ratio'] / bound:.0%})")
    return cells


def nearest(layer: dict[str, Any], what: str, speeds: dict[str, list[dict[str, Any]]]) -> float:
    """Return torch's time over elman's in the result whose sizes are closest."""
    kind = "train" if what == "training step" else "infer"
    lines = [line for line in speeds[layer["cell"]] if line["what"] == kind]

    def distance(line: dict[str, Any]) -> float:
        return sum(math.log(a / b) ** 2 for a, b in zip(line["case"], layer["case"], strict=True))

    ratio: float = min(lines, key=distance)["ratios"]["torch"]
    return ratio


def table(rows: list[list[str]]) -> str:
    """Return rows as a Markdown table, the first of them its head."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines) + "\n"
