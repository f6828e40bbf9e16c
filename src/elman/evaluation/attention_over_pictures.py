"""What each word of a description looked at, drawn over the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import extra

ACROSS = 6  # panels in a row


def draw_attention_over(
    picture_HWC: NDArray[np.uint8], maps_TYX: NDArray[np.floating[Any]], words: Sequence[str], path: Path
) -> None:
    """Draw the picture, and for each word again, the brighter the more the word looked there.

    Args:
        picture_HWC: (H, W, 3).
        maps_TYX: of each word the weights of the places, row by row.
        words: T.
        path: of the picture that is drawn; its ending says the format.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with extra("plot", "the picture of what words looked at"):
        from matplotlib.figure import Figure
    rows = -(-(len(words) + 1) // ACROSS)
    figure = Figure(figsize=(2 * ACROSS, 2.3 * rows), layout="constrained")
    panels = figure.subplots(rows, ACROSS, squeeze=False).flatten()
    height, width = picture_HWC.shape[:2]
    for panel in panels:
        panel.axis("off")
    panels[0].imshow(picture_HWC)
    for panel, word, map_YX in zip(panels[1:], words, maps_TYX, strict=False):
        panel.imshow(picture_HWC, extent=(0, width, height, 0))
        shade = 1 - map_YX / max(float(map_YX.max()), 1e-9)
        dark = np.zeros((*shade.shape, 4))
        dark[..., 3] = 0.8 * shade
        panel.imshow(dark, extent=(0, width, height, 0), interpolation="bilinear")
        panel.set_title(word.strip(), fontsize=10, parse_math=False)
    figure.savefig(path, dpi=80)
