"""What every route takes out of a request, and how it answers errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from elman.errors import ElmanError, printable
from elman.serving.errors import ServiceError, error_body, status_of
from elman.serving.schemas import ErrorAnswer
from elman.serving.security import error_headers
from elman.serving.service import ClientGone, Service, disconnected

CLIENT_GONE = 499  # of nginx: the client closed the request

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer} for status in (400, 401, 403, 404, 409, 413, 422, 429, 503)
}
"""The errors that any route may answer, for the OpenAPI document."""


def service_of(connection: HTTPConnection) -> Service:
    """Return the server of a request."""
    service: Service = connection.app.state.service
    return service


def ready_service(connection: HTTPConnection) -> Service:
    """Return the server of a request that computes, unless it is stopping."""
    service = service_of(connection)
    service.check_ready()
    return service


def tenant_of(connection: HTTPConnection) -> str:
    """Return the name of the token of a request."""
    tenant: str = connection.scope["state"].get("tenant", "")
    return tenant


Served = Annotated[Service, Depends(ready_service)]
Tenant = Annotated[str, Depends(tenant_of)]
SessionId = Annotated[str, Path(pattern="^[A-Za-z0-9_-]{1,64}$", description="the id of a session")]


class EventStream(Response):
    """Server-sent events, whose source is closed as soon as the client has gone, also where it does not read.

    Starlette's own response cancels through anyio, which waits for a moment in which the task waits for something that
    has not happened; beside an engine that always has news there is none.

    Args:
        events: as text.
        source: what the events are made of, which has begun.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str, None], source: AsyncGenerator[Any, None]) -> None:
        self.status_code, self.background, self.body = 200, None, b""
        self.init_headers({"cache-control": "no-store"})
        del self.headers["content-length"]
        self._events, self._source = events, source

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send the events."""
        sending = asyncio.ensure_future(self._send(send))
        gone = asyncio.ensure_future(disconnected(receive))
        try:
            await asyncio.wait([sending, gone], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            gone.cancel()
            if not sending.done():
                sending.cancel()
                await asyncio.wait([sending])
            await self._events.aclose()
            await self._source.aclose()  # events that never began have not closed it

    async def _send(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for event in self._events:
            await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def add_error_answers(app: FastAPI) -> None:
    """Answer every error in the one form."""

    @app.exception_handler(ElmanError)
    async def elman_error(request: Any, error: ElmanError) -> Response:
        return JSONResponse(error_body(error), status_of(error), error_headers(error))

    @app.exception_handler(RequestValidationError)
    async def validation_error(request: Any, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        failure = ServiceError(
            f"the request is invalid at {place}"[:300], should=str(first["msg"])[:300],
            found=printable(repr(first.get("input")))[:100], hint="/openapi.json says what each path takes",
        )  # fmt: skip
        return JSONResponse(error_body(failure, "InvalidRequest"), 422)

    @app.exception_handler(HTTPException)
    async def http_error(request: Any, error: HTTPException) -> Response:
        if isinstance(error.__cause__, ElmanError):  # FastAPI's word for what happened while it read the body
            return await elman_error(request, error.__cause__)
        failure = ServiceError(
            "there is no such path" if error.status_code == 404 else str(error.detail),
            should="a path and method of /openapi.json", found=f"{request.method} {request.url.path}"[:200],
        )  # fmt: skip
        return JSONResponse(error_body(failure, "InvalidRequest"), error.status_code, error.headers)

    @app.exception_handler(ClientGone)
    async def client_gone(request: Any, error: ClientGone) -> Response:
        return Response(status_code=CLIENT_GONE)
