"""Encoded pairs of lines: the vocabularies of both sides, and both sides in mapped files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.files import checked_json, read_checked, write_json
from elman.data.parallel import Pair
from elman.data.sequences import Sequences
from elman.data.shuffled import pad
from elman.data.text import Document
from elman.data.vocabulary import Vocabulary, build_vocabulary, load_vocabulary
from elman.errors import AGAIN, RunError

JOINT = "symbols"
"""The folder of a vocabulary that serves both sides; else there are two, "source" and "target"."""


LARGEST_LINES = 2**30
"""Bytes of the pairs of lines that are kept to measure on."""


class Languages(NamedTuple):
    """The vocabularies of both sides; one and the same where they are joint."""

    source: Vocabulary
    target: Vocabulary

    @classmethod
    def learn(cls, pairs: Sequence[Pair], folder: Path, *, kind: str, size: int | None, joint: bool) -> Self:
        """Choose the symbols of both sides out of pairs, and keep them in the folder.

        Raises:
            SettingError, DataError: as `build_vocabulary`.
        """

        def build(name: str, lines: Iterable[str]) -> Vocabulary:
            text = "".join(f" {line}\n" for line in lines)
            found = build_vocabulary(kind, [Document(name, text)], size=size)
            (folder / name).mkdir()
            found.save(folder / name)
            return found

        if joint:
            both = build(JOINT, (line for pair in pairs for line in pair))
            return cls(both, both)
        return cls(build("source", (p.source for p in pairs)), build("target", (p.target for p in pairs)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load what `learn` kept.

        Raises:
            RunError: a vocabulary is missing or broken.
        """
        if (folder / JOINT).exists():
            both = load_vocabulary(folder / JOINT)
            return cls(both, both)
        return cls(load_vocabulary(folder / "source"), load_vocabulary(folder / "target"))

    def encode(self, pair: Pair) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the token ids of both sides."""
        return encode_line(self.source, pair.source), encode_line(self.target, pair.target)


def encode_line(vocabulary: Vocabulary, line: str) -> NDArray[np.int64]:
    """Return the token ids of a line; a space goes before, so that the first word is like all others."""
    return vocabulary.encode(f" {line}").astype(np.int64)


def symbols_of(vocabulary: Vocabulary, token_ids: Iterable[int]) -> list[str]:
    """Return the text of each symbol; a character that several make up stands at the last of them."""
    decoder = vocabulary.decoder()
    pieces = [decoder.push(int(token_id)) for token_id in token_ids]
    return [*pieces[:-1], pieces[-1] + decoder.finish()] if pieces else []


class Batch(NamedTuple):
    """Pairs side by side."""

    source_SB: Tensor
    lengths_B: Tensor  # of the sources
    target_TB: Tensor  # -100 beyond the ends


class Bitext(NamedTuple):
    """Encoded pairs."""

    source: Sequences
    target: Sequences

    @classmethod
    def of(cls, pairs: Iterable[Pair], languages: Languages) -> Self:
        """Encode pairs at hand, at least one."""
        source, target = zip(*(languages.encode(pair) for pair in pairs), strict=True)
        return cls(Sequences.of(source), Sequences.of(target))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map the pairs in a folder, which `write` wrote.

        Raises:
            RunError: they are missing or broken.
        """
        found = cls(Sequences.open(folder, "source"), Sequences.open(folder, "target"))
        if len(found.source) != len(found.target) or not all(part.values.dtype == np.int64 for part in found):
            raise RunError(
                f"the pairs in {folder} are broken",
                should="as many sources as targets, of token ids",
                found=f"{len(found.source)} and {len(found.target)}",
                hint=AGAIN,
            )
        return found

    def write(self, folder: Path) -> None:
        """Write the pairs into a folder."""
        Sequences.write(folder, "source", (self.source[n] for n in range(len(self.source))))
        Sequences.write(folder, "target", (self.target[n] for n in range(len(self.target))))

    @property
    def longer(self) -> NDArray[np.int64]:
        """Symbols of the longer side of each pair."""
        return np.maximum(self.source.lengths, self.target.lengths)

    def up_to(self, longest: int) -> Self:
        """Return the pairs of which neither side is empty or longer than `longest` symbols."""
        kept = np.flatnonzero((np.minimum(self.source.lengths, self.target.lengths) > 0) & (self.longer <= longest))
        if not len(kept):
            return type(self)(*(Sequences(part.values[:0], part.ends[:0]) for part in self))
        return type(self)(*(Sequences.of([part[int(n)] for n in kept]) for part in self))

    @property
    def fingerprint(self) -> str:
        """What changes with every change of the pairs."""
        return self.source.fingerprint + self.target.fingerprint

    def batch(self, chosen: NDArray[np.int64]) -> Batch:
        """Return these pairs as a batch."""
        source, lengths = pad([self.source[int(n)] for n in chosen])
        target, _ = pad([self.target[int(n)] for n in chosen], fill=-100)
        return Batch(torch.from_numpy(source), torch.from_numpy(lengths), torch.from_numpy(target))


def write_lines(path: Path, pairs: Sequence[Pair]) -> None:
    """Keep pairs as they are, to measure on."""
    write_json(path, [list(pair) for pair in pairs])


def read_lines(path: Path) -> list[Pair]:
    """Return what `write_lines` kept.

    Raises:
        RunError: the file is missing or broken.
    """

    def understand(content: bytes) -> list[Pair]:
        pairs = [Pair(source, target) for source, target in checked_json(content)]
        if not pairs or not all(isinstance(line, str) for pair in pairs for line in pair):
            raise ValueError("no pairs of lines")
        return pairs

    pairs: list[Pair] = read_checked(path, "pairs of lines", understand, largest=LARGEST_LINES)
    return pairs
