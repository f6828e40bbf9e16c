"""Paths under /v1/sessions: create, list, read, feed, generate, snapshot, restore, fork, delete."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response

from elman.errors import ElmanError
from elman.predictors.online.text import OnlineText, TextSettings
from elman.serving.errors import ServiceError, WrongKind, error_body
from elman.serving.routes.access import ERRORS, EventStream, Served, SessionId, Tenant
from elman.serving.schemas import Feed, Generate, NewSession, SessionAnswer, SessionList
from elman.serving.service import Service
from elman.serving.sessions import HeldSession
from elman.serving.stores.base import Record
from elman.serving.texts import StopFilter, check_answer, check_feed, check_prompt, text_settings

OCTETS = "application/octet-stream"
BYTES = {"content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}}}
Ttl = Annotated[float | None, Query(gt=0, le=1e9)]
Snapshot = Annotated[bytes, Body(media_type=OCTETS)]

router = APIRouter(prefix="/v1/sessions", tags=["sessions"], responses=ERRORS)


def session_answer(record: Record) -> SessionAnswer:
    """Return a session as clients see it."""
    return SessionAnswer(
        id=record.id, model=record.model, kind=record.kind, position=record.position, created=record.created,
        touched=record.touched, expires=record.touched + record.ttl,
    )  # fmt: skip


@router.post("", status_code=201)
async def create_session(request: NewSession, service: Served, tenant: Tenant) -> SessionAnswer:
    """Begin a session."""
    return session_answer(await service.sessions.begin(request.model, tenant, request.ttl, request.options))


@router.get("")
async def list_sessions(
    service: Served,
    tenant: Tenant,
    after: Annotated[str, Query(max_length=64)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> SessionList:
    """List sessions, the oldest first."""
    records = await service.sessions.listed(tenant, after, limit)
    last = records[-1].id if len(records) == limit else None
    return SessionList(sessions=[session_answer(record) for record in records], next=last)


@router.post("/restore", status_code=201, openapi_extra={"requestBody": {"required": True, **BYTES}})
async def restore_session(
    request: Request,
    service: Served,
    tenant: Tenant,
    model: Annotated[str | None, Query(max_length=200)] = None,
    ttl: Ttl = None,
) -> SessionAnswer:
    """Begin a session out of the bytes of a snapshot. They have a checksum against damage, and no signature."""
    return session_answer(await service.sessions.restore(await request.body(), tenant, model, ttl))


@router.get("/{session}")
async def read_session(session: SessionId, service: Served, tenant: Tenant) -> SessionAnswer:
    """Read where a session is."""
    return session_answer(await service.sessions.read(session, tenant))


@router.delete("/{session}", status_code=204)
async def delete_session(session: SessionId, service: Served, tenant: Tenant) -> None:
    """End a session."""
    await service.sessions.delete(session, tenant)


@router.post("/{session}/fork", status_code=201)
async def fork_session(session: SessionId, service: Served, tenant: Tenant) -> SessionAnswer:
    """Begin a session from where another one is."""
    return session_answer(await service.sessions.fork(session, tenant))


@router.get("/{session}/snapshot", response_class=Response, responses={200: BYTES})
async def take_snapshot(session: SessionId, service: Served, tenant: Tenant) -> Response:
    """Return the state of a session as bytes (safetensors)."""
    record, content = await service.sessions.snapshot(session, tenant)
    return Response(content, media_type=OCTETS, headers={"elman-position": str(record.position)})


@router.put("/{session}/snapshot", openapi_extra={"requestBody": {"required": True, **BYTES}})
async def rewind_session(session: SessionId, request: Request, service: Served, tenant: Tenant) -> SessionAnswer:
    """Put a session back to a snapshot."""
    return session_answer(await service.sessions.rewind(session, tenant, await request.body()))


@router.post("/{session}/feed")
async def feed_session(
    session: SessionId, feed: Feed, request: Request, service: Served, tenant: Tenant
) -> dict[str, Any]:
    """Let a session read: a text, the items of events, or observations. When this answers, they are saved."""

    async def work() -> dict[str, Any]:
        async with service.sessions.held(session, tenant) as held:
            return await feed_held(service, held, feed)

    return await service.unless_gone(request, work())


async def feed_held(service: Service, held: HeldSession, feed: Feed) -> dict[str, Any]:
    """Let a session read, and save it."""
    if isinstance(held.model, OnlineText):
        token_ids = held.model.encode(_text(feed))
        check_prompt(len(token_ids), service.limits)
        await read_text(service, held, token_ids)
        output: dict[str, Any] = {"symbols": len(token_ids)}
    else:
        check_feed(feed, service.limits)
        output = await service.engine.advance(held.model, held.state, feed.model_dump(exclude_none=True))
    await service.sessions.save(held)
    return {"position": held.state.position, **output}


async def read_text(service: Service, held: HeldSession, token_ids: list[int]) -> None:
    """Let a session of a language model read symbols."""
    assert isinstance(held.model, OnlineText)
    generation = service.engine.begin(held.model, held.model.row(held.state, token_ids, TextSettings()))
    try:
        async for _ in service.engine.choices(generation):
            pass
    finally:
        service.engine.cancel(generation)


def _text(feed: Feed) -> str:
    if feed.text is None or feed.items is not None or feed.observations is not None:
        raise ServiceError("a language model reads text", should='{"text": "..."}', found="another field")
    return feed.text


@router.get("/{session}/next")
async def next_symbols(
    session: SessionId, service: Served, tenant: Tenant, top: Annotated[int, Query(ge=1, le=1000)] = 20
) -> dict[str, Any]:
    """Return what a session expects next, and leave it as it is: symbols with probabilities, and the hidden state."""
    record, content = await service.sessions.snapshot(session, tenant)
    model = service.models.with_weights(record.model, record.weights)
    state = model.restore(content)
    return {"position": state.position, **model.expected(state, top)}


@router.post("/{session}/generate", responses={200: {"content": {"text/event-stream": {}}}})
async def generate(
    session: SessionId, body: Generate, request: Request, service: Served, tenant: Tenant
) -> Any:  # fmt: skip
    """Generate from where a session is; with `stream` an event a symbol, each sent when it is durable."""
    settings = text_settings(body, service.limits)
    service.engine.admit()
    if not body.stream:
        check_answer(settings, 1, service.limits)

        async def work() -> dict[str, Any]:
            text, events = "", []
            async for event in generated(service, session, tenant, body, settings):
                text += event.get("text", "")
                events.append(event)
            answer: dict[str, Any] = {**events[-1], "text": text}
            if settings.top is not None:
                answer["logprobs"] = [row for event in events for row in event.get("logprobs", ())]
            return answer

        return await service.unless_gone(request, work())
    events = generated(service, session, tenant, body, settings)
    first = await service.unless_gone(request, anext(events))  # so that an error has its status

    async def lines() -> AsyncGenerator[str, None]:
        event: dict[str, Any] | None = first
        try:
            while event is not None:
                yield f"data: {json.dumps(event)}\n\n"
                event = await anext(events, None)
        except ElmanError as error:
            yield f"data: {json.dumps(error_body(error))}\n\n"
        finally:
            await events.aclose()
        yield "data: [DONE]\n\n"

    return EventStream(lines(), events)


async def generated(
    service: Service, session: str, tenant: str, body: Generate, settings: TextSettings
) -> Any:  # fmt: skip
    """Yield the events of a generation in a session, each when it is durable; the last has a `finish_reason`."""
    async with service.sessions.held(session, tenant) as held:
        if not isinstance(held.model, OnlineText):
            raise WrongKind("the session does not generate text", should="a language model", found=held.record.kind)
        token_ids = held.model.encode(body.text)
        check_prompt(len(token_ids), service.limits)
        if not token_ids and held.state.tree["last"] is None:
            token_ids = held.model.predictor.line_begin()
        if token_ids:
            await read_text(service, held, token_ids)
            await service.sessions.save(held, release=False)
        row = held.model.row(held.state, [], settings)
        generation = service.engine.begin(held.model, row)
        stops = StopFilter(settings.stop)
        try:
            async for choices in service.engine.choices(generation):
                position = held.state.position
                if not row.finish or row.choices:
                    await service.sessions.note(held, generation, [choice.token_id for choice in choices])
                else:
                    await service.sessions.save(held)
                for n, choice in enumerate(choices, 1):
                    event: dict[str, Any] = {"position": position - len(choices) + n, "text": stops.push(choice.text)}
                    if choice.log_probability is not None:
                        top = [{"text": text, "logprob": value} for text, value in choice.top]
                        event["logprobs"] = [{"text": choice.text, "logprob": choice.log_probability, "top": top}]
                    if choice.hidden is not None:
                        event["hidden"] = choice.hidden
                    yield event
            if not held.done:
                await service.sessions.save(held)
        finally:
            service.engine.cancel(generation)
        yield {"position": held.state.position, "text": stops.finish(), "finish_reason": row.finish}
