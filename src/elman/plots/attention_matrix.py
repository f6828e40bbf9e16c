"""Attention as a picture: how much each symbol that was written looked at each that was read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import SettingError, extra

MOST = 100  # symbols on a side


def drawing_folder(path: Path) -> Path:
    """Return a folder for drawings, made if it is not there.

    Raises:
        SettingError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"pictures={path} is no folder", found=error.strerror, hint="another place") from error
    return path


def draw_attention(
    weights_TS: NDArray[np.floating[Any]], written: Sequence[str], read: Sequence[str], path: Path
) -> None:
    """Draw the weights as shades of grey, as Bahdanau et al. 2015 do: white is all of the attention.

    Args:
        weights_TS: T symbols written, S read; each row sums to 1. Beyond `MOST` symbols nothing is drawn.
        written: T symbols.
        read: S symbols.
        path: of the picture; its ending says the format.

    Raises:
        MissingExtraError: matplotlib is not installed.
        SettingError: the picture cannot be written.
    """
    with extra("plot", "the picture of the attention"):
        from matplotlib.figure import Figure
    shown_TS = weights_TS[:MOST, :MOST]
    height, width = (1.5 + 0.25 * size for size in shown_TS.shape)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shown_TS, cmap="gray", vmin=0, vmax=1, aspect="auto")
    for set_ticks, symbols, size, turn in (
        (axes.set_xticks, read, shown_TS.shape[1], 90),
        (axes.set_yticks, written, shown_TS.shape[0], 0),
    ):
        set_ticks(range(size), [symbol[:20] for symbol in symbols[:size]], rotation=turn, parse_math=False)
    axes.xaxis.tick_top()
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise SettingError(f"{path} cannot be written", found=str(error)[:200], hint="another place") from error
