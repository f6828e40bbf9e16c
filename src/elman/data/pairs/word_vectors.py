"""Word vectors from the usual text formats: a word and its numbers on each line (GloVe, word2vec and fastText)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elman.data.pairs.inverse_frequency import InverseFrequency
from elman.data.text.documents import read_text
from elman.data.text.lines import document_lines
from elman.errors import DataError
from elman.storage.npy_rows import write_rows

Vectors = dict[str, NDArray[np.float32]]


def read_vectors(path: Path, known: Collection[str], *, more: int = 0) -> Vectors:
    """Read the vectors of known words, and those of the first `more` words of the file, which are its most frequent.

    A first line of two numbers (word2vec, fastText) says how many there are and is not needed. Memory grows with what
    is kept, not with the file. A word in capitals counts where the file has it in no other way.

    Raises:
        DataError: the file cannot be read, a line is not a word and numbers, or no known word is in it.
    """
    (document,) = read_text(path)
    found: Vectors = {}
    in_capitals: Vectors = {}
    size = 0
    for number, line in enumerate(document_lines(document), 1):
        cells = line.rstrip().split(" ") if " " in line.strip() else line.split()
        if number == 1 and len(cells) == 2:
            continue
        size = size or len(cells) - 1
        word = " ".join(cells[: len(cells) - size])  # a few words of GloVe have blanks in them
        lower = word.lower()
        if lower not in known and number > more:
            if len(cells) <= size:
                raise _broken(path, number, size, line)
            continue
        group = found if word == lower else in_capitals
        if lower not in group:
            group[lower] = _numbers(path, number, size, cells, line)
    vectors = {**in_capitals, **found}
    if not any(word in vectors for word in known):
        raise DataError(
            f"{path} has a vector for no word of the data",
            should="word vectors for the language of the texts",
            found=f"{len(vectors)} other words" if vectors else "none",
            hint="a file as GloVe's glove.6B.100d.txt or fastText's wiki.en.vec",
        )
    return vectors


def _numbers(path: Path, number: int, size: int, cells: list[str], line: str) -> NDArray[np.float32]:
    try:
        vector = np.array(cells[len(cells) - size :], np.float32)
    except ValueError:
        raise _broken(path, number, size, line) from None
    if len(cells) <= size or size < 1 or not np.isfinite(vector).all():
        raise _broken(path, number, size, line)
    return vector


def _broken(path: Path, number: int, size: int, line: str) -> DataError:
    return DataError(
        f"{path}, line {number} is not a word vector",
        should=f"a word and {size or 'its'} numbers, with blanks between them",
        found=repr(line[:60]),
        hint="a text file (.txt or .vec); the binary format of word2vec is not read",
    )


def unit_vectors(vectors: Vectors, words: list[str]) -> Iterator[NDArray[np.float32]]:
    """Yield the vector of each word, (1, D), of length 1; zeros for a word that has none."""
    zeros = np.zeros_like(next(iter(vectors.values())))
    for word in words:
        vector = vectors.get(word, zeros)
        yield vector[None] / max(float(np.linalg.norm(vector)), 1e-12)


def add_vectors(words: InverseFrequency, path: Path, folder: Path, *, extra: int) -> InverseFrequency:
    """Write the vectors of words into vectors.npy, and return the words with the first `extra` words of the file.

    Raises:
        DataError: as `read_vectors`.
        RunError: the vectors cannot be written.
    """
    vectors = read_vectors(path, words.number_of, more=extra)
    extended = words.extended(vectors)
    write_rows(folder / "vectors.npy", unit_vectors(vectors, extended.words.words))
    return extended
