"""Byte pair encoding (Sennrich et al. 2016) over characters, with bytes for rare ones, by the `tokenizers` library."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from elman.data.text.vocabulary import LARGEST_VOCABULARY, ByteDecoder, Decoder, TokenIds, Vocabulary
from elman.errors import BrokenRun, SettingError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

DEFAULT_SIZE = 8192
LONGEST_PART = 1 << 16
BYTES = 256
_BYTE_SYMBOLS = tuple(f"<0x{byte:02X}>" for byte in range(BYTES))
_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


class BytePairs(Vocabulary):
    """Byte pair encoding, which encodes every text and decodes it exactly.

    The text is split before whitespace, between letters, digits and other signs as in GPT-2, and each part is merged
    from its characters. A character without a symbol is spelled in bytes, as with the byte fallback of SentencePiece
    (Kudo and Richardson 2018); a model reads them and never writes them, so that what it writes are whole characters of
    the training text. The saved file is the `tokenizer.json` of the `tokenizers` library; only its symbols and merges
    are read. In files of earlier versions the symbols are merged from bytes, and a model writes bytes.
    """

    kind: ClassVar[str] = "bpe"
    filename: ClassVar[str] = "tokenizer.json"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        vocab = tokenizer.get_vocab()
        symbols = sorted(vocab, key=vocab.__getitem__)
        self._has_characters = symbols[:BYTES] == list(_BYTE_SYMBOLS)
        if self._has_characters:
            self._bytes_of = [*(bytes([byte]) for byte in range(BYTES)), *(s.encode() for s in symbols[BYTES:])]
        else:
            byte_of = {sign: byte for byte, sign in enumerate(_signs_of_bytes())}
            self._bytes_of = [bytes(byte_of[sign] for sign in symbol) for symbol in symbols]

    @classmethod
    def build(cls, texts: Iterable[Iterable[str]], *, size: int | None = None) -> Self:
        """Learn merges until there are `size` symbols (None: 8192), the 256 bytes and the characters included.

        All characters of the texts get symbols, as far as they take no more than half of those beyond the bytes, the
        most frequent first. Memory grows with the number of distinct words only. A small text may give fewer symbols
        than `size`.

        Raises:
            SettingError: `size` is above the limit, or leaves no room for the characters.
        """
        size = DEFAULT_SIZE if size is None else size
        if not BYTES <= size <= LARGEST_VOCABULARY:
            raise _invalid_size(f"from {BYTES} (the bytes) and the characters to {LARGEST_VOCABULARY}", size)
        from tokenizers.trainers import BpeTrainer

        counts: Counter[str] = Counter()
        for text in texts:
            for piece in text:
                counts.update(piece)
        room = size - BYTES
        needed = min(len(counts), BYTES)
        if room < needed:
            raise _invalid_size(f"at least {BYTES + needed}: {BYTES} bytes and {needed} characters of the text", size)
        ranked = sorted(counts, key=lambda character: (-counts[character], character))
        alphabet = sorted(ranked[: max(room // 2, needed)])
        trainer = BpeTrainer(
            vocab_size=room, initial_alphabet=alphabet, limit_alphabet=len(alphabet), show_progress=False
        )
        tokenizer = _tokenizer({}, [])
        if alphabet:
            tokenizer.train_from_iterator((part for text in texts for part in split_before_whitespace(text)), trainer)
        vocab = {symbol: byte for byte, symbol in enumerate(_BYTE_SYMBOLS)}
        vocab.update((symbol, BYTES + token_id) for symbol, token_id in tokenizer.get_vocab().items())
        merges = json.loads(tokenizer.to_str())["model"]["merges"]
        return cls(_tokenizer(vocab, [(left, right) for left, right in merges]))

    def __len__(self) -> int:
        return len(self._bytes_of)

    @property
    def never_written(self) -> range:
        """The token ids of the bytes; none where the symbols are merged from bytes."""
        return range(BYTES) if self._has_characters else range(0)

    def encode_pieces(self, pieces: Iterable[str]) -> Iterator[TokenIds]:
        """Encode one document, given in any pieces."""
        for part in split_before_whitespace(pieces):
            yield np.array(self._tokenizer.encode(part).ids, self.dtype)

    def decoder(self) -> Decoder:
        """Return a new incremental decoder."""
        return ByteDecoder(self, self._bytes_of)

    def to_json(self) -> dict[str, Any]:
        """Return the vocabulary in types that JSON has."""
        fields: dict[str, Any] = json.loads(self._tokenizer.to_str())
        return fields

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Build the vocabulary from the result of `to_json`."""
        model = fields.get("model")
        if not isinstance(model, dict) or model.get("type") != "BPE":
            raise _broken("a model of type BPE", "another model, or none")
        vocab, merges = model.get("vocab"), model.get("merges")
        if not isinstance(vocab, dict) or not isinstance(merges, list):
            raise _broken("symbols (vocab) and merges", "at least one of them is missing")
        with_characters = bool(model.get("byte_fallback"))
        _check_symbols(vocab, with_characters=with_characters)
        return cls(_tokenizer(vocab, _checked_merges(vocab, merges), with_characters=with_characters))

    def _file_content(self) -> str:
        return self._tokenizer.to_str()


