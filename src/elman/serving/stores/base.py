"""The contract of a store, and the thread that writes for many requests at once."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

from elman.errors import ElmanError, first_line
from elman.serving.errors import Unavailable

T = TypeVar("T")

LEASE = 10.0  # seconds of a lease, which its worker renews
MOST_AT_ONCE = 512  # operations of a transaction


class Lease(NamedTuple):
    """The right to change a session.

    Attributes:
        id: of the session.
        fence: a number that rises with each lease; a write with an older one is refused.
    """

    id: str
    fence: int


@dataclass(slots=True)
class Record:
    """A session in a store.

    Attributes:
        id: its name.
        tenant: the name of the token that it belongs to; empty where there are none.
        model: the name of its model.
        kind: of the session.
        weights: the fingerprint of its model.
        position: the number of inputs that it has read.
        created: when, in seconds since 1970.
        touched: when it was last written.
        ttl: seconds that it is kept without a request.
        state: as bytes; empty in a list.
        tail: symbols that it has read since the state was written, as bytes.
    """

    id: str
    tenant: str
    model: str
    kind: str
    weights: str
    position: int
    created: float
    touched: float
    ttl: float
    state: bytes = b""
    tail: bytes = b""


class Store(ABC):
    """Sessions that survive what the store survives. All methods are called in one thread, in `transaction`.

    Attributes:
        atomic: whether a transaction that fails has changed nothing.
        notice: what the person who started the server should know; empty: nothing.
    """

    atomic: ClassVar[bool] = True
    notice = ""

    @abstractmethod
    def create(self, record: Record, most: int) -> None:
        """Add a session.

        Raises:
            TooBusy: there are `most` already.
        """

    @abstractmethod
    def read(self, session: str, tenant: str, now: float) -> Record:
        """Return a session.

        Raises:
            UnknownSession: there is none.
        """

    @abstractmethod
    def acquire(self, session: str, tenant: str, owner: str, now: float) -> tuple[Record, Lease]:
        """Return a session and the lease of it.

        Raises:
            SessionBusy: another worker has it.
            UnknownSession: there is none.
        """

    @abstractmethod
    def renew(self, lease: Lease) -> None:
        """Extend a lease; one that has ended stays so.

        Raises:
            LostLease: it has ended, or another worker has it.
        """

    @abstractmethod
    def write(
        self, lease: Lease, position: int, now: float, *, state: bytes | None, tail: bytes, release: bool
    ) -> None:
        """Write a session; state None: as it was.

        Raises:
            LostLease: another worker has it.
        """

    @abstractmethod
    def release(self, lease: Lease) -> None:
        """End a lease; nothing happens if it has ended."""

    @abstractmethod
    def delete(self, session: str, tenant: str, now: float) -> None:
        """Remove a session; who has a lease of it has lost it.

        Raises:
            UnknownSession: there is none.
        """

    @abstractmethod
    def list(self, tenant: str, after: str, limit: int, now: float) -> list[Record]:
        """Return sessions in the order of their names, without states."""

    @abstractmethod
    def expire(self, now: float) -> int:
        """Remove the sessions whose time is over, and return their number."""

    @abstractmethod
    def count(self) -> int:
        """Return the number of sessions."""

    @contextmanager
    def transaction(self, *, reads: bool = False) -> Iterator[None]:
        """Write what is written inside at once: when it ends it is as durable as the store promises.

        Args:
            reads: whether nothing is written, so that nobody who writes is waited for.
        """
        yield

    def is_gone(self, error: Exception) -> bool:
        """Return whether an error says that the store does not answer, so that further operations would wait for it."""
        return False

    @abstractmethod
    def close(self) -> None:
        """Close the store."""


class SessionClock:
    """Seconds since 1970 that never jump: the system's clock at the start, and a monotonic one since."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Return the time."""
        return time.monotonic() + self._offset


class StoreThread:
    """Runs operations of a store in a thread of its own; what waits shares a transaction (group commit).

    Args:
        open_store: opens the store, in the thread.
        observe: is called with the number of operations and the seconds of each transaction.
    """

    def __init__(self, open_store: Callable[[], Store], observe: Callable[[int, float], None]) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._open, self._observe, self.notice = open_store, observe, ""
        self._opened: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="elman-store", daemon=True)

    def start(self) -> None:
        """Open the store.

        Raises:
            ElmanError: it cannot be opened.
        """
        self._thread.start()
        if (error := self._opened.get()) is not None:
            raise error

    def stop(self) -> None:
        """Run what waits, and close the store."""
        self._queue.put(None)
        self._thread.join()

    async def run(self, operation: Callable[[Store], T], *, reads: bool = False) -> T:
        """Run an operation; when this returns its effect is durable.

        Args:
            operation: is called in the thread.
            reads: whether it writes nothing.

        Raises:
            Unavailable: the store is full or gone.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put((operation, loop, future, reads))
        return await future

    def _work(self) -> None:
        try:
            store = self._open()
        except Exception as error:
            self._opened.put(error)
            return
        self.notice = store.notice
        self._opened.put(None)
        while (first := self._queue.get()) is not None:
            batch, last = [first], False
            while len(batch) < MOST_AT_ONCE and not self._queue.empty():
                item = self._queue.get()
                if item is None:
                    last = True
                    break
                batch.append(item)
            begun = time.perf_counter()
            results = self._transact(store, batch)
            self._observe(len(batch), time.perf_counter() - begun)
            self._answer(batch, results)
            if last:
                break
        store.close()

    def _transact(self, store: Store, batch: list[Any]) -> list[Any]:
        """Run operations in a transaction, and return what they return or raise.

        Where one of several fails so that all are undone, each is tried in a transaction of its own.
        """
        results: list[Any] = []
        failed = False
        try:
            with store.transaction(reads=all(item[3] for item in batch)):
                for operation, *_ in batch:
                    try:
                        results.append(operation(store))
                    except ElmanError as error:  # raised before anything was written
                        results.append(error)
                    except Exception as error:
                        if store.atomic:
                            failed = True
                            raise
                        results.append(_unavailable(error))
                        if store.is_gone(error):  # nobody waits for each of the others in turn
                            results += [_unavailable(error)] * (len(batch) - len(results))
                            break
        except Exception as error:  # of the system, or of a driver: disk full, no connection
            if failed and len(batch) > 1:
                return [self._transact(store, [item])[0] for item in batch]
            return [_unavailable(error)] * len(batch)
        return results

    def _answer(self, batch: list[Any], results: list[Any]) -> None:
        loops: dict[Any, list[tuple[Any, Any]]] = {}
        for (_, loop, future, _), result in zip(batch, results, strict=True):
            loops.setdefault(loop, []).append((future, result))
        for loop, pairs in loops.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, pairs)


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(
        "the store cannot be used now", should="a store with room that answers", found=first_line(error),
        hint="read the session, and try again",
    )  # fmt: skip


def _resolve(pairs: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in pairs:
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
