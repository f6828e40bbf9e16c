"""The features of sentences: one by one, over all that a speaker says, and kept without being held."""

import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from elman.data.notes import FileNotes
from elman.data.speech.features import ExtractedFeatures, extract_features, write_features
from elman.data.speech.normalisation import normalise_speakers
from elman.data.speech.readers import TranscribedFile
from elman.data.speech.utterance import SoundFeatures
from elman.errors import DataError
from elman.storage.ragged import RaggedArrays

RATE = 8000
FEATURES = SoundFeatures(RATE, 20, trim=False, longest=10)


def tone(hertz: float, loud: float = 0.4) -> np.ndarray:
    noise = 0.01 * np.random.default_rng(round(hertz)).standard_normal(RATE // 4)
    return (loud * np.sin(2 * np.pi * hertz * np.arange(RATE // 4) / RATE) + noise).astype(np.float32)


def stream(rows: list[TranscribedFile], notes: FileNotes | None = None) -> Iterator[ExtractedFeatures]:
    return extract_features(rows, FEATURES, skip_bad=False, on_skip=list[str]().append, notes=notes or FileNotes())


def test_broken_files_are_refused_or_counted_and_notes_are(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "fast.wav", tone(300), 2 * RATE)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    rows = [
        TranscribedFile(tmp_path / "fast.wav", "a"),
        TranscribedFile(tmp_path / "bad.wav", "b"),
        TranscribedFile(tone(500), "c"),
    ]
    with pytest.raises(DataError, match=r"bad\.wav cannot be read as a sound(\n.*)*--skip-bad"):
        list(stream(rows))
    bad: list[str] = []
    notes = FileNotes()
    found = list(extract_features(rows, FEATURES, skip_bad=True, on_skip=bad.append, notes=notes))
    assert [row.text for row, _ in found] == ["a", "c"]
    assert len(bad) == 1
    assert notes.lines() == [f"1 file: resampled from 16000 to 8000 Hz ({tmp_path}/fast.wav)"]
    with pytest.raises(DataError, match=r"every file is broken\n.*\n.*bad\.wav"):
        list(extract_features(rows[1:2], FEATURES, skip_bad=True, on_skip=bad.append, notes=notes))


def test_features_are_normalised_by_speaker(tmp_path: Path) -> None:
    rows = [TranscribedFile(tone(200 + 50 * n, 0.1 + 0.3 * (n % 2)), "x", "ab"[n % 2]) for n in range(6)]
    speech, _ = write_features(tmp_path, stream(rows), by_speaker=True)
    for n in range(2):
        features = np.concatenate(speech.features(range(n, 6, 2)))
        np.testing.assert_allclose(features.astype(float).mean(0), 0, atol=2e-3)


@pytest.mark.parametrize("by_speaker", [False, True])
def test_features_are_written(tmp_path: Path, by_speaker: bool) -> None:
    rows = [TranscribedFile(tone(200 + 50 * n, 0.1 + 0.3 * (n % 2)), f"text {n}", "ab"[n % 2]) for n in range(6)]
    speech, moments = write_features(tmp_path, stream(rows), by_speaker=by_speaker)
    expected = [values for _, values in stream(rows)]
    if by_speaker:
        expected = normalise_speakers(expected, [row.speaker for row in rows])
    assert speech.texts == [row.text for row in rows]
    found = RaggedArrays.open(tmp_path, "input")
    assert len(found) == len(expected)
    for n, values in enumerate(expected):
        np.testing.assert_array_equal(found[n], values)
    whole = np.concatenate(expected).astype(float)
    np.testing.assert_allclose(moments.mean, whole.mean(0), atol=1e-6)
    np.testing.assert_allclose(moments.deviation, whole.std(0), rtol=1e-6)
    assert {path.name for path in tmp_path.iterdir()} == {"input.values.npy", "input.ends.npy"}


@pytest.mark.parametrize("by_speaker", [False, True])
def test_features_are_not_held_while_they_are_kept(tmp_path: Path, by_speaker: bool) -> None:
    made: list[weakref.ref] = []
    alive: list[int] = []

    def watched() -> Iterator[ExtractedFeatures]:
        for row, values in stream([TranscribedFile(tone(200 + n), "x", str(n % 3)) for n in range(40)]):
            made.append(weakref.ref(values))
            alive.append(sum(values() is not None for values in made))
            yield row, values

    write_features(tmp_path, watched(), by_speaker=by_speaker)
    assert len(alive) == 40 and max(alive) <= 2
