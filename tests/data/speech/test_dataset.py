"""The sentences of a run: opened as they were written, refused where files contradict each other."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from elman.data.speech.dataset import FeatureScale, SpeechDataset, load_extractor, save_extractor
from elman.data.speech.utterance import SoundFeatures
from elman.errors import RunError
from elman.storage.ragged import RaggedArrays


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "validation").mkdir()
    for part, count in ((tmp_path, 3), (tmp_path / "validation", 2)):
        RaggedArrays.write(part, "input", (np.zeros((n + 1, 2), np.float16) for n in range(count)))
    RaggedArrays.write(tmp_path, "target", (np.zeros(n, np.int64) for n in range(3)))
    (tmp_path / "texts.json").write_text(json.dumps({"training": ["", "a", "aa"], "validation": ["b", "c"]}))
    return tmp_path


def test_parts_are_opened(folder: Path) -> None:
    training, validation = (SpeechDataset.open(folder, part, 1) for part in ("training", "validation"))
    assert (len(training), len(validation)) == (3, 2)
    assert training.target is not None and validation.target is None
    assert training.fingerprint == training.input.fingerprint + training.target.fingerprint
    assert validation.texts == ["b", "c"]
    assert validation.names == ["validation sentence 1", "validation sentence 2"]
    assert [len(features) for features in validation.features([1, 0])] == [2, 1]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"validation": ["b", "c"]}, "texts.json is broken"),
        ({"training": []}, "texts.json is broken"),
        ({"training": ["a", 1, "b"]}, "texts.json is broken"),
        ({"training": ["a"]}, "the training sentences in .* are broken"),
    ],
)
def test_files_that_do_not_fit_are_refused(folder: Path, texts: dict, message: str) -> None:
    (folder / "texts.json").write_text(json.dumps(texts))
    with pytest.raises(RunError, match=message):
        SpeechDataset.open(folder, "training", 1)


def test_symbols_are_checked_against_the_vocabulary(folder: Path) -> None:
    with pytest.raises(RunError, match=r"the training sentences in .* are broken\n.*below 0"):
        SpeechDataset.open(folder, "training", 0)


def test_texts_have_a_size_that_follows_from_the_sentences(folder: Path) -> None:
    texts = {"training": ["a" * (1 << 19), "a", "aa"], "validation": ["b", "c"]}
    (folder / "texts.json").write_text(json.dumps(texts))
    with pytest.raises(RunError, match=r"texts\.json is too large\n.*393,216 bytes"):
        SpeechDataset.open(folder, "training", 1)
    (folder / "texts.json").unlink()
    (folder / "texts.json").touch()
    os.truncate(folder / "texts.json", 1 << 40)
    with pytest.raises(RunError, match=r"texts\.json is too large"):
        SpeechDataset.open(folder, "validation", 1)


@pytest.mark.parametrize(
    "change",
    [
        {"rate": {}}, {"rate": 0}, {"rate": 10**30}, {"bands": 39.5}, {"bands": {}}, {"longest": "x"}, {"trim": 1},
        {"more": 1},
    ],
)  # fmt: skip
def test_how_features_are_computed_is_checked(tmp_path: Path, change: dict) -> None:
    save_extractor(tmp_path, SoundFeatures(8000, 8, True, 60.0))
    assert load_extractor(tmp_path) == SoundFeatures(8000, 8, True, 60.0)
    fields = json.loads((tmp_path / "features.json").read_text())
    (tmp_path / "features.json").write_text(json.dumps({**fields, **change}))
    with pytest.raises(RunError, match=r"features\.json is broken"):
        load_extractor(tmp_path)


@pytest.mark.parametrize("change", [{"mean": [1.0]}, {"deviation": [0.0, 1.0]}, {"mean": [1, "AAA"]}, {"stride": 0}])
def test_the_scale_of_features_is_checked(tmp_path: Path, change: dict) -> None:
    fields = {"mean": [1.0, 2.0], "deviation": [1.0, 2.0], "stride": 2}
    (tmp_path / "scale.json").write_text(json.dumps({**fields, **change}))
    with pytest.raises(RunError, match=r"scale\.json is broken"):
        FeatureScale.open(tmp_path)
