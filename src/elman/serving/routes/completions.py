"""OpenAI's /v1/models and /v1/completions."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from json.encoder import encode_basestring_ascii as encoded
from typing import Any, Literal, NamedTuple

from fastapi import APIRouter, Request

from elman.errors import ElmanError
from elman.predictors.online.text import GeneratedSymbol, OnlineText, TextRow, TextSettings
from elman.serving.engine import Generation
from elman.serving.errors import ServiceError, error_body
from elman.serving.models import ServedModel
from elman.serving.routes.access import ERRORS, EventStream, Served
from elman.serving.schemas import Completion, ModelAnswer, ModelList
from elman.serving.service import Service
from elman.serving.texts import StopFilter, check_answer, check_prompt, completion_logprobs, text_settings

router = APIRouter(prefix="/v1", tags=["OpenAI"], responses=ERRORS)


def model_answer(model: ServedModel) -> ModelAnswer:
    """Return a model as clients see it."""
    online, rows = model.online, model.predictor.input_rows
    return ModelAnswer(
        id=model.name, created=int(model.loaded), recipe=model.recipe, kind=online.kind if online else None,
        weights=online.weights if online else None, reads=inputs_of(model),
        columns=list(rows.columns) if rows is not None and not rows.files else [],
    )  # fmt: skip


def inputs_of(model: ServedModel) -> list[Literal["text", "rows", "numbers", "files"]]:
    """Return the kinds of inputs that /v1/predict takes for a model."""
    predictor = model.predictor
    if isinstance(model.online, OnlineText):
        return []
    if predictor.reads_text:
        rows = predictor.input_rows
        several = rows is not None and not rows.files and len(rows.columns) > 1
        return ["text", "rows", "files"] if several else ["text", "files"]
    return ["numbers", "files"] if predictor.input_rows is not None else ["files"]


@router.get("/models")
async def list_models(service: Served) -> ModelList:
    """List the models."""
    return ModelList(data=[model_answer(model) for model in service.models.models.values()])


@router.get("/models/{model}")
async def read_model(model: str, service: Served) -> ModelAnswer:
    """Describe a model."""
    return model_answer(service.models.find(model))


class Piece(NamedTuple):
    """A piece of a completion.

    Attributes:
        number: of the completion.
        text: the text.
        choices: the symbols in it.
        finish: why it ends, in the last piece.
    """

    number: int
    text: str
    choices: list[GeneratedSymbol]
    finish: str | None = None


@router.post("/completions", responses={200: {"content": {"text/event-stream": {}}}})
async def complete(body: Completion, request: Request, service: Served) -> Any:
    """Complete prompts."""
    _, model = service.models.online(body.model, OnlineText)
    settings = text_settings(body, service.limits)
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    count = len(prompts) * body.n
    if not 1 <= count <= service.limits.choices:
        raise ServiceError(
            "too many completions, or none",
            should=f"1 to {service.limits.choices}, n times the prompts",
            found=f"{count}",
        )
    service.engine.admit(count)
    each = [model.encode(prompt) for prompt in prompts]
    check_prompt(body.n * sum(map(len, each)), service.limits)
    if not body.stream:
        check_answer(settings, count, service.limits)
    rows = [model.row(model.begin({}), token_ids, _seeded(settings, n)) for token_ids in each for n in range(body.n)]
    echoes = [prompt if body.echo else "" for prompt in prompts for _ in range(body.n)]
    pieces = _pieces(service, model, rows, echoes)
    first = await service.unless_gone(request, anext(pieces))  # so that an error has its status
    head = {
        "id": f"cmpl-{secrets.token_hex(12)}", "object": "text_completion", "created": int(time.time()),
        "model": body.model,
    }  # fmt: skip
    prompt_tokens = sum(map(len, each))
    if body.stream:
        usage = bool((body.stream_options or {}).get("include_usage"))
        lines = _events(first, pieces, head, settings.top is not None, prompt_tokens if usage else None)
        return EventStream(lines, pieces)
    return await service.unless_gone(
        request, _whole(first, pieces, head, count, settings.top is not None, prompt_tokens)
    )


def _seeded(settings: TextSettings, number: int) -> TextSettings:
    """Return the settings of one of n completions: the first has the seed itself."""
    if settings.seed is None or not number:
        return settings
    return settings._replace(seed=(settings.seed + number) % (1 << 63))


async def _pieces(
    service: Service, model: OnlineText, rows: list[TextRow], echoes: list[str]
) -> AsyncGenerator[list[Piece], None]:  # fmt: skip
    """Yield the pieces of all completions as they come.

    Raises:
        TooBusy: there is no room for all of them.
    """
    generations: list[Generation] = []
    try:
        for row in rows:
            generations.append(service.engine.begin(model, row))
        if len(generations) == 1:
            async for pieces in _followed(service, 0, generations[0], echoes[0]):
                yield pieces
            return
        queue: asyncio.Queue[list[Piece] | Exception | None] = asyncio.Queue(4 * len(rows))
        tasks = [
            asyncio.create_task(_queued(queue, _followed(service, n, generation, echoes[n])))
            for n, generation in enumerate(generations)
        ]
        try:
            left = len(tasks)
            while left:
                item = await queue.get()
                if isinstance(item, Exception):
                    raise item
                if item is None:
                    left -= 1
                else:
                    yield item
        finally:
            for task in tasks:
                task.cancel()
    finally:
        for generation in generations:
            service.engine.cancel(generation)


async def _followed(
    service: Service, number: int, generation: Generation, echo: str
) -> AsyncIterator[list[Piece]]:  # fmt: skip
    """Yield the pieces of a completion."""
    row = generation.row
    stops = StopFilter(row.settings.stop)
    if echo:
        yield [Piece(number, echo, [])]
    async for choices in service.engine.choices(generation):
        yield [Piece(number, stops.push(choice.text), [choice]) for choice in choices]
    rest = stops.push(row.decoder.finish()) + stops.finish()
    yield [Piece(number, rest, [], str(row.finish))]


async def _queued(
    queue: asyncio.Queue[list[Piece] | Exception | None], pieces: AsyncIterator[list[Piece]]
) -> None:  # fmt: skip
    try:
        async for item in pieces:
            await queue.put(item)
    except Exception as error:  # the reader raises it
        await queue.put(error)
    await queue.put(None)


async def _all(
    first: list[Piece], pieces: AsyncGenerator[list[Piece], None]
) -> AsyncGenerator[list[Piece], None]:  # fmt: skip
    """Yield the pieces that came first, and those after."""
    async with aclosing(pieces):
        yield first
        async for item in pieces:
            yield item


async def _events(
    first: list[Piece], pieces: AsyncGenerator[list[Piece], None], head: dict[str, Any], logprobs: bool,
    prompt_tokens: int | None,
) -> AsyncGenerator[str, None]:  # fmt: skip
    """Yield the events of a stream, one for each symbol."""
    offsets: dict[int, int] = {}
    count, begin = 0, f"data: {json.dumps(head)[:-1]}"
    try:
        async with aclosing(_all(first, pieces)) as items:
            async for item in items:
                lines = []
                for piece in item:
                    probabilities = "null"
                    if logprobs and piece.choices:
                        offset = offsets.get(piece.number, 0)
                        probabilities = json.dumps(completion_logprobs(piece.choices, offset))
                        offsets[piece.number] = offset + sum(len(choice.text) for choice in piece.choices)
                    finish = "null" if piece.finish is None else f'"{piece.finish}"'
                    count += len(piece.choices)
                    lines.append(
                        f'{begin}, "choices": [{{"index": {piece.number}, "text": {encoded(piece.text)}, '
                        f'"logprobs": {probabilities}, "finish_reason": {finish}}}]}}\n\n'
                    )
                yield "".join(lines)
        if prompt_tokens is not None:
            yield f"data: {json.dumps({**head, 'choices': [], 'usage': _usage(prompt_tokens, count)})}\n\n"
    except ElmanError as error:
        yield f"data: {json.dumps(error_body(error))}\n\n"
    yield "data: [DONE]\n\n"


async def _whole(
    first: list[Piece], pieces: AsyncGenerator[list[Piece], None], head: dict[str, Any], count: int, logprobs: bool,
    prompt_tokens: int,
) -> dict[str, Any]:  # fmt: skip
    """Return the answer of a request that does not stream."""
    texts, symbols, finishes = [""] * count, [[] for _ in range(count)], [""] * count  # type: ignore[var-annotated]
    async with aclosing(_all(first, pieces)) as items:
        async for item in items:
            for piece in item:
                texts[piece.number] += piece.text
                symbols[piece.number] += piece.choices
                finishes[piece.number] = piece.finish or finishes[piece.number]
    rows = [
        {
            "index": n, "text": texts[n], "finish_reason": finishes[n],
            "logprobs": completion_logprobs(symbols[n], 0) if logprobs else None,
        }
        for n in range(count)
    ]  # fmt: skip
    return {**head, "choices": rows, "usage": _usage(prompt_tokens, sum(map(len, symbols)))}


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
