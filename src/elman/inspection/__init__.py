"""Gradient diagnosis: vanishing and exploding gradients in a model, verdicts and remedies."""

from elman.inspection.doctor import diagnose
from elman.inspection.nan_search import NonFiniteSource, explain_non_finite, non_finite_sources
from elman.inspection.probe import GradientProbe
from elman.inspection.rendering.charts import require_matplotlib
from elman.inspection.report import Report
from elman.inspection.verdict import Thresholds

__all__ = [
    "GradientProbe",
    "NonFiniteSource",
    "Report",
    "Thresholds",
    "diagnose",
    "explain_non_finite",
    "non_finite_sources",
    "require_matplotlib",
]
