"""Write the lock files with hashes, and the packages that others need in turn into constraints.txt.

    pip install uv
    python benchmarks/packages/lock.py

The versions of `constraints.txt` hold; what it does not name gets the newest version that fits. The locks are for
development and CI on Linux x86-64. torch is not in them: its builds, with and without CUDA, have hashes of their own.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCKS = {"dev": ("dev",), "docs": ("docs",), "bench": ("bench", "wheel"), "rl": ("rl",)}
"""The extras of each lock; that of the documentation is without the package's own dependencies."""

MARK = "# What these need in turn, written by benchmarks/packages/lock.py."
HEADER = """# Hashes for development and CI on Linux x86-64, without torch; written by benchmarks/packages/lock.py.
# pip install --require-hashes --no-deps --requirement requirements/{name}.lock
"""


def requirements(extras: tuple[str, ...], core: bool) -> str:
    """Return the requirements of extras, those of the extras in them included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    lines: list[str] = list(project["dependencies"]) if core else []
    for line in (line for extra in extras for line in optional[extra]):
        inner = re.fullmatch(r"elman\[(.*)\]", line)
        lines += requirements(tuple(inner[1].split(",")), False).splitlines() if inner else [line]
    return "\n".join(lines) + "\n"


def resolve(text: str, constraints: Path, python: str, links: str | None) -> str:
    """Return the lock of requirements, by uv."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--constraint", str(constraints), "--quiet"]
    command += ["--python-version", python, "--python-platform", "x86_64-manylinux_2_28", "--generate-hashes"]
    command += ["--no-emit-package", "torch", "--no-annotate", "--no-header"]
    command += ["--find-links", links] if links else []
    return subprocess.run(command, input=text, text=True, check=True, stdout=subprocess.PIPE).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default="3.11.7", help="the version of Python that is resolved for")
    parser.add_argument("--find-links", help="a folder with a build of torch, whose dependencies are taken")
    options = parser.parse_args()
    path = ROOT / "constraints.txt"
    direct = path.read_text().split(f"\n{MARK}")[0].rstrip() + "\n"
    names = {line.split("==")[0] for line in direct.splitlines() if "==" in line}
    path.write_text(direct)
    pins: dict[str, str] = {}
    for name, extras in LOCKS.items():
        lock = resolve(requirements(extras, name != "docs"), path, options.python, options.find_links)
        (ROOT / "requirements" / f"{name}.lock").write_text(HEADER.format(name=name) + lock)
        pins |= dict(re.findall(r"^([a-z0-9.-]+)==([^ \\]+)", lock, re.MULTILINE))
    lines = "".join(f"{name}=={pins[name]}\n" for name in sorted(pins) if name not in names)
    path.write_text(f"{direct}\n{MARK}\n{lines}")


if __name__ == "__main__":
    main()
