"""The state of a session as a value: safetensors bytes with the model's fingerprint, the position and a checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from elman.errors import RunError
from elman.storage import tensors

FORMAT = 1
SNAPSHOT = "the snapshot"  # what messages call the bytes
DTYPES = frozenset(
    {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
    | {torch.float16, torch.bfloat16, torch.float32, torch.float64}
)
"""The types of numbers that a state may have."""


class SnapshotHeader(NamedTuple):
    """What a snapshot says of itself.

    Attributes:
        kind: of the session: text, events, series or sound.
        weights: the fingerprint of the model.
        position: the number of inputs that the state has read.
    """

    kind: str
    weights: str
    position: int


@dataclass(slots=True)
class OnlineState:
    """The state of a session.

    Attributes:
        tree: dicts, tuples and lists of tensors and what JSON has.
        position: the number of inputs that it has read: symbols, items, observations or samples.
    """

    tree: dict[str, Any]
    position: int = 0


def to_snapshot(state: OnlineState, kind: str, weights: str) -> bytes:
    """Return a state as bytes."""
    parts: dict[str, Tensor] = {}
    facts = {
        "format": FORMAT,
        "kind": kind,
        "weights": weights,
        "position": state.position,
        "tree": tensors.flatten(state.tree, "state", parts),
    }
    parts = {name: part.contiguous() for name, part in parts.items()}
    return tensors.to_bytes(parts, {**facts, "checksum": _checksum(parts, facts)})


def from_snapshot(content: bytes) -> tuple[OnlineState, SnapshotHeader]:
    """Return the state in bytes that `to_snapshot` returned. The checksum finds damage; it is no signature.

    Raises:
        RunError: they are truncated, damaged, of another format, or hold numbers that are not finite.
    """
    parts, facts = tensors.from_bytes(content, SNAPSHOT)
    names = {"format": int, "kind": str, "weights": str, "position": int, "tree": dict, "checksum": str}
    if not isinstance(facts, dict) or {name: type(value) for name, value in facts.items()} != names:
        raise RunError(f"{SNAPSHOT} is not that of a session", should="the bytes of a snapshot", found="another file")
    if facts["format"] != FORMAT:
        raise RunError(
            f"{SNAPSHOT} has another format", should=f"format {FORMAT}", found=f"format {facts['format']}",
            hint="pip install --upgrade elman",
        )  # fmt: skip
    if not all(part.dtype in DTYPES for part in parts.values()):
        raise RunError(
            f"{SNAPSHOT} holds numbers of an unknown type", should="the types of numbers of a state",
            found=", ".join(sorted({str(part.dtype) for part in parts.values()} - set(map(str, DTYPES)))),
        )  # fmt: skip
    checksum = facts.pop("checksum")
    if checksum != _checksum(parts, facts):
        raise RunError(
            f"{SNAPSHOT} is damaged", should=f"checksum {checksum[:12]}", found="other content",
            hint="take the snapshot again",
        )  # fmt: skip
    if not 0 <= facts["position"] < 1 << 62 or not all(map(_is_finite, parts.values())):
        raise RunError(f"{SNAPSHOT} holds invalid numbers", should="finite numbers", found="a number that is not")
    try:
        tree = tensors.unflatten(facts["tree"], parts)
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise RunError(f"{SNAPSHOT} is broken", should="a tree of tensors", found=str(error)[:80]) from error
    return OnlineState(tree, facts["position"]), SnapshotHeader(facts["kind"], facts["weights"], facts["position"])


def fingerprint(model: nn.Module, settings: Any) -> str:
    """Return the SHA-256 of the weights of a model and of what else its numbers depend on, in hexadecimal."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_octets(tensor))
    return digest.hexdigest()


def as_parts(state: Any) -> tuple[Tensor, ...]:
    """Return a recurrent state as the tuple of its tensors."""
    return (state,) if isinstance(state, Tensor) else tuple(state)


def joined(states: list[tuple[Tensor, ...]]) -> Any:
    """Return recurrent states of one row each, (L, 1, H), as that of all rows, (L, N, H)."""
    parts = tuple(torch.cat(rows, 1) for rows in zip(*states, strict=True))
    return parts[0] if len(parts) == 1 else parts


def rows_of(state: Any) -> Iterator[tuple[Tensor, ...]]:
    """Yield the recurrent state of each row, (L, 1, H)."""
    return zip(*(torch.split(part, 1, 1) for part in as_parts(state)), strict=True)


def _checksum(parts: dict[str, Tensor], facts: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(parts):
        digest.update(f"{name} {parts[name].dtype} {tuple(parts[name].shape)}".encode())
        digest.update(_octets(parts[name]))
    return digest.hexdigest()


def _octets(tensor: Tensor) -> bytes:
    own = tensor.detach().cpu()
    return (own if own.dtype is not torch.bfloat16 else own.float()).numpy().tobytes()


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
