"""OpenAI's completions: the stock client, seeds, stops, probabilities, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

import elman
from elman.serving.errors import TooBusy
from elman.serving.texts import StopFilter


def offline(run: Path, prompt: str, length: int, seed: int, **options: Any) -> str:
    return "".join(elman.load(run).generate(prompt, length=length, seed=seed, **options))


@pytest.fixture
def stock(server: Any) -> Any:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        yield client


def test_the_stock_client_streams_an_event_a_symbol(stock: Any, text_run: Path) -> None:
    events = list(stock.completions.create(model="text", prompt="ein", max_tokens=40, seed=5, stream=True))
    assert "".join(event.choices[0].text for event in events) == offline(text_run, "ein", 40, 5)
    assert len(events) == 41
    assert [event.choices[0].finish_reason for event in events][-2:] == [None, "length"]


def test_the_stock_client_lists_models_and_counts_symbols(stock: Any) -> None:
    assert {model.id for model in stock.models.list()} == {"text", "shop", "months", "whistles", "trends"}
    answer = stock.completions.create(model="text", prompt="ein", max_tokens=7, temperature=0)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 7)
    with pytest.raises(openai.NotFoundError, match="unknown model 'tekst'"):
        stock.completions.create(model="tekst", prompt="ein")


def test_several_completions_have_seeds_of_their_own(stock: Any, text_run: Path) -> None:
    answer = stock.completions.create(model="text", prompt=["ein", "paar "], n=3, max_tokens=30, seed=7)
    texts = [choice.text for choice in answer.choices]
    assert texts == [offline(text_run, prompt, 30, 7 + n) for prompt in ("ein", "paar ") for n in range(3)]
    assert len(set(texts)) == 6  # the model depends on what it has read


def test_a_stop_text_ends_the_text_before_it(stock: Any, text_run: Path) -> None:
    whole = offline(text_run, "ein", 60, 3)
    stop = whole[20:23]
    answer = stock.completions.create(model="text", prompt="ein", max_tokens=60, seed=3, stop=stop).choices[0]
    assert (answer.text, answer.finish_reason) == (whole[: whole.index(stop)], "stop")
    pieces = stock.completions.create(model="text", prompt="ein", max_tokens=60, seed=3, stop=[stop], stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == whole[: whole.index(stop)]


def test_stop_texts_that_overlap_are_held_back() -> None:
    stops = StopFilter(["aab", "xyz"])
    assert [stops.push(letter) for letter in "aaab"] == ["", "", "a", ""]
    assert stops.finish() == ""
    ends = StopFilter(["aab"])
    assert "".join(ends.push(letter) for letter in "caa") == "c"
    assert ends.finish() == "aa"


def test_probabilities_are_those_of_the_model(stock: Any) -> None:
    answer = stock.completions.create(model="text", prompt="ein", max_tokens=5, temperature=0, logprobs=3)
    rows = answer.choices[0].logprobs
    assert rows.tokens == list(answer.choices[0].text)
    for text, value, top in zip(rows.tokens, rows.token_logprobs, rows.top_logprobs, strict=True):
        assert len(top) == 3 and max(top.values()) == top[text] == value
        assert sum(map(math.exp, top.values())) < 1


def test_the_prompt_is_echoed(stock: Any, text_run: Path) -> None:
    answer = stock.completions.create(model="text", prompt="ein", max_tokens=9, seed=1, echo=True)
    assert answer.choices[0].text == "ein" + offline(text_run, "ein", 9, 1)


@pytest.mark.parametrize(
    ("body", "status", "found"),
    [
        ({}, 422, "body.model"),
        ({"model": "text", "max_tokens": -1}, 422, "-1"),
        ({"model": "text", "max_tokens": 10**30}, 400, "2,000"),
        ({"model": "text", "temperature": -1}, 422, "-1"),
        ({"model": "text", "seed": 1 << 70}, 422, "seed"),
        ({"model": "text", "n": 1000}, 400, "1 to 64"),
        ({"model": "text", "prompt": []}, 400, "1 to 64"),
        ({"model": "text", "stop": [""]}, 400, "stop"),
        ({"model": "text", "n": 64, "max_tokens": 2000, "logprobs": 100}, 413, "1,000,000"),
        ({"model": "text", "n": 64, "prompt": "ein " * 4000}, 413, "1,024,000"),
        ({"model": "text", "temperatur": 1}, 422, "temperatur"),
        ({"model": "nope"}, 404, "unknown model"),
        ({"model": "shop"}, 409, "a model of the kind text"),
    ],
)
def test_invalid_requests_are_refused(client: httpx.Client, body: Any, status: int, found: str) -> None:
    answer = client.post("/v1/completions", json=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error.keys() == {"type", "message", "what", "should", "found", "hint"}
    assert found in error["message"] and error["should"]


def test_what_is_no_json_is_refused(client: httpx.Client) -> None:
    for content in (b"{", b"\xff", b"[" * 100_000, b""):
        answer = client.post("/v1/completions", content=content, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422), answer.text
        assert answer.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_gets_busy_amid_the_completions_runs_none(
    server: Any, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    engine, admit, count = server.service.engine, server.service.engine.admit, 0

    def busy(number: int = 1) -> None:
        nonlocal count
        count += number == 1
        if count == 3:
            raise TooBusy("the server is busy", should="room", found="none")
        admit(number)

    monkeypatch.setattr(engine, "admit", busy)
    answer = client.post("/v1/completions", json={"model": "text", "n": 4, "max_tokens": 2000, "stream": stream})
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "TooBusy")
    assert count == 3 and engine.active == 0 and not engine._waiting


def test_any_error_of_one_completion_ends_the_request(
    server: Any, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> str:
        raise ZeroDivisionError("made up")

    monkeypatch.setattr(StopFilter, "push", broken)
    answer = client.post("/v1/completions", json={"model": "text", "n": 3, "max_tokens": 5}, timeout=5)
    assert answer.status_code == 500 and server.service.engine.active == 0
