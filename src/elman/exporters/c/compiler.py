"""The C compiler of this machine: it builds an exported model, which then runs beside the original."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np

from elman.errors import ExportError, first_line
from elman.exporters.stack import Array

COMPILERS = ("cc", "gcc", "clang")
"""The commands that are tried, in this order."""

OPTIONS = ("-std=c99", "-O3")

NATIVE = "-march=native"
"""Lets a compiler use all instructions of this machine; some compilers do not know it."""

TIMEOUT = 600.0
"""Seconds for one command."""


def find_compiler() -> str | None:
    """Return the command of a C compiler, or None where this machine has none."""
    return next((path for name in COMPILERS if (path := shutil.which(name))), None)


def build(compiler: str, source: Path, program: Path) -> tuple[str, ...]:
    """Compile a model and its `main.c`, and return the options.

    Args:
        compiler: the command.
        source: the model's file.
        program: the file to write.

    Raises:
        ExportError: the compiler fails.
    """
    last = None
    for options in ((*OPTIONS, NATIVE), OPTIONS):
        command = [compiler, *options, str(source), str(source.with_name("main.c")), "-lm", "-o", str(program)]
        last = _run(command, "")
        if last.returncode == 0:
            return options
    assert last is not None
    raise ExportError(
        "the C compiler refuses the exported model",
        should="a program to compare with the original",
        found=first_line(ValueError(last.stderr)),
        hint=f"look at what `{compiler} --version` says, or --set compare=false",
    )


def run_program(program: Path, words: str, argument: str = "state") -> Array:
    """Return the lines of numbers that a compiled `main.c` writes, (lines, numbers).

    Raises:
        ExportError: it fails.
    """
    done = _run([str(program), argument], words)
    if done.returncode != 0:
        raise ExportError(
            "the exported model fails on this machine",
            should="numbers",
            found=first_line(ValueError(done.stderr)) if done.stderr else f"exit code {done.returncode}",
        )
    return np.array([line.split() for line in done.stdout.splitlines()], np.float64)


def _run(command: list[str], words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, input=words, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExportError(
            f"{Path(command[0]).name} cannot be run",
            should="a program that ends within 10 minutes",
            found=first_line(error),
            hint="--set compare=false",
        ) from error
