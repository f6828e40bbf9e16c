"""/v1/predict/{model}: the answers of `elman predict --json`, for every recipe."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from elman.errors import DataError
from elman.predictors.answer import Answer
from elman.predictors.online.text import OnlineText
from elman.predictors.untrusted import UploadedFile, answers_to_files, answers_to_values
from elman.serving.errors import ServiceError, TooLarge, WrongKind
from elman.serving.routes.access import ERRORS, Served
from elman.serving.schemas import Prediction
from elman.serving.service import Service
from elman.serving.texts import check_horizon

router = APIRouter(prefix="/v1", tags=["predict"], responses=ERRORS)

FORM = {
    "type": "object",
    "required": ["files"],
    "properties": {
        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
        "options": {"type": "string", "description": "a JSON object"},
    },
}
BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": Prediction.model_json_schema()},
        "multipart/form-data": {"schema": FORM},
    },
}


@router.post("/predict/{model}", openapi_extra={"requestBody": BODY})
async def predict(model: str, request: Request, service: Served) -> dict[str, Any]:
    """Answer inputs: JSON, or files in a form. What has no answer has an `error`."""
    service.engine.admit()
    served = service.models.find(model)
    predictor = served.predictor
    if isinstance(served.online, OnlineText):
        raise WrongKind(
            f"{model} predicts no single inputs", should="a completion", found="a language model",
            hint="POST /v1/completions, or a session",
        )  # fmt: skip
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        files, options = await read_form(request, service.limits.inputs)
        check_horizon(options.get("horizon"), service.limits)
        work = partial(answers_to_files, predictor, files, options)
    else:
        body = _prediction(await request.body())
        if len(body.inputs) > service.limits.inputs:
            raise TooLarge("too many inputs", should=f"at most {service.limits.inputs}", found=f"{len(body.inputs)}")
        check_horizon(body.options.get("horizon"), service.limits)
        work = partial(answers_to_values, predictor, body.inputs, body.options)
    return {"predictions": await service.unless_gone(request, computed(service, work))}


async def computed(service: Service, work: Callable[[], Iterator[Answer]]) -> list[dict[str, Any]]:
    """Return the fields of answers, which a thread computes; it stops between two of them when the request ends."""
    stopped = False

    def fields() -> list[dict[str, Any]]:
        rows = []
        for answer in work():
            rows.append(answer.fields)
            if stopped:
                break
        return rows

    service.engine.admit()
    service.engine.predicting += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(service.pool, fields)
    finally:
        stopped = True
        service.engine.predicting -= 1


def _prediction(body: bytes) -> Prediction:
    try:
        return Prediction.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            f"the request is invalid at {'.'.join(map(str, first['loc'])) or 'its beginning'}"[:200],
            should='{"inputs": [...], "options": {...}}', found=str(first["msg"])[:200],
        ) from error  # fmt: skip


async def read_form(request: Request, most: int) -> tuple[list[UploadedFile], dict[str, Any]]:
    """Return the files and the options of a form.

    Raises:
        ServiceError: there are none, or too many, or the options are no JSON object.
    """
    async with request.form(max_files=most, max_fields=100) as form:
        parts = [part for name in ("files", "file") for part in form.getlist(name) if isinstance(part, UploadFile)]
        files = [UploadedFile(part.filename or "", await part.read()) for part in parts]
        text = form.get("options") or "{}"
    try:
        options = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        options = None
    if (
        not files
        or not isinstance(options, dict)
        or not all(isinstance(v, str | int | float) for v in options.values())
    ):
        raise ServiceError(
            "the form is invalid", should="files, and perhaps options as a JSON object",
            found=", ".join(form) or "none", hint="curl -F files=@FILE -F 'options={}'",
        )  # fmt: skip
    return files, options
