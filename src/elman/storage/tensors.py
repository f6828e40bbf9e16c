"""Trees of tensors in safetensors files: the format of checkpoints and models. Never a pickle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from elman.errors import BrokenRun, RunError, first_line
from elman.storage.files import LARGEST_JSON, absence, checked_json, exists, is_file, is_link, refused, write_bytes

_KEY = "elman"
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def flatten(tree: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Move the tensors of a tree of dicts, tuples and lists into `tensors`, and return the rest as JSON.

    `unflatten` is the inverse. Named tuples come back as plain ones. The names of the tensors begin with `name`.

    Raises:
        TypeError: a leaf of the tree is neither a tensor nor JSON.
    """
    if isinstance(tree, Tensor):
        tensors[name] = tree
        return {"tensor": name}
    if isinstance(tree, dict):
        return {"dict": [[key, flatten(value, f"{name}/{key}", tensors)] for key, value in tree.items()]}
    if isinstance(tree, tuple):
        return {"tuple": [flatten(value, f"{name}/{i}", tensors) for i, value in enumerate(tree)]}
    if isinstance(tree, list):
        return [flatten(value, f"{name}/{i}", tensors) for i, value in enumerate(tree)]
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"{name} is a {type(tree).__name__}, which cannot be stored in a checkpoint")


def unflatten(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """Return the tree that `flatten` split, with its tensors."""
    if isinstance(tree, list):
        return [unflatten(value, tensors) for value in tree]
    if not isinstance(tree, dict):
        return tree
    if "tensor" in tree:
        return tensors[tree["tensor"]]
    if "tuple" in tree:
        return tuple(unflatten(value, tensors) for value in tree["tuple"])
    return {key: unflatten(value, tensors) for key, value in tree["dict"]}


def write(path: Path, tensors: dict[str, Tensor], facts: Any) -> None:
    """Write tensors, and `facts` as JSON in the header, into one file, atomically."""
    write_bytes(path, to_bytes(tensors, facts))


def to_bytes(tensors: dict[str, Tensor], facts: Any) -> bytes:
    """Return tensors, and `facts` as JSON in the header, as the content of a safetensors file."""
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(own, {_KEY: json.dumps(facts, allow_nan=False)})


def from_bytes(content: bytes, name: str) -> tuple[dict[str, Tensor], Any]:
    """Return the tensors and the facts that `to_bytes` wrote; messages call the content `name`.

    Raises:
        RunError: it is truncated, or not what `to_bytes` wrote.
    """
    try:
        # Clones own aligned memory, as in `read`.
        tensors = {name: part.clone() for name, part in safetensors.torch.load(content).items()}
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size]).get("__metadata__")
    except (SafetensorError, ValueError, KeyError, RecursionError, MemoryError) as error:
        pickled = content[:4].startswith(_PICKLES)
        raise BrokenRun(
            f"{name} is not in the safetensors format" if pickled else f"{name} is broken",
            should="a complete safetensors file that elman wrote",
            found="a pickle, which is never opened because it could run code" if pickled else first_line(error),
            hint="the bytes of a snapshot as they were received",
        ) from error
    return tensors, _facts(Path(name), metadata)


def read(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Return the tensors of a file, on the CPU, and its facts.

    Raises:
        RunError: the file is missing, a link, truncated, or not a safetensors file that `write` wrote.
    """
    header(path)
    with _opened(path) as file:
        # Clones own aligned memory, so that vectorised code takes the same path as in the run that wrote them.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a mapping
        return tensors, _facts(path, file.metadata())


def header(path: Path) -> tuple[dict[str, tuple[int, ...]], Any]:
    """Return the shape of every tensor in a file, and its facts, without reading any tensor.

    Raises:
        RunError: as for `read`. The sizes in the header are checked against the size of the file.
    """
    if is_link(path) or not is_file(path):
        raise RunError(
            f"{path} is not a regular file" if exists(path) or is_link(path) else f"{path} is missing",
            should="a safetensors file that a training run wrote",
            found="something else" if exists(path) or is_link(path) else absence(path),
        )
    with _opened(path) as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        return shapes, _facts(path, file.metadata())


def refuse_other_shapes(
    path: Path, expected: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Check the shapes of the tensors in a file before they take memory.

    Raises:
        BrokenRun: one is missing, is there without being expected, or has another shape.
    """
    wrong = sorted(name for name in expected.keys() | shapes.keys() if expected.get(name) != shapes.get(name))
    if wrong:
        raise BrokenRun(
            f"{path} does not fit config.json",
            should=f"{wrong[0]} of size {expected.get(wrong[0], 'none')}",
            found=f"size {shapes.get(wrong[0], 'none')}",
        )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with refused(path, "a complete safetensors file that a training run wrote"):
        try:
            with _safe(path) as file:
                yield file
        except SafetensorError as error:
            raise ValueError(first_line(error)) from error


def _safe(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        try:
            with path.open("rb") as file:
                pickled = file.read(4).startswith(_PICKLES)
        except OSError as unreadable:
            raise BrokenRun(
                f"{path} cannot be read", should="a file that you may read", found=unreadable.strerror
            ) from unreadable
        raise BrokenRun(
            f"{path.name} is not a safetensors file" if pickled else f"{path.name} is broken",
            should="a complete safetensors file that a training run wrote",
            found="a pickle, which is never opened because it could run code" if pickled else first_line(error),
        ) from error


def _facts(path: Path, metadata: dict[str, str] | None) -> Any:
    text = (metadata or {}).get(_KEY, "")
    if len(text) > LARGEST_JSON:
        raise BrokenRun(
            f"{path} is broken", should=f"at most {LARGEST_JSON:,} letters of facts", found=f"{len(text):,}"
        )
    try:
        return checked_json(text.encode())
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{path.name} was not written by elman", should="a file that a training run wrote", found=first_line(error)
        ) from error
