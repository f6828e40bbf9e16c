"""Files and folders of pictures, sound and video."""

import struct
import tokenize
import zlib
from pathlib import Path

import av
import av.error
import numpy as np
import PIL
import PIL.Image
import pytest
import soundfile

from elman.data.captions.image_features import read_image_features
from elman.data.media.audio import read_sound
from elman.data.media.files import files_of
from elman.data.media.images import read_image
from elman.data.media.video import read_frames
from elman.errors import DataError


def test_a_folder_stands_for_its_files_in_order(tmp_path: Path) -> None:
    for name in ("b.wav", "A.WAV", "c.txt", "d"):
        (tmp_path / name).touch()
    assert files_of(tmp_path, (".wav",), kind="sound") == [tmp_path / "A.WAV", tmp_path / "b.wav"]
    for file in (tmp_path / "c.txt", tmp_path / "gone.wav", Path("-"), Path(300 * "x")):
        assert files_of(file, (".wav",), kind="sound") == [file]
    with pytest.raises(DataError, match=r"has no video\n.*suffix \.mp4, \.avi\n.*none\n.*name the files"):
        files_of(tmp_path, (".mp4", ".avi"), kind="video")


def test_a_folder_that_is_forbidden_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", forbidden)
    with pytest.raises(DataError, match=r"cannot be read\n.*a readable folder\n.*Permission denied\n.*ls -ld"):
        files_of(tmp_path, (".wav",), kind="sound")


AV_ERRORS = [kind for kind in vars(av.error).values() if isinstance(kind, type) and issubclass(kind, av.FFmpegError)]
PYTHON_ERRORS: list[type[Exception]] = [
    *(OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, RuntimeError, EOFError),
    *(OverflowError, ZeroDivisionError, UnicodeDecodeError, SyntaxError, NotImplementedError, RecursionError),
    *(MemoryError, struct.error, zlib.error, tokenize.TokenError, BufferError, StopIteration, SystemError),
]
LIBRARY_ERRORS = [PIL.UnidentifiedImageError, PIL.Image.DecompressionBombError, soundfile.SoundFileRuntimeError]


def made(kind: type[Exception]) -> Exception:
    """Return an exception of a kind, with what its constructor needs."""
    if issubclass(kind, av.FFmpegError):
        return kind(1, "a message")
    if issubclass(kind, UnicodeDecodeError):
        return kind("utf-8", b"x", 0, 1, "a reason")
    return kind("a message")


READERS = {
    "PIL.Image.open": (read_image, "x.png"),
    "soundfile.SoundFile": (read_sound, "x.wav"),
    "av.open": (read_frames, "x.mp4"),
    "numpy.load": (read_image_features, "x.npy"),
}


@pytest.mark.parametrize("opener", READERS)
def test_what_a_library_raises_becomes_our_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opener: str) -> None:
    read, name = READERS[opener]
    (tmp_path / name).write_bytes(b"no such format, but long enough" * 9)
    errors = [*map(made, [*AV_ERRORS, *PYTHON_ERRORS, *LIBRARY_ERRORS]), soundfile.LibsndfileError(1)]
    assert len(errors) > 70
    for error in errors:

        def fail(*args: object, error: Exception = error, **options: object) -> None:
            raise error

        monkeypatch.setattr(opener, fail)
        with pytest.raises(DataError, match=name.replace(".", r"\.")) as refused:
            read(tmp_path / name)
        assert refused.value.should and refused.value.found


def test_what_a_decoder_raises_later_becomes_our_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "x.wav", np.sin(np.arange(99)), 8000)

    def fail(*args: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    with pytest.raises(DataError, match=r"x\.wav is too large\n.*a sound that fits into memory\n.*header.*\n.*again"):
        read_sound(tmp_path / "x.wav")


def test_features_whose_header_asks_for_more_than_the_file_holds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((2, 3), np.float32))
    assert read_image_features(path).shape == (2, 3)
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000,), }"
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + bytes(64))
    with pytest.raises(DataError, match=r"x\.npy cannot be read"):
        read_image_features(path)
