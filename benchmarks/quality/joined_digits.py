"""Connected digits: recordings of single ones (FSDD) joined with pauses, as a table and sounds for transcription."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 8000
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEST = 5  # recordings with a number below it are the official test part
PAUSE = (0.05, 0.4)  # seconds between two digits; before the first and after the last one from 0 on
NOISE = 0.001  # of full scale: a faint hiss over all, so that pauses are not digital silence
SENTENCES = {"train": 400, "test": 40}  # of each speaker


def joined_digits(heard: Sequence[str] = (), judged: Sequence[str] = ()) -> Callable[[Path, Path], Path]:
    """Return what writes train.tsv, test.tsv and single.tsv with columns path, text and speaker.

    The sentences for training have 1 to 7 digits out of the recordings for training, which stand among them as they
    are too; those for the test have 3 to 7 out of the official test recordings; each is spoken by one person.
    single.tsv holds the test recordings as they are.

    Args:
        heard: the speakers of the training part; none for all.
        judged: those of the test; none for all.
    """

    def make(data: Path, folder: Path) -> Path:
        recordings = sorted((data / "fsdd").glob("*.wav"))
        everybody = sorted({path.stem.split("_")[1] for path in recordings})
        rng = np.random.default_rng(1)
        for part, speakers, least in (("train", heard or everybody, 1), ("test", judged or everybody, 3)):
            (folder / part).mkdir()
            rows = []
            for speaker in speakers:
                chosen = [path for path in recordings if is_of(path, speaker, test=part == "test")]
                rows += write_sentences(chosen, folder / part, SENTENCES[part], least, rng)
                rows += single_digits(chosen) if part == "train" else []
            write_table(folder / f"{part}.tsv", rows)
        singles = [path for speaker in judged or everybody for path in recordings if is_of(path, speaker, test=True)]
        write_table(folder / "single.tsv", single_digits(singles))
        return folder

    return make


def is_of(path: Path, speaker: str, *, test: bool) -> bool:
    """Return whether a recording is of a speaker, and of the test or the training part."""
    _, name, number = path.stem.split("_")
    return name == speaker and (int(number) < TEST) == test


def single_digits(recordings: Sequence[Path]) -> list[tuple[Path, str]]:
    """Return recordings as they are, and what is said in each."""
    return [(path, NAMES[int(path.stem[0])]) for path in recordings]


def write_sentences(
    recordings: Sequence[Path], folder: Path, count: int, least: int, rng: np.random.Generator
) -> list[tuple[Path, str]]:
    """Write sentences of `least` to 7 digits of one speaker, and return the files and what is said."""
    sounds = {path: soundfile.read(path, dtype="float32")[0] for path in recordings}
    rows = []
    for n in range(count):
        chosen = [recordings[i] for i in rng.integers(len(recordings), size=rng.integers(least, 8))]
        pieces: list[NDArray[np.float32]] = [pause(0.0, rng)]
        for path in chosen:
            pieces += [sounds[path], pause(PAUSE[0], rng)]
        pieces[-1] = pause(0.0, rng)
        sound = np.concatenate(pieces)
        hiss = NOISE * rng.standard_normal(len(sound))
        file = folder / f"{recordings[0].stem.split('_')[1]}_{n:04d}.wav"
        soundfile.write(file, np.clip(sound + hiss, -1, 1), RATE, subtype="PCM_16")
        rows.append((file, " ".join(NAMES[int(path.stem[0])] for path in chosen)))
    return rows


def pause(least: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return silence of a random length."""
    return np.zeros(round(float(rng.uniform(least, PAUSE[1])) * RATE), np.float32)


def write_table(path: Path, rows: Sequence[tuple[Path, str]]) -> None:
    """Write a table with the columns path, text and speaker."""
    lines = [f"{file}\t{text}\t{speaker_of(file)}" for file, text in rows]
    path.write_text("\n".join(["path\ttext\tspeaker", *lines]) + "\n")


def speaker_of(path: Path) -> str:
    """Return who speaks: a name of a sentence begins with it, that of a recording has it second."""
    first, second, *_ = path.stem.split("_")
    return second if first.isdigit() else first
