"""Plot of an attention matrix: output symbols against input symbols."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import SettingError, extra
from elman.plots.figure_file import save_figure
from elman.plots.labels import labels_of

MAX_SYMBOLS = 100  # on a side


def create_plot_folder(path: Path) -> Path:
    """Return a folder for plots, created if it does not exist.

    Raises:
        SettingError: it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"pictures={path} is not a folder", found=error.strerror, hint="another place") from error
    return path


def draw_attention_matrix(
    weights_TS: NDArray[np.floating[Any]], output: Sequence[str], source: Sequence[str], path: Path
) -> dict[str, str]:
    """Draw the weights in shades of grey, as Bahdanau et al. 2015: white is a weight of 1.

    Args:
        weights_TS: T output symbols, S source symbols; each row sums to 1. Only `MAX_SYMBOLS` of each are drawn.
        output: T symbols.
        source: S symbols.
        path: of the image file; its extension selects the format.

    Returns:
        The legend of labels that no installed font draws, see `elman.plots.labels`.

    Raises:
        MissingExtraError: matplotlib is not installed.
        SettingError: the file cannot be written.
    """
    with extra("plot", "plotting attention"):
        from matplotlib.figure import Figure
    shown_TS = weights_TS[:MAX_SYMBOLS, :MAX_SYMBOLS]
    height, width = (1.5 + 0.25 * size for size in shown_TS.shape)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shown_TS, cmap="gray", vmin=0, vmax=1, aspect="auto")
    T, S = shown_TS.shape
    labels = labels_of([*source[:S], *output[:T]])
    axes.set_xticks(range(S), labels.texts[: len(source[:S])], rotation=90, **labels.style)
    axes.set_yticks(range(T), labels.texts[len(source[:S]) :], **labels.style)
    axes.xaxis.tick_top()
    save_figure(figure, path, dpi=120)
    return labels.legend
