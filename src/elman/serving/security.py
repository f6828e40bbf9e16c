"""Who may ask: tokens, Host and Origin, rates and sizes, before any request is read."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elman.errors import ElmanError, SettingError
from elman.serving.errors import Forbidden, TooBusy, TooLarge, TooSlow, Unauthorized, error_body, status_of
from elman.serving.metrics import Metrics
from elman.serving.settings import Limits

log = logging.getLogger("elman.serving")

OPEN_PATHS = ("/", "/healthz", "/readyz", "/page/")
"""Paths that need no token: the page asks for it itself."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SHORTEST = 16  # letters of a token
UNNAMED = re.compile("token-[0-9a-f]{12}")  # the names of tokens without one
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
"""The methods that metrics name; clients may invent any number of others."""


def read_tokens(path: Path) -> dict[str, str]:
    """Return the names of bearer tokens by their SHA-256, out of a file with one a line, each perhaps as NAME TOKEN.

    A token without a name is called after its SHA-256, so that its name does not depend on the other lines.

    Raises:
        SettingError: the file cannot be read, or a token is too short or there twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise SettingError(f"--token {path} cannot be read", should="a file of tokens", found=str(error)) from error
    tokens: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if len(words) > 2 or len(words[-1]) < SHORTEST or _hashed(words[-1]) in tokens:
            raise SettingError(
                f"{path}, line {number} is not a token", should=f"NAME TOKEN, with at least {SHORTEST} letters, once",
                found=f"{len(words)} words", hint="openssl rand -hex 24",
            )  # fmt: skip
        digest = _hashed(words[-1])
        if len(words) == 2 and UNNAMED.fullmatch(words[0]):
            raise SettingError(
                f"{path}, line {number} has the name of a token without one", should="another name", found=words[0]
            )
        tokens[digest] = words[0] if len(words) == 2 else f"token-{digest[:12]}"
    if not tokens:
        raise SettingError(f"{path} holds no token", should="a token on a line", found="none")
    return tokens


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class Guard:
    """Middleware (ASGI) that refuses what may not come in, and counts requests.

    Args:
        app: the application behind it.
        tokens: names of tokens by their SHA-256; empty: none is needed.
        hosts: valid names in the Host header, without port; empty: any.
        limits: of the server.
        metrics: of the server.
    """

    def __init__(
        self, app: Any, *, tokens: Mapping[str, str], hosts: tuple[str, ...], limits: Limits, metrics: Metrics
    ) -> None:  # fmt: skip
        self.app, self.tokens, self.hosts, self.limits, self.metrics = app, tokens, hosts, limits, metrics
        self._buckets: dict[str, tuple[float, float]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 0

        async def counted(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            async with asyncio.timeout(self.limits.send_seconds):  # a client that does not read loses its place
                await send(message)

        try:
            scope.setdefault("state", {})["tenant"] = self._admitted(scope)
            await self.app(scope, self._limited(scope, receive), counted)
        except TimeoutError:
            if not status:
                raise
            log.warning("a client does not read", extra={"fields": {"path": scope["path"]}})
        except ElmanError as error:
            if status:
                raise
            status = status_of(error)
            await refuse(scope, receive, send, error)
        finally:
            if scope["type"] == "http":
                route = scope.get("route")
                path = getattr(route, "path", "other")
                method = scope["method"] if scope["method"] in METHODS else "other"
                self.metrics.requests.labels(path, method, status).inc()
                self.metrics.request_seconds.labels(path).observe(time.perf_counter() - begun)

    def _admitted(self, scope: Any) -> str:
        """Return the name of the token of a request.

        Raises:
            ServiceError: the request may not come in.
        """
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if self.hosts and _without_port(host) not in self.hosts:
            raise Forbidden(
                "the Host header names another server", should=", ".join(self.hosts), found=host[:80] or "none",
                hint="--host-name NAME adds a name",
            )  # fmt: skip
        origin = headers.get("origin")
        if origin and origin.partition("://")[2] != host:
            raise Forbidden(
                "the request comes from another site", should=f"the origin {host}", found=origin[:80],
                hint="no other site may use this server",
            )  # fmt: skip
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self.limits.body_bytes:
            raise self._too_large(length)
        tenant = self._tenant(scope, headers)
        self._check_rate(tenant or (scope["client"] or ("",))[0])
        return tenant

    def _tenant(self, scope: Any, headers: dict[str, str]) -> str:
        path = scope["path"]
        if not self.tokens or path in OPEN_PATHS or path.startswith(OPEN_PATHS[-1]):
            return ""
        kind, _, token = headers.get("authorization", "").partition(" ")
        if scope["type"] == "websocket" and not token:  # a browser can send no such header there
            offered = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]
            token = next((name.removeprefix("bearer.") for name in offered if name.startswith("bearer.")), "")
            kind = "bearer"
        digest = _hashed(token.strip())
        for known, name in self.tokens.items():
            if hmac.compare_digest(known, digest) and kind.lower() == "bearer":
                return name
        raise Unauthorized(
            "the request has no valid token", should="the header Authorization: Bearer TOKEN",
            found="another token" if token else "none",
        )  # fmt: skip

    def _check_rate(self, name: str) -> None:
        """Take a request out of a token's bucket, which holds those of a second.

        Raises:
            TooBusy: it is empty.
        """
        rate = self.limits.requests_per_second
        if not rate:
            return
        now = time.monotonic()
        level, before = self._buckets.get(name, (max(1.0, rate), now))
        level = min(max(1.0, rate), level + rate * (now - before))
        if level < 1:
            error = TooBusy("too many requests", should=f"at most {rate:g} a second", found="more")
            error.retry_after = (1 - level) / rate
            raise error
        if len(self._buckets) > 10_000:
            self._buckets.clear()
        self._buckets[name] = level - 1, now

    def _limited(self, scope: Any, receive: Any) -> Any:
        """Return `receive`, which refuses a body that is too large, or does not come."""
        size, most, more = 0, self.limits.body_bytes, True
        if scope["type"] != "http":
            return receive

        async def limited() -> Any:
            nonlocal size, more
            if not more:  # what comes now is that the client has gone
                return await receive()
            try:
                async with asyncio.timeout(self.limits.idle_seconds):
                    message = await receive()
            except TimeoutError as error:
                raise TooSlow(
                    "the body of the request does not come", should=f"a part in {self.limits.idle_seconds:g} s",
                    found=f"{size} bytes",
                ) from error  # fmt: skip
            more = message.get("more_body", False)
            size += len(message.get("body", b""))
            if size > most:
                raise self._too_large(f"more than {most:,}")
            return message

        return limited

    def _too_large(self, found: str) -> TooLarge:
        return TooLarge(
            "the request is too large", should=f"at most {self.limits.body_bytes:,} bytes", found=found[:30]
        )


async def refuse(scope: Any, receive: Any, send: Any, error: ElmanError) -> None:
    """Answer a request by an error."""
    body, headers = json.dumps(error_body(error)).encode(), error_headers(error)
    start = {
        "status": status_of(error),
        "headers": [(b"content-type", b"application/json"), *((k.encode(), v.encode()) for k, v in headers.items())],
    }
    prefix = "http.response"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": error.what[:100]})
            return
        prefix = "websocket.http.response"
    await send({"type": f"{prefix}.start", **start})
    await send({"type": f"{prefix}.body", "body": body})


def error_headers(error: ElmanError) -> dict[str, str]:
    """Return the headers of an error."""
    retry_after = getattr(error, "retry_after", None)
    headers = {} if retry_after is None else {"retry-after": str(max(1, round(retry_after)))}
    return headers | ({"www-authenticate": "Bearer"} if status_of(error) == Unauthorized.status else {})


def _without_port(host: str) -> str:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    return name.strip("[]").lower()
