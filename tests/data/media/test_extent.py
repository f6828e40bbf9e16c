"""A file that has less than its header declares is refused with the numbers; a stream is read to its end."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from elman.data.media.audio import read_sound
from elman.data.media.extent import after_id3
from elman.data.media.video import read_frames
from elman.errors import DataError

RATE = 8000
TONE = (0.5 * np.sin(np.arange(4000) / 9)).astype(np.float32)
FRAMES = np.random.default_rng(1).integers(0, 256, (6, 16, 24, 3)).astype(np.uint8)
SOUNDS = {
    **{"wav": {}, "aiff": {}, "au": {}, "caf": {}, "w64": {}, "rf64": {}, "flac": {}, "ogg": {}, "mp3": {}},
    **{"law.wav": {"subtype": "ULAW"}, "big.wav": {"endian": "BIG"}, "sph": {"format": "NIST"}},
    **{"float.wav": {"subtype": "FLOAT"}, "opus.ogg": {"subtype": "OPUS"}, "double.aiff": {"subtype": "DOUBLE"}},
    **{"x.wav": {"format": "WAVEX"}, "little.au": {"endian": "LITTLE"}},
}


def tone(path: Path, **options: object) -> Path:
    soundfile.write(path, TONE, RATE, **options)
    return path


def patched(path: Path, offset: int, content: bytes) -> Path:
    raw = bytearray(path.read_bytes())
    raw[offset : offset + len(content)] = content
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("name", SOUNDS)
def test_no_part_of_a_sound_is_taken_for_the_whole(tmp_path: Path, name: str) -> None:
    path = tone(tmp_path / f"tone.{name}", **SOUNDS[name])
    whole = path.read_bytes()
    assert len(read_sound(path).samples) == len(TONE)
    for share in (0.1, 0.3, 0.5, 0.75, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError, match=r"(is truncated\n|cannot be read as a sound)"):
            read_sound(path)


def test_the_numbers_are_named(tmp_path: Path) -> None:
    path = tone(tmp_path / "half.wav")
    path.write_bytes(path.read_bytes()[: 44 + 3000])
    with pytest.raises(
        DataError, match=r"half\.wav is truncated\n.*8,000 bytes of samples.*header\n.*3,000 bytes\n.*again"
    ):
        read_sound(path)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm", "avi", "wmv", "flv"])
def test_no_part_of_a_video_is_taken_for_the_whole(
    tmp_path: Path, write_video: Callable[..., Path], suffix: str
) -> None:
    codec = {"webm": "libvpx", "wmv": "wmv2", "flv": "flv"}.get(suffix, "mpeg4")
    path = write_video(tmp_path / f"film.{suffix}", FRAMES, codec=codec)
    whole = path.read_bytes()
    assert len(read_frames(path)) == len(FRAMES)
    for share in (0.2, 0.6, 0.95):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError, match=r"(is truncated\n|cannot be read as a video)"):
            read_frames(path)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x7FFF0000, 0xFFFFFFFF - 36, 0])
def test_a_wav_file_of_unknown_length_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    path = patched(tone(tmp_path / "pipe.wav"), 40, struct.pack("<I", size))
    patched(path, 4, struct.pack("<I", size))
    np.testing.assert_allclose(read_sound(path).samples, TONE, atol=1e-4)


def test_a_streamed_au_file_is_read_to_its_end(tmp_path: Path) -> None:
    path = patched(tone(tmp_path / "pipe.au"), 8, struct.pack(">I", 0xFFFFFFFF))
    np.testing.assert_allclose(read_sound(path).samples, TONE, atol=1e-4)
    with pytest.raises(DataError, match=r"pipe\.au has no samples"):
        read_sound(patched(path, 8, bytes(4)))


def test_a_flac_file_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    whole = read_sound(tone(tmp_path / "tone.flac")).samples
    path = tone(tmp_path / "open.flac")
    patched(path, 21, bytes([path.read_bytes()[21] & 0xF0, 0, 0, 0, 0]))  # 36 bits: the number of samples
    np.testing.assert_array_equal(read_sound(path).samples, whole)


def test_a_wav_file_without_samples_has_none(tmp_path: Path) -> None:
    path = tmp_path / "none.wav"
    soundfile.write(path, TONE[:0], RATE)
    for tail in (b"", b"LIST\4\0\0\0INFO"):  # a chunk behind the empty one
        path.write_bytes(path.read_bytes() + tail)
        with pytest.raises(DataError, match=r"none\.wav has no samples"):
            read_sound(path)


def test_only_the_padding_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "odd.wav"
    soundfile.write(path, TONE[:333], RATE, subtype="PCM_U8")
    content = path.read_bytes()
    padded = 44 + 334
    assert len(content) in (padded, padded - 1)
    path.write_bytes(content[: padded - 1])
    assert len(read_sound(path).samples) == 333
    path.write_bytes(content[: padded - 2])
    with pytest.raises(DataError, match=r"333 bytes of samples.*\n.*332 bytes"):
        read_sound(path)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "aiff"])
def test_tags_before_a_sound_are_skipped(tmp_path: Path, suffix: str) -> None:
    path = tone(tmp_path / f"tone.{suffix}")
    plain, whole = read_sound(path).samples, path.read_bytes()
    tag = b"ID3\4\0\0" + bytes([0, 0, 1, 2]) + bytes(130)
    path.write_bytes(tag + whole)
    with path.open("rb") as file:
        assert after_id3(file) == len(tag)
    try:
        np.testing.assert_array_equal(read_sound(path).samples, plain)
    except DataError as error:
        assert suffix in ("wav", "aiff") and "cannot be read as a sound" in str(error)
    path.write_bytes((tag + whole)[: len(tag) + len(whole) // 2])
    with pytest.raises(DataError):
        read_sound(path)


def test_an_ogg_file_that_stops_between_two_pages_lacks_its_end(tmp_path: Path) -> None:
    path = tone(tmp_path / "tone.ogg")
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"OggS")])
    with pytest.raises(DataError, match=r"tone\.ogg is truncated\n.*bytes of pages"):
        read_sound(path)


def test_chunks_that_never_end_are_left_to_the_decoder(tmp_path: Path) -> None:
    path = tmp_path / "junk.wav"
    for content in (b"RIFF\0\0\0\0WAVE" + bytes(9999), b"RIFF\0\0\0\0WAVEdata", b"FORM", b"NIST_1A\n x\n", b"OggS"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"(cannot be read as a sound|is truncated)"):
            read_sound(path)
