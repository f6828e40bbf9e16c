"""Extent of a media file: the bytes that its headers declare beside those that it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, NamedTuple

MOST_PARTS = 1_000_000
"""The most chunks, boxes or pages of a file that are looked at."""

STREAMED = 0x7FFF_0000
"""The lowest size of 32 bits that stands for an unknown one: FFmpeg, arecord and sox write such into a pipe."""


class Extent(NamedTuple):
    """The size of the part of a file that holds its content.

    Attributes:
        part: its name in messages.
        declared: the bytes that its header declares; None: unknown by design, so that it lasts to the end of the file.
        held: the bytes that the file has of it.
        size_was_zero: the header declares 0 bytes, as a recorder does that was stopped before it wrote the size.
    """

    part: str
    declared: int | None
    held: int
    size_was_zero: bool = False


class Layout(NamedTuple):
    """How a format arranges its chunks.

    Attributes:
        start: the offset of the first chunk.
        name: the bytes of the name of a chunk.
        width: the bytes of its size, behind the name.
        order: the byte order of the size.
        counted: whether the size counts name and size too.
        alignment: the multiple of bytes at which chunks begin.
        content: how the name of the chunk of the samples begins.
    """

    start: int
    name: int
    width: int
    order: str
    counted: bool
    alignment: int
    content: bytes


LAYOUTS = {
    b"RIFF": Layout(12, 4, 4, "little", False, 2, b"data"),  # WAV
    b"RIFX": Layout(12, 4, 4, "big", False, 2, b"data"),
    b"RF64": Layout(12, 4, 4, "little", False, 2, b"data"),  # EBU Tech 3306: the size is in the chunk ds64
    b"BW64": Layout(12, 4, 4, "little", False, 2, b"data"),
    b"FORM": Layout(12, 4, 4, "big", False, 2, b"SSND"),  # AIFF
    b"riff": Layout(40, 16, 8, "little", True, 8, b"data"),  # W64
    b"caff": Layout(8, 4, 8, "big", False, 1, b"data"),
}
"""The formats of chunks, by the first four bytes of a file."""


def number(content: bytes, order: str = "big") -> int:
    """Return bytes as an unsigned integer."""
    return int.from_bytes(content, "little" if order == "little" else "big")


def bytes_at(file: BinaryIO, offset: int, count: int) -> bytes:
    """Return the bytes of a file at an offset, fewer at its end."""
    file.seek(offset)
    return file.read(count)


def after_id3(file: BinaryIO) -> int:
    """Return the offset behind the ID3v2 tags at the beginning of a file."""
    offset = 0
    while len(tag := bytes_at(file, offset, 10)) == 10 and tag[:3] == b"ID3" and max(tag[6:]) < 128:
        length = sum(byte << 7 * n for n, byte in enumerate(reversed(tag[6:])))
        offset += 10 + length + (10 if tag[5] & 0x10 else 0)  # a footer
    return offset


def chunk_extent(file: BinaryIO, size: int, start: int) -> Extent | None:
    """Return the extent of the samples of a WAV, RF64, W64, AIFF or CAF file."""
    head = bytes_at(file, start, 12)
    layout = LAYOUTS.get(head[:4])
    if layout is None or head[8:] == b"AVI ":
        return None
    offset, header, long = start + layout.start, layout.name + layout.width, 0
    for _ in range(MOST_PARTS):
        chunk = bytes_at(file, offset, header)
        if len(chunk) < header:
            return None
        declared = number(chunk[layout.name :], layout.order) - (header if layout.counted else 0)
        if chunk[:4] == b"ds64":
            long = number(bytes_at(file, offset + header + 8, 8), "little")
        if chunk.startswith(layout.content):
            held = size - offset - header
            return _samples(file, Extent("samples", long or declared, held), layout, offset + header)
        if declared < 0:
            return None
        offset += header + -(-declared // layout.alignment) * layout.alignment
    return None


def _samples(file: BinaryIO, extent: Extent, layout: Layout, offset: int) -> Extent:
    declared = extent.declared or 0
    if declared == 0:
        zero = extent.held > 0 and not _are_chunks(file, layout, offset, offset + extent.held)
        return extent._replace(declared=None if zero else 0, size_was_zero=zero)
    streamed = STREAMED <= declared <= 0xFFFF_FFFF if layout.width == 4 else declared >= 1 << 62
    return extent._replace(declared=None) if streamed else extent


def _are_chunks(file: BinaryIO, layout: Layout, offset: int, end: int) -> bool:
    """Return whether chunks with readable names fill a file from an offset to its end."""
    header = layout.name + layout.width
    for _ in range(MOST_PARTS):
        chunk = bytes_at(file, offset, header)
        if len(chunk) < header or not (chunk[:4].isascii() and chunk[:4].decode("ascii").isprintable()):
            break
        declared = number(chunk[layout.name :], layout.order)
        offset += header + -(-declared // layout.alignment) * layout.alignment
    return 0 <= end - offset <= 1 or offset - end == 1  # with or without the padding


def au_extent(file: BinaryIO, size: int, start: int) -> Extent | None:
    """Return the extent of the samples of an AU file."""
    head = bytes_at(file, start, 12)
    if len(head) < 12 or head[:4] not in (b".snd", b"dns."):
        return None
    order = "big" if head[:4] == b".snd" else "little"
    offset, declared = number(head[4:8], order), number(head[8:], order)
    held = max(0, size - start - offset)
    return Extent("samples", None if declared >= STREAMED else declared, held)


def sphere_extent(file: BinaryIO, size: int, start: int) -> Extent | None:
    """Return the extent of the samples of a NIST SPHERE file."""
    lines = bytes_at(file, start, 1024).decode("latin-1").splitlines()
    if lines[:1] != ["NIST_1A"]:
        return None
    cells = [line.split() for line in lines]
    fields = {cell[0]: int(cell[2]) for cell in cells if len(cell) == 3 and cell[1] == "-i" and cell[2].isdecimal()}
    length = int(lines[1]) if len(lines) > 1 and lines[1].strip().isdecimal() else 1024
    count, width = fields.get("sample_count"), fields.get("sample_n_bytes", 2) * fields.get("channel_count", 1)
    return None if count is None else Extent("samples", count * width, max(0, size - start - length))


def flac_extent(file: BinaryIO, size: int, start: int) -> Extent | None:
    """Return the extent of a FLAC file whose header declares no number of samples; its decoder checks others."""
    head = bytes_at(file, start, 26)
    if head[:4] != b"fLaC" or len(head) < 26:
        return None
    count = number(head[21:26]) & 0xF_FFFF_FFFF  # 36 bits
    return None if count else Extent("samples", None, size - start, True)


def mp3_extent(file: BinaryIO, size: int, start: int) -> Extent | None:
    """Return the extent of an MP3 file whose first frame declares it (Xing, Info)."""
    frame = bytes_at(file, start, 200)
    if len(frame) < 200 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return None
    place = max(frame.find(b"Xing"), frame.find(b"Info"))
    if not 0 < place <= 184:
        return None
    flags = number(frame[place + 4 : place + 8])
    at = place + (12 if flags & 1 else 8)
    return Extent("frames", number(frame[at : at + 4]), size - start) if flags & 2 else None


def ogg_extent(file: BinaryIO, size: int, start: int) -> Extent | None:
    """Return the extent of the pages of an Ogg file; a stream without a last page lacks one."""
    if bytes_at(file, start, 4) != b"OggS":
        return None
    offset, ended = start, dict[bytes, bool]()
    for _ in range(MOST_PARTS):
        head = bytes_at(file, offset, 27 + 255)
        if head[:4] != b"OggS" or len(head) < 27 or len(head) < 27 + head[26]:
            break
        ended[head[14:18]] = ended.get(head[14:18], False) or bool(head[5] & 4)
        offset += 27 + head[26] + sum(head[27 : 27 + head[26]])
        if offset >= size:
            break
    torn = offset < size and b"OggS".startswith(bytes_at(file, offset, 4)[:4])  # in the header of a page
    lacking = 1 if torn or (offset >= size and not all(ended.values())) else 0
    return Extent("pages", max(offset, size + lacking) - start, size - start)


SOUNDS: tuple[Callable[[BinaryIO, int, int], Extent | None], ...] = (
    chunk_extent, au_extent, sphere_extent, flac_extent, mp3_extent, ogg_extent,
)  # fmt: skip
"""What reads the extent of a file of sound: (file, its bytes, the offset behind tags) -> extent, or None."""
