"""Containers of video and audio, decoded by FFmpeg (PyAV) from a file that is already open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from elman.data.media.files import check_whole, decoding
from elman.data.media.images import MOST_PIXELS
from elman.errors import DataError, extra

CONTAINERS = (
    *("aac", "aiff", "asf", "au", "avi", "caf", "flac", "flv", "matroska", "mov", "mp3", "mpeg"),
    *("mpegts", "mpegvideo", "m4v", "ogg", "w64", "wav"),
)
"""The formats of FFmpeg that hold their content in one file. Playlists and others that open further files are out."""

MOST_DECODED = 2 * MOST_PIXELS
"""The most pixels of a frame with FFmpeg's margin of 128 on each side, where frames exceed what the header says."""

BUFFER = 1 << 17  # bytes that are read at a time


@contextmanager
def opened(path: Path, kind: str, suffixes: tuple[str, ...]) -> Iterator[Any]:
    """Open a container of video or audio, an `av.container.InputContainer`.

    FFmpeg is given the open file and never its name to open: a name is no address of a network, and no protocol is
    allowed for what the content names.

    Args:
        path: the file.
        kind: "a video", for messages.
        suffixes: the suffixes of such files.

    Raises:
        DataError: the file is missing, empty, truncated, not in one of `CONTAINERS`, or cannot be decoded; or the
            pixels of a frame are too many.
        MissingExtraError: PyAV is not installed.
    """
    with extra("video", f"reading {kind}"):
        import av
    rules = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "none"}
    limits = {"max_pixels": str(MOST_DECODED)}
    with decoding(path, kind, suffixes), path.open("rb") as file:
        check_whole(path, file)
        with av.open(file, buffer_size=BUFFER, options=limits, container_options=rules) as container:
            for stream in container.streams.video:
                if stream.width * stream.height > MOST_PIXELS:
                    should, found = f"at most {MOST_PIXELS:,} pixels", f"{stream.width} x {stream.height}"
                    hint = "scale it down, or remove it"
                    raise DataError(f"{path} has too large frames", should=should, found=found, hint=hint)
                stream.codec_context.options = limits
            yield container
