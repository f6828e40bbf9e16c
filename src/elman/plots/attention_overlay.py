"""What each word of a description looked at, drawn over the picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from os.path import realpath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import SettingError, extra

ACROSS = 6  # panels in a row
STEM = 50  # characters of a picture's name in that of its drawing, at the most


def drawing_paths(pictures: Sequence[str | Path], folder: Path, *, spared: Iterable[Path] = ()) -> list[Path]:
    """Return where the drawing of each picture goes: attention-STEM.png, and with -2, -3 ... behind if stems are alike.

    Names are also told apart on a disk that takes capital and small letters for the same.

    Args:
        pictures: their names.
        folder: of the drawings.
        spared: files that a drawing must not take the place of.

    Raises:
        SettingError: one would.
    """
    taken: set[str] = set()
    latest: dict[str, int] = {}
    found: list[Path] = []
    for picture in pictures:
        stem = f"attention-{Path(picture).stem[:STEM]}"
        for n in count(latest.get(stem, 0) + 1):
            latest[stem], name = n, stem if n == 1 else f"{stem}-{n}"
            if name.casefold() not in taken:
                break
        taken.add(name.casefold())
        found.append(folder / f"{name}.png")
    there = {realpath(path) for path in spared}  # Path.resolve refuses names that lead round in a circle
    for path in found:
        if realpath(path) in there:
            raise SettingError(
                f"pictures={folder} would write over what is described",
                should="another folder than that of the pictures",
                found=str(path),
                hint=f"pictures={folder / 'looked'}",
            )
    return found


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
        SettingError: the picture cannot be written.
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
    try:
        figure.savefig(path, dpi=80)
    except (OSError, ValueError) as error:
        raise SettingError(f"{path} cannot be written", found=str(error)[:200], hint="another place") from error
