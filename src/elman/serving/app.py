"""The application: routes, errors, guard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from elman import __version__
from elman.serving.routes import completions, operations, predictions, sessions, sound, steps
from elman.serving.routes.access import add_error_answers
from elman.serving.security import Guard
from elman.serving.service import Service

PAGE = Path(__file__).parent / "page"


async def _index() -> FileResponse:
    return FileResponse(PAGE / "index.html")


def build_app(service: Service, *, tokens: Mapping[str, str], hosts: tuple[str, ...]) -> Any:
    """Return the application (ASGI).

    Args:
        service: models, sessions and engine.
        tokens: names of bearer tokens by their SHA-256; empty: none is needed.
        hosts: valid names in the Host header; empty: any.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="elman serve", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        description="Recurrent models as a service. A session is a state of a few kilobytes, constant for ever.",
    )  # fmt: skip
    app.state.service = service
    for routes in (sessions, steps, completions, sound, predictions, operations):
        app.include_router(routes.router)
    if (PAGE / "index.html").is_file():
        app.get("/", include_in_schema=False)(_index)
        app.mount("/page", StaticFiles(directory=PAGE), name="page")
    add_error_answers(app)
    return Guard(app, tokens=tokens, hosts=hosts, limits=service.limits, metrics=service.metrics)
