"""The sentences of a run: opened as they were written, refused where files contradict each other."""

import json
from pathlib import Path

import numpy as np
import pytest

from elman.data.speech.dataset import SpeechDataset
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
    training, validation = (SpeechDataset.open(folder, part) for part in ("training", "validation"))
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
        SpeechDataset.open(folder, "training")
