"""A client of a server in Python: `Client` waits for answers, `AsyncClient` is awaited; both have the same methods."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from elman.errors import extra
from elman.serving.errors import ServiceError

with extra("serve", "elman.serving.Client"):
    import httpx

RETRIES = 3  # of a request that the server had no room for
LONGEST_WAIT = 30.0  # seconds before such a request is sent again
Parse = Callable[[httpx.Response], Any]


class RequestError(ServiceError):
    """A request that the server refused.

    Attributes:
        kind: the class of the error on the server, such as UnknownSession.
    """

    kind = "ServiceError"

    @classmethod
    def of(cls, status: int, fields: dict[str, Any]) -> RequestError:
        """Return the error in the fields of an answer."""
        what = str(fields.get("what") or f"the server answers {status}")
        error = cls(what, **{name: fields.get(name) for name in ("should", "found", "hint")})
        error.status, error.kind = status, str(fields.get("type") or cls.__name__)
        return error


@dataclass(frozen=True)
class ClientSession:
    """A session of a server; those of `AsyncClient` are awaited, and their `stream` is iterated by `async for`.

    Attributes:
        client: to the server.
        id: on the server.
    """

    client: _Requests
    id: str

    def read(self) -> Any:
        """Return the session's fields: model, kind, position, times."""
        return self._request("GET", "")

    def feed(self, text: str | None = None, **fields: Any) -> Any:
        """Let the session read `text`, or `items=[...]`, or `observations=[{...}]`, and return the answer."""
        return self._request("POST", "/feed", json=fields if text is None else {"text": text, **fields})

    def generate(self, text: str = "", **settings: Any) -> Any:
        """Let the session read a text and generate; `settings` are max_tokens, temperature, seed, stop and others."""
        return self._request("POST", "/generate", json={"text": text, **settings})

    def stream(self, text: str = "", **settings: Any) -> Any:
        """Yield the events of `generate`, one a symbol."""
        return self.client.events(f"/v1/sessions/{self.id}/generate", {"text": text, **settings})

    def next(self, top: int = 20) -> Any:
        """Return what comes next by the model: symbols and the hidden state, items, or a forecast."""
        return self._request("GET", "/next", params={"top": top})

    def snapshot(self) -> Any:
        """Return the state as bytes."""
        return self._request("GET", "/snapshot", lambda answer: answer.content)

    def rewind(self, snapshot: bytes) -> Any:
        """Put the session back to a snapshot."""
        return self._request("PUT", "/snapshot", content=snapshot)

    def fork(self) -> Any:
        """Return a new session from where this one is."""
        return self._request("POST", "/fork", self.client.session_of)

    def delete(self) -> Any:
        """End the session."""
        return self._request("DELETE", "", lambda answer: None)

    def _request(self, method: str, path: str, parse: Parse = httpx.Response.json, **content: Any) -> Any:
        return self.client.request(method, f"/v1/sessions/{self.id}{path}", parse, **content)


