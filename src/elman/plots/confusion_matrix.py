"""Plot of a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import extra
from elman.plots.figure_file import save_figure
from elman.plots.labels import labels_of

MAX_NUMBERED = 30  # classes with numbers in the cells


def draw_confusion_matrix(table_CC: NDArray[np.integer[Any]], classes: Sequence[str], path: Path) -> dict[str, str]:
    """Draw a confusion matrix; the colour is the share of the row.

    Args:
        table_CC: counts; rows are true classes, columns predicted ones.
        classes: their names.
        path: of the image file; its extension selects the format.

    Returns:
        The legend of labels that no installed font draws, see `elman.plots.labels`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with extra("plot", "plotting a confusion matrix"):
        from matplotlib.figure import Figure
    share = table_CC / np.maximum(1, table_CC.sum(1, keepdims=True))
    side = min(24.0, 2.5 + 0.4 * len(classes))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    labels = labels_of(classes)
    axes.set_xticks(range(len(classes)), labels.texts, rotation=90, **labels.style)
    axes.set_yticks(range(len(classes)), labels.texts, **labels.style)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(classes) <= MAX_NUMBERED:
        for row, column in zip(*np.nonzero(table_CC), strict=True):
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, str(table_CC[row, column]), ha="center", va="center", color=colour, fontsize=8)
    save_figure(figure, path, dpi=120)
    return labels.legend
