"""/healthz, /readyz and /metrics."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse

from elman.errors import ElmanError
from elman.serving.routes.access import service_of
from elman.serving.service import Service

router = APIRouter(tags=["operations"])
AnyService = Annotated[Service, Depends(service_of)]


@router.get("/healthz")
async def health() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "not ready"}})
async def readiness(service: AnyService) -> Any:
    """Say whether requests are taken: the models are loaded, the store answers, and nobody told the server to stop."""
    try:
        service.check_ready()
        async with asyncio.timeout(2):
            count = await service.store.run(lambda store: store.count(), reads=True)
    except (ElmanError, TimeoutError) as error:
        return JSONResponse({"status": "not ready", "why": str(error) or "the store is slow"}, 503)
    return {"status": "ready", "models": list(service.models.models), "sessions": count}


@router.get("/metrics", response_class=Response)
async def metrics(service: AnyService) -> Response:
    """Return the metrics in Prometheus' format."""
    service.metrics.active.set(service.engine.active)
    return Response(service.metrics.text(), media_type=service.metrics.content_type)
