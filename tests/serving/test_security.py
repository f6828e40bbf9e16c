"""Who may ask: tokens, Host, Origin, rates, sizes; operations; settings that are refused."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from elman.errors import SettingError
from elman.serving.errors import TooBusy
from elman.serving.security import Guard, read_tokens
from elman.serving.server import ServerSettings, check_settings
from elman.serving.settings import Limits
from elman.serving.stores.choice import store_opener

ANN, BOB = "a-secret-token-of-ann", "a-secret-token-of-bob"


@pytest.fixture(scope="module")
def guarded(start_server: Any, text_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path = tmp_path_factory.mktemp("tokens") / "tokens"
    path.write_text(f"# comment\nann {ANN}\nbob {BOB}\n")
    limits = Limits(requests_per_second=40, sessions=5)
    settings = ServerSettings([f"text={text_run}"], store="memory", limits=limits)
    with start_server(settings, read_tokens(path)) as server:
        yield server


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_requests_need_a_token(guarded: Any) -> None:
    with guarded.client() as client:
        for headers in ({}, bearer("x"), bearer(ANN[:-1]), {"authorization": f"Basic {ANN}"}, bearer(f"{ANN}x")):
            answer = client.get("/v1/models", headers=headers)
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error"]["type"] == "Unauthorized"
        assert client.get("/v1/models", headers=bearer(ANN)).status_code == 200
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
        assert client.get("/metrics").status_code == 401
        assert client.get("/page/../v1/models").status_code == 401


def test_sessions_belong_to_their_token(guarded: Any) -> None:
    with guarded.client(headers=bearer(ANN)) as ann, guarded.client(headers=bearer(BOB)) as bob:
        name = ann.post("/v1/sessions", json={"model": "text"}).json()["id"]
        path = f"/v1/sessions/{name}"
        assert ann.get(path).status_code == 200
        for answer in (bob.get(path), bob.delete(path), bob.get(f"{path}/snapshot"), bob.post(f"{path}/fork")):
            assert answer.status_code == 404
        assert bob.post(f"{path}/feed", json={"text": "a"}).status_code == 404
        assert bob.get("/v1/sessions").json()["sessions"] == []
        assert ann.delete(path).status_code == 204


def test_the_number_of_sessions_is_limited(guarded: Any) -> None:
    with guarded.client(headers=bearer(ANN)) as client:
        answers = [client.post("/v1/sessions", json={"model": "text"}) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [201] * 5 + [429]
        assert answers[-1].headers["retry-after"] == "1"
        for answer in answers[:5]:
            client.delete(f"/v1/sessions/{answer.json()['id']}")
        name = client.post("/v1/sessions", json={"model": "text"}).json()["id"]
        client.delete(f"/v1/sessions/{name}")


def test_rates_are_limited_by_token(guarded: Any) -> None:
    guard = Guard(None, tokens={}, hosts=(), limits=guarded.service.limits, metrics=guarded.service.metrics)
    with pytest.raises(TooBusy) as caught:
        for _ in range(10_000):
            guard._check_rate("bob")
    assert 0 < caught.value.retry_after <= 1 / 40
    guard._check_rate("ann")
    time.sleep(0.05)
    guard._check_rate("bob")


def test_a_browser_sends_its_token_as_a_protocol(guarded: Any) -> None:
    address = f"{guarded.url.replace('http:', 'ws:')}/v1/audio/stream?model=text"

    async def protocols(*names: Any) -> Any:
        async with websockets.connect(address, subprotocols=names, proxy=None) as socket:
            return socket.subprotocol, json.loads(await socket.recv())

    subprotocol, answer = asyncio.run(protocols("elman", f"bearer.{ANN}"))
    assert subprotocol == "elman" and answer["error"]["type"] == "WrongKind"
    with pytest.raises(websockets.InvalidStatus) as caught:
        asyncio.run(protocols("elman", "bearer.wrong"))
    assert caught.value.response.status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"host": "evil.example:80"}, 403),
        ({"host": ""}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "localhost:1"}, 200),
        ({"host": "127.0.0.1"}, 200),
    ],
)
def test_other_hosts_and_origins_are_refused(client: httpx.Client, headers: dict[str, str], status: int) -> None:
    answer = client.get("/v1/models", headers=headers)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers


def test_the_origin_of_the_server_itself_is_welcome(server: Any) -> None:
    with server.client() as client:
        assert client.get("/v1/models", headers={"origin": server.url}).status_code == 200
    address = f"{server.url.replace('http:', 'ws:')}/v1/audio/stream?model=whistles"

    async def first(origin: Any) -> str:
        async with websockets.connect(address, origin=origin, proxy=None) as socket:
            return str(await socket.recv())

    assert "rate" in asyncio.run(first(server.url))
    with pytest.raises(websockets.InvalidStatus) as caught:
        asyncio.run(first("http://evil.example"))
    assert caught.value.response.status_code == 403


def test_bodies_are_limited(client: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        yield from (bytes(1 << 16) for _ in range(40))

    for path, content in (
        ("/v1/sessions/restore", bytes(2 << 20)),
        ("/v1/sessions/restore", pieces()),
        ("/v1/completions", pieces()),
    ):
        answer = client.post(path, content=content)
        assert answer.status_code == 413 and answer.json()["error"]["type"] == "TooLarge"


def test_unknown_paths_have_the_one_form_of_errors(client: httpx.Client) -> None:
    for answer, status in ((client.get("/nope"), 404), (client.put("/v1/models"), 405)):
        assert answer.status_code == status and answer.json()["error"]["should"]


def test_metrics_have_our_names(client: httpx.Client) -> None:
    client.post("/v1/completions", json={"model": "text", "max_tokens": 3})
    lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    assert all(line.startswith("elman_") for line in lines)
    values = {line.split(" ")[0]: float(line.split(" ")[1]) for line in lines}
    assert values["elman_symbols_total"] >= 3 and values["elman_batch_size_count"] >= 1
    assert any(re.match(r'elman_requests_total{.*path="/v1/completions",status="200"', name) for name in values)


def test_the_document_describes_every_path(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert {"/v1/completions", "/v1/sessions/{session}/feed", "/v1/predict/{model}"} <= document["paths"].keys()
    post = document["paths"]["/v1/completions"]["post"]
    assert post["responses"]["429"]["content"]["application/json"]["schema"]["$ref"].endswith("ErrorAnswer")


def test_settings_that_are_unsafe_or_unknown_are_refused(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org"):
        with pytest.raises(SettingError, match="--token FILE"):
            check_settings(ServerSettings(["run"], host=host))
    assert check_settings(ServerSettings(["run"], host="127.0.0.2")) == {}
    for content in ("", "short", f"a b {ANN}", f"{ANN}\n{ANN}"):
        (tmp_path / "tokens").write_text(content)
        with pytest.raises(SettingError):
            read_tokens(tmp_path / "tokens")
    for store in ("", "sqlite:", "postgres://x", "file"):
        with pytest.raises(SettingError, match="--store names no store"):
            store_opener(store, "process")


def test_the_command_refuses_mistakes(elman: Any, text_run: Path, tmp_path: Path) -> None:
    run = [text_run, "--store", f"sqlite:{tmp_path}/x.db", "--port", 0]
    for words, found in (
        ([tmp_path / "nothing"], "is not a run directory"),
        ([*run, "--set", "bodybytes=3"], "did you mean 'body_bytes'"),
        ([*run, "--durability", "ful"], "did you mean 'full'"),
        ([*run, "--reload", "never"], "one of"),
        ([text_run, *run], "two runs are called"),
        ([*run, "--host", "203.0.113.1", "--token", tmp_path / "nothing"], "cannot be read"),
        ([text_run, "--store", f"sqlite:{tmp_path}/no/x.db"], "cannot be opened"),
    ):
        answer = elman("serve", *words)
        assert answer.code == 2 and found in answer.err, answer.err


def test_the_name_of_a_token_does_not_depend_on_other_lines(tmp_path: Path) -> None:
    path, names = tmp_path / "tokens", []
    for content in (f"{ANN}\n{BOB}\n", f"{BOB}\n{ANN}\n", f"# comment\n\n{BOB}\n{ANN}\n{ANN}x\n"):
        path.write_text(content)
        tokens = read_tokens(path)
        names.append([tokens[hashlib.sha256(token.encode()).hexdigest()] for token in (ANN, BOB)])
    assert names[0] == names[1] == names[2] and names[0][0] != names[0][1]
    path.write_text(f"{names[0][0]} {BOB}\n")
    with pytest.raises(SettingError, match="the name of a token without one"):
        read_tokens(path)


def test_invented_methods_share_a_label(guarded: Any) -> None:
    with guarded.client() as client:
        for method in ("PURGE", "XYZZY", "get"):
            assert client.request(method, "/v1/models").status_code in (401, 405)
        text = client.get("/metrics", headers=bearer(ANN)).text
    assert 'method="other"' in text and "PURGE" not in text and "XYZZY" not in text and 'method="get"' not in text
