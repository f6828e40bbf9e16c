"""Registry of the vocabularies, and how they are built and loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elman.data.text.bpe import BytePairs
from elman.data.text.characters import Bytes, Characters
from elman.data.text.documents import Document
from elman.data.text.vocabulary import FORMAT_VERSION, LARGEST_VOCABULARY, Decoder, Rereadable, Vocabulary
from elman.data.text.words import Words
from elman.errors import BrokenRun, RunError, look_up
from elman.storage.files import checked_object, is_dir, is_file, read_checked
from elman.storage.records import read_record
from elman.storage.run_validation import largest_by_weights

__all__ = ["VOCABULARIES", "Decoder", "Vocabulary", "build_vocabulary", "load_vocabulary"]

VOCABULARIES: dict[str, type[Vocabulary]] = {"bytes": Bytes, "characters": Characters, "words": Words, "bpe": BytePairs}

LARGEST_FILE = 1 << 29
"""The most bytes of a vocabulary's file."""


def build_vocabulary(kind: str, documents: Sequence[Document], *, size: int | None = None) -> Vocabulary:
    """Build a vocabulary of `VOCABULARIES` from the training texts, in bounded memory.

    `size` is the number of symbols, for the kinds that choose them.

    Raises:
        SettingError: the kind is unknown, or the size is invalid for it.
        DataError: a document cannot be read as text, or is empty.
    """
    build = look_up("vocabulary", kind, VOCABULARIES).build
    return build([Rereadable(document.pieces) for document in documents], size=size)


def load_vocabulary(path: str | Path) -> Vocabulary:
    """Load a vocabulary from its file, or from the run directory that holds `vocabulary.json` or `tokenizer.json`.

    Raises:
        RunError: there is none, or it is broken, contradicts itself, or is of a newer version.
    """
    path = Path(path)
    if is_dir(path):
        names = dict.fromkeys(cls.filename for cls in VOCABULARIES.values())
        files = [path / name for name in names if is_file(path / name)]
        if not files:
            should, hint = " or ".join(names), "name a run directory, or the file itself"
            raise RunError(f"{path} has no vocabulary", should=should, found="neither of them", hint=hint)
        path = files[0]
    largest = largest_by_weights(path, LARGEST_FILE)
    fields = read_checked(path, "a vocabulary in JSON, UTF-8", checked_object, largest=largest)
    try:
        return BytePairs.from_json(fields) if path.name == BytePairs.filename else _from_fields(fields)
    except RunError as error:
        raise error.amended(f"{path}: {error.what}") from error
    except ValueError as error:
        raise BrokenRun(f"{path} is broken", should="a vocabulary", found=str(error)[:200]) from error


@dataclass(frozen=True)
class _VocabularyRecord:
    """What vocabulary.json holds."""

    version: int = field(metadata={"low": FORMAT_VERSION, "high": FORMAT_VERSION})
    kind: str = field(metadata={"choices": tuple(name for name in VOCABULARIES if name != BytePairs.kind)})
    size: int = field(metadata={"low": 1, "high": LARGEST_VOCABULARY})
    symbols: list[str] = field(default_factory=list, metadata={"later": True})

    def check(self) -> None:
        if self.kind == "bytes":
            return
        if len(self.symbols) != self.size or "" in self.symbols:
            raise ValueError(f"{len(self.symbols)} symbols, not {self.size} that are not empty")
        if len(set(self.symbols)) != self.size:
            (symbol, _), *_ = Counter(self.symbols).most_common(1)
            raise ValueError(f"the symbol {symbol[:20]!a} twice")


def _from_fields(fields: dict[str, Any]) -> Vocabulary:
    """Return the vocabulary of any kind but byte pairs.

    Raises:
        RunError: a newer version wrote it, or its kind finds it broken.
        ValueError: a field is missing or invalid.
    """
    version = fields.get("version")
    if type(version) is int and version > FORMAT_VERSION:
        raise RunError(
            "the vocabulary was written by a newer elman",
            should=f"version {FORMAT_VERSION} or older",
            found=f"version {version}",
            hint="pip install --upgrade elman",
        )
    record = read_record(_VocabularyRecord, fields)
    vocabulary = VOCABULARIES[record.kind].from_json(fields)
    if len(vocabulary) != record.size:
        raise ValueError(f"the size {record.size}, not {len(vocabulary)}")
    return vocabulary