class _Requests:
    """The requests, which a client sends in its own way.

    Args:
        url: of the server.
        token: the bearer token; None: the server needs none.
        timeout: seconds without an answer.
        options: of the client of httpx.
    """

    kind: Any

    def __init__(
        self, url: str = "http://127.0.0.1:8000", *, token: str | None = None, timeout: float = 60.0, **options: Any
    ) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.http = self.kind(base_url=url, timeout=timeout, headers=headers, **options)

    def request(self, method: str, path: str, parse: Parse = httpx.Response.json, **content: Any) -> Any:
        """Send a request, again where the server had no room, and return its answer."""
        raise NotImplementedError

    def events(self, path: str, fields: dict[str, Any]) -> Any:
        """Yield the events of a stream."""
        raise NotImplementedError

    def models(self) -> Any:
        """Return the models of the server."""
        return self.request("GET", "/v1/models", lambda answer: answer.json()["data"])

    def begin(self, model: str, *, ttl: float | None = None, **options: Any) -> Any:
        """Return a new session of a model; `ttl` is the seconds without a request until it ends."""
        fields = {"model": model, "ttl": ttl, "options": options}
        return self.request("POST", "/v1/sessions", self.session_of, json=fields)

    def restore(self, snapshot: bytes) -> Any:
        """Return a new session out of a snapshot."""
        return self.request("POST", "/v1/sessions/restore", self.session_of, content=snapshot)

    def session(self, session: str) -> ClientSession:
        """Return a session that was begun before, by its id."""
        return ClientSession(self, session)

    def sessions(self, after: str = "", limit: int = 100) -> Any:
        """Return the fields of sessions, the oldest first, those after the id `after`."""
        params = {"after": after, "limit": limit}
        return self.request("GET", "/v1/sessions", lambda answer: answer.json()["sessions"], params=params)

    def predict(
        self, model: str, inputs: Sequence[Any] = (), *, files: Sequence[Path | str] = (), **options: Any
    ) -> Any:
        """Return the answers to inputs, or to the content of files, as `elman predict --json` has them."""
        content: dict[str, Any] = {"json": {"inputs": list(inputs), "options": options}}
        if files:
            parts = [("files", (Path(file).name, Path(file).read_bytes())) for file in files]
            content = {"files": parts, "data": {"options": json.dumps(options)}}
        return self.request("POST", f"/v1/predict/{model}", lambda answer: answer.json()["predictions"], **content)

    def session_of(self, answer: httpx.Response) -> ClientSession:
        """Return the session of an answer."""
        return ClientSession(self, answer.json()["id"])


class Client(_Requests):
    """A client that waits for each answer. Errors of the server are `RequestError`, those of the network httpx's."""

    kind = httpx.Client

    def request(self, method: str, path: str, parse: Parse = httpx.Response.json, **content: Any) -> Any:
        """Send a request, again where the server had no room, and return its answer."""
        for left in reversed(range(RETRIES + 1)):
            answer = self.http.request(method, path, **content)
            if not left or (wait := _wait(answer)) is None:
                break
            time.sleep(wait)
        return parse(_checked(answer))

    def events(self, path: str, fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the events of a stream."""
        with self.http.stream("POST", path, json={**fields, "stream": True}) as answer:
            if answer.is_error:
                answer.read()
            _checked(answer)
            yield from (event for line in answer.iter_lines() if (event := _event(line)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.http.close()


class AsyncClient(_Requests):
    """A client whose methods are awaited, and whose streams are iterated by `async for`."""

    kind = httpx.AsyncClient

    async def request(self, method: str, path: str, parse: Parse = httpx.Response.json, **content: Any) -> Any:
        """Send a request, again where the server had no room, and return its answer."""
        for left in reversed(range(RETRIES + 1)):
            answer = await self.http.request(method, path, **content)
            if not left or (wait := _wait(answer)) is None:
                break
            await asyncio.sleep(wait)
        return parse(_checked(answer))

    async def events(self, path: str, fields: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield the events of a stream."""
        async with self.http.stream("POST", path, json={**fields, "stream": True}) as answer:
            if answer.is_error:
                await answer.aread()
            _checked(answer)
            async for line in answer.aiter_lines():
                if event := _event(line):
                    yield event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.http.aclose()


def _wait(answer: httpx.Response) -> float | None:
    """Return the seconds after which a request that was not begun (429) is sent again; None: it is not."""
    if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
        return None
    seconds = answer.headers.get("retry-after", "1")
    return min(LONGEST_WAIT, float(seconds)) if seconds.isdigit() else 1.0


def _checked(answer: httpx.Response) -> httpx.Response:
    if not answer.is_error:
        return answer
    try:
        fields = answer.json()["error"]
        raise RequestError.of(answer.status_code, fields if isinstance(fields, dict) else {})
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError.of(answer.status_code, {"found": answer.text[:200]}) from error


def _event(line: str) -> dict[str, Any] | None:
    if not line.startswith("data: {"):
        return None
    event: dict[str, Any] = json.loads(line[6:])
    if "error" in event:
        raise RequestError.of(ServiceError.status, event["error"])
    return event
