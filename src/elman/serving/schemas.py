"""What clients send and get, as pydantic knows it; /openapi.json is made of these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Seed = Annotated[int | None, Field(default=None, ge=0, lt=1 << 63, description="the same seed gives the same text")]
Temperature = Annotated[float, Field(default=1.0, ge=0, le=100, allow_inf_nan=False, description="0: greedy")]
TopP = Annotated[float | None, Field(default=None, gt=0, le=1, description="the nucleus")]
TopK = Annotated[int | None, Field(default=None, ge=1, le=1 << 31)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Ttl = Annotated[float | None, Field(default=None, gt=0, le=1e9, description="seconds without a request until it ends")]


class Request(BaseModel):
    """A body; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ErrorContent(BaseModel):
    """What is wrong, what should be, what is, and what to try."""

    type: str
    message: str
    what: str
    should: str | None
    found: str | None
    hint: str | None


class ErrorAnswer(BaseModel):
    """The one form of errors."""

    error: ErrorContent


class NewSession(Request):
    """A new session."""

    model: Name
    ttl: Ttl
    options: dict[str, Any] = Field(default_factory=dict, description="of the kind: series, for forecasts")


class SessionAnswer(BaseModel):
    """A session."""

    id: str
    model: str
    kind: str
    position: int
    created: float
    touched: float
    expires: float


class SessionList(BaseModel):
    """Sessions; `next` is the `after` of the next page."""

    sessions: list[SessionAnswer]
    next: str | None


class Feed(Request):
    """What a session reads: a text, the items of events, or observations."""

    text: str | None = None
    items: list[Annotated[str, Field(max_length=1000)]] | None = None
    observations: list[dict[str, float | str | None]] | None = None
    top_k: int = Field(default=10, ge=1, le=10_000)
    exclude_seen: bool | None = None
    horizon: int | None = Field(default=None, ge=1, le=1_000_000)


class Generate(Request):
    """A generation from where a session is."""

    text: str = Field(default="", description="read before")
    max_tokens: int = Field(default=100, ge=0)
    temperature: Temperature
    top_k: TopK
    top_p: TopP
    seed: Seed
    stop: str | list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(default=None, max_length=200)
    logprobs: int | None = Field(default=None, ge=0, le=100)
    hidden: bool = Field(default=False, description="whether each event has the hidden state; with stream alone")
    stream: bool = False


class Completion(Request):
    """A completion, as OpenAI has it. Penalties and biases are accepted where they change nothing."""

    model: Name
    prompt: str | list[str] = ""
    max_tokens: int = Field(default=16, ge=0)
    temperature: Temperature
    top_p: TopP
    top_k: TopK
    n: int = Field(default=1, ge=1, le=1000)
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    logprobs: int | None = Field(default=None, ge=0, le=100)
    echo: bool = False
    stop: str | list[str] | None = None
    seed: Seed
    user: str | None = None
    suffix: None = None
    best_of: Literal[1] | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logit_bias: None = None


class Prediction(Request):
    """Inputs as `elman predict` has them: texts, rows of texts, or rows of numbers; never names of files."""

    inputs: list[Any] = Field(min_length=1)
    options: dict[str, str | float | int | bool | None] = Field(default_factory=dict)


class ModelAnswer(BaseModel):
    """A model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["elman"] = "elman"
    recipe: str
    kind: str | None
    weights: str | None
    reads: list[Literal["text", "rows", "numbers", "files"]] = Field(description="inputs of /v1/predict")
    columns: list[str] = Field(description="of a row of texts")


class ModelList(BaseModel):
    """The models."""

    object: Literal["list"] = "list"
    data: list[ModelAnswer]
