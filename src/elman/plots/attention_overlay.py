"""Plot of the attention of each word of a caption over the image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from os.path import realpath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import SettingError, extra
from elman.plots.figure_file import save_figure
from elman.plots.labels import labels_of

COLUMNS = 6  # panels in a row
MAX_STEM = 50  # characters of an image's name in the name of its plot


def overlay_paths(images: Sequence[str | Path], folder: Path, *, protected: Iterable[Path] = ()) -> list[Path]:
    """Return the path of the plot of each image: attention-STEM.png, with a suffix -2, -3 ... for repeated stems.

    The names differ on case-insensitive file systems, too.

    Args:
        images: their names.
        folder: of the plots.
        protected: files that must not be overwritten.

    Raises:
        SettingError: a plot would overwrite one of them.
    """
    taken: set[str] = set()
    latest: dict[str, int] = {}
    paths: list[Path] = []
    for image in images:
        stem = f"attention-{Path(image).stem[:MAX_STEM]}"
        for n in count(latest.get(stem, 0) + 1):
            latest[stem], name = n, stem if n == 1 else f"{stem}-{n}"
            if name.casefold() not in taken:
                break
        taken.add(name.casefold())
        paths.append(folder / f"{name}.png")
    existing = {realpath(path) for path in protected}  # Path.resolve refuses symlink loops
    for path in paths:
        if realpath(path) in existing:
            raise SettingError(
                f"pictures={folder} would overwrite an input image",
                should="another folder than that of the images",
                found=str(path),
                hint=f"pictures={folder / 'attention'}",
            )
    return paths


def draw_attention_overlay(
    image_HWC: NDArray[np.uint8], maps_TYX: NDArray[np.floating[Any]], words: Sequence[str], path: Path
) -> dict[str, str]:
    """Draw the image, and once more for each word, brighter where the attention is larger.

    Args:
        image_HWC: (H, W, 3).
        maps_TYX: the attention weights of each word, on a grid over the image.
        words: T.
        path: of the image file; its extension selects the format.

    Returns:
        The legend of labels that no installed font draws, see `elman.plots.labels`.

    Raises:
        MissingExtraError: matplotlib is not installed.
        SettingError: the file cannot be written.
    """
    with extra("plot", "plotting attention"):
        from matplotlib.figure import Figure
    rows = -(-(len(words) + 1) // COLUMNS)
    figure = Figure(figsize=(2 * COLUMNS, 2.3 * rows), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    height, width = image_HWC.shape[:2]
    for panel in panels:
        panel.axis("off")
    panels[0].imshow(image_HWC)
    labels = labels_of([word.strip() for word in words])
    for panel, word, map_YX in zip(panels[1:], labels.texts, maps_TYX, strict=False):
        panel.imshow(image_HWC, extent=(0, width, height, 0))
        shade = 1 - map_YX / max(float(map_YX.max()), 1e-9)
        dark = np.zeros((*shade.shape, 4))
        dark[..., 3] = 0.8 * shade
        panel.imshow(dark, extent=(0, width, height, 0), interpolation="bilinear")
        panel.set_title(word, fontsize=10, **labels.style)
    save_figure(figure, path, dpi=80)
    return labels.legend
