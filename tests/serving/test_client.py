"""The client in Python: the same answers as the server's paths, its errors, and the same methods awaited."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import httpx
import pytest

import elman
from elman.serving import AsyncClient, Client
from elman.serving.client import RequestError


def test_a_session_is_fed_snapshot_rewound_forked_and_deleted(server: Any, text_run: Path) -> None:
    with Client(server.url, trust_env=False) as client:
        assert {model["id"] for model in client.models()} == {"text", "shop", "months", "whistles", "trends"}
        session = client.begin("text")
        assert session.feed("ein")["position"] == 3
        snapshot = session.snapshot()
        expected = "".join(elman.load(text_run).generate("ein", length=30, seed=5))
        assert session.generate(max_tokens=30, seed=5)["text"] == expected
        fork = session.fork()
        assert fork.id != session.id and fork.read()["position"] == 33
        assert session.rewind(snapshot)["position"] == 3
        assert "".join(event["text"] for event in session.stream(max_tokens=30, seed=5)) == expected
        restored = client.restore(snapshot)
        assert restored.next(top=3) == client.session(restored.id).next(top=3)
        assert len(restored.next(top=3)["symbols"]) == 3
        before = [row["id"] for row in client.sessions(limit=1000)]
        restored.delete()
        assert set(before) - {row["id"] for row in client.sessions(limit=1000)} == {restored.id}


def test_sessions_of_items_and_observations_and_predictions(
    server: Any, recommend_run: Path, forecast_run: Path, forecast_data: Path
) -> None:
    with Client(server.url, trust_env=False) as client:
        (expected,) = elman.load(recommend_run).predict(["p1", "p2"], top_k=3)
        shop = client.begin("shop", ttl=60)
        assert shop.feed(items=["p1", "p2"], top_k=3)["items"] == expected.fields["items"]
        assert client.begin("months").feed(observations=[{"a": 20.0, "b": None}])["forecasts"]
        assert client.predict("shop", ["p1"], top_k=2)[0]["items"]
        answers = client.predict("months", files=[forecast_data], horizon=3)
        expected_fields = [answer.fields for answer in elman.load(forecast_run).predict(forecast_data, horizon=3)]
        assert answers == [{**fields, "input": forecast_data.name} for fields in expected_fields]


def test_errors_of_the_server_are_raised_with_their_parts(server: Any) -> None:
    with Client(server.url, trust_env=False) as client:
        with pytest.raises(RequestError, match="no such session") as caught:
            client.session("nope").feed("ein")
        assert (caught.value.status, caught.value.kind) == (404, "UnknownSession")
        assert caught.value.hint is not None and "expire" in caught.value.hint
        with pytest.raises(RequestError, match="too large") as caught:
            list(client.begin("text").stream(max_tokens=10**6))
        assert caught.value.status == 400 and caught.value.should == "at most 2,000"


def answering(*statuses: int, content: str = "{}") -> tuple[httpx.MockTransport, list[int]]:
    left = list(statuses)

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(left.pop(0), headers={"retry-after": "0"}, text=content)

    return httpx.MockTransport(answer), left


def test_a_request_is_sent_again_where_the_server_has_no_room() -> None:
    transport, left = answering(429, 429, 200, 200)
    assert Client(transport=transport).session("x").feed("a") == {} and left == [200]
    transport, left = answering(*[429] * 9)
    with pytest.raises(RequestError):
        Client(transport=transport).session("x").feed("a")
    assert len(left) == 5
    transport, left = answering(503, 200)
    with pytest.raises(RequestError):
        Client(transport=transport).session("x").feed("a")
    assert left == [200]  # what a server did before it failed is not known


@pytest.mark.parametrize("content", ["<h1>Bad gateway</h1>", "[]", '{"error": "no"}', '{"error": {"what": 3}}', ""])
def test_answers_of_a_proxy_are_errors_too(content: str) -> None:
    transport, _ = answering(502, content=content)
    with pytest.raises(RequestError) as caught:
        Client(transport=transport).models()
    assert caught.value.status == 502


def test_a_token_is_sent() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"data": [request.headers.get("authorization")]})

    assert Client(token="open sesame", transport=httpx.MockTransport(answer)).models() == ["Bearer open sesame"]
    assert Client(transport=httpx.MockTransport(answer)).models() == [None]


def test_the_asynchronous_client_gives_the_same(server: Any) -> None:
    async def use() -> tuple[list[str], str, str]:
        async with AsyncClient(server.url, trust_env=False) as client:
            session = await client.begin("text")
            await session.feed("paar ")
            fork, snapshot = await session.fork(), await session.snapshot()
            first = "".join([event["text"] async for event in fork.stream(max_tokens=20, seed=1)])
            await fork.rewind(snapshot)
            second, third = await asyncio.gather(
                fork.generate(max_tokens=20, seed=1), session.generate(max_tokens=20, seed=1)
            )
            with pytest.raises(RequestError, match="no such session"):
                await client.session("nope").feed("a")
            with pytest.raises(RequestError, match="no such session"):
                [event async for event in client.session("nope").stream()]
            return [model["id"] for model in await client.models()], first, second["text"] + third["text"]

    models, first, both = asyncio.run(use())
    assert "text" in models and both == first + first
    names = [{name for name, _ in inspect.getmembers(kind) if name[0] != "_"} for kind in (Client, AsyncClient)]
    assert names[0] == names[1]
