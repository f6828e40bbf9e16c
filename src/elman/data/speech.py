"""Spoken sentences: a table of files and what is said in them, and the features of each, computed once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.default_morse import RATE, Message
from elman.data.files import write_json
from elman.data.lips import Lips
from elman.data.mel import log_mel
from elman.data.parallel import lines_of
from elman.data.sequences import Sequences
from elman.data.shuffled import pad
from elman.data.sound import read_sound, trim_silence
from elman.data.vocabulary import Vocabulary
from elman.errors import AGAIN, DataError, RunError

STEP = 0.01  # seconds from one step of sound to the next


class Spoken(NamedTuple):
    """What is said, and where: a file, or samples at hand."""

    source: Path | NDArray[np.float32]
    text: str


@dataclass(frozen=True)
class SoundFeatures:
    """Log-mel energies of sound.

    Attributes:
        rate: samples a second; a file of another rate is resampled.
        bands: F.
        trim: silence at the beginning and at the end is left out.
        longest: seconds; a longer sound is refused.
    """

    rate: int
    bands: int
    trim: bool
    longest: float

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return STEP

    def of(self, source: Path | NDArray[np.float32]) -> NDArray[np.float16]:
        """Return (T, F) of a file, or of samples at hand, which have the right rate.

        Raises:
            DataError: the file cannot be read.
        """
        samples = self.read(source) if isinstance(source, Path) else source
        if self.trim:
            samples = trim_silence(samples, self.rate)
        return self.of_samples(samples).astype(np.float16)

    def read(self, path: Path) -> NDArray[np.float32]:
        """Return the samples of a file, at the right rate."""
        return read_sound(path, self.rate, longest=self.longest).samples

    def of_samples(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (T, F) of samples; frame t covers them from t * step on, for 25 ms."""
        return log_mel(samples, self.rate, bands=self.bands, step=STEP)


def read_table(path: Path, *, columns: tuple[str, str] = ("path", "text")) -> Iterator[Spoken]:
    """Yield the rows of a table with tabs whose first line names its columns; paths are relative to its folder.

    Raises:
        DataError: the table is missing, or has no such columns, a row is short, or a text is empty; file and line are
            named.
    """
    lines = lines_of(path)
    first = next(lines, None)
    if first is None:
        raise DataError(f"{path} is empty", should="a table of files and what is said in them", found="0 lines")
    head = first.split("\t")
    missing = [name for name in columns if name not in head]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]!r}",
            should=f"a first line with {' and '.join(columns)}, tabs between",
            found=", ".join(head)[:200] or "an empty first line",
            hint="--set path_column=NAME --set text_column=NAME",
        )
    place, said = (head.index(name) for name in columns)
    count = 0
    for number, line in enumerate(lines, 2):
        if not line:
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) <= max(place, said) or not cells[place] or not cells[said]:
            raise DataError(
                f"{path}, line {number}: a cell is missing",
                should=f"{columns[0]}, tab, {columns[1]}",
                found=repr(line[:80]),
                hint="mend or remove the line",
            )
        count += 1
        yield Spoken(path.parent / cells[place], " ".join(cells[said].split()))
    if not count:
        raise DataError(f"{path} has no rows", should="files and what is said in them", found="none")


class Batch(NamedTuple):
    """Sentences side by side."""

    input_TBI: Tensor  # float32
    lengths_B: Tensor
    target_BS: Tensor  # numbers of symbols, 0 beyond the sizes
    sizes_B: Tensor


class Speech(NamedTuple):
    """Features of sentences, and the numbers of what is said in them."""

    input: Sequences  # float16, (T, I)
    target: Sequences  # int64, (S,)

    @classmethod
    def write(cls, folder: Path, rows: Sequence[tuple[NDArray[np.float16], str]], vocabulary: Vocabulary) -> Self:
        """Keep sentences in a folder."""
        Sequences.write(folder, "input", (features for features, _ in rows))
        Sequences.write(folder, "target", (vocabulary.encode(text).astype(np.int64) for _, text in rows))
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map what `write` kept.

        Raises:
            RunError: it is missing or broken.
        """
        found = cls(Sequences.open(folder, "input"), Sequences.open(folder, "target"))
        fits = found.input.values.ndim == 2 and found.target.values.ndim == 1 and found.target.values.dtype == np.int64
        if len(found.input) != len(found.target) or not fits:
            raise RunError(
                f"the sentences in {folder} are broken",
                should="features (T, I) and as many rows of symbols",
                found=f"{len(found.input)} and {len(found.target)}",
                hint=AGAIN,
            )
        return found

    @property
    def fingerprint(self) -> str:
        """What changes with every change of the data."""
        return self.input.fingerprint + self.target.fingerprint

    def batch(self, chosen: NDArray[np.int64]) -> Batch:
        """Return these sentences as a batch."""
        features, lengths = pad([self.input[int(n)] for n in chosen])
        target, sizes = pad([self.target[int(n)] for n in chosen])
        found = (features.astype(np.float32), lengths, np.ascontiguousarray(target.T), sizes)
        return Batch(*(torch.from_numpy(array) for array in found))


def featured(
    rows: Sequence[Spoken], of: Callable[[Any], NDArray[np.float16]], *, skip_bad: bool
) -> tuple[list[tuple[NDArray[np.float16], str]], list[str]]:
    """Compute the features of sentences one by one.

    Returns:
        The features with the texts, and the messages of the files that were left out.

    Raises:
        DataError: a file is broken and `skip_bad` is false, or all are.
    """
    kept, bad = [], []
    for row in rows:
        try:
            kept.append((of(row.source), row.text))
        except DataError as error:
            if not skip_bad:
                raise DataError(
                    error.what, should=error.should, found=error.found, hint="mend the file, or --skip-bad"
                ) from error
            bad.append(error.what)
    if not kept:
        raise DataError("every file is broken", should="files that can be read", found=bad[0] if bad else "no files")
    return kept, bad


def scale_of(rows: Sequence[tuple[NDArray[np.float16], str]]) -> dict[str, list[float]]:
    """Return mean and deviation of each feature over all steps."""
    count = sum(len(features) for features, _ in rows)
    mean = sum(features.sum(0, dtype=np.float64) for features, _ in rows) / count
    square = sum(((features - mean) ** 2).sum(0) for features, _ in rows) / count
    return {"mean": mean.tolist(), "deviation": np.sqrt(square + 1e-4).tolist()}


def write_features(folder: Path, features: SoundFeatures | Lips) -> None:
    """Keep how features are computed."""
    if isinstance(features, Lips):
        features.save(folder)
    else:
        write_json(folder / "features.json", asdict(features))


def read_features(folder: Path) -> SoundFeatures | Lips:
    """Return what `write_features` kept.

    Raises:
        RunError: it is missing or broken.
    """
    if (folder / Lips.filename).exists():
        return Lips.load(folder)
    content = read_numbers(folder / "features.json")
    try:
        return SoundFeatures(**content)
    except TypeError as error:
        raise RunError(f"{folder}/features.json is broken", found=str(error), hint=AGAIN) from error


def read_numbers(path: Path) -> dict[str, Any]:
    """Return a JSON object of a run.

    Raises:
        RunError: it is missing or broken.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("no object")
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} is broken", should="a JSON object", found=str(error)[:200], hint=AGAIN) from error
    return content


def of_messages(messages: Iterator[Message]) -> list[Spoken]:
    """Return messages in Morse code as sentences; their rate is `default_morse.RATE`."""
    return [Spoken(message.samples, message.text) for message in messages]


DEFAULT_RATE = RATE
