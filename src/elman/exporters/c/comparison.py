"""The comparison of a model in C with the original: compiled and run, or its constants where there is no compiler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from elman.exporters.c.compiler import build, find_compiler, run_program
from elman.exporters.c.constants import read_constants, run_constants
from elman.exporters.chain import Chain
from elman.exporters.chain_cases import ChainCase, comparable
from elman.exporters.layer_cases import widened
from elman.exporters.parity import ParityReport, ParityRow, ParityTime, compare
from elman.exporters.stack import Array
from elman.storage.files import temporary_folder

BOUNDS = {"float32": 1e-5, "int8": 1e-1}
"""The largest relative difference from the original, by the precision; that of int8 is the rounding of the weights."""

ARITHMETIC_BOUND = 1e-5
"""Of the compiled model against its own constants in float64, whatever their precision."""


def compared(
    chain: Chain, source: Path, precision: str, cases: Sequence[ChainCase], *, run: bool = True
) -> ParityReport:
    """Compare the C in a folder with the original.

    Args:
        chain: the model.
        source: its file, beside `main.c`.
        precision: of the weights.
        cases: what to compare on.
        run: whether the C may be compiled and run.
    """
    cases, remarks = comparable(cases)
    compiler = find_compiler() if run else None
    if compiler is not None:
        return replace(_compiled(chain, source, precision, cases, compiler), remarks=remarks)
    constants = read_constants(source.read_text())
    why = "no C compiler (cc, gcc or clang) on this machine" if run else "compare=false"
    title, rows = f"the constants of {source.name}, in NumPy", []
    for case in cases:
        rows += _rows(chain, title, case, *run_constants(chain, constants, case.x), BOUNDS[precision])
    remarks = (f"{source.name} was not compiled and run: {why}", *remarks)
    return ParityReport("c", precision, tuple(rows), (), remarks)


def _compiled(chain: Chain, source: Path, precision: str, cases: Sequence[ChainCase], compiler: str) -> ParityReport:
    constants = {} if precision == "float32" else read_constants(source.read_text())
    rows = []
    with temporary_folder() as folder:
        program = folder / source.stem
        options = build(compiler, source, program)
        for case in cases:
            y, states = _run(chain, program, case.x)
            rows += _rows(chain, source.name, case, y, states, BOUNDS[precision])
            if precision != "float32":
                exact = ChainCase(
                    case.title, case.x, *run_constants(chain, constants, case.x), case.rounding, case.least_size
                )
                title = f"{source.name} against its constants in NumPy"
                rows += _rows(chain, title, exact, y, states, ARITHMETIC_BOUND)
        microseconds = float(run_program(program, "", "time")[0, 0])
    title = " ".join([source.name + ",", Path(compiler).name, *options])
    return ParityReport("c", precision, tuple(rows), (ParityTime(title, microseconds, None),))


def _run(chain: Chain, program: Path, x: Array) -> tuple[Array, tuple[Array, ...]]:
    """Return y (T, B, O) and the states (L, B, P or H) of a compiled model."""
    T, B = x.shape[:2]
    words = "\n".join("reset " + " ".join(f"{number:.9g}" for number in x[:, b].ravel().tolist()) for b in range(B))
    stack, L = chain.stack, len(chain.stack.layers)
    width = chain.output_size + L * sum(stack.state_sizes)
    lines = run_program(program, words).reshape(B, T, width) if T and B else np.zeros((B, T, width))
    y = lines[:, :, : chain.output_size].transpose(1, 0, 2)
    if not T:
        return y, tuple(stack.initial_states(B))
    last = lines[:, -1, chain.output_size :].reshape(B, L, -1).transpose(1, 0, 2)
    return y, tuple(np.split(last, np.cumsum(stack.state_sizes)[:-1], axis=2))


def _rows(
    chain: Chain, title: str, case: ChainCase, y: Array, states: tuple[Array, ...], bound: float
) -> list[ParityRow]:
    bound = widened(bound, case.rounding)
    y = y if case.y.ndim == 3 else y[-1]
    rows = [compare(f"y of {title}", case.title, case.y, y, bound, least_size=case.least_size)]
    for name, original, export in zip(chain.stack.states, case.states or (), states, strict=False):
        title_of = f"{name} of {title}"
        rows.append(compare(title_of, case.title, original, export, bound, least_size=case.least_size))
    return rows
