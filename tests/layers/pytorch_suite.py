"""PyTorch's own tests of recurrent layers, run with torch.nn's and with elman's layers in their place.

    python tests/layers/pytorch_suite.py FOLDER [--files test_modules.py test_nn.py] [--select EXPRESSION]

FOLDER is the folder `test` of PyTorch's sources, of a version near the installed one. Nothing is copied from it: pytest
runs its files where they are, twice, and the table printed at the end lists the tests whose outcomes differ.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

NAMES = ("RNN", "GRU", "LSTM")
SELECT = "(RNN or GRU or LSTM) and not Cell and not cuda"  # pytest compares without regard to case


def pytest_configure() -> None:
    """Put elman's layers in the place of torch.nn's before a test file is imported; this file is the plugin then."""
    if "LAYERS_OF" not in os.environ:
        return
    import torch
    from torch.testing._internal import common_mkldnn

    if not hasattr(common_mkldnn, "bf32_on_and_off"):  # as versions up to 2.6 call it
        common_mkldnn.bf32_on_and_off = common_mkldnn.reduced_f32_on_and_off
    if os.environ["LAYERS_OF"] == "elman":
        import elman

        for name in NAMES:
            layer = getattr(elman, name)
            setattr(torch.nn, name, layer)
            setattr(torch.nn.modules, name, layer)
            setattr(torch.nn.modules.rnn, name, layer)


def outcomes(folder: Path, file: str, select: str, layers: str) -> dict[str, tuple[str, str]]:
    """Return the outcome of each test, and the reason of a failure, by name, with the layers of "torch" or "elman"."""
    here = Path(__file__).resolve()
    paths = [str(here.parent), str(here.parents[2] / "src"), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, "-m", "pytest", "-p", here.stem, "-p", "no:cacheprovider", "-q", "-rA", "--tb=line"]
    command += ["--noconftest", "-c", os.devnull, f"--rootdir={folder}", "-W", "ignore", "-k", select, file]
    environment = {**os.environ, "LAYERS_OF": layers, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "250"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    lines = re.findall(r"^(PASSED|FAILED|ERROR) (\S+)(?: - (.*))?$", done.stdout, re.MULTILINE)
    if not any(outcome == "PASSED" for outcome, _, _ in lines):
        print(
            f"{file}: no test passed with {layers}'s layers\n{done.stdout[-1500:]}{done.stderr[-1500:]}",
            file=sys.stderr,
        )
    return {name: (outcome, reason) for outcome, name, reason in lines}


def main() -> None:
    """Run both, and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder `test` of PyTorch's sources")
    parser.add_argument("--files", nargs="+", default=["test_modules.py", "test_nn.py"])
    parser.add_argument("--select", default=SELECT, help="an expression for pytest -k")
    options = parser.parse_args()
    theirs: dict[str, tuple[str, str]] = {}
    ours: dict[str, tuple[str, str]] = {}
    for file in options.files:
        for layers, results in (("torch", theirs), ("elman", ours)):
            results |= outcomes(options.folder.resolve(), file, options.select, layers)
    applicable = sorted(name for name, (outcome, _) in theirs.items() if outcome == "PASSED")
    differing = [name for name in applicable if ours.get(name, ("MISSING", ""))[0] != "PASSED"]
    print("| tests | pass with torch.nn | pass with elman |\n| --- | --- | --- |")
    passed = Counter(name.partition("::")[0] for name in applicable)
    failed = Counter(name.partition("::")[0] for name in differing)
    for file, count in passed.items():
        print(f"| {file} | {count} | {count - failed[file]} |")
    print("\n| differs | with elman |\n| --- | --- |")
    for name in differing:
        outcome, reason = ours.get(name, ("MISSING", ""))
        print(f"| {name} | {outcome.lower()}: {reason} |")


if __name__ == "__main__":
    main()
