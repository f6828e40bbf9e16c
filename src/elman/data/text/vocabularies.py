"""The vocabularies there are, by name, and how they are built and loaded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from elman.data.text.bpe import BytePairs
from elman.data.text.characters import Bytes, Characters
from elman.data.text.documents import Document
from elman.data.text.vocabulary import FORMAT_VERSION, LARGEST_VOCABULARY, Decoder, Vocabulary
from elman.data.text.words import Words
from elman.errors import BrokenRun, RunError, unknown_name

__all__ = ["VOCABULARIES", "Decoder", "Vocabulary", "build_vocabulary", "load_vocabulary"]

VOCABULARIES: dict[str, type[Vocabulary]] = {
    "bytes": Bytes,
    "characters": Characters,
    "words": Words,
    "bpe": BytePairs,
}

LARGEST_FILE = 1 << 29


def build_vocabulary(kind: str, documents: Sequence[Document], *, size: int | None = None) -> Vocabulary:
    """Build the vocabulary of a kind from the training texts, in bounded memory.

    Args:
        kind: a name in `VOCABULARIES`.
        documents: what `read_text` returned.
        size: the number of symbols, for the kinds that choose them.

    Raises:
        SettingError: the kind is unknown, or the size impossible for it.
        DataError: a document cannot be read as text, or nothing is in it.
    """
    if kind not in VOCABULARIES:
        raise unknown_name("vocabulary", kind, VOCABULARIES)
    return VOCABULARIES[kind].build((document.pieces() for document in documents), size=size)


def load_vocabulary(path: str | Path) -> Vocabulary:
    """Load a vocabulary from its file, or from the run directory that holds `vocabulary.json` or `tokenizer.json`.

    Raises:
        RunError: there is none, or it is broken, contradicts itself, or is of a newer version.
    """
    path = Path(path)
    if path.is_dir():
        names = dict.fromkeys(cls.filename for cls in VOCABULARIES.values())
        found = [path / name for name in names if (path / name).is_file()]
        if not found:
            raise RunError(
                f"{path} has no vocabulary",
                should=" or ".join(names),
                found="neither",
                hint="name a run directory, or the file itself",
            )
        path = found[0]
    fields = _read_json(path)
    if path.name == BytePairs.filename:
        return _named(path, lambda: BytePairs.from_json(fields))
    return _named(path, lambda: _from_fields(fields))


def _named(path: Path, load: Callable[[], Vocabulary]) -> Vocabulary:
    """Run `load`, and name the file in its errors."""
    try:
        return load()
    except RunError as error:
        raise error.amended(f"{path}: {error.what}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BrokenRun(
                f"{path} is too large for a vocabulary",
                should=f"at most {LARGEST_FILE} bytes",
                found=f"{path.stat().st_size} bytes",
            )
        fields = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(
            f"cannot read {path}: {error.strerror or error}",
            should="a vocabulary file that you may read",
            found=error.strerror or str(error),
            hint="name a run directory, or its vocabulary.json or tokenizer.json",
        ) from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, RunError):
            raise
        raise BrokenRun(f"{path} is not JSON", should="a vocabulary in JSON, UTF-8", found=str(error)[:80]) from error
    if not isinstance(fields, dict):
        found = f"a {type(fields).__name__}"
        raise BrokenRun(f"{path} is not a vocabulary", should="a JSON object", found=found)
    return fields


def _from_fields(fields: dict[str, Any]) -> Vocabulary:
    """Check what all kinds have in common, and leave the rest to the kind."""
    version, kind, size = fields.get("version"), fields.get("kind"), fields.get("size")
    if type(version) is int and version > FORMAT_VERSION:
        raise RunError(
            "the vocabulary was written by a newer elman",
            should=f"version {FORMAT_VERSION} or older",
            found=f"version {version}",
            hint="pip install --upgrade elman",
        )
    if version != FORMAT_VERSION or type(version) is not int:
        raise BrokenRun("the vocabulary has no version", should=f"version {FORMAT_VERSION}", found=repr(version)[:40])
    if not isinstance(kind, str) or kind not in VOCABULARIES or kind == BytePairs.kind:
        kinds = [name for name in VOCABULARIES if name != BytePairs.kind]
        raise BrokenRun("the vocabulary's kind is unknown", should=" or ".join(kinds), found=repr(kind)[:40])
    if type(size) is not int or not 1 <= size <= LARGEST_VOCABULARY:
        raise BrokenRun(
            "the vocabulary's size is impossible", should=f"from 1 to {LARGEST_VOCABULARY}", found=repr(size)[:40]
        )
    if "symbols" in fields or kind != "bytes":
        _check_symbols(fields.get("symbols"), size)
    vocabulary = VOCABULARIES[kind].from_json(fields)
    if len(vocabulary) != size:
        raise BrokenRun("the vocabulary's size is wrong", should=f"{len(vocabulary)}", found=str(size))
    return vocabulary


def _check_symbols(symbols: object, size: int) -> None:
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) and symbol for symbol in symbols):
        raise BrokenRun("the vocabulary is broken", should="a list of symbols", found="something else")
    if len(symbols) != size:
        raise BrokenRun("the vocabulary's size is wrong", should=f"{size} symbols", found=f"{len(symbols)} symbols")
    if len(set(symbols)) != size:
        (twice, _), *_ = Counter(symbols).most_common(1)
        raise BrokenRun("the vocabulary is broken", should="different symbols", found=f"{twice[:20]!a} twice")
    try:
        "".join(symbols).encode("utf-8")
    except UnicodeEncodeError as error:
        raise BrokenRun("the vocabulary is broken", should="symbols of Unicode text", found=str(error)) from error
