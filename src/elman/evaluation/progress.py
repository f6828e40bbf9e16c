"""Progress of a long evaluation: the loops over its data report how far they are, and somebody may listen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

PERIOD = 10.0
"""Seconds between two lines, and before the first."""

Listener = Callable[[int, int, str], None]
"""(items done, all items, what they are) -> None."""

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


def reported(items: Iterable[T], count: int, what: str, size: Callable[[T], int] = lambda item: 1) -> Iterator[T]:
    """Yield items, and report after each how many are done.

    Args:
        items: the items.
        count: all of them.
        what: what they are, in the plural.
        size: how many an item counts for.
    """
    done = 0
    for item in items:
        yield item
        done += size(item)
        if listener := _LISTENER.get():
            listener(done, count, what)


@contextmanager
def progress_lines(say: Callable[[str], None]) -> Iterator[None]:
    """Call `say` with a line every ten seconds of the evaluations inside the context."""
    began = last_line = time.monotonic()
    before = (0, "")

    def listen(done: int, count: int, what: str) -> None:
        nonlocal began, last_line, before
        now = time.monotonic()
        if what != before[1] or done < before[0]:
            began = now  # another loop
        before = (done, what)
        if now - last_line < PERIOD or not done:
            return
        last_line = now
        left = (now - began) / done * max(0, count - done)
        say(f"evaluated {done:,} of {count:,} {what}" + (f", about {left:.0f} s left" if now > began else ""))

    token = _LISTENER.set(listen)
    try:
        yield
    finally:
        _LISTENER.reset(token)
