"""The gradient doctor: see how gradients vanish or explode in one's own model, and be told what to do."""

from elman.inspection.doctor import diagnose
from elman.inspection.nan_search import NonFiniteSource, autopsy, non_finite_sources
from elman.inspection.probe import Probe
from elman.inspection.rendering.charts import require_drawing
from elman.inspection.report import Report
from elman.inspection.verdict import Thresholds

__all__ = [
    "NonFiniteSource",
    "Probe",
    "Report",
    "Thresholds",
    "autopsy",
    "diagnose",
    "non_finite_sources",
    "require_drawing",
]
