"""The cache of packed weights: those of a layer and direction in the order in which the forward pass reads them."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

import torch
from torch import Tensor

from elman.kernels.cpu import passes
from elman.kernels.cpu.passes import KINDS
from elman.kernels.weights import Weights

if passes.missing is None:
    import elman.kernels.cpu._engine as _engine


class _Entry:
    """Packed weights, and how to see that the weights are still those."""

    __slots__ = ("b_hh", "b_ih", "end", "hh", "ih", "kind", "packed", "versions")

    def __init__(self, kind: str, weights: Weights, versions: tuple[int, ...], packed: _engine.Packed) -> None:
        self.ih, self.hh, self.b_ih, self.b_hh = (_nothing if t is None else weakref.ref(t) for t in weights[:4])
        self.kind, self.versions, self.packed = kind, versions, packed
        self.end = weakref.finalize(weights.ih, _cache.pop, id(weights.ih), None)


def _nothing() -> None:
    return None


# By the identity of weight_ih, which takes its entry along when it goes.
_cache: dict[int, _Entry] = {}


def packed_weights(kind: str, weights: Weights) -> _engine.Packed:
    """Return the weights as the forward pass reads them, from the last call where they have not changed since.

    A change in place is seen by torch's version counter; one that goes past it (through `.data`) by a sample of the
    numbers, which finds whatever changes all of a tensor, as an optimiser does, but may miss a single number. That is
    why only the shortest calls, for which it pays, use them.
    """
    ih, hh, b_ih, b_hh = weights[:4]
    try:
        versions: tuple[int, ...] = (ih._version, hh._version)
        if b_ih is not None and b_hh is not None:
            versions += (b_ih._version, b_hh._version)
    except RuntimeError:  # made under inference_mode: no version to go by
        return _pack(kind, weights)
    entry = _cache.get(id(ih))
    if (
        entry is not None
        and entry.versions == versions
        and entry.kind == kind
        and entry.ih() is ih
        and entry.hh() is hh
        and entry.b_ih() is b_ih
        and entry.b_hh() is b_hh
        and entry.packed.matches(ih, hh, b_ih, b_hh)
    ):
        return entry.packed
    packed = _pack(kind, weights)
    forget([ih])
    _cache[id(ih)] = _Entry(kind, weights, versions, packed)
    return packed


def forget(tensors: Iterable[Tensor | None]) -> None:
    """Drop what is cached for these weights, and with it every weak reference to them."""
    for tensor in tensors:
        entry = _cache.pop(id(tensor), None)
        if entry is not None:
            entry.end.detach()


def _pack(kind: str, weights: Weights) -> _engine.Packed:
    ih, hh = weights.ih.contiguous(), weights.hh.contiguous()
    b_ih, b_hh = (None if b is None else b.contiguous() for b in weights[2:4])
    return _engine.pack(*KINDS[kind], ih, hh, b_ih, b_hh, torch.get_num_threads())
