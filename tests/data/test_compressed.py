"""Files of data: every exception of a library is one error, and a compressed file may not become any size."""

import csv
import gzip
import io
import json
import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman.data import compressed
from elman.data.compressed import opened, read_errors
from elman.data.delimited import read_table
from elman.data.labelled.example import ReaderOptions
from elman.data.labelled.file_formats import load_file
from elman.data.labelled.idx import read_idx
from elman.data.labelled.tables import READER as TABLES
from elman.data.text.lines import file_lines
from elman.errors import DataError, MissingExtraError

DOCUMENTED = [
    OSError(5, "Input/output error"),
    ValueError("Object arrays cannot be loaded"),
    EOFError("Compressed file ended before the end-of-stream marker was reached"),
    TypeError("'int' object is not iterable"),
    OverflowError("Python int too large to convert to C long"),
    MemoryError(),
    RecursionError("maximum recursion depth exceeded"),
    SyntaxError("invalid syntax"),
    KeyError("descr"),
    AttributeError("no attribute"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    tokenize.TokenError("EOF in multi-line statement", (2, 0)),
    gzip.BadGzipFile("CRC check failed"),
    zlib.error("Error -3 while decompressing data: invalid block type"),
    lzma.LZMAError("Corrupt input data"),
    zipfile.BadZipFile("File is not a zip file"),
    struct.error("unpack requires a buffer of 4 bytes"),
    csv.Error("field larger than field limit (131072)"),
    json.JSONDecodeError("Expecting value", "", 0),
    np.exceptions.DTypePromotionError("no common type"),
]
"""What numpy.load, json, csv, gzip, zlib, lzma, zipfile and struct may raise on a damaged file."""


@pytest.mark.parametrize("error", DOCUMENTED, ids=lambda error: type(error).__name__)
def test_every_exception_of_a_library_is_one_error(error: Exception) -> None:
    message = r"x\.npy cannot be read\n  should be: numbers\n  is:        \S"
    with pytest.raises(DataError, match=message), read_errors("x.npy", "numbers"):
        raise error


def test_our_own_errors_and_an_interruption_pass() -> None:
    for error in (MissingExtraError("needs more"), KeyboardInterrupt()):
        with pytest.raises(type(error)), read_errors("x", "numbers"):
            raise error


def raising(error: Exception) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        raise error

    return call


class Broken(io.BytesIO):
    """A file that cannot be read on."""

    def __init__(self, error: Exception) -> None:
        super().__init__(b"")
        self.error = error

    def read(self, size: int | None = -1) -> bytes:
        raise self.error


@pytest.mark.parametrize("error", DOCUMENTED, ids=lambda error: type(error).__name__)
def test_readers_have_the_boundary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    for name in ("a.csv.gz", "a.txt.gz", "t-idx1-ubyte.gz"):
        (tmp_path / name).write_bytes(gzip.compress(b"a,b\n1,2\n"))
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": "b"}\n')
    with monkeypatch.context() as patch:
        patch.setattr(gzip, "open", lambda file: Broken(error))
        reads: list[Callable[[], Any]] = [
            lambda: read_table(tmp_path / "a.csv.gz"),
            lambda: list(file_lines(tmp_path / "a.txt.gz")),
            lambda: read_idx(tmp_path / "t-idx1-ubyte.gz"),
        ]
        for read in reads:
            with pytest.raises(DataError, match="cannot be read"):
                read()
    with monkeypatch.context() as patch:
        patch.setattr(np, "load", raising(error))
        with pytest.raises(DataError, match="cannot be read"):
            load_file(tmp_path / "a.npy", ReaderOptions())
    with monkeypatch.context() as patch:
        patch.setattr(json, "loads", raising(error))
        with pytest.raises(DataError, match=r"a\.jsonl"):
            [example.load() for example in TABLES.read([tmp_path / "a.jsonl"], ReaderOptions())]


def test_a_compressed_file_may_not_become_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "FREE_EXPANSION", 1 << 16)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"\n" * (1 << 22)))
    with pytest.raises(DataError, match=r"expands too far\n.*200 bytes from each.*(\n.*)*gunzip"):
        list(read_table(path).rows)
    with pytest.raises(DataError, match="expands too far"):
        list(file_lines(path))
    head = bytes([0, 0, 8, 2]) + (1 << 12).to_bytes(4, "big") * 2
    (tmp_path / "x-idx2-ubyte.gz").write_bytes(gzip.compress(head + bytes(1 << 24)))
    with pytest.raises(DataError, match=r"expands too far\n.*\n.*16,777,228 bytes"):
        read_idx(tmp_path / "x-idx2-ubyte.gz")
    path.write_bytes(gzip.compress(b"\n".join(b"%d,%d" % (n, n * n) for n in range(10_000))))
    with opened(path, "a table") as file:
        assert len(file.readlines()) == 10_000


def test_sizes_in_a_header_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000,), }"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
    with pytest.raises(DataError, match=r"a\.npy cannot be read"):
        load_file(path, ReaderOptions())
    for head in (b"\x00\x00\x0e\x03" + b"\xff" * 12, b"\x00\x00\x08\xff" + bytes(4 * 255), b"\x00\x00\x08\x03\x00"):
        for name, content in (("a-idx3-ubyte", head), ("a-idx3-ubyte.gz", gzip.compress(head))):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(DataError, match=r"is broken|cannot be read|expands too far"):
                read_idx(tmp_path / name)