def split_before_whitespace(pieces: Iterable[str]) -> Iterator[str]:
    """Split one document into parts that are encoded independently, with the same result for any pieces.

    No symbol of this splitting has whitespace after another sign, so a part may always end there. A longer
    run without such a place is split after 65,536 characters.
    """
    rest = ""
    for piece in pieces:
        rest += piece
        start = 0
        while len(rest) - start > LONGEST_PART:
            end = _last_split(rest, start, start + LONGEST_PART) or start + LONGEST_PART
            yield rest[start:end]
            start = end
        rest = rest[start:]
    if rest:
        yield rest


def _last_split(text: str, start: int, end: int) -> int | None:
    """Return the last offset in (start, end] where whitespace follows another sign; text[end] exists."""
    for offset in range(end, start, -1):
        if text[offset] in " \n" and not text[offset - 1].isspace():
            return offset
    return None


def _signs_of_bytes() -> list[str]:
    """Return the printable sign of each byte in a byte-level tokenizer, as in GPT-2."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _tokenizer(vocab: dict[str, int], merges: list[tuple[str, str]], *, with_characters: bool = True) -> Tokenizer:
    """Return the tokenizer of symbols merged from characters, or from bytes as in files of earlier versions."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE(vocab, merges, byte_fallback=with_characters))
    if with_characters:
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_SPLIT), "isolated")
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _check_symbols(vocab: dict[Any, Any], *, with_characters: bool) -> None:
    signs = _signs_of_bytes()
    known = set(signs)
    if len(vocab) > LARGEST_VOCABULARY:
        raise _broken(f"at most {LARGEST_VOCABULARY} symbols", str(len(vocab)))
    token_ids = [token_id for token_id in vocab.values() if type(token_id) is int]
    if sorted(token_ids) != list(range(len(vocab))):
        raise _broken(f"symbols with the token ids 0 to {len(vocab) - 1}", "other token ids")
    if with_characters:
        if "" in vocab:
            raise _broken("symbols of at least one character", "an empty one")
        if any(vocab.get(symbol) != byte for byte, symbol in enumerate(_BYTE_SYMBOLS)):
            raise _broken(f"the {BYTES} bytes first", "some are missing, or elsewhere")
        return
    if not all(symbol and known.issuperset(symbol) for symbol in vocab):
        raise _broken("symbols made of the signs for bytes", "a symbol with another sign")
    if not known.issubset(vocab):
        raise _broken("a symbol for each of the 256 bytes", "some are missing")


def _checked_merges(vocab: dict[str, int], merges: list[Any]) -> list[tuple[str, str]]:
    """Return the merges as pairs; in older files a pair is one string with a space."""
    checked = []
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise _broken("merges of two symbols", repr(merge)[:40])
        left, right = pair
        if left not in vocab or right not in vocab or left + right not in vocab:
            raise _broken("merges of symbols into a symbol", repr(merge)[:40])
        checked.append((left, right))
    return checked


def _invalid_size(should: str, size: int) -> SettingError:
    return SettingError(
        "invalid value for vocabulary_size",
        should=should,
        found=str(size),
        hint=f"--set vocabulary_size={DEFAULT_SIZE}",
    )


def _broken(should: str, found: str) -> BrokenRun:
    return BrokenRun("the tokenizer file is broken or was not made by elman", should=should, found=found)
