"""The pictures of the attention."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elman.errors import SettingError
from elman.plots.attention_matrix import MAX_SYMBOLS, draw_attention_matrix


def test_the_shades_are_the_weights(tmp_path: Path) -> None:
    weights_TS = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    draw_attention_matrix(weights_TS, ["x$_", "(end)"], ["a", "b", "\u00e4"], tmp_path / "a.png")
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


def test_a_long_text_is_cut(tmp_path: Path) -> None:
    many = MAX_SYMBOLS + 50
    draw_attention_matrix(np.full((many, many), 1 / many), ["x"] * many, ["y"] * many, tmp_path / "long.png")
    draw_attention_matrix(
        np.full((MAX_SYMBOLS, MAX_SYMBOLS), 1 / many), ["x"] * MAX_SYMBOLS, ["y"] * MAX_SYMBOLS, tmp_path / "most.png"
    )
    assert (tmp_path / "long.png").read_bytes() == (tmp_path / "most.png").read_bytes()


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing" / "a.png", tmp_path / "a.nothing"):
        with pytest.raises(SettingError, match="cannot be written"):
            draw_attention_matrix(np.ones((1, 1)), ["a"], ["b"], path)
