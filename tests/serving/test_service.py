"""A busy server, clients that go away or do not read, and runs that are trained further."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from elman.serving import service as service_module
from elman.serving.engine import Engine
from elman.serving.metrics import Metrics
from elman.serving.models import ModelRegistry
from elman.serving.server import ServerSettings
from elman.serving.service import Service
from elman.serving.settings import Limits
from elman.serving.stores.base import StoreThread
from elman.serving.stores.sqlite import SqliteStore
from elman.storage import tensors

LONG = {"model": "text", "prompt": "ein", "max_tokens": 100_000, "stream": True}


async def until(condition: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def test_a_busy_server_says_when_to_try_again(start_server: Any, text_run: Path) -> None:
    limits = Limits(active=2, waiting=1)
    with start_server(ServerSettings([f"text={text_run}"], store="memory", limits=limits)) as server:

        async def crowd() -> list[Any]:
            async with server.async_client() as client:
                streams = [client.stream("POST", "/v1/completions", json=LONG) for _ in range(3)]
                opened = [await streams[n].__aenter__() for n in range(2)]
                third = asyncio.create_task(streams[2].__aenter__())
                await until(lambda: len(server.service.engine._waiting) == 1)
                refused = await client.post("/v1/completions", json={"model": "text"})
                for stream in streams[:2]:  # they go away, and the one that waits gets a place
                    await stream.__aexit__(None, None, None)
                lines = (await third).aiter_lines()
                first = await anext(lines)
                await streams[2].__aexit__(None, None, None)
                await until(lambda: server.service.engine.active == 0)
                done = await client.post("/v1/completions", json={"model": "text", "max_tokens": 2})
                return [*[answer.status_code for answer in opened], refused, first, done]

        one, two, refused, first, done = asyncio.run(crowd())
    assert one == two == done.status_code == 200 and first.startswith("data: {")
    assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
    assert refused.json()["error"]["type"] == "TooBusy"


def test_a_client_that_goes_away_frees_its_place(start_server: Any, text_run: Path) -> None:
    with start_server(ServerSettings([f"text={text_run}"], store="memory")) as server:

        async def leave() -> None:
            async with server.async_client() as client:
                with pytest.raises(httpx.ReadTimeout):  # without a stream nothing is written that could fail
                    await client.post(
                        "/v1/completions", json={**LONG, "stream": False}, timeout=httpx.Timeout(30, read=0.5)
                    )
                await until(lambda: server.service.engine.active == 0)

        asyncio.run(leave())


def test_a_client_that_does_not_read_loses_its_place(start_server: Any, text_run: Path) -> None:
    limits = Limits(unread_symbols=64, send_seconds=1)
    with start_server(ServerSettings([f"text={text_run}"], store="memory", limits=limits)) as server:

        async def stall() -> None:
            port = int(server.url.rpartition(":")[2])
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            body = json.dumps(LONG).encode()
            head = f"POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n"
            writer.write(head.encode() + b"content-type: application/json\r\n\r\n" + body)
            await writer.drain()
            engine = server.service.engine
            await until(lambda: engine.active == 1)
            await until(lambda: engine._paused)  # the generation does not run ahead
            await until(lambda: engine.active == 0)
            writer.close()
            async with server.async_client() as client:
                answer = await client.post("/v1/completions", json={"model": "text", "max_tokens": 2})
                assert answer.status_code == 200

        asyncio.run(stall())


@pytest.mark.parametrize("reload", ["finish", "end"])
def test_a_run_that_was_trained_further_is_loaded_again(
    start_server: Any,
    text_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reload: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(service_module, "WATCH", 0.05)
    run = tmp_path / "run"
    shutil.copytree(text_run, run)
    with start_server(ServerSettings([f"text={run}"], store="memory", reload=reload)) as server, server.client() as c:
        body = {"max_tokens": 30, "temperature": 0}
        session = c.post("/v1/sessions", json={"model": "text"}).json()["id"]
        c.post(f"/v1/sessions/{session}/feed", json={"text": "ein"})
        fork = c.post(f"/v1/sessions/{session}/fork").json()["id"]
        before = c.post(f"/v1/sessions/{session}/generate", json=body).json()["text"]
        (model,) = c.get("/v1/models").json()["data"]
        parts, facts = tensors.read(run / "model.safetensors")
        tensors.write(run / "model.safetensors", {name: -part for name, part in parts.items()}, facts)
        end = time.monotonic() + 20
        while c.get("/v1/models/text").json()["weights"] == model["weights"]:
            assert time.monotonic() < end
            time.sleep(0.02)
        answer = c.post(f"/v1/sessions/{fork}/generate", json=body)
        if reload == "finish":
            assert answer.json()["text"] == before
        else:
            assert answer.status_code == 409 and "former weights" in answer.json()["error"]["what"]
        (run / "model.safetensors").write_bytes(b"half a file")
        while not any("reload failed" in line.message for line in caplog.records):
            assert time.monotonic() < end
            time.sleep(0.02)
        assert c.post("/v1/completions", json={"model": "text", "max_tokens": 1}).status_code == 200
        assert torch.is_inference_mode_enabled() is False


def test_an_engine_that_stops_ends_what_waits() -> None:
    async def stop() -> None:
        engine = Engine(Limits(), Metrics())
        waiting = asyncio.ensure_future(engine.advance(None, None, None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        engine._scheduled = True
        engine.stop()
        with pytest.raises(Exception, match="stopping"):
            await waiting

    asyncio.run(stop())


def test_a_client_that_goes_away_while_its_prompt_is_read_frees_its_place(start_server: Any, text_run: Path) -> None:
    with start_server(ServerSettings([f"text={text_run}"], store="memory")) as server:

        async def leave() -> None:
            async with server.async_client() as client:
                session = (await client.post("/v1/sessions", json={"model": "text"})).json()["id"]
                body = {"text": "ein " * 200_000, "max_tokens": 1, "stream": True}
                with pytest.raises(httpx.ReadTimeout):
                    await client.post(
                        f"/v1/sessions/{session}/generate", json=body, timeout=httpx.Timeout(30, read=0.3)
                    )
                await until(lambda: server.service.engine.active == 0, 1)
                assert (await client.get(f"/v1/sessions/{session}")).json()["position"] == 0

        asyncio.run(leave())


def test_a_server_that_is_told_to_stop_before_it_begins() -> None:
    async def run() -> None:
        store = StoreThread(lambda: SqliteStore(Path("memory"), memory=True), lambda count, seconds: None)
        service = Service(ModelRegistry([], None), store, Limits(), Metrics(), "w", reload="off")  # type: ignore[arg-type]
        service.drain()
        store.start()
        await service.start()
        assert not service.ready
        await service.stop()
        store.stop()

    asyncio.run(run())


@pytest.mark.parametrize(("wait", "jump", "count"), [(0.0, 0.0, 0), (60.0, 0.0, 1), (60.0, -1e6, 0)])
def test_nothing_is_removed_while_the_clock_may_be_wrong(
    monkeypatch: pytest.MonkeyPatch, wait: float, jump: float, count: int
) -> None:
    monkeypatch.setattr(service_module, "FIRST_SWEEP", 60.0 - wait)
    monkeypatch.setattr(service_module, "SWEEP", 0.01)
    swept: list[float] = []
    monkeypatch.setattr(SqliteStore, "expire", lambda self, now: swept.append(now) or 0)

    async def run() -> None:
        store = StoreThread(lambda: SqliteStore(Path("memory"), memory=True), lambda count, seconds: None)
        store.start()
        service = Service(ModelRegistry([], None), store, Limits(), Metrics(), "w", reload="off")  # type: ignore[arg-type]
        service.sessions.clock._offset -= jump
        await service.start()
        await asyncio.sleep(0.05)
        await service.stop()
        store.stop()

    asyncio.run(run())
    assert bool(swept) == bool(count)
