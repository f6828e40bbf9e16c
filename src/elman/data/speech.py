"""Spoken sentences: a table of files and what is said in them, and the features of each, computed once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.default_morse import RATE, Message
from elman.data.files import write_json
from elman.data.lips import Lips
from elman.data.moments import Moments, normalise_speakers
from elman.data.parallel import lines_of
from elman.data.sequences import Sequences
from elman.data.shuffled import pad
from elman.data.utterance import SoundFeatures
from elman.data.vocabulary import Vocabulary
from elman.errors import AGAIN, DataError, RunError


class Spoken(NamedTuple):
    """What is said, and where: a file, or samples at hand."""

    source: Path | NDArray[np.float32]
    text: str
    speaker: str = ""


def read_table(path: Path, *, columns: tuple[str, ...] = ("path", "text")) -> Iterator[Spoken]:
    """Yield the rows of a table with tabs whose first line names its columns; paths are relative to its folder.

    Args:
        path: the table.
        columns: of the files and of what is said in them; a third one says who speaks.

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
            should=f"a first line with {', '.join(columns[:-1])} and {columns[-1]}, tabs between",
            found=", ".join(head)[:200] or "an empty first line",
            hint=" ".join(f"--set {name}_column=NAME" for name in ("path", "text", "speaker")[: len(columns)]),
        )
    places = [head.index(name) for name in columns]
    count = 0
    for number, line in enumerate(lines, 2):
        if not line:
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) <= max(places) or not all(cells[place] for place in places):
            raise DataError(
                f"{path}, line {number}: a cell is missing",
                should=", tab, ".join(columns),
                found=repr(line[:80]),
                hint="mend or remove the line",
            )
        count += 1
        file, text, *speaker = (cells[place] for place in places)
        yield Spoken(path.parent / file, " ".join(text.split()), *speaker)
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
    def write(
        cls, folder: Path, features: Sequence[NDArray[np.float16]], texts: Sequence[str], vocabulary: Vocabulary
    ) -> Self:
        """Keep sentences in a folder."""
        Sequences.write(folder, "input", features)
        Sequences.write(folder, "target", (vocabulary.encode(text).astype(np.int64) for text in texts))
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


class Collected(NamedTuple):
    """Sentences with their features.

    Attributes:
        features: (T, F) each.
        rows: the sentences, as many.
        bad: the messages of the files that were left out.
        notes: what was done to files, or is wrong with them, and of how many that is true.
    """

    features: list[NDArray[np.float16]]
    rows: list[Spoken]
    bad: list[str]
    notes: Counter[str]

    @property
    def texts(self) -> list[str]:
        """What is said in them."""
        return [row.text for row in self.rows]


def collected(
    rows: Iterable[Spoken],
    features: SoundFeatures | Lips,
    *,
    skip_bad: bool,
    by_speaker: bool = False,
    copies: int = 1,
) -> Collected:
    """Compute the features of sentences one by one.

    Args:
        rows: the sentences.
        features: how they are computed.
        skip_bad: broken files are left out instead of refused.
        by_speaker: the features are normalised over all sentences of a speaker.
        copies: of each video, a little moved.

    Raises:
        DataError: a file is broken and `skip_bad` is false, or all are.
    """
    found = Collected([], [], [], Counter())
    for row in rows:
        try:
            several = features.varied(row.source, copies)  # type: ignore[arg-type]
        except DataError as error:
            if not skip_bad:
                hint = f"{error.hint or 'mend the file'}, or --skip-bad"
                raise DataError(error.what, should=error.should, found=error.found, hint=hint) from error
            found.bad.append(error.what)
            continue
        found.features.extend(utterance.features for utterance in several)
        found.rows.extend([row] * len(several))
        found.notes.update(several[0].notes)
    if not found.rows:
        first = found.bad[0] if found.bad else "no files"
        raise DataError("every file is broken", should="files that can be read", found=first)
    if by_speaker:
        found.features[:] = normalise_speakers(found.features, [row.speaker for row in found.rows])
    return found


def scale_of(utterances: Sequence[NDArray[np.float16]]) -> dict[str, list[float]]:
    """Return mean and deviation of each feature over all steps."""
    moments = Moments(utterances[0].shape[1])
    for features in utterances:
        moments.add(features)
    return {"mean": moments.mean.tolist(), "deviation": moments.deviation.tolist()}


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
