"""Run other people's packages with one line of `elman.accelerate`, and write what it changes.

    python benchmarks/packages/packages.py ENVIRONMENTS [--packages openunmix,darts] [--threads 1,2] [--seconds 4]
                                  [--clock wall] [--minutes 12] [--out docs/results/packages]

Each package has an environment of its own in the folder ENVIRONMENTS, which is made where it is missing. A package that
cannot be installed or run is a line that says why. The result of a package replaces its former one in OUT.json; OUT.md
is written from all of them. `--clock cpu` counts the processor's time, which suits a busy machine, on one thread alone.
`--page` writes OUT.md anew and runs nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any

import torch
from page import page
from programs.program import Package
from programs.table import PACKAGES

from elman.kernels import cpu

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = "installed"  # a file that an environment gets when it is complete
INSTALLATION = 300  # seconds that an installation may take


def main() -> None:
    """Measure the packages that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environments", type=Path)
    parser.add_argument("--packages", default=",".join(package.name for package in PACKAGES))
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--seconds", default="4")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--minutes", type=float, default=12.0, help="of all packages together")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results/packages")
    parser.add_argument("--page", action="store_true")
    options = parser.parse_args()
    if options.clock == "cpu" and options.threads != "1":
        parser.error("--clock cpu counts waiting threads too; it needs --threads 1")
    names = [] if options.page else options.packages.split(",")
    unknown = set(names) - {package.name for package in PACKAGES}
    if unknown:
        parser.error(f"no such packages: {', '.join(sorted(unknown))}")
    path = options.out.with_suffix(".json")
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    end = time.monotonic() + 60 * options.minutes
    for package in (package for package in PACKAGES if package.name in names):
        left = end - time.monotonic()
        if left < 0:
            print(f"{package.name}: not run, the {options.minutes:g} minutes are over")
            continue
        results[package.name] = run(package, options, left) | {"machine": machine(options.clock)}
        print(f"{package.name}: {results[package.name].get('failure', 'measured')}", flush=True)
        path.write_text(json.dumps(results, indent=1) + "\n")
    speeds = {
        cell: json.loads((ROOT / f"docs/results/speed-{cell.lower()}.json").read_text())["lines"] for cell in CELLS
    }
    options.out.with_suffix(".md").write_text(page(results, speeds))


CELLS = ("RNN", "GRU", "LSTM")


def machine(clock: str) -> dict[str, str]:
    """Return what the result was measured with."""
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "processor": processor(),
        "commit": commit,
        "isa": cpu.passes._engine.isa(),
        "clock": clock,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def processor() -> str:
    """Return the name of the processor, as Linux has it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def run(package: Package, options: argparse.Namespace, left: float) -> dict[str, Any]:
    """Return the result of one package, or the failure."""
    folder = options.environments / package.name
    python = folder / "bin" / "python"
    if not (folder / INSTALLED).exists():
        failure = install(package, folder, min(INSTALLATION, left))
        if failure:
            return {"failure": f"not installed: {failure}"}
        (folder / INSTALLED).touch()
    command = [str(python), str(Path(__file__).with_name("measure.py")), package.name, "--clock", options.clock]
    command += ["--threads", options.threads, "--seconds", options.seconds]
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "CUDA_VISIBLE_DEVICES": ""}
    environment.pop("OMP_NUM_THREADS", None)
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=left, check=False)
    except subprocess.TimeoutExpired:
        return {"failure": "not finished in the time that was given"}
    if done.returncode:
        return {"failure": f"not run: {last_line(done.stderr)}"}
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def install(package: Package, folder: Path, seconds: float) -> str | None:
    """Make the environment of a package; return what went wrong."""
    venv.create(folder, with_pip=True)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    command += [f"torch=={torch.__version__.split('+')[0]}", "numpy", package.name, *package.requirements]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return f"pip needs more than {seconds / 60:.0f} minutes"
    return last_line(done.stderr) if done.returncode else None


def last_line(text: str) -> str:
    """Return the last line that says anything."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no message"


if __name__ == "__main__":
    sys.exit(main())
