"""Leases of sessions: a request that is cancelled keeps none, and all that are held are renewed at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import elman
from elman.predictors.online.kinds import online_predictor
from elman.serving import sessions as sessions_module
from elman.serving.engine import Engine
from elman.serving.metrics import Metrics
from elman.serving.models import ModelRegistry
from elman.serving.sessions import SessionService
from elman.serving.settings import Limits
from elman.serving.stores.base import LEASE, StoreThread
from elman.serving.stores.sqlite import SqliteStore


@pytest.fixture(scope="module")
def models(language_run: Path) -> ModelRegistry:
    registry = ModelRegistry([f"text={language_run}"], elman.load)
    assert online_predictor(registry.find("text").predictor) is not None
    return registry


@pytest.fixture
def store() -> Iterator[StoreThread]:
    thread = StoreThread(lambda: SqliteStore(Path("memory"), memory=True), lambda count, seconds: None)
    thread.start()
    yield thread
    thread.stop()


def service(models: ModelRegistry, store: StoreThread, **limits: Any) -> SessionService:
    return SessionService(store, models, Engine(Limits(), Metrics()), Limits(**limits), "w")


async def busy(store: StoreThread) -> threading.Event:
    """Keep the store's thread busy until the event is set."""
    event, began = threading.Event(), threading.Event()

    def wait(_: Any) -> None:
        began.set()
        event.wait(5)

    task = asyncio.ensure_future(store.run(wait))
    while not began.is_set():
        await asyncio.sleep(0.001)
    task.add_done_callback(lambda task: task.result())
    return event


@pytest.mark.parametrize("times", [1, 2])
def test_a_request_that_is_cancelled_while_it_acquires_keeps_no_lease(
    models: ModelRegistry, store: StoreThread, times: int
) -> None:
    async def run() -> None:
        sessions = service(models, store, wait_seconds=1)
        name = (await sessions.begin("text", "", None, {})).id

        async def hold() -> None:
            async with sessions.held(name, ""):
                raise AssertionError("it was cancelled")

        event = await busy(store)
        task = asyncio.create_task(hold())
        await asyncio.sleep(0.01)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0.01)
        event.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(0.9), sessions.held(name, ""):
            pass
        assert not sessions._locks and not sessions._held and not sessions._restoring

    asyncio.run(run())


def test_leases_are_renewed_together_and_not_after_their_end(
    models: ModelRegistry, store: StoreThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed: list[str] = []
    monkeypatch.setattr(sessions_module, "LEASE", 0.03)
    monkeypatch.setattr(SqliteStore, "renew", lambda self, lease: renewed.append(lease.id))
    assert LEASE > 1

    async def run() -> None:
        sessions = service(models, store)
        names = [(await sessions.begin("text", "", None, {})).id for _ in range(3)]
        async with sessions.held(names[0], ""), sessions.held(names[1], ""), sessions.held(names[2], "") as last:
            await sessions.save(last)
            event = await busy(store)
            task = asyncio.create_task(sessions.renew_leases())
            await asyncio.sleep(0.03)
            assert store._queue.qsize() == 2  # the second does not wait for the first
            event.set()
            await asyncio.sleep(0.03)
            task.cancel()
        assert set(renewed) == set(names[:2])

    asyncio.run(run())
