"""The pictures of the attention."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elman.errors import SettingError
from elman.plots.attention_matrix import MOST, draw_attention
from elman.plots.attention_overlay import draw_attention_over, drawing_paths


def test_the_shades_are_the_weights(tmp_path: Path) -> None:
    weights_TS = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    draw_attention(weights_TS, ["x$_", "(end)"], ["a", "b", "\u00e4"], tmp_path / "a.png")
    shade = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    # The cells are the two great white ones on black: each column of the picture that holds white cells, from the left.
    black = (shade < 10).sum(0) > shade.shape[0] / 4
    left, right = np.flatnonzero(black)[[0, -1]]
    inside = shade[:, left : right + 1]
    top, bottom = np.flatnonzero((inside < 10).sum(1) > inside.shape[1] / 2)[[0, -1]]
    cells = inside[top : bottom + 1]
    height, width = cells.shape
    middles = cells[np.ix_([height // 4, 3 * height // 4], [width // 6, width // 2, 5 * width // 6])]
    assert (middles > 200).tolist() == [[True, False, False], [False, False, True]]


def test_a_long_text_is_drawn_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    many = MOST + 50
    draw_attention(np.full((many, many), 1 / many), ["x"] * many, ["y"] * many, tmp_path / "long.png")
    draw_attention(np.full((MOST, MOST), 1 / many), ["x"] * MOST, ["y"] * MOST, tmp_path / "most.png")
    assert (tmp_path / "long.png").read_bytes() == (tmp_path / "most.png").read_bytes()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing" / "a.png", tmp_path / "a.nothing"):
        with pytest.raises(SettingError, match="cannot be written"):
            draw_attention(np.ones((1, 1)), ["a"], ["b"], path)
        with pytest.raises(SettingError, match="cannot be written"):
            draw_attention_over(np.ones((4, 4, 3), np.uint8), np.ones((1, 2, 2)), ["a"], path)


def test_over_a_picture_what_was_looked_at_stays_bright(tmp_path: Path) -> None:
    maps_TYX = np.array([[[1.0, 0.0], [0.0, 0.0]]])
    draw_attention_over(np.full((8, 8, 3), 255, np.uint8), maps_TYX, [""], tmp_path / "a.png")
    shade = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    dark = np.argwhere(shade < 100)
    (top, left), (bottom, right) = dark.min(0), dark.max(0)
    corners = shade[np.ix_([top + 5, bottom - 5], [left + 5, right - 5])]
    assert (corners > 200).tolist() == [[True, False], [False, False]]
    assert (corners < 100).tolist() == [[False, True], [True, True]]


def test_no_two_drawings_have_one_name(tmp_path: Path) -> None:
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
    found = [path.name for path in drawing_paths(names, tmp_path)]
    assert found[:4] == ["attention-x.png", "attention-x-2.png", "attention-x-3.png", "attention-X-4.png"]
    assert len({name.casefold() for name in found}) == len(names)
    assert max(len(name.encode()) for name in found) < 255
    with pytest.raises(
        SettingError, match=r"would write over what is described\n.*another folder.*\n.*attention-x\.png"
    ):
        drawing_paths(["x.png"], tmp_path, spared=[tmp_path / "b/../attention-x.png"])
    (tmp_path / "loop.png").symlink_to("loop.png")  # which reading it will tell
    assert drawing_paths(["loop.png"], tmp_path, spared=[tmp_path / "loop.png", Path(300 * "a")])
