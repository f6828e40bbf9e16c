"""The cache of packed weights: those of a layer and direction in the order in which the forward pass reads them."""

from __future__ import annotations

import contextvars
import weakref
from collections.abc import Iterable
from types import TracebackType

import torch
from torch import Tensor

from elman.kernels.cpu import passes
from elman.kernels.cpu.passes import KINDS
from elman.kernels.weights import Weights

if passes.missing is None:
    import elman.kernels.cpu._engine as _engine


class _Entry:
    """Packed weights, and the tensors that they were made from."""

    __slots__ = ("b_hh", "b_ih", "end", "hh", "ih", "kind", "packed", "versions")

    def __init__(self, kind: str, weights: Weights, versions: tuple[int, ...], packed: _engine.Packed) -> None:
        self.ih, self.hh, self.b_ih, self.b_hh = (_nothing if t is None else weakref.ref(t) for t in weights[:4])
        self.kind, self.versions, self.packed = kind, versions, packed
        self.end = weakref.finalize(weights.ih, _cache.pop, id(weights.ih), None)


def _nothing() -> None:
    return None


_promised: contextvars.ContextVar[bool] = contextvars.ContextVar("elman_frozen_weights", default=False)
is_promised = _promised.get

# By the identity of weight_ih, which takes its entry along when it goes.
_cache: dict[int, _Entry] = {}


def packed_weights(kind: str, weights: Weights) -> _engine.Packed:
    """Return the weights as the forward pass reads them, from the last call where they have not changed since.

    All of their numbers are read to see that, since a change through `.data` or NumPy leaves no other trace. It takes
    less time than packing them, and a call of a few tokens is so short that this counts.
    """
    ih, hh, b_ih, b_hh = weights[:4]
    promised = is_promised()
    versions = _versions(weights) if promised else ()
    entry = _cache.get(id(ih))
    if (
        entry is not None
        and entry.kind == kind
        and entry.ih() is ih
        and entry.hh() is hh
        and entry.b_ih() is b_ih
        and entry.b_hh() is b_hh
        and entry.packed.matches(ih, hh, b_ih, b_hh, promised and entry.versions == versions, torch.get_num_threads())
    ):
        return entry.packed
    packed = _pack(kind, weights)
    forget([ih])
    _cache[id(ih)] = _Entry(kind, weights, _versions(weights), packed)
    return packed


def forget(tensors: Iterable[Tensor | None]) -> None:
    """Drop what is cached for these weights, and with it every weak reference to them."""
    for tensor in tensors:
        entry = _cache.pop(id(tensor), None)
        if entry is not None:
            entry.end.detach()


def _versions(weights: Weights) -> tuple[int, ...]:
    """Return torch's counts of changes in place; tensors made under inference_mode have none."""
    return tuple(-1 if t is None or t.is_inference() else t._version for t in weights[:4])


def _pack(kind: str, weights: Weights) -> _engine.Packed:
    ih, hh = weights.ih.contiguous(), weights.hh.contiguous()
    b_ih, b_hh = (None if b is None else b.contiguous() for b in weights[2:4])
    return _engine.pack(*KINDS[kind], ih, hh, b_ih, b_hh, torch.get_num_threads())


class frozen_weights:  # noqa: N801  (it is used like torch.no_grad)
    """Promise that no weight changes through `.data` or NumPy inside the block; a context manager.

    `layer.step` and short calls without gradients read all weights each time to see whether they have changed. Inside
    this block they look at torch's counters of changes only, which count an optimiser's step, `load_state_dict` and
    every operation in place, but nothing that goes through `.data` or a NumPy array that shares the memory. That saves
    a third to two thirds of the time of a step.

        with torch.no_grad(), elman.frozen_weights():
            for x in stream:
                y, state = layer.step(x, state)

    It holds for the thread, or the asyncio task, that enters it.
    """

    def __enter__(self) -> None:
        self._token = _promised.set(True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _promised.reset(self._token)
