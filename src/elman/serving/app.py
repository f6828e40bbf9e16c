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
from elman.exporters import web
from elman.serving.routes import completions, operations, predictions, sessions, sound, steps
from elman.serving.routes.access import add_error_answers
from elman.serving.security import Guard
from elman.serving.service import Service

PAGE = Path(__file__).parent / "page"
SHARED = Path(web.__file__).parent / "page"
"""The page of an exported run, whose pieces and look the playground shares."""

PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-cache",
}  # fmt: skip


async def _index() -> FileResponse:
    return FileResponse(PAGE / "index.html", headers=PAGE_HEADERS)


class PageFiles(StaticFiles):
    """The files of the page; they load nothing from elsewhere."""

    def file_response(self, *arguments: Any, **options: Any) -> Any:
        """Return the answer to a request of a file."""
        answer = super().file_response(*arguments, **options)
        answer.headers.update(PAGE_HEADERS)
        return answer


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
        app.mount("/page/shared", PageFiles(directory=SHARED), name="shared")
        app.mount("/page", PageFiles(directory=PAGE), name="page")
    add_error_answers(app)
    return Guard(app, tokens=tokens, hosts=hosts, limits=service.limits, metrics=service.metrics)
