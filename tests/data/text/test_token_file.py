"""The token file: what goes in comes out, it is made once, and a file that lies is refused."""

import hashlib
import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from elman.data.text import documents as text_module
from elman.data.text.bptt_streams import Streams
from elman.data.text.characters import Bytes, Characters
from elman.data.text.documents import Document, read_text
from elman.data.text.token_file import TokenFile, encode_text
from elman.data.text.vocabularies import build_vocabulary
from elman.data.text.vocabulary import Vocabulary
from elman.data.text.words import Words
from elman.errors import DataError, RunError, SettingError


@pytest.fixture
def texts(tmp_path: Path) -> list[Document]:
    for name, text in (("a.txt", "the first\n"), ("b.txt", "second, é"), ("c.txt", "3")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return read_text(tmp_path)


def build(texts: list[Document]) -> Characters:
    return Characters.build(document.pieces() for document in texts)


def test_the_file_holds_every_token_and_where_documents_begin(texts: list[Document], tmp_path: Path) -> None:
    vocabulary = build(texts)
    encoded = encode_text(texts, vocabulary, tmp_path / "tokens")
    assert vocabulary.decode(encoded.token_ids) == "the first\nsecond, é3"
    assert encoded.document_starts.tolist() == [0, 10, 19]
    assert (len(encoded), encoded.vocabulary_size) == (20, len(vocabulary))
    again = TokenFile.open(tmp_path / "tokens")
    assert again.token_ids.tolist() == encoded.token_ids.tolist()
    assert again.document_starts.tolist() == [0, 10, 19]
    assert again.fingerprint == encoded.fingerprint
    encoded.release()
    assert again.token_ids.tolist() == encoded.token_ids.tolist(), "pages come back when they are read again"


def test_the_fingerprint_of_one_file_is_its_sha256(texts: list[Document], tmp_path: Path) -> None:
    digests = [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a.txt", "b.txt", "c.txt")]
    for vocabulary in (build(texts), Bytes()):
        assert encode_text(texts[:1], vocabulary, tmp_path / "tokens").fingerprint == digests[0]
        together = encode_text(texts, vocabulary, tmp_path / "tokens").fingerprint
        assert together == hashlib.sha256("".join(digests).encode()).hexdigest()


@pytest.mark.parametrize(("size", "width"), [(3, 1), (256, 1), (257, 2), (65536, 2), (65537, 4)])
def test_tokens_take_as_few_bytes_as_possible(size: int, width: int, tmp_path: Path) -> None:
    vocabulary = Words(["<unk>", "<eos>", *(f"w{number}" for number in range(size - 2))])
    text = Document("text", f"w0 w{size - 3}\n")
    encoded = encode_text([text], vocabulary, tmp_path / "tokens")
    assert encoded.token_ids.dtype.itemsize == width
    assert encoded.token_ids.tolist() == [2, size - 1, 1]


def test_the_file_is_made_once(texts: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = tmp_path / "tokens", []
    chunks = Document.chunks
    monkeypatch.setattr(Document, "chunks", lambda self: [read.append(self.name), chunks(self)][1])

    def encoded_again(vocabulary: Vocabulary, documents: list[Document]) -> bool:
        read.clear()
        made = encode_text(documents, vocabulary, path)
        assert vocabulary.decode(made.token_ids) == "".join(
            (tmp_path / Path(d.name).name).read_text() for d in documents
        )
        return bool(read)

    vocabulary = build(texts)
    assert encoded_again(vocabulary, texts)
    assert not encoded_again(vocabulary, texts), "nothing has changed"
    assert encoded_again(vocabulary, texts[:2]), "another list of texts"
    assert encoded_again(Bytes(), texts[:2]), "another vocabulary"
    assert encoded_again(vocabulary, texts[:2])
    (tmp_path / "a.txt").write_text("tthe firs\n")
    assert encoded_again(vocabulary, texts[:2]), "a text has changed"
    path.write_bytes(path.read_bytes()[:-1])
    assert encoded_again(vocabulary, texts[:2]), "the file is broken"
    assert not encoded_again(vocabulary, texts[:2])


def test_a_failure_leaves_what_was_there(texts: list[Document], tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    encode_text(texts, build(texts), path)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"b.txt: .* no symbol for the character 'c'.*\n(.*\n)*.*character 3 of"):
        encode_text(texts, build(texts[:1]), path)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.txt", "b.txt", "c.txt", "tokens"]


def test_a_text_without_tokens_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the text has no tokens\n.*\n.*\n.*vocabulary=characters"):
        encode_text([Document("blank", "  ")], Words(["<unk>", "<eos>", "a"]), tmp_path / "tokens")
    assert not list(tmp_path.iterdir())


def test_a_document_without_tokens_has_no_beginning(tmp_path: Path) -> None:
    documents = [Document(str(n), text) for n, text in enumerate(["a a", "  ", "a\n"])]
    encoded = encode_text(documents, Words(["<unk>", "<eos>", "a"]), tmp_path / "tokens")
    assert encoded.document_starts.tolist() == [0, 2]


def test_a_split_keeps_every_token_in_order() -> None:
    text = TokenFile.from_token_ids(np.arange(100), vocabulary_size=100, document_starts=[0, 30, 90, 95])
    train, valid = text.split()
    assert train.token_ids.tolist() == list(range(90))
    assert valid.token_ids.tolist() == list(range(90, 100))
    assert train.document_starts.tolist() == [0, 30]
    assert valid.document_starts.tolist() == [0, 5]
    assert text.part(40, 92).document_starts.tolist() == [0, 50]
    train, valid = text.split(0.25)
    assert (len(train), len(valid)) == (75, 25)


def test_an_invalid_split_is_refused() -> None:
    text = TokenFile.from_token_ids(np.zeros(10), vocabulary_size=1)
    for validation in (0.0, 1.0, -0.5, float("nan")):
        with pytest.raises(SettingError, match=rf"between 0 and 1\n.*{validation}\n.*--set validation=0.1"):
            text.split(validation)
    with pytest.raises(
        DataError, match=r"too short for a validation part\n.*at least 2 tokens .*\n.*9 for training and 1 for"
    ):
        text.split(0.1)


def header(**changes: int) -> Callable[[bytes], bytes]:
    """Change fields of the first 64 bytes."""
    names = ("magic", "version", "width", "count", "documents", "notes")

    def spoil(raw: bytes) -> bytes:
        fields = dict(zip(names, struct.unpack_from("<8sIIQQQ", raw), strict=True))
        return struct.pack("<8sIIQQQ24x", *{**fields, **changes}.values()) + raw[64:]

    return spoil


def notes(**changes: object) -> Callable[[bytes], bytes]:
    """Change fields of the JSON at the end."""

    def spoil(raw: bytes) -> bytes:
        length = struct.unpack_from("<8sIIQQQ", raw)[-1]
        changed = json.dumps({**json.loads(raw[-length:]), **changes}).encode()
        return header(notes=len(changed))(raw[:-length] + changed)

    return spoil


def at(offset: int, value: bytes) -> Callable[[bytes], bytes]:
    return lambda raw: raw[:offset] + value + raw[offset + len(value) :]


STARTS = 64 + 24  # 20 tokens of one byte, and four zeros
BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda raw: b"", r"at least 64 bytes\n.*0 bytes"),
    "another file": (lambda raw: b"\x80\x04" + raw[2:], "a file of encoded text"),
    "newer": (header(version=2), r"newer elman\n.*version 1 or older\n.*version 2\n.*pip install"),
    "truncated": (lambda raw: raw[:-5], r"as its header says"),
    "longer": (lambda raw: raw + b"x", r"as its header says"),
    "too many tokens": (header(count=1 << 60), "as its header says"),
    "an odd width": (header(width=3), "valid sizes"),
    "a width of 0": (header(width=0), "valid sizes"),
    "no documents": (header(documents=0), "valid sizes"),
    "more documents than tokens": (header(documents=21), "valid sizes"),
    "long notes": (header(notes=1 << 60), "valid sizes"),
    "documents out of order": (at(STARTS + 8, struct.pack("<q", 0)), "documents that begin in order"),
    "a late first document": (at(STARTS, struct.pack("<q", 1)), "documents that begin in order"),
    "a document beyond the end": (at(STARTS + 16, struct.pack("<q", 20)), "documents that begin in order"),
    "a token id too large": (at(64, b"\xff"), r"token ids below 16\n.*the token id 255"),
    "notes that are not JSON": (lambda raw: raw[:-1] + b"\xff", "in JSON"),
    "other notes": (notes(fingerprint=3), "the fingerprint and the size of the vocabulary"),
    "an absurd vocabulary": (notes(vocabulary_size=1 << 40), "the fingerprint and the size of the vocabulary"),
    "a vocabulary that is true": (notes(vocabulary_size=True), "the fingerprint and the size of the vocabulary"),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_an_inconsistent_file_is_refused(case: str, texts: list[Document], tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    encode_text(texts, build(texts), path)
    spoil, message = BROKEN[case]
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(RunError, match=rf"{message}") as refused:
        TokenFile.open(path)
    assert str(path) in str(refused.value)


def test_the_spoilers_change_nothing_by_themselves(texts: list[Document], tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    encoded = encode_text(texts, build(texts), path)
    path.write_bytes(notes()(header()(path.read_bytes())))
    assert TokenFile.open(path).token_ids.tolist() == encoded.token_ids.tolist()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"cannot read .*tokens: No such file.*\n.*may read\n.*\n.*encode the text again"
    ):
        TokenFile.open(tmp_path / "tokens")


@pytest.mark.parametrize("kind", ["bytes", "characters", "words"])
def test_encoding_takes_memory_for_a_piece_and_not_for_the_text(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a text of 2 MB in pieces of 32 kB nothing near its size is ever held: neither building nor encoding."""
    monkeypatch.setattr(text_module, "PIECE", 1 << 15)
    path = tmp_path / "a.txt"
    path.write_text("some words, é, and a line\n" * 80_000, encoding="utf-8")
    documents = read_text(path)
    build_vocabulary(kind, documents[:1])  # what is imported or cached at first use is not counted
    tracemalloc.start()
    vocabulary = build_vocabulary(kind, documents)
    encoded = encode_text(documents, vocabulary, tmp_path / "tokens")
    windows = sum(1 for _ in Streams(encoded, batch_size=8, window=100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    tables = 6_000_000 if kind == "characters" else 0  # one entry for each code point of Unicode
    assert windows > 400
    assert peak < tables + 1_500_000, peak
