"""The gradient doctor: see how gradients vanish or explode in one's own model, and be told what to do."""

from elman.inspection.culprits import Culprit, autopsy, culprits
from elman.inspection.doctor import diagnose
from elman.inspection.plots import require_drawing
from elman.inspection.report import Report
from elman.inspection.verdict import Thresholds
from elman.inspection.watch import Probe

__all__ = ["Culprit", "Probe", "Report", "Thresholds", "autopsy", "culprits", "diagnose", "require_drawing"]
