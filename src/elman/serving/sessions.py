"""Sessions: values in a store that requests take, change and put back."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from elman.errors import ElmanError, RunError
from elman.predictors.online.base import OnlinePredictor
from elman.predictors.online.state import OnlineState, from_snapshot
from elman.predictors.online.text import OnlineText, TextSettings
from elman.serving.engine import Engine, Generation
from elman.serving.errors import BadSnapshot, SessionBusy, WrongKind
from elman.serving.models import ModelRegistry
from elman.serving.settings import Limits
from elman.serving.stores.base import LEASE, Lease, Record, SessionClock, StoreThread

RETRY = 0.1  # seconds between two attempts to get a session that another worker has
CHECKPOINT = 512  # symbols of a stream after which the whole state is written


@dataclass(slots=True)
class HeldSession:
    """A session while a request has it.

    Attributes:
        record: as it was in the store.
        model: of its weights.
        state: its state, which the request changes.
        lease: the right to write it.
        tail: symbols since the state was written.
        done: whether the lease has ended.
    """

    record: Record
    model: OnlinePredictor
    state: OnlineState
    lease: Lease
    tail: bytes = b""
    done: bool = False


class SessionService:
    """The sessions of a server.

    Args:
        store: where they are.
        models: of the server.
        engine: of the server.
        limits: of the server.
        worker: a name that no other worker has.
    """

    def __init__(
        self, store: StoreThread, models: ModelRegistry, engine: Engine, limits: Limits, worker: str
    ) -> None:  # fmt: skip
        self.store, self.models, self.engine, self.limits, self.worker = store, models, engine, limits, worker
        self.clock = SessionClock()
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._held: dict[str, HeldSession] = {}
        self._restoring: dict[str, Lease] = {}
        self._releases: set[asyncio.Future[None]] = set()

    async def create(
        self, model: OnlinePredictor, name: str, tenant: str, ttl: float | None, state: OnlineState
    ) -> Record:
        """Add a session with a state."""
        now = self.clock()
        record = Record(
            f"{int(now * 1000):012x}{secrets.token_hex(10)}", tenant, name, model.kind, model.weights, state.position,
            now, now, min(ttl or self.limits.session_seconds, self.limits.session_seconds), model.dump(state),
        )  # fmt: skip
        await self.store.run(lambda store: store.create(record, self.limits.sessions))
        return record

    async def begin(self, name: str, tenant: str, ttl: float | None, options: Mapping[str, Any]) -> Record:
        """Add a new session.

        Raises:
            WrongKind: the model answers whole inputs alone.
        """
        served = self.models.find(name)
        if served.online is None:
            raise WrongKind(
                f"{name} has no sessions", should="a model that reads step by step", found=f"a run of {served.recipe}",
                hint=f"POST /v1/predict/{name}",
            )  # fmt: skip
        return await self.create(served.online, name, tenant, ttl, served.online.begin(options))

    async def read(self, session: str, tenant: str) -> Record:
        """Return a session as it is in the store."""
        now = self.clock()
        return await self.store.run(lambda store: store.read(session, tenant, now), reads=True)

    async def snapshot(self, session: str, tenant: str) -> tuple[Record, bytes]:
        """Return a session, and its state as bytes; a request that has it is not waited for."""
        record = await self.read(session, tenant)
        if not record.tail:
            return record, record.state
        model = self.models.with_weights(record.model, record.weights)
        return record, model.dump(await self._restored(model, record))

    async def fork(self, session: str, tenant: str) -> Record:
        """Add a session with the state of another."""
        record, content = await self.snapshot(session, tenant)
        model = self.models.with_weights(record.model, record.weights)
        return await self.create(model, record.model, tenant, record.ttl, model.restore(content))

    async def restore(self, content: bytes, tenant: str, name: str | None, ttl: float | None) -> Record:
        """Add a session out of a snapshot; without a name the model of its weights is taken.

        Raises:
            BadSnapshot: the snapshot is damaged, or no model here has its weights.
        """
        with bad_snapshots():
            _, header = from_snapshot(content)
            served = [self.models.find(name)] if name else list(self.models.models.values())
            matching = [m for m in served if m.online is not None and m.online.weights == header.weights]
            if not matching:
                raise RunError(
                    "the snapshot belongs to another model", should="weights of a model of this server",
                    found=f"weights {header.weights[:12]}", hint="the server and the run that it was taken from",
                )  # fmt: skip
            online = matching[0].online
            assert online is not None
            state = online.restore(content)
        return await self.create(online, matching[0].name, tenant, ttl, state)

    async def rewind(self, session: str, tenant: str, content: bytes) -> Record:
        """Put a session back to a snapshot of its model."""
        async with self.held(session, tenant) as held:
            with bad_snapshots():
                held.state = held.model.restore(content)
            await self.save(held)
        return await self.read(session, tenant)

    async def delete(self, session: str, tenant: str) -> None:
        """Remove a session; a request that has it cannot write it any more."""
        now = self.clock()
        await self.store.run(lambda store: store.delete(session, tenant, now))

    async def listed(self, tenant: str, after: str, limit: int) -> list[Record]:
        """Return sessions, in the order in which they were made, without states."""
        now = self.clock()
        return await self.store.run(lambda store: store.list(tenant, after, limit, now), reads=True)

    @asynccontextmanager
    async def held(self, session: str, tenant: str) -> AsyncIterator[HeldSession]:
        """Take a session. What is not saved when the request ends is as before.

        Raises:
            SessionBusy: other requests have it for too long.
        """
        async with self._alone(session):
            record, lease = await self._acquire(session, tenant)
            held: HeldSession | None = None
            self._restoring[session] = lease
            try:
                model = self.models.with_weights(record.model, record.weights)
                held = HeldSession(record, model, await self._restored(model, record), lease, record.tail)
                self._held[session] = held
                del self._restoring[session]
                yield held
            finally:
                self._held.pop(session, None)
                self._restoring.pop(session, None)
                if held is None or not held.done:
                    await self._release(lease)

    async def save(self, held: HeldSession, *, release: bool = True) -> None:
        """Write the state of a session; when this returns it is durable."""
        state, position, now = held.model.dump(held.state), held.state.position, self.clock()
        held.tail = b""
        lease = held.lease
        await self.store.run(lambda store: store.write(lease, position, now, state=state, tail=b"", release=release))
        held.done = release

    async def note(self, held: HeldSession, generation: Generation, token_ids: list[int]) -> int:
        """Write symbols that a session has read, before they are sent, and return its position.

        It is called before the engine runs again, so that the state is that after these symbols.
        """
        position = held.state.position
        held.tail += struct.pack(f"<{len(token_ids)}I", *token_ids)
        if len(held.tail) >= 4 * CHECKPOINT:
            self.engine.state(generation)
            await self.save(held, release=False)
        else:
            lease, tail, now = held.lease, held.tail, self.clock()
            await self.store.run(lambda store: store.write(lease, position, now, state=None, tail=tail, release=False))
        return position

    async def renew_leases(self) -> None:
        """Renew the leases of all sessions that requests have, for ever."""
        while True:
            await asyncio.sleep(LEASE / 3)
            leases = [held.lease for held in self._held.values() if not held.done]
            leases += self._restoring.values()
            renewals = (self.store.run(lambda store, lease=lease: store.renew(lease)) for lease in leases)  # type: ignore[misc]
            await asyncio.gather(*renewals, return_exceptions=True)  # a lease that is lost refuses the next write

    async def _restored(self, model: OnlinePredictor, record: Record) -> OnlineState:
        """Return the state of a session: that which was written, and the symbols since."""
        state = model.restore(record.state)
        if record.tail and isinstance(model, OnlineText):
            token_ids = struct.unpack(f"<{len(record.tail) // 4}I", record.tail)
            generation = self.engine.begin(model, model.row(state, token_ids, TextSettings()))
            try:
                async for _ in self.engine.choices(generation):
                    pass
            finally:
                self.engine.cancel(generation)
        return state

    async def _acquire(self, session: str, tenant: str) -> tuple[Record, Lease]:
        end = self.clock() + self.limits.wait_seconds
        while True:
            now = self.clock()
            try:
                return await self._acquire_once(session, tenant, now)
            except SessionBusy:
                if now > end:
                    raise
            await asyncio.sleep(RETRY)

    async def _acquire_once(self, session: str, tenant: str, now: float) -> tuple[Record, Lease]:
        """Return a session and its lease, which a request that is cancelled meanwhile gives back when it comes."""
        acquire = asyncio.ensure_future(self.store.run(lambda store: store.acquire(session, tenant, self.worker, now)))
        try:
            return await asyncio.shield(acquire)
        except asyncio.CancelledError:
            acquire.add_done_callback(self._give_back)
            raise

    def _give_back(self, acquire: asyncio.Future[tuple[Record, Lease]]) -> None:
        """End the lease that nobody waits for any more."""
        if not acquire.cancelled() and acquire.exception() is None:
            task = asyncio.ensure_future(self._release(acquire.result()[1]))
            self._releases.add(task)
            task.add_done_callback(self._releases.discard)

    async def _release(self, lease: Lease) -> None:
        """End a lease, also where the request is cancelled."""
        with contextlib.suppress(ElmanError):
            await asyncio.shield(self.store.run(lambda store: store.release(lease)))

    @asynccontextmanager
    async def _alone(self, session: str) -> AsyncIterator[None]:
        """Let one request of this worker at a time have a session, in their order."""
        lock, users = self._locks.get(session, (asyncio.Lock(), 0))
        self._locks[session] = lock, users + 1
        try:
            try:
                async with asyncio.timeout(self.limits.wait_seconds):
                    await lock.acquire()
            except TimeoutError as error:
                raise SessionBusy(
                    "the session is busy", should="one request at a time", found="requests that take long"
                ) from error
            try:
                yield
            finally:
                lock.release()
        finally:
            lock, users = self._locks.pop(session)
            if users > 1:
                self._locks[session] = lock, users - 1


@contextmanager
def bad_snapshots() -> Iterator[None]:
    """Turn the errors of a snapshot into those of the service."""
    try:
        yield
    except RunError as error:
        raise BadSnapshot(error.what, should=error.should, found=error.found, hint=error.hint) from error
