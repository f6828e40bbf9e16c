"""The comparison of an exported folder with its run: by its JavaScript, or by its weights where nothing runs that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elman.exporters.parity import ParityReport, ParityRow, ParityTime, compare, microseconds
from elman.exporters.web.case import WebCase
from elman.exporters.web.engine import find_engine, run_checks
from elman.exporters.web.evaluation import evaluate


def compare_folder(
    folder: Path, cases: Sequence[WebCase], javascript: str, step: Callable[[], Any] | None
) -> ParityReport:
    """Return the report of a folder.

    Args:
        folder: of the export, complete but for the report.
        cases: the comparisons.
        javascript: as of `find_engine`.
        step: a call of one step of the original; None where it has no steps.
    """
    engine = find_engine(javascript)
    if engine is None:
        answers: list[Any] = [evaluate(folder, case.request) for case in cases]
        where, times, remarks = "the weights", [], [
            "the JavaScript was not run, as no Node.js or Chromium is on the PATH: the exported weights were evaluated "
            "by NumPy; texts were not encoded"
            if javascript != "none"
            else "the JavaScript was not run (javascript=none): the exported weights were evaluated by NumPy; texts were "
            "not encoded"
        ]
    else:
        results = run_checks(engine, folder, [case.request for case in cases])
        answers, where = results["answers"], "the page"
        remarks = [f"the JavaScript was run by {engine.name}"]
        times = []
        if step is not None and results["microseconds"] is not None:
            times = [ParityTime(f"one step by {engine.name}", results["microseconds"], microseconds(step))]
    rows: list[ParityRow] = []
    for case, answer in zip(cases, answers, strict=True):
        for name, expected in case.expected.items():
            if answer is not None:
                actual = np.array(answer[name], np.float64).reshape(np.shape(answer[name]) if len(answer[name]) else expected.shape)
                rows.append(compare(f"{name} of {where}", case.title, expected, actual, case.bound))
    return ParityReport("web", "float32", tuple(rows), tuple(times), tuple(remarks))
