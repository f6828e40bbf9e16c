"""Sessions over HTTP: what they answer is what the run answers offline, to the bit, whoever else is there."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import elman
from elman.predictors.online.kinds import online_predictor
from elman.predictors.online.text import GenerationBatch, TextSettings

WORDS = ["ein ", "Öl ", "paar ", "\n"]


def begin(client: httpx.Client, model: str, **options: Any) -> str:
    answer = client.post("/v1/sessions", json={"model": model, "options": options})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def post(client: httpx.Client, session: str, action: str, **fields: Any) -> Any:
    answer = client.post(f"/v1/sessions/{session}/{action}", json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


class Mirror:
    """The offline run of a session of text."""

    def __init__(self, run: Path) -> None:
        self.model = online_predictor(elman.load(run))
        self.state = self.model.begin({})

    def run(self, text: str = "", **settings: Any) -> str:
        row = self.model.row(self.state, self.model.encode(text), TextSettings(**settings))
        batch = GenerationBatch(self.model)
        if not row.finish:
            batch.add(row)
        while len(batch):
            batch.run()
        return "".join(choice.text for choice in row.choices)

    @property
    def snapshot(self) -> bytes:
        return self.model.dump(self.state)


def test_a_session_generates_what_the_run_generates(client: httpx.Client, text_run: Path) -> None:
    session = begin(client, "text")
    assert post(client, session, "feed", text="ein")["position"] == 3
    answer = post(client, session, "generate", max_tokens=40, seed=5)
    assert answer["text"] == "".join(elman.load(text_run).generate("ein", length=40, seed=5))
    assert (answer["position"], answer["finish_reason"]) == (43, "length")
    more = [post(client, session, "generate", max_tokens=n, temperature=0)["text"] for n in (13, 1, 6)]
    mirror = Mirror(text_run)
    mirror.run("ein", length=40, seed=5)
    assert "".join(more) == mirror.run(length=20, temperature=0)
    assert client.get(f"/v1/sessions/{session}/snapshot").content == mirror.snapshot


def test_snapshots_forks_and_rewinds(client: httpx.Client) -> None:
    session = begin(client, "text")
    post(client, session, "feed", text="paar ")
    snapshot = client.get(f"/v1/sessions/{session}/snapshot").content
    texts = [post(client, session, "generate", max_tokens=20, seed=1)["text"]]
    fork = client.post(f"/v1/sessions/{session}/fork").json()
    assert fork["position"] == 25 and fork["id"] != session
    assert client.put(f"/v1/sessions/{session}/snapshot", content=snapshot).json()["position"] == 5
    texts.append(post(client, session, "generate", max_tokens=20, seed=1)["text"])
    restored = client.post("/v1/sessions/restore", content=snapshot).json()
    texts.append(post(client, restored["id"], "generate", max_tokens=20, seed=1)["text"])
    assert len(set(texts)) == 1
    after = [post(client, name, "generate", max_tokens=9, seed=2)["text"] for name in (fork["id"], session)]
    assert after[0] == after[1]


def test_sessions_are_listed_read_and_deleted(client: httpx.Client) -> None:
    names = [begin(client, "text") for _ in range(5)]
    listed, after = [], ""
    while after is not None:
        page = client.get("/v1/sessions", params={"limit": 2, "after": after}).json()
        listed += [row["id"] for row in page["sessions"]]
        after = page["next"]
    assert [name for name in listed if name in names] == names
    assert client.get(f"/v1/sessions/{names[0]}").json()["position"] == 0
    assert client.delete(f"/v1/sessions/{names[0]}").status_code == 204
    for answer in (client.get(f"/v1/sessions/{names[0]}"), client.delete(f"/v1/sessions/{names[0]}")):
        assert answer.status_code == 404 and answer.json()["error"]["type"] == "UnknownSession"


def test_the_next_symbols_are_shown_and_nothing_changes(client: httpx.Client, text_run: Path) -> None:
    session = begin(client, "text")
    assert client.get(f"/v1/sessions/{session}/next").status_code == 422
    post(client, session, "feed", text="ein")
    before = client.get(f"/v1/sessions/{session}/snapshot").content
    answer = client.get(f"/v1/sessions/{session}/next", params={"top": 4}).json()
    assert client.get(f"/v1/sessions/{session}/snapshot").content == before
    best = post(client, session, "generate", max_tokens=1, temperature=0)["text"]
    assert answer["symbols"][0]["text"] == best and len(answer["symbols"]) == 4 and len(answer["hidden"]) == 16


def test_damaged_and_foreign_snapshots_are_refused(client: httpx.Client) -> None:
    session, shop = begin(client, "text"), begin(client, "shop")
    post(client, session, "feed", text="ein")
    content = client.get(f"/v1/sessions/{session}/snapshot").content
    foreign = client.get(f"/v1/sessions/{shop}/snapshot").content
    rng = random.Random(1)
    damaged = [content[:-1], content[:20], b"", b"\x80\x04pickle", content.replace(b"text", b"sound", 1)]
    for _ in range(20):
        broken = bytearray(content)
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        damaged.append(bytes(broken))
    for bad in damaged:
        answer = client.post("/v1/sessions/restore", content=bad)
        assert answer.status_code == 422, bad
        assert answer.json()["error"]["type"] == "BadSnapshot"
    for path in (f"/v1/sessions/{session}/snapshot", f"/v1/sessions/{shop}/snapshot"):
        other = foreign if session in path else content
        assert client.put(path, content=other).status_code == 422
    wrong = client.post("/v1/sessions/restore", params={"model": "shop"}, content=content)
    assert wrong.status_code == 422 and "another model" in wrong.text


def test_events_get_the_answers_of_predict(client: httpx.Client, recommend_run: Path) -> None:
    predictor, session, items = elman.load(recommend_run), begin(client, "shop"), []
    popular = client.get(f"/v1/sessions/{session}/next", params={"top": 3}).json()
    assert popular["of"] == "popularity"
    for part in (["p1"], ["p3", "p2"], ["nothing"], ["p4"]):
        items += part
        answer = post(client, session, "feed", items=part, top_k=4)
        (expected,) = predictor.predict(items, top_k=4)
        assert (answer["items"], answer["scores"]) == (expected.fields["items"], expected.fields["scores"])
        assert answer["position"] == len(items)
    assert client.post(f"/v1/sessions/{session}/feed", json={"text": "p1"}).status_code == 422


def test_observations_get_the_forecasts_of_the_whole_series(
    client: httpx.Client, forecast_run: Path, forecast_data: Path, tmp_path: Path
) -> None:
    predictor, session = elman.load(forecast_run), begin(client, "months")
    months = np.datetime64("2000-01") + np.arange(400)
    lines = forecast_data.read_text()
    sizes = set()
    for n in range(12):
        row = {"a": 20.0 + n % 5, "b": None if n % 7 == 3 else 25.0}
        answer = post(client, session, "feed", observations=[row])
        lines += f"{months[300 + n]},{row['a']},{'' if row['b'] is None else row['b']}\n"
        sizes.add(len(client.get(f"/v1/sessions/{session}/snapshot").content))
        if n % 6 == 5:
            (tmp_path / "whole.csv").write_text(lines)
            expected = [answer.fields for answer in predictor.predict(tmp_path / "whole.csv")]
            assert answer["forecasts"] == [{k: v for k, v in row.items() if k != "input"} for row in expected]
    assert max(sizes) - min(sizes) <= 16
    for bad in ({"c": 1.0}, {"a": "x"}):
        assert client.post(f"/v1/sessions/{session}/feed", json={"observations": [bad]}).status_code == 422


def test_a_session_reads_no_more_at_a_time_than_a_limit(client: httpx.Client) -> None:
    shop, months = begin(client, "shop"), begin(client, "months")
    for session, body in (
        (shop, {"items": ["p1"] * 51}),
        (months, {"observations": [{"a": 1.0}] * 51}),
        (months, {"observations": [{"a": 1.0}], "horizon": 1001}),
    ):
        answer = client.post(f"/v1/sessions/{session}/feed", json=body)
        assert (answer.status_code, answer.json()["error"]["type"]) == (413, "TooLarge"), answer.text
    assert post(client, shop, "feed", items=["p1"] * 50)["position"] == 50


def test_sessions_need_a_model_that_reads_step_by_step(client: httpx.Client) -> None:
    answer = client.post("/v1/sessions", json={"model": "trends"})
    assert answer.status_code == 409 and "/v1/predict/trends" in answer.json()["error"]["hint"]
    assert client.post("/v1/sessions", json={"model": "shop", "options": {"x": 1}}).status_code == 422


async def live(client: httpx.AsyncClient, run: Path, number: int) -> int:
    """Use a session at random, beside its mirror; return the number of answers that were compared."""
    rng, mirror, compared = random.Random(number), Mirror(run), 0
    session = (await client.post("/v1/sessions", json={"model": "text"})).json()["id"]
    saved: list[tuple[bytes, Any]] = []
    for _ in range(10):
        action = rng.choice(["feed", "generate", "stream", "cancel", "snapshot", "rewind", "fork"])
        seed, length, text = rng.randrange(1000), rng.randint(1, 40), rng.choice(WORDS)
        body = {"text": text, "max_tokens": length, "seed": seed, "temperature": rng.choice([0, 0.8, 1])}
        settings = {"length": length, "seed": seed, "temperature": body["temperature"]}
        path = f"/v1/sessions/{session}"
        if action == "feed":
            (await client.post(f"{path}/feed", json={"text": text})).raise_for_status()
            mirror.run(text)
        elif action == "generate":
            answer = (await client.post(f"{path}/generate", json=body)).json()
            assert answer["text"] == mirror.run(text, **settings)
            compared += 1
        elif action in ("stream", "cancel"):
            stop = length if action == "stream" else rng.randint(0, length)
            compared += await streamed(client, path, {**body, "stream": True}, mirror, settings, stop)
        elif action == "snapshot" or not saved:
            content = (await client.get(f"{path}/snapshot")).content
            assert content == mirror.snapshot
            saved.append((content, mirror.model.restore(content)))
            compared += 1
        elif action == "rewind":
            content, _ = rng.choice(saved)
            (await client.put(f"{path}/snapshot", content=content)).raise_for_status()
            mirror.state = mirror.model.restore(content)
        else:
            session = (await client.post(f"{path}/fork")).json()["id"]
    assert (await client.get(f"/v1/sessions/{session}/snapshot")).content == mirror.snapshot
    return compared


async def streamed(
    client: httpx.AsyncClient, path: str, body: Any, mirror: Mirror, settings: dict[str, Any], stop: int
) -> int:  # fmt: skip
    """Read a stream, or go away after some events; the session is then at or behind the last event that came."""
    text, before = "", mirror.model.restore(mirror.snapshot)
    async with client.stream("POST", f"{path}/generate", json=body) as answer:
        count = 0
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                event = httpx.Response(200, content=line[6:]).json()
                text, count, position = text + event["text"], count + 1, event["position"]
            if count > stop:
                break
    whole = mirror.run(body["text"], **settings)
    assert whole.startswith(text)
    if count <= stop:
        assert whole == text
        return 1
    for _ in range(100):  # the server sees that the client has gone when it writes
        now = (await client.get(path)).json()["position"]
        if now >= position:
            break
        await asyncio.sleep(0.02)
    assert now >= position
    # Nobody has the session any more when a further request gets it.
    done = (await client.post(f"{path}/feed", json={"text": ""})).json()["position"]
    read = len(body["text"])
    mirror.state = before
    mirror.run(body["text"], **{**settings, "length": done - before.position - read})
    assert mirror.state.position == done
    return 1


def test_interleaved_sessions_are_never_crossed(server: Any, text_run: Path) -> None:
    async def everyone() -> int:
        async with server.async_client() as client:
            return sum(await asyncio.gather(*(live(client, text_run, n) for n in range(16))))

    assert asyncio.run(everyone()) > 40
    assert server.service.engine.active == 0
    assert not server.service.sessions._locks and not server.service.sessions._held


def test_a_long_prompt_does_not_starve_others(server: Any) -> None:
    async def both() -> bool:
        async with server.async_client() as client:
            long = asyncio.create_task(
                client.post("/v1/completions", json={"model": "text", "prompt": "ein " * 8_000, "max_tokens": 1})
            )
            end = asyncio.get_running_loop().time() + 10
            while not server.service.engine.active:
                assert asyncio.get_running_loop().time() < end
                await asyncio.sleep(0.001)
            await client.post("/v1/completions", json={"model": "text", "prompt": "ein", "max_tokens": 5})
            waits = not long.done()
            assert (await long).status_code == 200
            return waits

    assert asyncio.run(both())


def test_two_requests_of_one_session_take_turns(server: Any) -> None:
    async def both() -> list[int]:
        async with server.async_client() as client:
            session = (await client.post("/v1/sessions", json={"model": "text"})).json()["id"]
            feeds = (client.post(f"/v1/sessions/{session}/feed", json={"text": "ein"}) for _ in range(20))
            return sorted(answer.json()["position"] for answer in await asyncio.gather(*feeds))

    assert asyncio.run(both()) == list(range(3, 63, 3))


@pytest.mark.parametrize("session", ["nope", "x" * 200, "..%2f..%2fetc", "%00"])
def test_unknown_sessions_are_not_found(client: httpx.Client, session: str) -> None:
    assert client.get(f"/v1/sessions/{session}").status_code in (404, 422)
    assert client.post(f"/v1/sessions/{session}/feed", json={"text": "a"}).status_code in (404, 422)
