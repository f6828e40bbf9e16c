"""Trees of tensors in a file, and the refusal of other files."""

import json
import pickle
import struct
from pathlib import Path

import pytest
import torch

from elman.errors import RunError
from elman.storage import tensors


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
    with pytest.raises(TypeError, match="which cannot be stored in a checkpoint"):
        tensors.flatten({"f": object()}, "", {})


class Bomb:
    def __reduce__(self) -> tuple:
        return (Path("/nonexistent/bomb").write_text, ("boom",))


def lying_sizes() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(16)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Bomb(), protocol=4), "a pickle, which is never opened"),
        (b"PK\x03\x04" + bytes(100), "a pickle, which is never opened"),
        (b"", "is broken"),
        (b"\xff" * 100, "is broken"),
        (struct.pack("<Q", 1 << 60) + b"{}", "is broken"),
        (lying_sizes(), "is broken"),
        (struct.pack("<Q", 2) + b"{}", "was not written by elman"),
    ],
)
def test_untrusted_weights_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
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
    with pytest.raises(RunError, match="not a regular file"):
        tensors.read(tmp_path / "link")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match="is broken"):
        tensors.read(path)
