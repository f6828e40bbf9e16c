"""Long trials of the service, which `make trials` runs: kills, many sessions, generated requests, hosts in namespaces.

python tests/serving/trials.py kills 50
python tests/serving/trials.py sessions 1000
python tests/serving/trials.py requests 5000
python tests/serving/trials.py memory 100000
python tests/serving/trials.py hosts            # as root, with ip and redis-server
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parent))

import conftest
import test_kills
import test_schema
import test_sessions

import elman
from elman.serving.server import ServerSettings
from elman.serving.settings import Limits
from elman.serving.stores.base import LEASE

WORDS = ["ein ", "Öl ", "paar ", "\n"]


def text_run(folder: Path) -> Path:
    """Return a small run whose output depends on its state."""
    rng, text = random.Random(1), folder / "text.txt"
    text.write_text("".join(rng.choice(WORDS) for _ in range(400)), encoding="utf-8")
    sizes: dict[str, Any] = {"hidden": 16, "embedding": 8, "batch_size": 4, "window": 16, "learning_rate": 0.03}
    elman.train("language-model", text, folder / "run", steps=120, device="cpu", **sizes)
    return folder / "run"


def kills(folder: Path, count: int) -> None:
    """Kill a server that streams, at random moments, and compare what is left with what was acknowledged."""
    run, port, rng = text_run(folder), conftest.free_port(), random.Random(2)
    words = [f"text={run}", "--store", f"sqlite:{folder}/s.db"]
    server, symbols = conftest.ServerProcess(port, *words).wait(), 0
    for number in range(count):
        streams = test_kills.Streams(server, rng.randint(1, 900))
        time.sleep(rng.random() * 0.2)
        server.kill()
        streams.join()
        server = conftest.ServerProcess(port, *words).wait()
        with server.client() as client:
            streams.check(client, run)
        symbols += sum(map(len, streams.events))
        print(f"kill {number + 1}: {symbols} acknowledged symbols so far, none lost", flush=True)
    server.stop()


def sessions(folder: Path, count: int) -> None:
    """Run sessions with cancels, forks, snapshots and rewinds, 50 at a time, beside their offline runs."""
    run = text_run(folder)
    with conftest.running(ServerSettings([f"text={run}"], store=f"sqlite:{folder}/s.db")) as server:

        async def some(begin: int, end: int) -> int:
            async with server.async_client() as client:
                return sum(await asyncio.gather(*(test_sessions.live(client, run, n) for n in range(begin, end))))

        compared = 0
        for begin in range(0, count, 50):
            compared += asyncio.run(some(begin, min(begin + 50, count)))
            print(f"{min(begin + 50, count)} sessions, {compared} answers equal to the bit", flush=True)
        assert server.service.engine.active == 0


def requests(folder: Path, count: int) -> None:
    """Send requests that are generated from the OpenAPI document."""
    with conftest.running(
        ServerSettings([f"text={text_run(folder)}"], limits=Limits(max_tokens=500), store="memory")
    ) as s:
        operations = len(s.client().get("/openapi.json").json()["paths"])
        test_schema.CASES = -(-count // operations)
        test_schema.test_generated_requests_give_no_5xx(s)
        print(f"at least {count} requests, no 5xx")


def memory(folder: Path, count: int) -> None:
    """Open and close sessions, and compare the memory of the server in the middle and at the end."""
    port = conftest.free_port()
    server = conftest.ServerProcess(port, f"text={text_run(folder)}", "--store", f"sqlite:{folder}/s.db").wait()

    async def some(number: int) -> None:
        limits = httpx.Limits(max_connections=16)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, limits=limits) as client:

            async def one() -> None:
                session = (await client.post("/v1/sessions", json={"model": "text"})).json()["id"]
                body = {"text": "ein", "max_tokens": 8}
                assert (await client.post(f"/v1/sessions/{session}/generate", json=body)).status_code == 200
                await client.delete(f"/v1/sessions/{session}")

            await asyncio.gather(*(one() for _ in range(number)))

    sizes, done = [], 0
    while done < count:
        asyncio.run(some(min(500, count)))
        done += 500
        pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
        sizes.append(pages * resource.getpagesize() / 1e6)
        print(f"{done} sessions: {sizes[-1]:.1f} MB", flush=True)
    server.stop()
    settled = sizes[len(sizes) // 2]
    assert sizes[-1] - settled < 8, sizes


@contextlib.contextmanager
def namespaces(names: list[str]) -> Iterator[dict[str, str]]:
    """Give network namespaces that are connected by a bridge, and the address of each; the host is 10.123.0.1."""

    def ip(*words: str, check: bool = True) -> None:
        subprocess.run(["ip", *words], check=check, capture_output=not check)

    ip("link", "add", "elman-br", "type", "bridge")
    try:
        ip("addr", "add", "10.123.0.1/24", "dev", "elman-br")
        ip("link", "set", "elman-br", "up")
        addresses = {}
        for n, name in enumerate(names, 2):
            ip("netns", "add", name)
            ip("link", "add", f"{name}-a", "type", "veth", "peer", "name", f"{name}-b")
            ip("link", "set", f"{name}-a", "master", "elman-br", "up")
            ip("link", "set", f"{name}-b", "netns", name)
            addresses[name] = f"10.123.0.{n}"
            ip("-n", name, "addr", "add", f"{addresses[name]}/24", "dev", f"{name}-b")
            ip("-n", name, "link", "set", f"{name}-b", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield addresses
    finally:
        for name in names:
            ip("netns", "del", name, check=False)
        ip("link", "del", "elman-br", check=False)


class Host(conftest.ServerProcess):
    """A server in a network namespace."""

    def __init__(self, name: str, address: str, token: Path, *words: object) -> None:
        self.address, self.port, self.token = address, 8000, token.read_text().strip()
        command = ["ip", "netns", "exec", name, sys.executable, "-m", "elman", "serve", *map(str, words)]
        command += ["--host", address, "--token", str(token)]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True
        )

    def client(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=f"http://{self.address}:8000", timeout=90, trust_env=False, headers=headers)


def hosts(folder: Path, count: int) -> None:
    """Kill one of two hosts that share Redis; the other continues its sessions."""
    run, token = text_run(folder), folder / "token"
    token.write_text("0123456789abcdef0123")
    redis = ["redis-server", "--bind", "10.123.0.1", "--port", "6390", "--dir", str(folder), "--appendonly", "yes",
             "--protected-mode", "no"]  # fmt: skip
    with namespaces(["elman-1", "elman-2"]) as addresses:
        store = subprocess.Popen(redis, stdout=subprocess.DEVNULL)
        try:
            time.sleep(1)
            words = [f"text={run}", "--store", "redis://10.123.0.1:6390/0", "--set", "wait_seconds=60"]
            one, two = (Host(name, address, token, *words) for name, address in addresses.items())
            one.wait()
            two.wait()
            streams = test_kills.Streams(one)
            one.kill()
            streams.join()
            begun = time.monotonic()
            with two.client() as client:
                streams.check(client, run)
            print(f"the second host continued after {time.monotonic() - begun:.1f} s (leases last {LEASE:g} s)")
            two.stop()
        finally:
            store.terminate()
            store.wait()


TRIALS: dict[str, Callable[[Path, int], None]] = {
    "kills": kills, "sessions": sessions, "requests": requests, "memory": memory, "hosts": hosts,
}  # fmt: skip

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        TRIALS[sys.argv[1]](Path(place), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
