"""Plot of a confusion matrix."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elman.errors import SettingError
from elman.plots.confusion_matrix import MAX_NUMBERED, draw_confusion_matrix


def test_names_with_markup_and_long_names_are_drawn(tmp_path: Path) -> None:
    path = tmp_path / "confusion.png"
    draw_confusion_matrix(np.array([[3, 1], [0, 0]]), ["$a", "b" * 50], path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_diagonal_of_a_perfect_classifier_is_dark(tmp_path: Path) -> None:
    count = MAX_NUMBERED + 1  # no numbers in the cells
    draw_confusion_matrix(5 * np.eye(count, dtype=int), ["x"] * count, tmp_path / "a.png")
    blue_share = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    dark = np.argwhere((blue_share[..., 2] > 60) & (blue_share[..., 0] < 40) & (blue_share.sum(-1) < 250))
    assert np.corrcoef(dark.T)[0, 1] == pytest.approx(1, abs=0.01)


def test_a_full_disk_leaves_no_half_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def half(path: Path, content: bytes) -> int:
        write(path, content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(SettingError, match=r"x\.png cannot be written\n.*No space left"):
        draw_confusion_matrix(np.eye(2, dtype=int), ["a", "b"], tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []
