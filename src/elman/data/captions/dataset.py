"""Data set of captioned pictures: pictures in a mapped file, captions beside it, and batches of both."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.batching import IGNORED, pad
from elman.data.text.encoding import encode_line
from elman.data.text.subwords import split_sentence
from elman.data.text.vocabularies import Vocabulary
from elman.errors import BrokenRun, DataError
from elman.storage.files import checked_json, read_checked, write_json
from elman.storage.ragged import RaggedArrays

LARGEST_CAPTIONS = 1 << 30
"""Bytes of the file of captions in a run; those of COCO's 118,000 pictures take 50 million."""


def normalise_caption(caption: str) -> str:
    """Return a caption as a model reads and writes it: words in lower case, without punctuation, single spaces."""
    return " ".join(word for word in split_sentence(caption) if any(map(str.isalnum, word)))


def count_symbols(texts: Iterable[Sequence[str]], *, rare: int) -> int:
    """Return how many symbols there are with a word for each that comes at least `rare` times, <unk> and <eos> counted.

    Of words there is at least one.
    """
    counts = Counter(word for captions in texts for text in captions for word in text.split())
    return 2 + max(1, sum(count >= rare for count in counts.values()))


class CaptionBatch(NamedTuple):
    """B pictures with N captions.

    Attributes:
        picture_B: (B, H, W, 3) uint8, or features (B, S, F) float32.
        turns_B: whether a picture may be mirrored.
        target_TN: token ids, -100 beyond the ends.
        of_N: the number of the picture of each caption, rising.
        symbol_X: the different symbols of all captions of each picture, also of those that were not drawn.
        symbol_of_X: the number of the picture of each of these, rising.
    """

    picture_B: Tensor
    turns_B: Tensor
    target_TN: Tensor
    of_N: Tensor
    symbol_X: Tensor
    symbol_of_X: Tensor


class CaptionDataset:
    """Pictures and their captions.

    Args:
        values: (pictures, H, W, 3) uint8, or (pictures, S, F) float32.
        texts: the captions of each picture, as `normalise_caption` returns them.
        names: of the pictures.
        vocabulary: of the captions.
        sided: words that no longer hold when the picture is mirrored.

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
        sided: Iterable[str] = (),
    ) -> None:
        self.values, self.texts, self.names = values, texts, names
        banned = set(sided)
        self.turns = np.array([banned.isdisjoint(" ".join(captions).split()) for captions in texts])
        self.targets = [_encoded(vocabulary, name, captions) for name, captions in zip(names, texts, strict=True)]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def fingerprint(self) -> str:
        """What changes with every change of the pictures or captions."""
        return fingerprint_pictures(self.values, self.names, self.texts)

    def batch(self, chosen: NDArray[np.int64], most: int = 0) -> CaptionBatch:
        """Return these pictures with all their captions, or with `most` of them, drawn from torch's random state."""
        rows: list[NDArray[np.int64]] = []
        owners: list[int] = []
        for b, n in enumerate(chosen):
            captions = self.targets[int(n)]
            order = torch.randperm(len(captions)).tolist()[:most] if most else range(len(captions))
            rows += [captions[k] for k in order]
            owners += [b] * len(order)
        target, _ = pad(rows, fill=IGNORED)
        symbols = [np.unique(np.concatenate(self.targets[int(n)])) for n in chosen]
        return CaptionBatch(
            torch.from_numpy(np.stack([self.values[int(n)] for n in chosen])),
            torch.from_numpy(self.turns[chosen]),
            torch.from_numpy(target),
            torch.tensor(owners),
            torch.from_numpy(np.concatenate(symbols)),
            torch.from_numpy(np.repeat(np.arange(len(symbols)), [len(each) for each in symbols])),
        )


def _encoded(vocabulary: Vocabulary, name: str, captions: Sequence[str]) -> list[NDArray[np.int64]]:
    try:
        return [encode_line(vocabulary, caption) for caption in captions]
    except DataError as error:
        raise error.amended(f"a caption of {name}: {error.what}") from error


def write_pictures(
    folder: Path, pictures: Iterable[tuple[NDArray[Any], str, Sequence[str]]]
) -> tuple[list[list[str]], str]:
    """Write pictures into a folder, one by one, and return their captions and what changes with every change of them.

    Args:
        folder: where they go.
        pictures: of each the numbers, the name and the captions, at least one, as `normalise_caption` returns them.

    Raises:
        DataError: there is none, or one is not like the others.
    """
    names: list[str] = []
    texts: list[list[str]] = []

    def values() -> Iterable[NDArray[Any]]:
        first = None
        for array, name, captions in pictures:
            first = array if first is None else first
            if array.shape != first.shape:
                raise DataError(
                    f"{name} is not like the others", should=f"shape {first.shape}", found=f"shape {array.shape}"
                )
            names.append(name)
            texts.append(list(captions))
            yield array[None]

    written = RaggedArrays.write(folder, "picture", values())
    write_json(folder / "captions.json", {"names": names, "texts": texts})
    return texts, fingerprint_pictures(written.values, names, texts)


def fingerprint_pictures(values: NDArray[Any], names: Sequence[str], texts: Sequence[Sequence[str]]) -> str:
    """Return SHA-256 of pictures and captions, in hexadecimal."""
    hasher = hashlib.sha256(json.dumps([list(names), [list(each) for each in texts]]).encode())
    hasher.update(f"{values.dtype.str}{values.shape}".encode())
    for begin in range(0, len(values), 256):
        hasher.update(np.ascontiguousarray(values[begin : begin + 256]).data)
    return hasher.hexdigest()


def open_pictures(folder: Path, vocabulary: Vocabulary, *, sided: Iterable[str] = ()) -> CaptionDataset:
    """Map what `write_pictures` wrote.

    Raises:
        RunError: it is missing or broken.
    """
    values, (names, texts) = RaggedArrays.open(folder, "picture").values, read_captions(folder)
    fits = (values.ndim == 4 and values.shape[3] == 3 and values.dtype == np.uint8) or (
        values.ndim == 3 and values.dtype == np.float32
    )
    if not fits or len(values) != len(texts):
        raise BrokenRun(
            f"the pictures in {folder} are broken",
            should=f"{len(texts)} pictures (H, W, 3) uint8, or features (S, F) float32",
            found=f"{values.dtype} of shape {values.shape}",
        )
    return CaptionDataset(values, texts, names, vocabulary, sided=sided)


def read_captions(folder: Path) -> tuple[list[str], list[list[str]]]:
    """Return the names of the pictures in a folder, and their captions.

    Raises:
        RunError: they are missing or broken.
    """
    found: tuple[list[str], list[list[str]]] = read_checked(
        folder / "captions.json", "names and captions", _understood, largest=LARGEST_CAPTIONS
    )
    return found


def _understood(text: bytes) -> tuple[list[str], list[list[str]]]:
    content = checked_json(text)
    names, texts = content["names"], content["texts"]
    lists = isinstance(names, list) and isinstance(texts, list) and len(names) == len(texts) > 0
    if not lists or not all(isinstance(name, str) for name in names):
        raise ValueError("no names and captions")
    if not all(isinstance(each, list) and each and all(isinstance(text, str) for text in each) for each in texts):
        raise ValueError("captions that are not strings")
    return names, texts
