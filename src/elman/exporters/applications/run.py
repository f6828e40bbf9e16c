"""The export of a run: the application of its recipe."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from elman.errors import ExportError
from elman.exporters.parity import ParityReport
from elman.predictors.base import Predictor
from elman.recipes import use

APPLICATIONS = {
    "language-model": "language_model",
    "classify": "classify",
    "forecast": "forecast",
    "recommend": "recommend",
    "similarity": "similarity",
    "translate": "translate",
    "transcribe": "transcribe",
    "caption": "caption",
}
"""The one list of recipes that are exported: the name, and the file here with its `application`."""


def write_run(predictor: Predictor, folder: Path, precision: str) -> ParityReport:
    """Write a run as a whole application, and compare it with the run.

    Raises:
        ExportError: the recipe or an option of the run cannot be exported.
    """
    recipe, _ = use.opened(predictor.run)
    if recipe.name not in APPLICATIONS:
        raise ExportError(
            f"runs of {recipe.name} are not exported to onnx",
            should=f"a run of {', '.join(APPLICATIONS)}",
            found=f"a run of {recipe.name}",
            hint="export its layers: elman.export(elman.load(run).model, path, inputs=...)",
        )
    module: Any = import_module(f"elman.exporters.applications.{APPLICATIONS[recipe.name]}")
    graphs = "float32" if precision == "int8" else precision  # which is rounded as it is written
    report: ParityReport = module.application(predictor, graphs).write(predictor, recipe.name, folder, precision)
    return report
