"""A server of small runs of five recipes, in a thread of this process, and servers in processes of their own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from elman.serving.app import build_app
from elman.serving.connections import HttpProtocol
from elman.serving.server import ServerSettings, build_service
from elman.serving.service import Service
from elman.serving.settings import Limits


@dataclass
class RunningServer:
    """A server in a thread."""

    url: str
    service: Service

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False, **options)

    def async_client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=64)
        return httpx.AsyncClient(base_url=self.url, timeout=60, trust_env=False, limits=limits)


@contextlib.contextmanager
def running(
    settings: ServerSettings, tokens: dict[str, str] | None = None, keep_alive: float = 60
) -> Iterator[RunningServer]:
    service = build_service(settings)
    hosts = ("127.0.0.1", "localhost")
    app = build_app(service, tokens=tokens or {}, hosts=hosts)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        http=HttpProtocol,
        ws="websockets-sansio",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=keep_alive,
    )
    server = uvicorn.Server(config)
    listener = socket.socket()
    listener.setsockopt(
        socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16
    )  # so that a client that does not read is soon seen
    listener.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield RunningServer(f"http://127.0.0.1:{listener.getsockname()[1]}", service)
    finally:
        server.should_exit = True
        thread.join()
        service.store.stop()
        listener.close()


@pytest.fixture(scope="session")
def text_run(language_text: Path) -> Path:
    """A language model whose output depends on its state, so that sessions that are crossed are seen."""
    from elman.recipes.language_model import LanguageModelling
    from elman.recipes.run import start

    out = language_text.with_name("served")
    settings = {"steps": 120, "hidden": 16, "embedding": 8, "batch_size": 4, "window": 16, "learning_rate": 0.03}
    start(LanguageModelling, [language_text], settings, out)
    return out


@pytest.fixture(scope="session")
def served_runs(
    text_run: Path, recommend_run: Path, forecast_run: Path, transcription_run: Path, classify_run: Path
) -> dict[str, Path]:
    return {
        **{"text": text_run, "shop": recommend_run, "months": forecast_run},
        **{"whistles": transcription_run, "trends": classify_run},
    }


@pytest.fixture(scope="session")
def server(served_runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    store = tmp_path_factory.mktemp("store") / "sessions.db"
    runs = [f"{name}={run}" for name, run in served_runs.items()]
    limits = Limits(body_bytes=1 << 20, max_tokens=2000, wait_seconds=5, inputs=50)
    with running(ServerSettings(runs, store=f"sqlite:{store}", limits=limits)) as server:
        yield server


@pytest.fixture(scope="session")
def start_server() -> Callable[..., contextlib.AbstractContextManager[RunningServer]]:
    return running


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


class ServerProcess:
    """`elman serve` in a process of its own."""

    def __init__(self, port: int, *words: object) -> None:
        command = [sys.executable, "-m", "elman", "serve", *map(str, words), "--port", str(port)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.port = port
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True)

    def wait(self) -> "ServerProcess":
        end = time.monotonic() + 60
        while time.monotonic() < end:
            assert self.process.poll() is None, self.process.communicate()[1]
            with contextlib.suppress(httpx.TransportError), self.client() as client:
                if client.get("/readyz").status_code == 200:
                    return self
            time.sleep(0.05)
        raise AssertionError("the server does not become ready")

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30, trust_env=False)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        _, text = self.process.communicate(timeout=60)
        return self.process.returncode, text


@pytest.fixture
def serve_process() -> Iterator[Callable[..., ServerProcess]]:
    processes: list[ServerProcess] = []

    def start(*words: object, port: int | None = None) -> ServerProcess:
        processes.append(ServerProcess(port or free_port(), *words))
        return processes[-1]

    yield start
    for process in processes:
        if process.process.poll() is None:
            process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def port() -> int:
    return free_port()


class RedisProcess:
    """Redis in a process of its own, which may be killed and started again on its file."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.address = f"redis://127.0.0.1:{self.port}/0"
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("tests of the shared store run redis-server (Debian: apt-get install redis-server)")
        words = {"port": self.port, "dir": folder, "save": "", "appendonly": "yes", "appendfsync": "always"}
        pairs = (word for name, value in words.items() for word in (f"--{name}", str(value)))
        self.command = [program, *pairs, "--bind", "127.0.0.1"]

    def __enter__(self) -> "RedisProcess":
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def redis_process() -> type[RedisProcess]:
    return RedisProcess


@pytest.fixture(scope="session")
def redis_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as redis:
        yield redis.address
