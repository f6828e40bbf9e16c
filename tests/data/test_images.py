"""Pictures of every mode, as Pillow writes them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elman.data.images import read_image
from elman.errors import DataError

COLOURS = np.random.default_rng(1).integers(0, 256, (6, 9, 3)).astype(np.uint8)
GREY = COLOURS[..., 0]


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_grey_and_colour_come_back(tmp_path: Path) -> None:
    grey = saved(tmp_path / "grey.png", Image.fromarray(GREY))
    np.testing.assert_array_equal(read_image(grey), GREY)
    np.testing.assert_array_equal(read_image(grey, colour=True), np.repeat(GREY[..., None], 3, -1))
    colours = saved(tmp_path / "colours.bmp", Image.fromarray(COLOURS))
    np.testing.assert_array_equal(read_image(colours, colour=True), COLOURS)
    luma = COLOURS @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    np.testing.assert_allclose(read_image(colours), luma, atol=1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"])
def test_any_mode_is_read(tmp_path: Path, mode: str) -> None:
    whole = Image.fromarray(np.full((4, 5), 255, np.uint8))
    if mode == "I;16":
        image = Image.fromarray(np.full((4, 5), 65535, np.uint16))
    elif mode == "I":
        image = Image.fromarray(np.full((4, 5), 65535, np.int32))
    else:
        image = whole.convert("RGB").convert(mode) if mode in ("YCbCr", "HSV", "CMYK") else whole.convert(mode)
    if mode == "PA":
        path = saved(tmp_path / "image.png", whole.convert("P"), transparency=3)
    elif mode == "HSV":
        path = saved(tmp_path / "image.png", image.convert("RGB"))
    else:
        path = saved(tmp_path / "image.tif", image)
    for colour in (False, True):
        found = read_image(path, colour=colour)
        assert found.dtype == np.uint8
        assert found.shape == ((4, 5, 3) if colour else (4, 5))
        assert (found == 255).all()


def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path) -> None:
    values = np.array([[0, 257, 256, 65535, 32896]], np.uint16)
    assert read_image(saved(tmp_path / "deep.png", Image.fromarray(values))).tolist() == [[0, 1, 0, 255, 128]]


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    layers = np.dstack([np.zeros((2, 2, 3), np.uint8), np.array([[255, 0], [128, 0]], np.uint8)])
    found = read_image(saved(tmp_path / "glass.png", Image.fromarray(layers)))
    np.testing.assert_allclose(found, [[0, 255], [127, 255]], atol=1)


def test_a_picture_is_turned_as_its_camera_was(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "the top row is the right side": to be turned to the right
    turned = saved(tmp_path / "turned.png", Image.fromarray(GREY), exif=exif)
    np.testing.assert_array_equal(read_image(turned), np.rot90(GREY, -1))
    assert read_image(turned, size=(7, 5)).shape == (7, 5)


def test_shrinking_averages(tmp_path: Path) -> None:
    checks = (np.indices((32, 48)).sum(0) % 2 * 255).astype(np.uint8)
    found = read_image(saved(tmp_path / "checks.png", Image.fromarray(checks)), size=(4, 6))
    np.testing.assert_allclose(found, 127.5, atol=3)


def test_the_first_frame_of_a_moving_picture(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((3, 3), level, np.uint8)) for level in (10, 200)]
    path = saved(tmp_path / "moving.gif", frames[0], save_all=True, append_images=frames[1:])
    assert (read_image(path) == 10).all()


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png does not exist\n.*an image\n.*nothing there\n.*spelling"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"is not a file\n.*an image\n.*a folder"):
        read_image(tmp_path)
    empty = tmp_path / "empty.png"
    empty.write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.png is empty\n.*\n.*0 bytes"):
        read_image(empty)
    broken = saved(tmp_path / "broken.png", Image.fromarray(COLOURS))
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(DataError, match=r"broken\.png cannot be read as an image\n.*whole\n.*\n.*leave it out"):
        read_image(broken)
    other = tmp_path / "notes.txt"
    other.write_text("no picture")
    with pytest.raises(DataError, match=r"notes\.txt cannot be read as an image\n.*one that ends in \.png, .*"):
        read_image(other)


def test_too_large_and_impossible_pictures_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "large.png", Image.fromarray(GREY))
    with pytest.raises(DataError, match=r"large\.png is too large\n.*at most 53 pixels\n.*9 x 6"):
        read_image(path, most_pixels=53)
    assert read_image(path, most_pixels=54).shape == (6, 9)
    for values in (np.array([[0.5, np.nan]], np.float32), np.array([[0, 256]], np.float32)):
        strange = saved(tmp_path / "strange.tif", Image.fromarray(values))
        with pytest.raises(
            DataError, match=r"strange\.tif has impossible brightnesses\n.*0 to 255.*\n.*\n.*eight bits"
        ):
            read_image(strange)
