"""Vocabularies of source and target, separate or joint, and pairs as their token ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from elman.data.skipped import SkippedRows
from elman.data.text.encoding import encode_line, in_pieces
from elman.data.text.vocabularies import VOCABULARIES, Vocabulary, load_vocabulary
from elman.data.text.vocabulary import Rereadable
from elman.data.translation.readers import SentencePair
from elman.data.translation.spool import SpooledPairs
from elman.errors import DataError
from elman.storage.files import exists

JOINT = "symbols"
"""The folder of a vocabulary that serves both sides; else there are two, "source" and "target"."""

EncodedPair = tuple[NDArray[np.int64], NDArray[np.int64]]
"""The token ids of a line and of its translation."""


class VocabularyPair(NamedTuple):
    """The vocabularies of both sides; one and the same where they are joint.

    Attributes:
        source: of the sources.
        target: of the targets.
    """

    source: Vocabulary
    target: Vocabulary

    @classmethod
    def learn(
        cls, parts: Sequence[Iterable[SentencePair]], folder: Path, *, kind: str, size: int | None, joint: bool
    ) -> Self:
        """Choose the symbols of both sides out of pairs, and keep them in the folder; no more than a piece is held.

        Args:
            parts: the pairs, which are read twice for each vocabulary.
            folder: where the vocabularies go.
            kind: a name in `VOCABULARIES`.
            size: the number of symbols, for the kinds that choose them.
            joint: whether one vocabulary serves both sides.

        Raises:
            SettingError, DataError: as `build_vocabulary`.
        """

        def build(name: str, sides: slice) -> Vocabulary:
            def pieces() -> Iterator[str]:
                return in_pieces(f" {line}\n" for part in parts for pair in part for line in pair[sides])

            vocabulary = VOCABULARIES[kind].build([Rereadable(pieces)], size=size)
            (folder / name).mkdir()
            vocabulary.save(folder / name)
            return vocabulary

        if joint:
            both = build(JOINT, slice(2))
            return cls(both, both)
        return cls(build("source", slice(0, 1)), build("target", slice(1, 2)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load what `learn` wrote.

        Raises:
            RunError: a vocabulary is missing or broken.
        """
        if exists(folder / JOINT):
            both = load_vocabulary(folder / JOINT)
            return cls(both, both)
        return cls(load_vocabulary(folder / "source"), load_vocabulary(folder / "target"))

    def with_unknown(self) -> Self:
        """Return the vocabularies that encode every text, see `Vocabulary.with_unknown`."""
        return type(self)(self.source.with_unknown(), self.target.with_unknown())

    def encode(self, pair: SentencePair) -> EncodedPair:
        """Return the token ids of both sides."""
        return encode_line(self.source, pair.source), encode_line(self.target, pair.target)

    def encode_short(
        self, pairs: SpooledPairs, max_symbols: int, skipped: SkippedRows
    ) -> Iterator[tuple[SentencePair, EncodedPair]]:
        """Yield the pairs of at most `max_symbols` symbols a line, encoded; the others are counted in `skipped`.

        Raises:
            DataError: all pairs are longer.
        """
        count = 0
        for number, pair in pairs.numbered():
            encoded = self.encode(pair)
            sizes = [len(ids) for ids in encoded]
            if max(sizes) <= max_symbols:
                count += 1
                yield pair, encoded
            else:
                side = 0 if sizes[0] > max_symbols else -1
                skipped.add(f"{pairs.names[side]}, line {number}: {sizes[side]} symbols")
        if not count:
            raise DataError(
                "every pair is too long",
                should=f"at most {max_symbols} symbols in each line",
                found=f"more in all {len(pairs)} pairs of {pairs.names[0]}",
                hint=f"--set max_symbols={5 * max_symbols}",
            )


def encode_within(
    vocabulary: Vocabulary, line: str, where: str, max_symbols: int, *, skip: str, settable: bool = False
) -> NDArray[np.int64]:
    """Return the token ids of a line that is not too long.

    Args:
        vocabulary: of its language.
        line: the text.
        where: its place, for the message.
        max_symbols: symbols at most.
        skip: how such a line is skipped, for the message.
        settable: whether the message proposes another `max_symbols`.

    Raises:
        DataError: the line has a character without a symbol, or too many symbols.
    """
    try:
        ids = encode_line(vocabulary, line)
    except DataError as error:
        raise error.amended(f"{where}: {error.what}", hint=f"{error.hint or 'leave it out'}; {skip}") from error
    if len(ids) > max_symbols:
        raise DataError(
            f"{where} is too long",
            should=f"at most {max_symbols} symbols",
            found=f"{len(ids)}: {line[:40]!r} ...",
            hint=f"cut it into sentences{f', or --set max_symbols={len(ids)}' if settable else ''}; {skip}",
        )
    return ids
