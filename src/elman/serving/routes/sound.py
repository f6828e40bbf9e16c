"""OpenAI's /v1/audio/transcriptions, and live sound over a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from functools import partial
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, WebSocket
from fastapi.responses import PlainTextResponse
from numpy.typing import NDArray
from starlette.datastructures import UploadFile
from starlette.websockets import WebSocketDisconnect, WebSocketState

from elman.errors import DataError, ElmanError
from elman.predictors.online.sound import OnlineSound
from elman.predictors.transcriber import TranscriptionPredictor
from elman.predictors.untrusted import UploadedFile, answers_to_files
from elman.serving.errors import ServiceError, TooLarge, WrongKind, error_body
from elman.serving.routes.access import ERRORS, Served, service_of
from elman.serving.routes.predictions import computed
from elman.serving.service import Service

router = APIRouter(tags=["sound"], responses=ERRORS)

FORMATS = ("json", "text", "verbose_json")
PROTOCOL = "elman"
FULL_SCALE = 32768

BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file", "model"],
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    "model": {"type": "string"},
                    "response_format": {"type": "string", "enum": list(FORMATS)},
                },
            }
        }
    },
}


@router.post("/v1/audio/transcriptions", openapi_extra={"requestBody": BODY})
async def transcribe(request: Request, service: Served) -> Any:
    """Transcribe a file of sound."""
    service.engine.admit()
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise ServiceError("the request is no form", should="multipart/form-data", found="another body")
    async with request.form(max_files=1, max_fields=20) as form:
        file, model = form.get("file"), form.get("model")
        shape = form.get("response_format") or "json"
        content = await file.read() if isinstance(file, UploadFile) else b""
        name = file.filename or "" if isinstance(file, UploadFile) else ""
    if not content or not isinstance(model, str) or shape not in FORMATS:
        raise ServiceError(
            "the form is invalid", should=f"file, model, and perhaps response_format ({', '.join(FORMATS)})",
            found=f"model {str(model)[:60]!r}, {len(content)} bytes", hint="curl -F file=@talk.wav -F model=NAME",
        )  # fmt: skip
    predictor = service.models.find(model).predictor
    if not isinstance(predictor, TranscriptionPredictor):
        raise WrongKind(f"{model} does not transcribe", should="a transcriber", found="another model")
    longest = min(service.limits.sound_seconds, getattr(predictor.features, "longest", service.limits.sound_seconds))
    work = partial(answers_to_files, predictor, [UploadedFile(name, content)], {"max_seconds": longest})
    (fields,) = await service.unless_gone(request, computed(service, work))
    if shape == "text":
        return PlainTextResponse(fields["text"])
    if shape == "json":
        return {"text": fields["text"]}
    words = [{"word": w["word"], "start": w["second"], "end": w["end"]} for w in fields["words"]]
    return {"task": "transcribe", "text": fields["text"], "words": words, "times_reliable": fields["times_reliable"]}


def samples_of(message: bytes, most: float, rate: int) -> NDArray[np.float32]:
    """Return 16-bit samples (little-endian) of a message, full scale as 1.

    Raises:
        DataError: it has half a sample.
        TooLarge: it is longer than a message may be.
    """
    if len(message) % 2:
        raise DataError(
            "a message ends in the middle of a sample", should="16-bit samples", found=f"{len(message)} bytes"
        )
    if len(message) > 2 * most * rate:
        raise TooLarge("a message is too long", should=f"at most {most:g} s", found=f"{len(message) / 2 / rate:.1f} s")
    samples: NDArray[np.float32] = np.frombuffer(message, "<i2").astype(np.float32)
    samples /= FULL_SCALE
    return samples


@contextlib.asynccontextmanager
async def accepted(socket: WebSocket, service: Service) -> Any:
    """Accept a WebSocket, and close it with an error as its last message where one is raised."""
    service.check_ready()
    await socket.accept(subprotocol=PROTOCOL if PROTOCOL in socket.scope.get("subprotocols", ()) else None)
    service.metrics.streams.inc()
    try:
        yield
    except (WebSocketDisconnect, TimeoutError):
        pass
    except ElmanError as error:
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await socket.send_text(json.dumps(error_body(error)))
            await socket.close(1008, error.what[:100].encode("ascii", "replace").decode())
    finally:
        service.metrics.streams.dec()
        if socket.client_state is WebSocketState.CONNECTED and socket.application_state is WebSocketState.CONNECTED:
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await socket.close()


async def received(socket: WebSocket, service: Service) -> bytes | dict[str, Any]:
    """Return the next message: bytes, or a JSON object.

    Raises:
        DataError: it is neither.
        TimeoutError: nothing came for too long.
        WebSocketDisconnect: the client has gone.
    """
    async with asyncio.timeout(service.limits.idle_seconds):
        message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    if message.get("bytes") is not None:
        content: bytes = message["bytes"]
        return content
    try:
        fields = json.loads(message["text"])
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise DataError("a message cannot be read", should="bytes, or a JSON object", found=str(message["text"])[:80])
    return fields


@router.websocket("/v1/audio/stream")
async def stream_sound(socket: WebSocket, model: str = "") -> None:
    """Transcribe live sound: 16-bit samples come in, words go out with their times; {"end": true} ends the stream."""
    service = service_of(socket)
    async with accepted(socket, service):
        _, online = service.models.online(model, OnlineSound)
        await socket.send_text(json.dumps({"model": model, "rate": online.rate, "seconds": online.stream.seconds}))
        state, partial_before, end = online.begin({}), "", False
        while not end:
            message = await received(socket, service)
            end = isinstance(message, dict) and message.get("end") is True
            samples = samples_of(message if isinstance(message, bytes) else b"", 10.0, online.rate)
            answer = await service.engine.advance(online, state, {"samples": samples, "end": end})
            if answer["words"] or answer["partial"] != partial_before or end:
                partial_before = answer["partial"]
                seconds = state.position / online.rate
                async with asyncio.timeout(service.limits.send_seconds):
                    await socket.send_text(json.dumps({**answer, "seconds": seconds, **({"end": True} if end else {})}))
