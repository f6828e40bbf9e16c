"""Images of any format, mode and size that Pillow reads, upright, as 8-bit grey or colour."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.media.brightness import Scale, eight_bits
from elman.data.media.files import decoding
from elman.data.notes import FileNotes
from elman.errors import DataError, extra

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
"""The suffixes of the images in a folder."""

MOST_PIXELS = 50_000_000
"""The default of the most pixels of an image."""

FORMATS = (
    *("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "SGI", "TIFF", "WEBP"),
)
"""The formats that Pillow reads for us; that of a file is its content's, whatever its suffix."""

DRAWINGS = {
    **{b"%!PS": "EPS", b"\xc5\xd0\xd3\xc6": "EPS", b"%PDF": "PDF", b"\xd7\xcd\xc6\x9a": "WMF"},
    **{b"\x01\x00\x00\x00": "EMF", b"<svg": "SVG"},
}
"""Formats of drawing commands, by their first bytes. External programs interpret them, and none is started."""

TIFF_BITS, TIFF_MEANING, INVERTED = 258, 262, 0  # tags, and the meaning of values whose zero is white

ORIENTATION = 0x0112  # the tag of EXIF


def read_image(
    path: str | Path, size: tuple[int, int] | None = None, colour: bool = False, *, most_pixels: int = MOST_PIXELS,
    notes: FileNotes | None = None,
) -> NDArray[np.uint8]:  # fmt: skip
    """Read an image, upright by its EXIF orientation, and on white where it is transparent.

    Of an animation the first frame is read; 12-bit and 16-bit values keep the upper eight bits. Floats are brightness
    from 0 to 1 if none is more, else from 0 to 255. Broken EXIF data is ignored. Decoding takes at most 13 bytes for
    each pixel of the file, mostly 8.

    Args:
        path: the file; its format is that of its content, whatever its name.
        size: (height, width) to which it is resized, with smoothing; None: its own.
        colour: red, green and blue instead of grey (the luma of ITU-R BT.601).
        most_pixels: a larger image is refused before it takes memory; so is one of more than twice Pillow's
            `Image.MAX_IMAGE_PIXELS`.
        notes: grows by what was guessed or not used.

    Returns:
        uint8, (H, W), or (H, W, 3) with colour.

    Raises:
        DataError: the file is missing, empty, broken, not an image, too large, in a format of drawing commands, or has
            a brightness whose scale is unclear.
        MissingExtraError: Pillow is not installed.
    """
    path = Path(path)
    with extra("images", "reading images"):
        from PIL import Image
    with decoding(path, "an image", IMAGE_SUFFIXES), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about sizes, which are checked here, and about metadata
        image, scale, remarks = _decoded(path, most_pixels)
        image = _converted(_opaque(path, image, scale, remarks), "RGB" if colour else "L")
        if notes is not None:
            notes.update(remarks, str(path))
        if size is not None and image.size != (size[1], size[0]):
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)  # with antialiasing
        return np.array(image, np.uint8)


def _decoded(path: Path, most_pixels: int) -> tuple[Any, Scale, list[str]]:
    """Return an image, upright, the scale of its brightness, and what of it is not used.

    One that is too large, or a drawing, is refused before it is decoded.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with path.open("rb") as opened_file:
            begin = opened_file.read(4)
            opened_file.seek(0)
            if begin in DRAWINGS:
                found, hint = f"drawing commands ({DRAWINGS[begin]})", "save it as .png, or remove it"
                raise DataError(f"{path} is a drawing, not an image", should="pixels", found=found, hint=hint)
            with Image.open(opened_file, formats=FORMATS) as file:
                if file.width * file.height > most_pixels:
                    raise _too_large(path, most_pixels, f"{file.width} x {file.height}")
                frames = ["animation or pages, of which the first is read"] if _is_animated(file) else []
                file.load()
                return _upright(file), _scale(file), frames
    except UnidentifiedImageError as error:
        raise ValueError("its content has no known format") from error  # Pillow names a Python object
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


def _is_animated(file: Any) -> bool:
    """Return whether a file has more frames or pages than the first; the previews of a camera do not count."""
    try:
        return file.format != "MPO" and bool(getattr(file, "is_animated", False))
    except Exception:  # a broken second frame, with more exceptions than are documented
        return True


def _scale(file: Any) -> Scale:
    """Return what the tags of a TIFF file say about its brightness."""
    tags = getattr(file, "tag_v2", {})
    return Scale(max(tags.get(TIFF_BITS, (0,))), tags.get(TIFF_MEANING) == INVERTED)


def _opaque(path: Path, image: Any, scale: Scale, remarks: list[str]) -> Any:
    """Return an opaque image with eight bits for each channel, in a mode such as 1, L or RGB."""
    from PIL import Image

    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(eight_bits(path, np.asarray(image), scale, remarks))
    if image.has_transparency_data:
        image, white = _converted(image, "RGBA"), Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        return white
    return image
