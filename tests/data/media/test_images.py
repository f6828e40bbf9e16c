"""Pictures of every mode, as Pillow writes them."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from elman.data.media.images import read_image
from elman.data.notes import FileNotes
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


@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation_is_that_of_pillow(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation  # 0 and 9 are none
    for image in (Image.fromarray(COLOURS), Image.fromarray(COLOURS).convert("P")):
        path = saved(tmp_path / "turned.png", image, exif=exif)
        expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
        np.testing.assert_array_equal(read_image(path, colour=True), expected)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0", b"Exif\0\0"])
@pytest.mark.parametrize("name", ["odd.png", "odd.webp"])
def test_broken_metadata_do_not_break_a_whole_picture(tmp_path: Path, name: str, exif: bytes) -> None:
    path = saved(tmp_path / name, Image.fromarray(COLOURS), exif=exif, lossless=True)
    np.testing.assert_array_equal(read_image(path, colour=True), COLOURS)


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
    with pytest.raises(DataError, match=r"broken\.png cannot be read as an image\n.*complete file\n.*\n.*remove it"):
        read_image(broken)
    other = tmp_path / "notes.txt"
    other.write_text("no picture")
    with pytest.raises(DataError, match=r"notes\.txt cannot be read as an image\n.*a file with the suffix \.png, .*"):
        read_image(other)


def test_a_name_that_cannot_be_one_is_refused_as_any_other() -> None:
    with pytest.raises(DataError, match=r"cannot be read as an image\n.*\n.*too long"):
        read_image(300 * "a" + ".png")


def test_no_program_is_started_for_a_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", None)  # raises a TypeError if it is called
    drawing = tmp_path / "drawing.png"
    Image.fromarray(COLOURS).save(drawing, "EPS")
    with pytest.raises(DataError, match=r"drawing\.png is a drawing, not an image\n.*pixels\n.*EPS.*\n.*\.png"):
        read_image(drawing)


def test_a_small_file_of_a_huge_picture_takes_no_memory(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    path = tmp_path / "huge.png"
    for side, found in ((8000, "8000 x 8000"), (60000, "far more")):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b""))
        with pytest.raises(DataError, match=rf"huge\.png is too large\n.*50,000,000 pixels\n.*{found}\n.*scale"):
            read_image(path)


def test_what_pillow_refuses_is_told_with_its_own_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "large.png", Image.fromarray(GREY))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 26)  # of which Pillow refuses more than the double
    with pytest.raises(DataError, match=r"large\.png is too large\n.*at most 52 pixels\n"):
        read_image(path, most_pixels=1000)


@pytest.mark.parametrize("size", [(1, 1), (10, 20000), (20000, 10)])
def test_any_size_is_brought_to_one(tmp_path: Path, size: tuple[int, int]) -> None:
    pixels = np.full((*size, 3), (200, 100, 50), np.uint8)
    found = read_image(saved(tmp_path / "odd.png", Image.fromarray(pixels)), (16, 16), colour=True)
    np.testing.assert_array_equal(found, np.broadcast_to(pixels[0, 0], (16, 16, 3)))


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
def test_a_picture_is_decoded_with_few_copies(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    large, small = (saved(tmp_path / f"{side}.jpg", Image.new("CMYK", (side, side)), exif=exif) for side in (3000, 9))
    program = (
        "import re, sys; from pathlib import Path; from elman.data.media.images import read_image;"
        "peak = lambda: int(re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1]);"
        "read_image(sys.argv[1], (9, 9), colour=True); before = peak();"
        "read_image(sys.argv[2], (9, 9), colour=True); print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", program, small, large], capture_output=True, text=True, check=True)
    assert 1024 * int(done.stdout) < 10 * 3000**2  # bytes; three copies at a time would be 12 a pixel


def test_too_large_and_invalid_pictures_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "large.png", Image.fromarray(GREY))
    with pytest.raises(DataError, match=r"large\.png is too large\n.*at most 53 pixels\n.*9 x 6"):
        read_image(path, most_pixels=53)
    assert read_image(path, most_pixels=54).shape == (6, 9)
    for values in (np.array([[0.5, np.nan]], np.float32), np.array([[0, 256]], np.float32)):
        strange = saved(tmp_path / "strange.tif", Image.fromarray(values))
        with pytest.raises(
            DataError, match=r"strange\.tif has invalid brightness values\n.*0 to 255.*\n.*\n.*eight bits"
        ):
            read_image(strange)


@pytest.mark.parametrize(
    "begin", [b"%!PS-Adobe", b"%PDF-1.4", b"\xd7\xcd\xc6\x9a\0\0", b"\1\0\0\0" + bytes(96), b"<svg "]
)
def test_no_drawing_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: bytes) -> None:
    monkeypatch.setattr(Image, "open", None)  # raises a TypeError if it is called
    path = tmp_path / "drawing.png"
    path.write_bytes(begin + bytes(99))
    with pytest.raises(DataError, match=r"drawing\.png is a drawing, not an image"):
        read_image(path)


@pytest.mark.parametrize("kind", ["TGA", "PDF", "DDS"])
def test_other_formats_are_refused(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path / "image.png", Image.fromarray(COLOURS), format=kind)
    with pytest.raises(DataError, match=r"image\.png (cannot be read as an image|is a drawing)"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_frames_behind_the_first_are_said(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (4, 3), shade) for shade in ("black", "white")]
    path, notes = tmp_path / f"moving.{suffix}", FileNotes()
    assert not read_image(saved(path, frames[0]), notes=notes).any() and not notes
    saved(path, frames[0], save_all=True, append_images=frames[1:])
    assert not read_image(path, notes=notes).any()
    assert notes.lines() == [f"1 file: animation or pages, of which the first is read ({path})"]


def test_a_palette_with_transparency_is_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putdata([0, 1])
    found = read_image(saved(tmp_path / "p.png", image, transparency=bytes([0, 255])), colour=True)
    assert found.tolist() == [[[255, 255, 255], [200, 0, 0]]]
    found = read_image(saved(tmp_path / "p.gif", image, transparency=0), colour=True)
    assert found.tolist() == [[[255, 255, 255], [200, 0, 0]]]


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp", "ppm", "pgm"])
def test_no_part_of_an_image_is_taken_for_the_whole(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 50, 3)).astype(np.uint8))
    whole = saved(path, image.convert("L") if suffix == "pgm" else image).read_bytes()
    for share in (0.1, 0.5, 0.95):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError, match=r"cannot be read as an image"):
            read_image(path)
