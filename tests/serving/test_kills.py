"""Processes: kill -9 and restart, SIGTERM under load, and a second host that continues the sessions of a dead one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

import elman
from elman.serving.stores.base import LEASE
from elman.serving.stores.sqlite import SqliteStore

Start = Callable[..., Any]
PROMPTS = ("ein", "paar ", "")  # without one a text begins as a line does, by one symbol that is not sent
CHECKPOINTED = 600  # events, so that the whole state was written once and the rest is in the tail


def expected(run: Path, prompt: str, length: int, **options: Any) -> str:
    return "".join(elman.load(run).generate(prompt, length=length, **options))


class Streams:
    """Long generations in sessions of a server, which may die."""

    def __init__(self, server: Any, least: int = CHECKPOINTED) -> None:
        self.server = server
        self.names: list[str] = []
        self.events: list[list[Any]] = [[] for _ in PROMPTS]
        self.last = ["" for _ in PROMPTS]
        self.threads = [threading.Thread(target=self._read, args=(n,)) for n in range(len(PROMPTS))]
        with server.client() as client:
            for prompt in PROMPTS:
                name = client.post("/v1/sessions", json={"model": "text"}).json()["id"]
                client.post(f"/v1/sessions/{name}/feed", json={"text": prompt})
                self.names.append(name)
        for thread in self.threads:
            thread.start()
        end = time.monotonic() + 60
        while min(map(len, self.events)) < least:
            assert time.monotonic() < end, (list(map(len, self.events)), self.last)
            ended = [
                n for n, thread in enumerate(self.threads) if not thread.is_alive() and len(self.events[n]) < least
            ]
            assert not ended, (ended, self.last)
            time.sleep(0.01)

    def _read(self, number: int) -> None:
        body = {"max_tokens": 100_000, "seed": number, "stream": True}
        path = f"/v1/sessions/{self.names[number]}/generate"
        try:
            with self.server.client() as client, client.stream("POST", path, json=body) as answer:
                for line in answer.iter_lines():
                    self.last[number] = line or self.last[number]
                    if line.startswith('data: {"position"'):
                        self.events[number].append(json.loads(line[6:]))
        except httpx.TransportError as error:
            self.last[number] += repr(error)

    def join(self) -> None:
        for thread in self.threads:
            thread.join()

    def check(self, client: httpx.Client, run: Path) -> None:
        """Check that nothing that was sent is lost, and that the sessions are where the offline run is."""
        for n, (name, events) in enumerate(zip(self.names, self.events, strict=True)):
            position = client.get(f"/v1/sessions/{name}").json()["position"]
            read = len(PROMPTS[n]) or 1
            assert position >= len(events) + (read if events else len(PROMPTS[n]))
            assert not events or events[-1]["position"] == len(events) + read
            text = expected(run, PROMPTS[n], position - read, seed=n)
            assert text.startswith("".join(event["text"] for event in events))
            body = {"max_tokens": 9, "temperature": 0}
            more = client.post(f"/v1/sessions/{name}/generate", json=body).json()["text"]
            assert more == expected(run, (PROMPTS[n] or "\n") + text, 9, temperature=0)


def test_what_was_sent_survives_kill_9_and_sigterm(
    serve_process: Start, text_run: Path, tmp_path: Path, port: int
) -> None:
    words = [f"text={text_run}", "--store", f"sqlite:{tmp_path}/s.db", "--set", "drain_seconds=1"]
    server = serve_process(*words, port=port).wait()
    streams = Streams(server)
    server.kill()
    streams.join()
    server = serve_process(*words, port=port).wait()
    with server.client() as client:
        streams.check(client, text_run)
    streams = Streams(server)
    code, text = server.stop()
    streams.join()
    assert code == 0 and text.splitlines()[-1] == "stopped"
    assert "Traceback" not in text, text
    store = SqliteStore(tmp_path / "s.db")
    for name, events in zip(streams.names, streams.events, strict=True):
        record, _ = store.acquire(name, "", "another", time.time())  # the lease was given back
        assert record.position >= events[-1]["position"]
    store.close()


def test_a_second_host_continues_the_sessions_of_a_dead_one(
    serve_process: Start, text_run: Path, redis_address: str
) -> None:
    words = [f"text={text_run}", "--store", redis_address, "--set", "wait_seconds=60"]
    first, second = serve_process(*words), serve_process(*words)
    first.wait()
    second.wait()
    streams = Streams(first)
    first.kill()
    streams.join()
    with second.client() as client:
        begun = time.monotonic()
        streams.check(client, text_run)
        assert time.monotonic() - begun < 3 * LEASE
