"""The server process: it loads models, opens the store, listens, and stops without losing anything."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from elman.errors import SettingError
from elman.recipes.use import load
from elman.serving.app import build_app
from elman.serving.connections import HttpProtocol
from elman.serving.metrics import Metrics
from elman.serving.models import ModelRegistry
from elman.serving.security import LOOPBACK, read_tokens
from elman.serving.service import Service
from elman.serving.settings import Limits
from elman.serving.stores.base import StoreThread
from elman.serving.stores.choice import DEFAULT, MEMORY, store_opener

KEEP_ALIVE = 30  # seconds that a connection may be silent between requests and before the first
SAVING = 5  # seconds that requests have to save after they were ended
ANY = ("0.0.0.0", "::", "")  # addresses of all interfaces


@dataclass(frozen=True)
class ServerSettings:
    """How a server runs.

    Attributes:
        runs: run directories, each perhaps as NAME=RUN.
        host: the address to listen at.
        port: the port; 0: a free one.
        store: the address of the store.
        durability: what an acknowledged write survives.
        token: the file of tokens; None: there are none.
        host_names: further valid names in the Host header.
        reload: "finish", "end" or "off": what happens to sessions of weights that were trained further.
        limits: of the server.
        descriptor: of an open socket to listen at; None: a new one.
    """

    runs: Sequence[str]
    host: str = "127.0.0.1"
    port: int = 8000
    store: str = DEFAULT
    durability: str = "process"
    token: Path | None = None
    host_names: tuple[str, ...] = ()
    reload: str = "finish"
    limits: Limits = field(default_factory=Limits)
    descriptor: int | None = None


class Server(uvicorn.Server):
    """uvicorn, which refuses new requests from the moment that it is told to stop."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin to stop."""
        self.service.drain()
        super().handle_exit(sig, frame)


def build_service(settings: ServerSettings) -> Service:
    """Return a server without its protocols; the store is open.

    Raises:
        ElmanError: a run or the store cannot be opened.
    """
    metrics = Metrics()
    models = ModelRegistry(settings.runs, load)
    store = StoreThread(store_opener(settings.store, settings.durability), metrics.observe_store)
    store.start()
    worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    return Service(models, store, settings.limits, metrics, worker, settings.reload)


def is_loopback(host: str) -> bool:
    """Return whether an address reaches this host alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        SettingError: the address is taken, or not one of this host.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        raise SettingError(
            f"the server cannot listen at {host}, port {port}", should="a free port of this host", found=str(error),
            hint="--port 0 takes a free one",
        ) from error  # fmt: skip
    return listener


def check_settings(settings: ServerSettings) -> dict[str, str]:
    """Check that settings fit together, and return the names of the tokens by their SHA-256.

    Raises:
        SettingError: they do not, or the tokens cannot be read.
    """
    tokens = read_tokens(settings.token) if settings.token is not None else {}
    if not tokens and not is_loopback(settings.host):
        raise SettingError(
            f"{settings.host} can be reached from other hosts", should="tokens", found="none",
            hint="--token FILE, with a token on each line: openssl rand -hex 24",
        )  # fmt: skip
    return tokens


def run(settings: ServerSettings, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        settings: of the server.
        say: is called with lines for the person who started it.

    Raises:
        ElmanError: a run, the store or the address cannot be opened.
    """
    tokens = check_settings(settings)
    hosts = () if settings.host in ANY and not settings.host_names else (*LOOPBACK, settings.host, *settings.host_names)
    service = build_service(settings)
    try:
        if settings.descriptor is not None:
            listener = socket.socket(fileno=settings.descriptor)
        else:
            listener = listening_socket(settings.host, settings.port)
        address = listener.getsockname()
        if settings.store == MEMORY:
            say("the sessions are in memory: a stop loses them")
        if service.store.notice:
            say(service.store.notice)
        for name, model in service.models.models.items():
            say(f"{name}: {model.recipe}" + (f", sessions of {model.online.kind}" if model.online else ""))
        app = build_app(service, tokens=tokens, hosts=tuple(name.lower() for name in hosts))
        log_to_stderr()
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="on", server_header=False,
            http=HttpProtocol, ws="websockets-sansio", ws_max_size=1 << 20, timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=round(settings.limits.drain_seconds) + SAVING,
        )  # fmt: skip
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises the signal again when it has stopped
            signal.signal(number, lambda *_: None)
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        say(f"listening at http://{host}:{address[1]}")
        Server(config, service).run(sockets=[listener])
        listener.close()
    finally:
        service.store.stop()
    say("stopped")


class JsonLines(logging.Formatter):
    """Log records as JSON, one a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        row: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03}Z", "level": record.levelname.lower(), "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }  # fmt: skip
        if record.exc_info:
            row["traceback"] = self.formatException(record.exc_info)
        return json.dumps(row)


def log_to_stderr() -> None:
    """Write the log of the server to standard error, as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    for name, level in (("elman.serving", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
