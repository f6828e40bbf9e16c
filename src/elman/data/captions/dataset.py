"""Data set of captioned pictures: pictures in a mapped file, and captions beside it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from elman.data.text.documents import Document
from elman.data.text.encoding import encode_line
from elman.data.text.subwords import split_sentence
from elman.data.text.vocabularies import build_vocabulary
from elman.data.text.vocabulary import Vocabulary
from elman.errors import BrokenRun, DataError
from elman.storage import records
from elman.storage.ragged import RaggedArrays

LARGEST_CAPTIONS = 1 << 29
"""The most bytes of the file of captions in a run; those of COCO's 118,000 pictures take 50 million."""

BYTES_PER_PICTURE = 1 << 16
"""The most bytes of that file for each picture, on average."""

LIMIT = float(np.finfo(np.float32).max)


def normalise_caption(caption: str) -> str:
    """Return a caption as a model reads and writes it: words in lower case, without punctuation, single spaces."""
    return " ".join(word for word in split_sentence(caption) if any(map(str.isalnum, word)))


def caption_vocabulary(
    texts: Iterable[Sequence[str]], kind: str, *, size: int | None = None, min_count: int = 1
) -> Vocabulary:
    """Build the vocabulary of captions.

    Args:
        texts: the captions of each picture.
        kind: "words", "characters" or "bpe".
        size: maximum number of symbols, for words and bpe.
        min_count: rarer words are unknown, though there is at least one word.
    """
    captions = [text for row in texts for text in row]
    if kind == "words":
        counts = Counter(word for text in captions for word in text.split())
        frequent = 2 + max(1, sum(count >= min_count for count in counts.values()))  # with <unk> and <eos>
        size = min(frequent, size or frequent)
    document = Document("the captions", "".join(f" {text}\n" for text in captions))
    return build_vocabulary(kind, [document], size=size)


class CaptionDataset:
    """Pictures and their captions.

    Args:
        values: (pictures, H, W, 3) uint8, or (pictures, S, F) float32.
        texts: the captions of each picture, as `normalise_caption` returns them.
        names: of the pictures.
        vocabulary: of the captions.
        no_flip_words: words that are no longer true when the picture is flipped.
        folder: where the pictures are; None: nowhere.

    Raises:
        DataError: a caption has a character that the vocabulary does not know.
    """

    def __init__(
        self,
        values: NDArray[Any],
        texts: Sequence[Sequence[str]],
        names: Sequence[str],
        vocabulary: Vocabulary,
        *,
        no_flip_words: Iterable[str] = (),
        folder: Path | None = None,
    ) -> None:
        self.values, self.texts, self.names, self.folder = values, texts, names, folder
        banned = set(no_flip_words)
        self.flips = np.array([banned.isdisjoint(" ".join(captions).split()) for captions in texts])
        self.targets = [_encoded(vocabulary, name, captions) for name, captions in zip(names, texts, strict=True)]

    @classmethod
    def open(cls, folder: Path, vocabulary: Vocabulary, *, no_flip_words: Iterable[str] = ()) -> Self:
        """Map the pictures that `write_pictures` wrote.

        Raises:
            RunError: they are missing or broken.
        """
        pictures = RaggedArrays.open(folder, "picture")
        values, (names, texts) = pictures.values, read_captions(folder, len(pictures))
        fits = (values.ndim == 4 and values.shape[3] == 3 and values.dtype == np.uint8) or (
            values.ndim == 3 and values.dtype == np.float32
        )
        if not fits or len(values) != len(texts) or not pictures.within(-LIMIT, LIMIT):
            raise BrokenRun(
                f"the pictures in {folder} are broken",
                should=f"{len(texts)} pictures (H, W, 3) uint8, or features (S, F) float32",
                found=f"{values.dtype} of shape {values.shape}",
            )
        return cls(values, texts, names, vocabulary, no_flip_words=no_flip_words, folder=folder)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the pictures and captions."""
        hasher = hashlib.sha256(json.dumps([list(self.names), [list(row) for row in self.texts]]).encode())
        hasher.update(f"{self.values.dtype.str}{self.values.shape}".encode())
        for begin in range(0, len(self.values), 256):
            hasher.update(np.ascontiguousarray(self.values[begin : begin + 256]).data)
        return hasher.hexdigest()


def _encoded(vocabulary: Vocabulary, name: str, captions: Sequence[str]) -> list[NDArray[np.int64]]:
    try:
        return [encode_line(vocabulary, caption) for caption in captions]
    except DataError as error:
        raise error.amended(f"a caption of {name}: {error.what}") from error


def write_pictures(
    folder: Path, pictures: Iterable[tuple[NDArray[Any], str, Sequence[str]]], shape: tuple[int, ...] | None = None
) -> list[list[str]]:
    """Write pictures into a folder, one by one, and return their captions.

    Args:
        folder: where they go; it is created if it does not exist.
        pictures: of each the numbers, the name and the captions, at least one, as `normalise_caption` returns them.
        shape: of each; None: that of the first.

    Raises:
        DataError: there is none, or one has another shape.
    """
    names: list[str] = []
    texts: list[list[str]] = []

    def values(shape: tuple[int, ...] | None = shape) -> Iterable[NDArray[Any]]:
        for array, name, captions in pictures:
            shape = shape or array.shape
            if array.shape != shape:
                raise DataError(f"{name} has another shape", should=f"{shape}", found=f"{array.shape}")
            names.append(name)
            texts.append(list(captions))
            yield array[None]

    folder.mkdir(exist_ok=True)
    RaggedArrays.write(folder, "picture", values())
    records.write(folder / "captions.json", _CaptionsRecord(names, texts))
    return texts


def read_captions(folder: Path, count: int) -> tuple[list[str], list[list[str]]]:
    """Return the names of the pictures in a folder, which are so many, and their captions.

    Raises:
        RunError: they are missing or broken.
    """
    largest = min(LARGEST_CAPTIONS, BYTES_PER_PICTURE * (1 + count))
    record = records.read(folder / "captions.json", _CaptionsRecord, "names and captions", largest=largest)
    return record.names, record.texts


@dataclass(frozen=True)
class _CaptionsRecord:
    """What captions.json holds."""

    names: list[str]
    texts: list[list[str]]

    def check(self) -> None:
        if not len(self.names) == len(self.texts) > 0 or not all(self.texts):
            raise ValueError("no names and captions")
