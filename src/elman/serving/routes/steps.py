"""A session over a WebSocket: each message is a step, each answer is durable when it is sent."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import APIRouter, WebSocket
from pydantic import ValidationError

from elman.errors import DataError
from elman.predictors.online.sound import OnlineSound
from elman.serving.routes.access import service_of, tenant_of
from elman.serving.routes.sessions import feed_held, generated
from elman.serving.routes.sound import accepted, received, samples_of
from elman.serving.schemas import Feed, Generate, Request
from elman.serving.service import Service
from elman.serving.texts import text_settings

R = TypeVar("R", bound=Request)

router = APIRouter()


@router.websocket("/v1/sessions/{session}/stream")
async def stream_steps(socket: WebSocket, session: str) -> None:
    """Let a session read the messages: bodies of feed, {"generate": {...}}, or 16-bit samples."""
    service = service_of(socket)
    async with accepted(socket, service):
        tenant = tenant_of(socket)
        await service.sessions.read(session, tenant)
        while True:
            message = await received(socket, service)
            if isinstance(message, dict) and "generate" in message:
                body = _parsed(Generate, message["generate"])
                settings = text_settings(body, service.limits)
                async with aclosing(generated(service, session, tenant, body, settings)) as events:
                    async for event in events:
                        await _send(socket, service, event)
            else:
                await _send(socket, service, await _step(service, session, tenant, message))


async def _step(service: Service, session: str, tenant: str, message: bytes | dict[str, Any]) -> dict[str, Any]:
    async with service.sessions.held(session, tenant) as held:
        if not isinstance(held.model, OnlineSound):
            if isinstance(message, bytes):
                raise DataError("the session reads no sound", should="a JSON object", found="bytes")
            return await feed_held(service, held, _parsed(Feed, message))
        end = isinstance(message, dict) and message.get("end") is True
        samples = samples_of(message if isinstance(message, bytes) else b"", 10.0, held.model.rate)
        output = await service.engine.advance(held.model, held.state, {"samples": samples, "end": end})
        await service.sessions.save(held)
        return {"position": held.state.position, **output}


async def _send(socket: WebSocket, service: Service, fields: dict[str, Any]) -> None:
    async with asyncio.timeout(service.limits.send_seconds):
        await socket.send_text(json.dumps(fields))


def _parsed(kind: type[R], fields: Any) -> R:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            f"the message is invalid at {'.'.join(map(str, first['loc'])) or 'its beginning'}"[:200],
            should="the body of feed, or {\"generate\": {...}}", found=str(first["msg"])[:200],
        ) from error  # fmt: skip
