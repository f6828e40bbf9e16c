"""Whether two checkouts train the same: seeded runs of 50 steps on the default data, compared byte for byte.

    python benchmarks/compare_checkouts.py OLD NEW [RECIPE ...] [--old-set KEY=VALUE] [--new-set KEY=VALUE]

OLD and NEW are working trees with the compiled engine in them. Weights are compared with their metrics, and the rows of
metrics.jsonl but for the seconds. The exit code is 1 if a recipe differs. `--old-set` and `--new-set` give a setting
that the two name differently.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RECIPES = (
    *("language-model", "classify", "forecast", "similarity"),
    *("recommend", "translate", "transcribe", "caption"),
)
STEPS = 50
RENAMED = {"mean_squared_error": "mse"}  # keys of metrics, which the header of the weights has too
SETTINGS = ("seed=1", "evaluate_every=25", "device=cpu")


def train(checkout: Path, recipe: str, out: Path, settings: list[str]) -> None:
    """Train a run with the code of a checkout, in one thread."""
    options = [word for pair in (*SETTINGS, *settings) for word in ("--set", pair)]
    command = [sys.executable, "-m", "elman", "train", recipe, "--steps", str(STEPS), "--out", str(out), *options]
    variables = {**os.environ, "PYTHONPATH": str(checkout.resolve() / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=variables, cwd=out.parent, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{checkout} does not train {recipe}:\n{done.stderr}")


def renamed(text: str) -> str:
    """Return a text with the keys as they are named now."""
    for before, after in RENAMED.items():
        text = text.replace(before, after)
    return text


def rows(run: Path) -> list[dict[str, Any]]:
    """Return the rows of metrics.jsonl without times."""
    lines = map(json.loads, renamed((run / "metrics.jsonl").read_text()).splitlines())
    return [{key: value for key, value in row.items() if "second" not in key} for row in lines]


def contents(path: Path) -> tuple[str, bytes]:
    """Return the header of a safetensors file, with the keys as they are named now, and the bytes of its tensors."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return renamed(data[8:end].decode()).strip(), data[end:]


def differences(old: Path, new: Path) -> list[str]:
    """Return the files of two runs that differ."""
    weights = [contents(run / "model.safetensors") for run in (old, new)]
    return [
        *(["model.safetensors"] if weights[0] != weights[1] else []),
        *(["metrics.jsonl"] if rows(old) != rows(new) else []),
    ]


def main() -> int:
    """Compare the recipes that the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE")
    parser.add_argument("--old-set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--new-set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    different = 0
    for recipe in arguments.recipes or RECIPES:
        with tempfile.TemporaryDirectory() as folder:
            old, new = Path(folder) / "old", Path(folder) / "new"
            train(arguments.old, recipe, old, arguments.old_set)
            train(arguments.new, recipe, new, arguments.new_set)
            files = differences(old, new)
        print(f"{recipe:15} {'differs in ' + ' and '.join(files) if files else 'identical'}", flush=True)
        different += bool(files)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
