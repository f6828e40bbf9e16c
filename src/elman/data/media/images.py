"""Images of any format, mode and size that Pillow reads, upright, as 8-bit grey or colour."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.media.files import decoding
from elman.errors import DataError, extra

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
"""The suffixes of the images in a folder."""

MOST_PIXELS = 50_000_000
"""The default of the most pixels of an image."""

PROGRAMS = ("EPS", "WMF")
"""Formats of drawing commands, for which Pillow starts an external program."""

ORIENTATION = 0x0112  # the tag of EXIF


def read_image(
    path: str | Path, size: tuple[int, int] | None = None, colour: bool = False, *, most_pixels: int = MOST_PIXELS
) -> NDArray[np.uint8]:
    """Read an image, upright by its EXIF orientation, and on white where it is transparent.

    Of an animation the first frame is read; 16-bit values keep the upper eight bits. Broken EXIF data is ignored.
    Decoding takes at most 13 bytes for each pixel of the file, mostly 8.

    Args:
        path: the file; its format is that of its content, whatever its name.
        size: (height, width) to which it is resized, with smoothing; None: its own.
        colour: red, green and blue instead of grey (the luma of ITU-R BT.601).
        most_pixels: a larger image is refused before it takes memory; so is one of more than twice Pillow's
            `Image.MAX_IMAGE_PIXELS`.

    Returns:
        uint8, (H, W), or (H, W, 3) with colour.

    Raises:
        DataError: the file is missing, empty, broken, not an image, too large, or in a format of drawing commands.
        MissingExtraError: Pillow is not installed.
    """
    path = Path(path)
    with extra("images", "reading images"):
        from PIL import Image
    with decoding(path, "an image", IMAGE_SUFFIXES), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about sizes, which are checked here, and about metadata
        image = _decoded(path, most_pixels)
        image = _converted(_eight_bits(path, image), "RGB" if colour else "L")
        if size is not None and image.size != (size[1], size[0]):
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)  # with antialiasing
        return np.array(image, np.uint8)


def _decoded(path: Path, most_pixels: int) -> Any:
    """Return an image, upright; one that is too large or would start a program is refused before it is decoded."""
    from PIL import Image

    try:
        with Image.open(path) as file:
            if file.width * file.height > most_pixels:
                raise _too_large(path, most_pixels, f"{file.width} x {file.height}")
            if file.format in PROGRAMS:
                found, hint = f"drawing commands ({file.format})", "save it as .png, or remove it"
                raise DataError(f"{path} is a drawing, not an image", should="pixels", found=found, hint=hint)
            file.load()
            return _upright(file)
    except Image.DecompressionBombError as error:  # Pillow's own limit, raised before the size is known
        raise _too_large(path, min(most_pixels, 2 * (Image.MAX_IMAGE_PIXELS or most_pixels)), "far more") from error


def _too_large(path: Path, most_pixels: int, found: str) -> DataError:
    should, hint = f"at most {most_pixels:,} pixels", "scale it down, or remove it"
    return DataError(f"{path} is too large", should=should, found=found, hint=hint)


def _upright(image: Any) -> Any:
    """Return an image rotated and flipped by its EXIF orientation."""
    from PIL import Image

    turns = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    turns |= {6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
    try:
        turn = turns.get(image.getexif().get(ORIENTATION))
    except Exception:  # broken metadata, with more exceptions than are documented
        turn = None
    return image.transpose(Image.Transpose[turn]) if turn else image


def _converted(image: Any, mode: str) -> Any:
    """Return an image in a mode, without a copy if it has that mode."""
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(path: Path, image: Any) -> Any:
    """Return an opaque image with eight bits for each channel, in a mode such as 1, L or RGB."""
    from PIL import Image

    if image.mode.startswith("I"):
        return Image.fromarray(_upper_byte(path, np.asarray(image), 65535, 257))
    if image.mode == "F":  # Pillow's own convention is that 255 is white
        return Image.fromarray(_upper_byte(path, np.asarray(image), 255, 1))
    if image.has_transparency_data:
        image, white = _converted(image, "RGBA"), Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        return white
    return image


def _upper_byte(path: Path, values: NDArray[Any], white: int, step: int) -> NDArray[np.uint8]:
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= white):
        should, found = f"0 to {white}, for {values.dtype}", f"{values.min()} to {values.max()}"
        what, hint = f"{path} has invalid brightness values", "save it with eight bits"
        raise DataError(what, should=should, found=found, hint=hint)
    return (values // step).astype(np.uint8)
