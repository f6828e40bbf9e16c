"""Tables of what is said, and the features of each sentence."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from elman.data.speech import Spoken, collected, read_table, scale_of
from elman.data.utterance import SoundFeatures
from elman.errors import DataError

RATE = 8000
FEATURES = SoundFeatures(RATE, 20, trim=False, longest=10)


def tone(hertz: float, loud: float = 0.4) -> np.ndarray:
    noise = 0.01 * np.random.default_rng(round(hertz)).standard_normal(RATE // 4)
    return (loud * np.sin(2 * np.pi * hertz * np.arange(RATE // 4) / RATE) + noise).astype(np.float32)


def test_a_table_names_files_texts_and_speakers(tmp_path: Path) -> None:
    table = tmp_path / "x.tsv"
    table.write_text("text\twho\tfile\n  so   it is \tme\ta.wav\n\nno\tyou\t/b.wav\n")
    assert list(read_table(table, columns=("file", "text", "who"))) == [
        Spoken(tmp_path / "a.wav", "so it is", "me"),
        Spoken(Path("/b.wav"), "no", "you"),
    ]
    with pytest.raises(DataError, match=r"no column 'speaker'\n.*path, text and speaker"):
        list(read_table(table, columns=("path", "text", "speaker"))) if table.write_text("path\ttext\na\tb\n") else None
    table.write_text("path\ttext\tspeaker\na.wav\tso\t\n")
    with pytest.raises(DataError, match="line 2: a cell is missing"):
        list(read_table(table, columns=("path", "text", "speaker")))


def test_broken_files_are_refused_or_counted_and_notes_are(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "fast.wav", tone(300), 2 * RATE)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    rows = [Spoken(tmp_path / "fast.wav", "a"), Spoken(tmp_path / "bad.wav", "b"), Spoken(tone(500), "c")]
    with pytest.raises(DataError, match=r"bad\.wav cannot be read as a sound(\n.*)*--skip-bad"):
        collected(rows, FEATURES, skip_bad=False)
    found = collected(rows, FEATURES, skip_bad=True)
    assert found.texts == ["a", "c"]
    assert len(found.bad) == 1
    assert found.notes == {"resampled from 16000 to 8000 samples a second": 1}
    with pytest.raises(DataError, match="every file is broken"):
        collected(rows[1:2], FEATURES, skip_bad=True)


def test_a_speaker_is_normalised_over_all_that_he_says() -> None:
    rows = [Spoken(tone(200 + 50 * n, 0.1 + 0.3 * (n % 2)), "x", "ab"[n % 2]) for n in range(6)]
    found = collected(rows, FEATURES, skip_bad=False, by_speaker=True)
    for n in range(2):
        np.testing.assert_allclose(np.concatenate(found.features[n::2]).astype(float).mean(0), 0, atol=2e-3)
    scale = scale_of(found.features)
    np.testing.assert_allclose(scale["mean"], 0, atol=2e-3)
    np.testing.assert_allclose(scale["deviation"], 1, atol=2e-3)
