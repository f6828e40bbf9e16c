"""Short texts as words, and words as overlapping pieces, so that a word never seen before still resembles others."""

from __future__ import annotations

import re
import unicodedata
import zlib

import numpy as np
from numpy.typing import NDArray

# Chinese characters and Japanese syllables stand without spaces, so each is a word; else letters and digits that hang
# together, with an apostrophe inside (don't), and every other sign alone.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+(?:['’][^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+)*|[^\w\s]"
)

SHORTEST, LONGEST = 3, 4
"""Characters of a piece of a word."""


def split_sentence(text: str) -> list[str]:
    """Return the words and signs of a text, in lower case and Unicode's compatible composed form (NFKC)."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


def pieces_of(word: str) -> list[str]:
    """Return the different pieces of three and four characters of `<word>`, the marks of its ends included.

    (Bojanowski et al. 2017, https://arxiv.org/abs/1607.04606.) A sign alone is the one piece that it is.
    """
    marked = f"<{word}>"
    found = (marked[i : i + n] for n in range(SHORTEST, LONGEST + 1) for i in range(len(marked) - n + 1))
    return list(dict.fromkeys(found)) or [marked]


def hashed(pieces: list[str], buckets: int) -> NDArray[np.int64]:
    """Return the bucket of each piece, (pieces,), the same on every machine."""
    return np.array([zlib.crc32(piece.encode("utf-8", "replace")) % buckets for piece in pieces], np.int64)
