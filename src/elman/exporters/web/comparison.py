"""The comparison of an exported folder with its run: by its JavaScript, or by its weights where nothing runs that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elman.exporters.parity import ParityReport, ParityRow, ParityTime, compare, microseconds
from elman.exporters.web.case import WebCase
from elman.exporters.web.engine import JavaScript, find_engine, run_checks
from elman.exporters.web.evaluation import Evaluation
from elman.exporters.web.forecast_evaluation import forecast

MISSING = "no Node.js or Chromium is on the PATH"


def compare_folder(
    folder: Path,
    cases: Sequence[WebCase],
    javascript: str,
    step: Callable[[], Any] | None,
    remarks: tuple[str, ...] = (),
) -> ParityReport:
    """Return the report of a folder.

    Args:
        folder: of the export, complete but for the report.
        cases: the comparisons.
        javascript: as of `find_engine`.
        step: a call of one step of the original; None where it has no steps.
        remarks: what else a reader of the report should know.
    """
    requests = [case.request for case in cases]
    engine = find_engine(javascript)
    if engine is None:
        reason = "javascript=none" if javascript == "none" else MISSING
        remark = (
            f"the JavaScript was not run ({reason}): the exported weights were evaluated by NumPy, texts not encoded"
        )
        return report(cases, evaluate(folder, requests), "the weights", (), (remark, *remarks))
    results = run_checks(engine, folder, requests)
    times = _times(engine, results["microseconds"], step)
    return report(cases, results["answers"], "the page", times, (f"the JavaScript was run by {engine.name}", *remarks))


def _times(engine: JavaScript, measured: float | None, step: Callable[[], Any] | None) -> tuple[ParityTime, ...]:
    if step is None or measured is None:
        return ()
    return (ParityTime(f"one step by {engine.name}", measured, microseconds(step)),)


def report(
    cases: Sequence[WebCase],
    answers: Sequence[Any],
    where: str,
    times: tuple[ParityTime, ...],
    remarks: tuple[str, ...],
) -> ParityReport:
    """Return the report of answers, in the order of the cases; None where a request was not answered."""
    rows: list[ParityRow] = []
    for case, answer in zip(cases, answers, strict=True):
        for name, expected in case.expected.items() if answer is not None else ():
            actual = np.array(answer[name], np.float64)
            if not actual.size:  # an empty list has lost its other axes
                actual = actual.reshape(expected.shape if not expected.size else actual.shape)
            original, export = ((each - case.centre) / case.unit for each in (expected, actual))
            rows.append(compare(f"{name} of {where}", case.title, original, export, case.bound))
    return ParityReport("web", "float32", tuple(rows), times, remarks)


def evaluate(folder: Path, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | None]:
    """Return the answers of the weights in a folder to requests; None where a request is about text."""
    model = Evaluation(folder)
    answers: dict[str, Callable[[Mapping[str, Any]], dict[str, Any] | None]] = {
        "language-model": model.language_model,
        "classify": model.classify,
        "transcribe": model.transcribe,
        "forecast": lambda request: forecast(model, request),
    }
    return [answers[model.manifest["recipe"]](request) for request in requests]
