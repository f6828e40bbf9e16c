"""Generated symbols as text for clients: stop texts are cut, and held back while they may begin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from elman.predictors.online.text import GeneratedSymbol, TextSettings
from elman.serving.errors import ServiceError, TooLarge
from elman.serving.schemas import Completion, Feed, Generate
from elman.serving.settings import Limits


def text_settings(request: Generate | Completion, limits: Limits) -> TextSettings:
    """Return the settings of a generation.

    Raises:
        ServiceError: a stop text is empty, or there are too many.
        TooLarge: more symbols than the server generates for a request.
    """
    if request.max_tokens > limits.max_tokens:
        raise ServiceError(
            "max_tokens is too large", should=f"at most {limits.max_tokens:,}", found=f"{request.max_tokens:,}",
            hint="generate in several requests, in a session",
        )  # fmt: skip
    stop = (request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ())
    if not all(stop) or len(stop) > 16 or sum(map(len, stop)) > 1000:
        raise ServiceError("invalid stop texts", should="at most 16, none of them empty", found=f"{len(stop)}")
    return TextSettings(
        request.max_tokens,
        request.temperature,
        request.top_k,
        request.top_p,
        request.seed,
        stop,
        request.logprobs,
        isinstance(request, Generate) and request.hidden and request.stream,
    )


def check_prompt(length: int, limits: Limits) -> None:
    """Check the number of symbols that a request gives to read.

    Raises:
        TooLarge: it is too long.
    """
    if length > limits.prompt_symbols:
        raise TooLarge(
            "the text is too long", should=f"at most {limits.prompt_symbols:,} symbols", found=f"{length:,}",
            hint="feed a session in several requests",
        )  # fmt: skip


def check_answer(settings: TextSettings, count: int, limits: Limits) -> None:
    """Check the size of an answer that does not stream, which is in memory as a whole.

    Args:
        settings: of each text.
        count: the number of texts.
        limits: of the server.

    Raises:
        TooLarge: it is too large.
    """
    size = count * settings.length * max(1, settings.top or 0)
    if size > limits.answer_symbols:
        raise TooLarge(
            "the answer is too large", should=f"at most {limits.answer_symbols:,} symbols, times n and logprobs",
            found=f"{size:,}", hint="stream, or ask for less",
        )  # fmt: skip


def check_feed(feed: Feed, limits: Limits) -> None:
    """Check the number of events or observations that a session is to read, and of steps to forecast.

    Raises:
        TooLarge: it is too large.
    """
    for name, count, most in (
        ("items", len(feed.items or ()), limits.inputs),
        ("observations", len(feed.observations or ()), limits.inputs),
    ):
        if count > most:
            raise TooLarge(
                f"too many {name}", should=f"at most {most:,}", found=f"{count:,}", hint="send several requests"
            )
    check_horizon(feed.horizon, limits)


def check_horizon(horizon: object, limits: Limits) -> None:
    """Check the number of steps to forecast; what is no number is refused elsewhere.

    Raises:
        TooLarge: it is too large.
    """
    if isinstance(horizon, int | float) and horizon > limits.horizon:
        raise TooLarge("the horizon is too long", should=f"at most {limits.horizon:,} steps", found=f"{horizon:,}"[:40])


class StopFilter:
    """Cuts a text at the first stop text.

    Args:
        stops: the stop texts.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops, self._held, self._stopped = stops, "", False

    def push(self, text: str) -> str:
        """Return what is sure not to be part of a stop text."""
        if not self._stops:
            return text
        if self._stopped:
            return ""
        self._held += text
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            self._stopped = True
            text, self._held = self._held[: min(places)], ""
            return text
        keep = max(_overlap(self._held, stop) for stop in self._stops)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text

    def finish(self) -> str:
        """Return what was held back, where no stop text came."""
        text, self._held = self._held, ""
        return "" if self._stopped else text


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest beginning of `stop` at the end of `text`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


def completion_logprobs(choices: Sequence[GeneratedSymbol], offset: int) -> dict[str, Any]:
    """Return probabilities as OpenAI's completions have them."""
    offsets = []
    for choice in choices:
        offsets.append(offset)
        offset += len(choice.text)
    return {
        "tokens": [choice.text for choice in choices],
        "token_logprobs": [choice.log_probability for choice in choices],
        "top_logprobs": [dict(choice.top) for choice in choices],
        "text_offset": offsets,
    }
