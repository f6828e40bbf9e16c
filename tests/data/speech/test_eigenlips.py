"""Lips: principal components of what moves, by an independent decomposition, and copies that are moved."""

import json
from pathlib import Path

import numpy as np
import pytest

from elman.data.speech.eigenlips import Lips
from elman.errors import DataError, RunError, SettingError

CROP = (8, 12)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, write_video) -> list[Path]:
    """Films of a patch of two patterns that come and go, each at its own place."""
    folder, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(1)
    patterns = rng.integers(0, 120, (2, 8, 12))
    films = []
    for n in range(4):
        frames = np.full((20, 24, 32, 3), 60, np.uint8)
        strength = rng.uniform(size=(20, 2))
        top, left = rng.integers(4, 12, 2)
        frames[:, top : top + 8, left : left + 12] += np.einsum("tk,khw->thw", strength, patterns)[..., None].astype(
            "u1"
        )
        films.append(write_video(folder / f"{n}.mkv", frames))
    return films


def test_two_patterns_need_two_components(clips: list[Path]) -> None:
    lips = Lips.fit(clips, count=4, crop=CROP, longest=10)
    np.testing.assert_allclose(lips.components @ lips.components.T, np.eye(4), atol=1e-5)
    features = lips.of(clips[0]).features
    assert features.shape == (20, 8)
    energy = np.square(np.concatenate([lips.of(clip).features[:, :4] for clip in clips]).astype(float)).sum(0)
    assert energy[:2].sum() > 0.8 * energy.sum()
    assert (np.diff(energy) <= 0).all()
    np.testing.assert_allclose(features[1:, 4:], np.diff(features[:, :4].astype(float), axis=0), atol=0.02)


def test_copies_are_moved_and_the_first_is_not(clips: list[Path]) -> None:
    lips = Lips.fit(clips, count=4, crop=CROP, longest=10)
    first, *others = lips.varied(clips[0], 4)
    np.testing.assert_array_equal(first.features, lips.of(clips[0]).features)
    assert len(others) == 3
    assert any(not np.array_equal(other.features, first.features) for other in others)
    again = lips.varied(clips[0], 4)
    assert all(np.array_equal(a.features, b.features) for a, b in zip([first, *others], again, strict=True))


def test_they_come_back_from_a_folder(clips: list[Path], tmp_path: Path) -> None:
    lips = Lips.fit(clips, count=4, crop=CROP, longest=10)
    lips.save(tmp_path)
    np.testing.assert_array_equal(Lips.load(tmp_path).of(clips[1]).features, lips.of(clips[1]).features)
    (tmp_path / "lips.json").write_text(json.dumps({"crop": [8, 13], "step": 0.04, "longest": 10}))
    with pytest.raises(RunError, match=r"lips\.json is broken"):
        Lips.load(tmp_path)


def test_what_cannot_be_fitted_is_refused(clips: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too few frames for so many components"):
        Lips.fit(clips, count=90, crop=CROP, longest=10)
    with pytest.raises(DataError, match=r"0\.mkv is too long\n.*at most 10 frames"):
        Lips.fit(clips, count=4, crop=CROP, longest=0.4)
    broken = tmp_path / "x.mkv"
    broken.write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read as a video"):
        Lips.fit([broken, *clips], count=4, crop=CROP, longest=10)
    Lips.fit([broken, *clips], count=4, crop=CROP, longest=10, skip_bad=True)
    for crop in ((0, 12), (-8, -12), (480, 640)):
        with pytest.raises(SettingError, match=rf"invalid window\n.*8192 pixels.*\n.*{crop[0]},{crop[1]}\n.*32,48"):
            Lips.fit(clips, count=4, crop=crop, longest=10)
