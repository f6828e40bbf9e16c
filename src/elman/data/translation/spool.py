"""Spool of pairs of lines: read once, from files or pipes, and stored on disk while symbols are chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Self

from elman.data.translation.readers import SentencePair
from elman.storage.files import written_beside


@dataclass(frozen=True)
class SpooledPairs:
    """Pairs in a file, which can be read again and again in constant memory.

    Attributes:
        path: the file: three lines for each pair, the number of the line that it is from, source and target.
        names: what messages call the file, or the two files, that they are from.
        begin: the first pair that counts.
        end: the one behind the last.
    """

    path: Path
    names: tuple[str, ...]
    begin: int
    end: int

    @classmethod
    def write(cls, path: Path, names: tuple[str, ...], pairs: Iterable[tuple[int, SentencePair]]) -> Self:
        """Write pairs, with the numbers of their lines, as they come.

        Raises:
            RunError: the file cannot be written.
        """
        count = 0
        with written_beside(path) as file:
            for number, pair in pairs:
                file.write(f"{number}\n{pair.source}\n{pair.target}\n".encode())
                count += 1
        return cls(path, names, 0, count)

    def __len__(self) -> int:
        return self.end - self.begin

    def cut(self, count: int) -> tuple[Self, Self]:
        """Return the first `count` pairs and the others."""
        middle = self.begin + count
        return replace(self, end=middle), replace(self, begin=middle)

    def __iter__(self) -> Iterator[SentencePair]:
        return (pair for _, pair in self.numbered())

    def numbered(self) -> Iterator[tuple[int, SentencePair]]:
        """Yield the pairs with the numbers of the lines that they are from."""
        with self.path.open("rb") as file:
            rows = zip(file, file, file, strict=True)
            for number, source, target in islice(rows, self.begin, self.end):
                yield int(number), SentencePair(source[:-1].decode(), target[:-1].decode())
