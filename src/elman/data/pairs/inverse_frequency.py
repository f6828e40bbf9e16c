"""The words of a set of texts with their numbers, and how much each says: rare words say more than frequent ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from elman.data.text.subwords import split_sentence
from elman.data.text.vocabularies import load_vocabulary
from elman.data.text.words import END_OF_LINE, MOST_COUNTED, UNKNOWN, Words
from elman.errors import BrokenRun, DataError
from elman.storage.files import write_bytes
from elman.storage.ragged import read_array


class InverseFrequency:
    """Words, the most frequent first, and in how many texts each was seen.

    Args:
        words: numbered symbols.
        seen: (V,), in how many of the texts each word stands.
        texts: how many texts there were.
    """

    def __init__(self, words: Words, seen: NDArray[np.int64], texts: int) -> None:
        self.words, self.seen, self.texts = words, seen, texts
        self.number_of = {word: number for number, word in enumerate(words.words)}

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def build(cls, texts: Iterable[str], *, size: int) -> Self:
        """Count the words of texts.

        Args:
            texts: read once; memory is bounded as in `Words.build`.
            size: how many of the most frequent words are kept.

        Raises:
            DataError: the texts have no word.
        """
        counts: Counter[str] = Counter()
        number = 0
        for text in texts:
            number += 1
            counts.update(set(split_sentence(text)))
            if len(counts) > MOST_COUNTED:
                counts = Counter(dict(counts.most_common(MOST_COUNTED // 2)))
        if not counts:
            raise DataError("the texts have no words", should="letters, digits or signs", found="none")
        ranked = sorted(counts, key=lambda word: (-counts[word], word))[:size]
        seen = np.array([0, 0, *(counts[word] for word in ranked)], np.int64)
        return cls(Words([UNKNOWN, END_OF_LINE, *ranked]), seen, number)

    def extended(self, more: Iterable[str]) -> InverseFrequency:
        """Return a lexicon that numbers more words behind these, though no text has them."""
        new = [word for word in dict.fromkeys(more) if word not in self.number_of and word.split() == [word]]
        seen = np.append(self.seen, np.zeros(len(new), np.int64))
        return InverseFrequency(Words([*self.words.words, *new]), seen, self.texts)

    def save(self, folder: Path) -> None:
        """Write the words and their counts into a folder."""
        self.words.save(folder)
        buffer = BytesIO()
        np.save(buffer, np.append(self.seen, self.texts), allow_pickle=False)
        write_bytes(folder / "seen.npy", buffer.getvalue())

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            RunError: a file is missing or broken, or one does not fit the other.
        """
        words, seen = load_vocabulary(folder), read_array(folder / "seen.npy")
        fits = isinstance(words, Words) and seen.shape == (len(words) + 1,) and seen.dtype == np.int64
        if not fits or seen.min() < 0 or seen.max() > seen[-1] or seen[-1] < 1:
            raise BrokenRun(
                f"{folder}/seen.npy does not fit the vocabulary",
                should=f"{len(words) + 1} counts, the last the greatest",
                found=f"{seen.dtype} of shape {seen.shape}",
            )
        assert isinstance(words, Words)
        return cls(words, np.array(seen[:-1]), int(seen[-1]))

    def number(self, word: str) -> int:
        """Return the number of a word, that of `<unk>` for one that is not known."""
        return self.number_of.get(word, self.words.unknown)

    def weight(self, word: str) -> float:
        """Return log((N + 1) / (n + 1)) / log(N + 1): 1 for a word in none of the N texts, 0 for one in all.

        (Inverse document frequency, Sparck Jones 1972.)
        """
        seen = int(self.seen[self.number_of[word]]) if word in self.number_of else 0
        return math.log((self.texts + 1) / (seen + 1)) / math.log(self.texts + 1)
