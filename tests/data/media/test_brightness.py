"""Brightness of 12, 16 and 32 bits and of floats: scaled, said, or refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from elman.data.media.images import read_image
from elman.data.notes import FileNotes
from elman.errors import DataError


def tiff(path: Path, values: np.ndarray, **tags: int) -> Path:
    """Write (H, W) values as an uncompressed TIFF file; `tags` are those of Pillow's file to change."""
    Image.fromarray(values).save(path, "TIFF", tiffinfo={262: tags["meaning"]} if tags else {})
    return path


def read(path: Path) -> tuple[list[int], list[str]]:
    notes = FileNotes()
    return read_image(path, notes=notes).ravel().tolist(), [line.split(": ", 1)[1] for line in notes.lines()]


def test_floats_up_to_one_are_scaled_and_that_is_said(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.array([[0, 0.1, 0.5, 1]], np.float32))
    assert read(path) == ([0, 26, 128, 255], [f"image of floats, read as brightness from 0 to 1 ({path})"])
    mask = tiff(tmp_path / "mask.tif", np.array([[0, 1]], np.float32))
    assert read(mask)[0] == [0, 255]


def test_floats_up_to_255_stay_and_that_is_said(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.array([[0, 2.7, 254.9, 255]], np.float32))
    assert read(path) == ([0, 2, 254, 255], [f"image of floats, read as brightness from 0 to 255 ({path})"])
    dark = tiff(tmp_path / "dark.tif", np.array([[0, 3, 7]], np.float32))
    assert read(dark)[0] == [0, 3, 7]


@pytest.mark.parametrize("values", [[0, 0.5, 1.2], [0.25, 9.5]])
def test_floats_of_an_unclear_scale_are_refused(tmp_path: Path, values: list[float]) -> None:
    path = tiff(tmp_path / "hdr.tif", np.array([values], np.float32))
    with pytest.raises(DataError, match=r"hdr\.tif has invalid brightness.*\n.*from 0 to 1, or.*\n.*\n.*eight bits"):
        read_image(path)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, -0.5, 300])
def test_floats_outside_of_every_scale_are_refused(tmp_path: Path, wrong: float) -> None:
    with pytest.raises(DataError, match=r"has invalid brightness values\n.*0 to 255"):
        read_image(tiff(tmp_path / "a.tif", np.array([[0.5, wrong]], np.float32)))


def test_whole_numbers_of_32_bits_that_fit_eight_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"invalid brightness values\n.*32 bits up to 65535\n.*none above 200\n"):
        read_image(tiff(tmp_path / "a.tif", np.array([[0, 200]], np.int32)))
    assert read(tiff(tmp_path / "b.tif", np.array([[0, 257, 65535]], np.int32)))[0] == [0, 1, 255]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_that_all_become_black_are_said(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"dark.{suffix}"
    Image.fromarray(np.array([[0, 255]], np.uint16)).save(path)
    assert read(path) == ([0, 0], [f"16-bit image without a value above 256, read as black ({path})"])
    Image.fromarray(np.array([[0, 65535]], np.uint16)).save(path)
    assert read(path) == ([0, 255], [])
    Image.fromarray(np.array([[0, 0]], np.uint16)).save(path)
    assert read(path) == ([0, 0], [])


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_zero_as_white_is_refused_where_it_is_not_inverted(tmp_path: Path, dtype: type) -> None:
    path = tiff(tmp_path / "negative.tif", np.array([[0, 1]], dtype), meaning=0)
    with pytest.raises(DataError, match=r"invalid brightness values\n.*zero as black\n.*zero as white\n"):
        read_image(path)


def test_twelve_bits_are_scaled(tmp_path: Path) -> None:
    header = TiffImagePlugin.ImageFileDirectory_v2()
    fields = {256: 4, 257: 1, 258: 12, 259: 1, 262: 1, 273: 0, 277: 1, 278: 1, 279: 6}
    for tag, value in fields.items():
        header[tag] = value
    path = tmp_path / "twelve.tif"
    with path.open("wb") as file:
        file.write(b"II*\0\x08\0\0\0")
        file.write(header.tobytes(8))
        file.write(b"\xff\xf0\x10\0\x08\0")  # 4095, 16, 0 and 2048
    assert read(path) == ([255, 1, 0, 128], [])
