"""Words of short texts, and hashed character n-grams of words, so that unseen words resemble others."""

from __future__ import annotations

import re
import unicodedata
import zlib

import numpy as np
from numpy.typing import NDArray

# Each Chinese character and Japanese syllable is a word, as they are written without spaces; so is a run of letters and
# digits, with an apostrophe inside (don't), and every other sign.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+(?:['’][^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+)*|[^\w\s]"
)

SHORTEST, LONGEST = 3, 4
"""The lengths of the character n-grams."""


def split_sentence(text: str) -> list[str]:
    """Return the words and signs of a text, in lower case and Unicode normalisation form NFKC."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


def character_ngrams(word: str) -> list[str]:
    """Return the distinct character 3-grams and 4-grams of `<word>`, with the marks of its ends.

    (Bojanowski et al. 2017, https://arxiv.org/abs/1607.04606.) A word without any is its own n-gram.
    """
    marked = f"<{word}>"
    ngrams = (marked[i : i + n] for n in range(SHORTEST, LONGEST + 1) for i in range(len(marked) - n + 1))
    return list(dict.fromkeys(ngrams)) or [marked]


def hash_buckets(ngrams: list[str], buckets: int) -> NDArray[np.int64]:
    """Return the hash bucket of each n-gram, (ngrams,), the same on every machine."""
    return np.array([zlib.crc32(ngram.encode("utf-8", "replace")) % buckets for ngram in ngrams], np.int64)
