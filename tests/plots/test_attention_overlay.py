"""Plot of attention over an image."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elman.errors import SettingError
from elman.plots.attention_overlay import draw_attention_overlay, overlay_paths


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing" / "a.png", tmp_path / "a.nothing"):
        with pytest.raises(SettingError, match="cannot be written"):
            draw_attention_overlay(np.ones((4, 4, 3), np.uint8), np.ones((1, 2, 2)), ["a"], path)


def test_the_image_is_bright_where_the_attention_is(tmp_path: Path) -> None:
    maps_TYX = np.array([[[1.0, 0.0], [0.0, 0.0]]])
    draw_attention_overlay(np.full((8, 8, 3), 255, np.uint8), maps_TYX, [""], tmp_path / "a.png")
    shade = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    dark = np.argwhere(shade < 100)
    (top, left), (bottom, right) = dark.min(0), dark.max(0)
    corners = shade[np.ix_([top + 5, bottom - 5], [left + 5, right - 5])]
    assert (corners > 200).tolist() == [[True, False], [False, False]]
    assert (corners < 100).tolist() == [[False, True], [True, True]]


def test_no_two_plots_have_the_same_name(tmp_path: Path) -> None:
    names = [
        "a/x.png",
        "b/x.png",
        "x.jpg",
        "X.png",
        "x-2.png",
        200 * "\u1234" + ".png",
        99 * "\u1234" + ".png",
        "a/x.png",
    ]
    plots = [path.name for path in overlay_paths(names, tmp_path)]
    assert plots[:4] == ["attention-x.png", "attention-x-2.png", "attention-x-3.png", "attention-X-4.png"]
    assert len({name.casefold() for name in plots}) == len(names)
    assert max(len(name.encode()) for name in plots) < 255
    with pytest.raises(SettingError, match=r"would overwrite an input image\n.*another folder.*\n.*attention-x\.png"):
        overlay_paths(["x.png"], tmp_path, protected=[tmp_path / "b/../attention-x.png"])
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert overlay_paths(["loop.png"], tmp_path, protected=[tmp_path / "loop.png", Path(300 * "a")])
