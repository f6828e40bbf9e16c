"""The cache of packed weights: those of a layer and direction in the order in which the forward pass reads them."""

from __future__ import annotations

import contextvars
import functools
import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from elman.kernels.cpu import passes
from elman.kernels.cpu.passes import KINDS
from elman.kernels.weights import Weights

if passes.missing is None:
    import elman.kernels.cpu._engine as _engine

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_NO_COUNT = -1  # of changes in place: a tensor made under inference_mode


class _Entry:
    """Packed weights, the tensors that they were made from, and the last promise under which these were compared."""

    __slots__ = ("b_hh", "b_ih", "end", "hh", "ih", "kind", "packed", "promise", "versions")

    def __init__(
        self, kind: str, weights: Weights, versions: tuple[int, ...], promise: int, packed: _engine.Packed
    ) -> None:
        self.ih, self.hh, self.b_ih, self.b_hh = (_nothing if t is None else weakref.ref(t) for t in weights[:4])
        self.kind, self.versions, self.promise, self.packed = kind, versions, promise, packed
        self.end = weakref.finalize(weights.ih, _cache.pop, id(weights.ih), None)


def _nothing() -> None:
    return None


# Promises are numbered as they begin, from 1; 0: there is none. What was compared under one is good for it and for all
# that began before, so that interleaved streams over one model compare once each.
_promise: contextvars.ContextVar[int] = contextvars.ContextVar("elman_frozen_weights", default=0)
_next_promise = itertools.count(1).__next__
current_promise = _promise.get

# By the identity of weight_ih, which takes its entry along when it goes.
_cache: dict[int, _Entry] = {}


def packed_weights(kind: str, weights: Weights) -> _engine.Packed:
    """Return the weights as the forward pass reads them, from the last call where they have not changed since.

    All of their numbers are read to see that, since a change through `.data` or NumPy leaves no other trace. It takes
    less time than packing them, and a call of a few tokens is so short that this counts.
    """
    ih, hh, b_ih, b_hh = weights[:4]
    promise = current_promise()
    versions = _versions(weights) if promise else ()
    entry = _cache.get(id(ih))
    if (
        entry is not None
        and entry.kind == kind
        and entry.ih() is ih
        and entry.hh() is hh
        and entry.b_ih() is b_ih
        and entry.b_hh() is b_hh
    ):
        trusted = 0 < promise <= entry.promise and entry.versions == versions and _NO_COUNT not in versions
        if entry.packed.matches(ih, hh, b_ih, b_hh, trusted, torch.get_num_threads()):
            if promise and not trusted:
                entry.promise, entry.versions = max(promise, entry.promise), versions
            return entry.packed
    packed = _pack(kind, weights)
    forget([ih])
    _cache[id(ih)] = _Entry(kind, weights, versions, promise, packed)
    return packed


def forget(tensors: Iterable[Tensor | None]) -> None:
    """Drop what is cached for these weights, and with it every weak reference to them."""
    for tensor in tensors:
        entry = _cache.pop(id(tensor), None)
        if entry is not None:
            entry.end.detach()


def _versions(weights: Weights) -> tuple[int, ...]:
    """Return torch's counts of changes in place."""
    return tuple(0 if t is None else _NO_COUNT if t.is_inference() else t._version for t in weights[:4])


def _pack(kind: str, weights: Weights) -> _engine.Packed:
    ih, hh = weights.ih.contiguous(), weights.hh.contiguous()
    b_ih, b_hh = (None if b is None else b.contiguous() for b in weights[2:4])
    return _engine.pack(*KINDS[kind], ih, hh, b_ih, b_hh, torch.get_num_threads())


class frozen_weights:  # noqa: N801  (it is used like torch.no_grad)
    """Promise that no weight changes through `.data` or NumPy; a context manager, and a decorator of a function.

    `layer.step` and short calls without gradients read all weights each time to see whether they have changed. Inside
    the block they do so once, at the first use, and from then on look at torch's counters of changes only, which count
    an optimiser's step, `load_state_dict` and every operation in place, but nothing that goes through `.data` or a
    NumPy array that shares the memory. That saves a quarter to more than half of the time of
    a step.

        with torch.no_grad(), elman.frozen_weights():
            for x in stream:
                y, state = layer.step(x, state)

    It holds for the thread, or the asyncio task, that enters it. Around a function, as in
    `step = elman.frozen_weights()(step)`, it begins there and holds in every call of that function, but not for others
    between the calls.
    """

    def __init__(self) -> None:
        self._promise = _next_promise()
        self._tokens = threading.local()

    def __reduce__(self) -> tuple[type[frozen_weights], tuple[()]]:
        return frozen_weights, ()

    def __enter__(self) -> None:
        vars(self._tokens).setdefault("stack", []).append(_promise.set(current_promise() or _next_promise()))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _promise.reset(self._tokens.stack.pop())

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return the function under this promise."""

        @functools.wraps(function)
        def under_promise(*args: P.args, **kwargs: P.kwargs) -> R:
            return self.call(function, *args, **kwargs)

        return under_promise

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function under this promise, which began when it was made."""
        token = _promise.set(current_promise() or self._promise)
        try:
            return function(*args, **kwargs)
        finally:
            _promise.reset(token)

    def iterate(self, items: Iterator[T]) -> Iterator[T]:
        """Yield what an iterator yields, under this promise while it computes, and not while its consumer does."""
        end = object()
        try:
            while (item := self.call(next, items, end)) is not end:
                yield item  # type: ignore[misc]
        finally:
            if hasattr(items, "close"):
                items.close()
