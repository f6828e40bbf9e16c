"""Videos that are written without loss come back, and the window finds what moves."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.media import video
from elman.data.media.video import (
    centre_of_motion,
    crop_to_motion,
    energy_of_motion,
    frames_of,
    quarter_turns,
    read_frames,
    turned,
)
from elman.errors import DataError, SettingError

CHANCE = np.random.default_rng(1)
FRAMES = CHANCE.integers(0, 256, (5, 16, 24, 3)).astype(np.uint8)


def test_frames_come_back(tmp_path: Path, write_video) -> None:
    path = write_video(tmp_path / "film.mkv", FRAMES)
    np.testing.assert_array_equal(read_frames(path, colour=True), FRAMES)
    np.testing.assert_array_equal(np.stack(list(frames_of(path, colour=True))), FRAMES)
    grey = read_frames(path)
    assert grey.dtype == np.uint8
    np.testing.assert_allclose(grey, FRAMES @ np.array([0.299, 0.587, 0.114]), atol=2.5)
    half = read_frames(path, size=(8, 12))
    means = grey.reshape(5, 8, 2, 12, 2).mean((2, 4))
    np.testing.assert_allclose(half, means, atol=2.5)


def test_a_video_is_turned_as_its_camera_was(tmp_path: Path, write_video) -> None:
    frames = np.zeros((3, 16, 32, 3), np.uint8)
    frames[:, :, :16] = 255  # the left half is bright
    path = write_video(tmp_path / "film.mp4", frames, codec="mpeg4")
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44  # of the track's header in ISO 14496-12: x' = -y, y' = x, so left comes up
    content[matrix : matrix + 20] = struct.pack(">5i", 0, 1 << 16, 0, -1 << 16, 0)
    path.write_bytes(content)
    for size in (None, (32, 16), (16, 8)):
        found = read_frames(path, size=size)
        assert found.shape == (3, *(size or (32, 16)))
        half = found.shape[1] // 2
        assert found[:, : half - 1].min() > 230 and found[:, half + 1 :].max() < 25


def test_a_turned_frame_swaps_height_and_width() -> None:
    assert [turned((2, 3), turns) for turns in range(4)] == [(2, 3), (3, 2), (2, 3), (3, 2)]


@given(st.integers(0, 14), st.integers(0, 22), st.booleans())
def test_the_window_holds_what_moves(top: int, left: int, colour: bool) -> None:
    frames = np.full((6, 24, 32, 3) if colour else (6, 24, 32), 90, np.uint8)
    frames[::2, top : top + 10, left : left + 10] += 60
    y, x = centre_of_motion(frames, (12, 12))
    assert abs(y - (top + 5)) < 1.01 and abs(x - (left + 5)) < 1.01
    cut = crop_to_motion(frames, (12, 12))
    assert cut.shape == ((6, 12, 12, 3) if colour else (6, 12, 12))
    assert energy_of_motion(cut).sum() == energy_of_motion(frames).sum()


def test_what_moves_little_elsewhere_does_not_draw_the_window() -> None:
    frames = np.full((6, 24, 40), 90, np.uint8)
    frames[::2, 8:14, 4:14] += 60
    frames[::2, :, 39] += 20
    y, x = centre_of_motion(frames, (10, 14))
    assert abs(y - 11) < 1 and abs(x - 9) < 1


def test_the_energy_is_the_sum_of_squared_differences() -> None:
    np.testing.assert_allclose(
        energy_of_motion(FRAMES), (np.diff(FRAMES.astype(float), axis=0) ** 2).sum((0, 3)), rtol=1e-12
    )


def test_without_motion_the_window_is_in_the_middle() -> None:
    frames = np.arange(7 * 9, dtype=np.uint8).reshape(1, 7, 9)
    np.testing.assert_array_equal(crop_to_motion(frames, (3, 5)), frames[:, 2:5, 2:7])


def test_a_window_that_is_too_large_is_refused() -> None:
    with pytest.raises(
        SettingError, match=r"does not fit into the frame\n.*at most 16 x 24 .*\n.*17 x 24\n.*smaller crop"
    ):
        crop_to_motion(FRAMES, (17, 24))


def test_what_cannot_be_read_is_named(tmp_path: Path, write_video) -> None:
    sound_only = write_video(tmp_path / "radio.mkv", None, np.sin(np.arange(4000) / 9))
    with pytest.raises(DataError, match=r"radio\.mkv has no video stream\n.*a video\n.*audio"):
        read_frames(sound_only)
    film = write_video(tmp_path / "film.mkv", FRAMES)
    with pytest.raises(DataError, match=r"film\.mkv is too long\n.*at most 4 frames\n.*more\n.*split it into pieces"):
        read_frames(film, most_frames=4)
    assert len(read_frames(film, most_frames=5)) == 5
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(film.read_bytes()[:90])
    with pytest.raises(DataError, match=r"broken\.mp4 is truncated\n.*bytes of segment, as in its header\n"):
        read_frames(broken)
    broken.write_bytes(b"no container" * 9)
    with pytest.raises(DataError, match=r"broken\.mp4 cannot be read as a video\n.*complete file\n"):
        read_frames(broken)
    text = tmp_path / "notes.txt"
    text.write_text("no film")
    with pytest.raises(
        DataError, match=r"notes\.txt cannot be read as a video\n.*a file with the suffix \.mp4, .*\n.*\n.*name a video"
    ):
        read_frames(text)
    with pytest.raises(DataError, match=r"gone\.mp4 does not exist\n.*a video"):
        read_frames(tmp_path / "gone.mp4")


def test_a_video_without_frames_is_refused(tmp_path: Path, write_video) -> None:
    nothing = write_video(tmp_path / "nothing.mkv", FRAMES[:0], np.sin(np.arange(4000) / 9))
    with pytest.raises(DataError, match=r"nothing\.mkv has no frames\n.*at least one\n.*none"):
        read_frames(nothing)


def test_frames_that_would_fill_the_memory_are_refused(
    tmp_path: Path, write_video, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = write_video(tmp_path / "film.mkv", FRAMES)
    size = FRAMES[0, :, :, 0].size
    monkeypatch.setattr(video, "MOST_BYTES", 5 * size)
    assert len(read_frames(film)) == 5
    monkeypatch.setattr(video, "MOST_BYTES", 5 * size - 1)
    message = (
        rf"film\.mkv is too large\n.*{5 * size - 1} bytes.*\n.*more than 4 frames of {size} bytes\n.*frames smaller"
    )
    with pytest.raises(DataError, match=message):
        read_frames(film)


@pytest.mark.parametrize(
    ("matrix", "found"),
    [
        ((0, 0, 0, 0, 0), "an invalid matrix"),
        ((1 << 16, 0, 0, 0, 0), "an invalid matrix"),
        ((46341, 46341, 0, -46341, 46341), "-?45 degrees"),
    ],
)
def test_a_rotation_of_no_camera_is_refused(tmp_path: Path, write_video, matrix: tuple[int, ...], found: str) -> None:
    path = write_video(tmp_path / "film.mp4", np.zeros((3, 16, 32, 3), np.uint8), codec="mpeg4")
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 44
    content[place : place + 20] = struct.pack(">5i", *matrix)
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=rf"film\.mp4 has an unsupported rotation\n.*of 90 degrees\n.*{found}\n.*upright"
    ):
        read_frames(path)


def test_a_rotation_is_a_number_of_quarter_turns() -> None:
    angles = (0, 90, 180, 270, -90, -180, 360, 89, -179)
    assert [quarter_turns(Path("x"), angle) for angle in angles] == [0, 1, 2, 3, 3, 2, 0, 1, 2]
