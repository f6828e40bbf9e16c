"""What all requests share: models, sessions, engine, store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from elman.errors import ElmanError
from elman.serving.engine import Engine
from elman.serving.errors import Unavailable
from elman.serving.metrics import Metrics
from elman.serving.models import ModelRegistry
from elman.serving.sessions import SessionService
from elman.serving.settings import Limits
from elman.serving.stores.base import StoreThread

T = TypeVar("T")

SWEEP = 10.0  # seconds between two looks for expired sessions
FIRST_SWEEP = 60.0  # seconds after the start until sessions are removed, so that a host can set its clock
DIFFERENCE = 60.0  # seconds between our clock and that of the host, above which nothing is removed
WATCH = 2.0  # seconds between two looks for weights that changed

log = logging.getLogger("elman.serving")


class ClientGone(Exception):  # noqa: N818 - not a failure
    """The client has closed the connection; nobody reads an answer."""


@dataclass(eq=False)
class Service:
    """A server behind its protocols.

    Attributes:
        models: by name.
        store: of the sessions.
        limits: of the server.
        metrics: of the server.
        worker: a name that no other worker has.
        reload: "finish", "end" or "off": what happens to sessions of weights that were trained further.
        engine: runs the models.
        sessions: of all clients.
        pool: computes whole predictions.
        ready: whether it takes requests.
    """

    models: ModelRegistry
    store: StoreThread
    limits: Limits
    metrics: Metrics
    worker: str
    reload: str = "finish"
    engine: Engine = field(init=False)
    sessions: SessionService = field(init=False)
    pool: ThreadPoolExecutor = field(init=False)
    ready: bool = False
    _loop: asyncio.AbstractEventLoop | None = field(init=False, default=None)
    _draining: bool = field(init=False, default=False)
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = Engine(self.limits, self.metrics)
        self.sessions = SessionService(self.store, self.models, self.engine, self.limits, self.worker)
        self.pool = ThreadPoolExecutor(self.limits.predictions, thread_name_prefix="elman-predict")

    async def start(self) -> None:
        """Begin the tasks that run beside requests."""
        self._loop = asyncio.get_running_loop()
        work = [self.sessions.renew_leases(), self._sweep()]
        work += [self._watch()] if self.reload != "off" else []
        self._tasks = [asyncio.create_task(each) for each in work]
        self.ready = not self._draining

    def drain(self) -> None:
        """Refuse new requests from now on, and end those that run when their time is over; any thread may call it."""
        self.ready, self._draining = False, True
        if self._loop is None:  # it has not begun
            return
        self._loop.call_soon_threadsafe(self._loop.call_later, self.limits.drain_seconds, self.engine.stop)

    async def stop(self) -> None:
        """End the tasks."""
        self.ready = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.pool.shutdown(wait=False, cancel_futures=True)

    def check_ready(self) -> None:
        """Check that new requests are taken.

        Raises:
            Unavailable: the server is stopping.
        """
        if not self.ready:
            raise Unavailable("the server is stopping", should="a server that runs", found="one that was told to stop")

    async def unless_gone(self, request: Any, work: Awaitable[T]) -> T:
        """Return the result of work, which is cancelled when the client of its request goes.

        Raises:
            ClientGone: it has gone.
        """
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(disconnected(request.receive))
        try:
            await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise ClientGone
        finally:
            gone.cancel()
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, ElmanError):
                    await task

    async def _sweep(self) -> None:
        begun = time.monotonic()
        while True:
            with contextlib.suppress(ElmanError):
                now, expired = self.sessions.clock(), 0
                if time.monotonic() - begun >= FIRST_SWEEP and abs(time.time() - now) < DIFFERENCE:
                    expired = await self.store.run(lambda store: store.expire(now))  # noqa: B023
                self.metrics.sessions.set(await self.store.run(lambda store: store.count(), reads=True))
                if expired:
                    log.info("sessions expired", extra={"fields": {"count": expired}})
            await asyncio.sleep(SWEEP)

    async def _watch(self) -> None:
        """Load runs that were trained further."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WATCH)
            for name in self.models.changed():
                try:
                    model = await loop.run_in_executor(None, self.models.reloaded, name)
                except Exception as error:  # half written, or broken: the model before answers on
                    log.warning("reload failed", extra={"fields": {"model": name, "error": str(error)[:300]}})
                    continue
                self.models.replace(model, keep=self.reload == "finish")
                log.info("model reloaded", extra={"fields": {"model": name}})


async def disconnected(receive: Any) -> None:
    """Return when the client of a request has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
