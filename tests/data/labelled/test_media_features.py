"""What the readers of pictures, sound and video make of their files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from elman.data.labelled.example import ReaderOptions, ReaderSettings, parse_size, parse_span
from elman.data.labelled.file_formats import load_file
from elman.data.labelled.media_features import subtract_mean
from elman.data.media.audio import trim_silence
from elman.data.media.mel import log_mel
from elman.errors import DataError, SettingError

NOISE = (0.1 * np.random.default_rng(1).standard_normal(8000)).astype(np.float32)


def test_a_picture_is_read_in_its_order(tmp_path: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    path, reading = tmp_path / "image.png", ReaderOptions(pixel_order="rows")
    np.testing.assert_array_equal(load_file(path, reading), pixels)
    np.testing.assert_array_equal(load_file(path, ReaderOptions(pixel_order="pixels")), pixels.reshape(24, 1))
    assert load_file(path, replace(reading, image_size=(2, 3), colour=True)).shape == (2, 9)


def test_a_sound_becomes_its_energies(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "sound.wav", NOISE, 8000, subtype="FLOAT")
    path, reading = tmp_path / "sound.wav", ReaderOptions(sample_rate=8000, mel_bands=20)
    np.testing.assert_allclose(load_file(path, reading), log_mel(NOISE, 8000, bands=20), atol=1e-5)
    part = load_file(path, replace(reading, time_range=(0.25, 0.5)))
    np.testing.assert_allclose(part, log_mel(NOISE[2000:4000], 8000, bands=20), atol=1e-5)
    assert not reading.notes
    quiet = np.concatenate([np.zeros(4000, np.float32), NOISE])
    soundfile.write(tmp_path / "quiet.wav", quiet, 8000, subtype="FLOAT")
    trimmed = load_file(tmp_path / "quiet.wav", replace(reading, trim_silence=True))
    np.testing.assert_allclose(trimmed, log_mel(trim_silence(quiet, 8000), 8000, bands=20), atol=1e-5)
    assert len(trimmed) < 110 < len(load_file(tmp_path / "quiet.wav", reading))
    other = ReaderOptions()
    assert load_file(path, other).shape[1] == 40
    assert other.notes.lines() == [f"1 file: sound resampled from 8000 to 16000 Hz ({path})"]
    with pytest.raises(DataError, match=r"ends before the part that is read\n.*more than 3 seconds\n.*1\n.*BEGIN,END"):
        load_file(path, replace(reading, time_range=(3.0, 4.0)))
    with pytest.raises(DataError, match=r"sound\.wav is too long\n.*at most 0\.5 seconds"):
        load_file(path, replace(reading, max_seconds=0.5))


def test_a_video_becomes_what_moves_in_it(tmp_path: Path, write_video) -> None:
    frames = np.full((10, 16, 24, 3), 50, np.uint8)
    frames[::2, 8:12, 14:18] = 90
    path = write_video(tmp_path / "film.mkv", frames)
    still = load_file(path, ReaderOptions(keep_mean_frame=True))
    assert still.shape == (10, 16, 24)
    moving = load_file(path, ReaderOptions())
    np.testing.assert_array_equal(moving, subtract_mean(still))
    assert (moving[:, 0, 0] == 128).all() and (moving[::2, 9, 15] == 148).all() and (moving[1::2, 9, 15] == 108).all()
    cut = load_file(path, ReaderOptions(crop=(6, 6)))
    assert cut.shape == (10, 6, 6) and (cut[0] == 148).sum() == 16
    part = load_file(path, ReaderOptions(keep_mean_frame=True, time_range=(0.08, 0.2)))
    np.testing.assert_array_equal(part, still[2:5])
    with pytest.raises(DataError, match=r"film\.mkv has no frames from 9 seconds on"):
        load_file(path, ReaderOptions(time_range=(9.0, 10.0)))
    with pytest.raises(DataError, match=r"film\.mkv is too long\n.*at most 5 frames"):
        load_file(path, ReaderOptions(max_seconds=0.2))
    assert load_file(path, ReaderOptions(image_size=(8, 12), colour=True)).shape == (10, 8, 12, 3)


def test_impossible_settings_are_refused() -> None:
    assert parse_size("crop", ()) is None and parse_size("crop", (2, 3)) == (2, 3)
    with pytest.raises(
        SettingError, match=r"invalid value for crop\n.*a height and a width.*\n.*7\n.*--set crop=24,40"
    ):
        parse_size("crop", (7,))
    assert parse_span(()) == (0.0, None) and parse_span((1.0, 2.0)) == (1.0, 2.0)
    with pytest.raises(
        SettingError, match=r"invalid value for time_range\n.*a beginning and a later end.*\n.*2,1\n.*time_range="
    ):
        parse_span((2.0, 1.0))


@pytest.mark.parametrize(("name", "value"), [("crop", "1"), ("image_size", "1,2,3"), ("time_range", "5")])
def test_a_wrong_number_of_values_is_refused_before_files_are_read(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"invalid value for {name}"):
        ReaderSettings.parse({name: value})
