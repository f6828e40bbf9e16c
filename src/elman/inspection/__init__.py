"""The gradient doctor: see how gradients vanish or explode in one's own model, and be told what to do."""

from elman.inspection.doctor import diagnose
from elman.inspection.nan_search import Culprit, autopsy, culprits
from elman.inspection.probe import Probe
from elman.inspection.rendering.charts import require_drawing
from elman.inspection.report import Report
from elman.inspection.verdict import Thresholds

__all__ = ["Culprit", "Probe", "Report", "Thresholds", "autopsy", "culprits", "diagnose", "require_drawing"]
