"""Faults around the server: Redis goes and comes back, and connections are half open."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

import elman
from elman.serving.errors import Unavailable
from elman.serving.server import ServerSettings
from elman.serving.settings import Limits
from elman.serving.stores.base import StoreThread
from elman.serving.stores.redis import RedisStore

LEAST = 20  # events of a stream before something happens


def test_redis_goes_and_comes_back(start_server: Any, redis_process: Any, text_run: Path, tmp_path: Path) -> None:
    with redis_process(tmp_path) as redis:
        settings = ServerSettings([f"text={text_run}"], store=redis.address, limits=Limits(wait_seconds=15))
        with start_server(settings) as server, server.client() as client:
            path = f"/v1/sessions/{client.post('/v1/sessions', json={'model': 'text'}).json()['id']}"
            stream = {"text": "ein", "max_tokens": 100_000, "seed": 1, "stream": True}
            with client.stream("POST", f"{path}/generate", json=stream) as answer:
                lines, text, position = answer.iter_lines(), "", 0
                for line in lines:
                    fields = httpx.Response(200, content=line[6:]).json() if line.startswith("data: {") else {}
                    if "error" in fields:
                        break
                    if "text" in fields:
                        text, position = text + fields["text"], fields["position"]
                    if position == LEAST:
                        redis.__exit__()
                assert fields["error"]["type"] == "Unavailable" and position >= LEAST
            begun = time.monotonic()
            answers = [
                client.post(f"{path}/feed", json={"text": "ein"}), client.get(path), client.get(f"{path}/snapshot"),
                client.post("/v1/sessions", json={"model": "text"}), client.delete(path), client.get("/v1/sessions"),
            ]  # fmt: skip
            assert time.monotonic() - begun < 5
            for answer in answers:
                assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
                assert answer.json()["error"]["what"] == "the store cannot be used now"
            assert client.get("/healthz").status_code == 200 and client.get("/readyz").status_code == 503
            assert client.post("/v1/completions", json={"model": "text", "max_tokens": 2}).status_code == 200
            redis.__enter__()
            end = time.monotonic() + 20
            while client.get("/readyz").status_code != 200:
                assert time.monotonic() < end
                time.sleep(0.02)
            saved = client.get(path).json()["position"]
            assert saved >= position
            run: Any = elman.load(text_run)
            whole = "".join(run.generate("ein", length=saved - 3, seed=1))
            fork = client.post(f"{path}/fork").json()["id"]  # the lease of the session itself ends by time alone
            more = client.post(f"/v1/sessions/{fork}/generate", json={"max_tokens": 9, "temperature": 0}).json()["text"]
            assert whole.startswith(text)
            assert more == "".join(run.generate("ein" + whole, length=9, temperature=0))


def test_nobody_waits_for_a_store_that_is_gone_in_turn(redis_process: Any, tmp_path: Path) -> None:
    with redis_process(tmp_path) as redis:
        thread = StoreThread(lambda: RedisStore(redis.address), lambda count, seconds: None)
        thread.start()
    calls: list[int] = []

    def read(store: Any) -> Any:
        calls.append(1)
        return store.count()

    async def each() -> list[Any]:
        slow = thread.run(lambda store: time.sleep(0.1))
        return await asyncio.gather(slow, *(thread.run(read) for _ in range(50)), return_exceptions=True)

    _, *results = asyncio.run(each())
    assert all(isinstance(result, Unavailable) for result in results) and len(calls) < 5
    thread.stop()


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"POST /v1/comp", b""),
        (b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\nGET /heal", b"200"),
        (b"POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 99\r\n\r\n{", b"408"),
        (
            b"PUT /v1/sessions/a/snapshot HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na",
            b"408",
        ),
    ],
)
def test_a_connection_that_is_half_open_is_closed(half_open_server: Any, sent: bytes, answer: bytes) -> None:
    with socket.create_connection(("127.0.0.1", int(half_open_server.url.rpartition(":")[2])), timeout=10) as client:
        client.sendall(sent)
        content = b""
        while part := client.recv(4096):
            content += part
    assert content.split(b" ")[1:2] == ([answer] if answer else []), content
    assert answer != b"408" or b'"TooSlow"' in content


@pytest.fixture(scope="module")
def half_open_server(start_server: Any, text_run: Path) -> Any:
    settings = ServerSettings([f"text={text_run}"], store="memory", limits=Limits(idle_seconds=1))
    with start_server(settings, keep_alive=0.3) as server:
        yield server
