"""Writing whole or not at all, and refusing what is no file of ours."""

import errno
import json
import os
import pickle
import struct
from pathlib import Path

import pytest
import torch

from elman.errors import RunError
from elman.training import tensors
from elman.training.durable import BESIDE, write_bytes, write_json


def test_a_tree_comes_back(tmp_path: Path) -> None:
    tree = {"a": torch.rand(2, 3), 7: [torch.tensor(1), None, True, 0.1], "t": (torch.rand(0), ("x",)), "e": {}}
    own: dict = {}
    tensors.write(tmp_path / "t.safetensors", own, tensors.flatten(tree, "", own))
    back = tensors.unflatten(tensors.read(tmp_path / "t.safetensors")[1], tensors.read(tmp_path / "t.safetensors")[0])
    assert torch.equal(back["a"], tree["a"])
    assert torch.equal(back[7][0], tree[7][0])
    assert back[7][1:] == [None, True, 0.1]
    assert isinstance(back["t"], tuple)
    assert back["t"][1] == ("x",)
    assert back["e"] == {}
    with pytest.raises(TypeError, match="which no checkpoint can hold"):
        tensors.flatten({"f": object()}, "", {})


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "cannot be written"), (errno.EIO, "cannot be written")],
)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def fail(handle: int, content: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(RunError, match=message):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: original(handle, content[:2]))
    write_bytes(tmp_path / "file", b"abcdefg")
    assert (tmp_path / "file").read_bytes() == b"abcdefg"


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="the system has no O_NOFOLLOW")
def test_a_link_that_lies_in_wait_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (tmp_path / f"file{BESIDE}").symlink_to(target)
    with pytest.raises(RunError):
        write_bytes(tmp_path / "file", b"new")
    assert target.read_bytes() == b"precious"


def test_json_has_no_numbers_that_json_does_not_know(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"ä": 1})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"ä": 1}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))


class Bomb:
    def __reduce__(self) -> tuple:
        return (Path("/nonexistent/bomb").write_text, ("boom",))


def lying_sizes() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(16)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Bomb(), protocol=4), "looks like a pickle, which is never opened"),
        (b"PK\x03\x04" + bytes(100), "looks like a pickle, which is never opened"),
        (b"", "is broken"),
        (b"\xff" * 100, "is broken"),
        (struct.pack("<Q", 1 << 60) + b"{}", "is broken"),
        (lying_sizes(), "is broken"),
        (struct.pack("<Q", 2) + b"{}", "was not written by elman"),
    ],
)
def test_hostile_weights_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(RunError, match=message):
        tensors.read(path)


def test_missing_linked_and_truncated_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(RunError, match="is missing"):
        tensors.read(path)
    tensors.write(path, {"w": torch.rand(100)}, {"step": 1})
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(RunError, match="not an ordinary file"):
        tensors.read(tmp_path / "link")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match="is broken"):
        tensors.read(path)
