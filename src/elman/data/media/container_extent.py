"""Extent of the containers of video: boxes (MP4, QuickTime), EBML (Matroska, WebM), AVI, ASF and FLV.

The streams of MPEG (.mpg, .ts) declare no extent.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO

from elman.data.media.extent import MOST_PARTS, STREAMED, Extent, bytes_at, number

BOXES = {b"ftyp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"meta", b"uuid", b"sidx", b"styp", b"mfra"}
"""Boxes of ISO 14496-12 at the top of a file; bytes of another name are no box, but left behind the last one."""

SEGMENT, CLUSTERS = b"\x18\x53\x80\x67", (b"\x1f\x43\xb6\x75", b"\x1c\x53\xbb\x6b", b"\x11\x4d\x9b\x74")
HEADER_OBJECT = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def box_extent(file: BinaryIO, size: int, start: int) -> Extent | None:
    """Return the extent of the boxes of an MP4 or QuickTime file."""
    offset, extent = start, None
    for _ in range(MOST_PARTS):
        head = bytes_at(file, offset, 16)
        if len(head) < 8 or head[4:8] not in BOXES:
            break
        declared = number(head[8:16]) if head[:4] == b"\0\0\0\1" else number(head[:4])
        if declared == 0:  # to the end of the file
            return Extent("boxes", None, size - start)
        if declared < 8:
            break
        offset += declared
        extent = Extent("boxes", offset - start, size - start)
    return extent


def ebml_extent(file: BinaryIO, size: int, start: int) -> Extent | None:
    """Return the extent of the segment of a Matroska or WebM file, or of its clusters where it declares none."""
    if bytes_at(file, start, 4) != b"\x1a\x45\xdf\xa3":
        return None
    offset = start
    for _ in range(MOST_PARTS):
        identity, length, begin = _element(file, offset)
        if not identity or length is None:
            break
        offset = begin + (0 if identity == SEGMENT and length < 0 else max(0, length))
        if identity == SEGMENT and length >= 0:
            return Extent("segment", offset - begin, size - begin)
        if offset > size and identity in CLUSTERS:
            return Extent("clusters", offset - start, size - start)
        if length < 0 and identity != SEGMENT:
            break
    return Extent("segment", None, size - start)


def _element(file: BinaryIO, offset: int) -> tuple[bytes, int | None, int]:
    """Return the identity of an EBML element, its length (-1: unknown; None: no element), and where it begins."""
    head = bytes_at(file, offset, 12)
    if len(head) < 2 or head[0] < 0x10:
        return b"", None, offset
    width = 9 - head[0].bit_length()
    identity, rest = head[:width], head[width:]
    if not rest or rest[0] == 0 or len(rest) < (count := 9 - rest[0].bit_length()):
        return identity, None, offset
    value = number(rest[:count]) & ((1 << 7 * count) - 1)
    return identity, -1 if value == (1 << 7 * count) - 1 else value, offset + width + count


def avi_extent(file: BinaryIO, size: int, start: int) -> Extent | None:
    """Return the extent of the RIFF chunks of an AVI file, of which a long one has several."""
    offset, extent = start, None
    for _ in range(MOST_PARTS):
        head = bytes_at(file, offset, 12)
        if head[:4] != b"RIFF" or not head[8:].startswith(b"AVI"):
            break
        declared = number(head[4:8], "little")
        if declared == 0 or declared >= STREAMED << 1:
            return Extent("chunks", None, size - start)
        offset += 8 + declared
        extent = Extent("chunks", offset - start, size - start)
        offset += declared % 2
    return extent


def asf_extent(file: BinaryIO, size: int, start: int) -> Extent | None:
    """Return the extent of an ASF (WMV, WMA) file, that its file properties declare."""
    if bytes_at(file, start, 16) != HEADER_OBJECT:
        return None
    offset = start + 30
    for _ in range(100):
        head = bytes_at(file, offset, 92)
        if len(head) < 24 or (length := number(head[16:24], "little")) < 24:
            break
        if head[:16] == FILE_PROPERTIES and len(head) == 92:
            broadcast = number(head[88:92], "little") & 1
            return Extent("packets", None if broadcast else number(head[40:48], "little"), size - start)
        offset += length
    return None


def flv_extent(file: BinaryIO, size: int, start: int) -> Extent | None:
    """Return the extent of an FLV file, that its metadata may declare."""
    head = bytes_at(file, start, 1 << 13)
    place = head.find(b"\0\x08filesize\0")  # a name and the type of a number, in the Action Message Format
    if head[:3] != b"FLV" or place < 0 or place + 19 > len(head):
        return None
    (declared,) = struct.unpack_from(">d", head, place + 11)
    return Extent("tags", int(declared), size - start) if 0 < declared < 1 << 62 else None


CONTAINER_EXTENTS: tuple[Callable[[BinaryIO, int, int], Extent | None], ...] = (
    box_extent, ebml_extent, avi_extent, asf_extent, flv_extent,
)  # fmt: skip
"""What reads the extent of a container: (file, its bytes, the offset behind tags) -> extent, or None."""
