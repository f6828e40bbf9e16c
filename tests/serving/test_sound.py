"""Sound: live streams by the stock WebSocket client, and OpenAI's transcriptions."""

from __future__ import annotations

import asyncio
import io
import json
import random
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import soundfile
import websockets

import elman
from elman.predictors.stream_transcriber import sample_blocks

Whistled = Any


def samples(whistled: Whistled, text: str) -> bytes:
    return (np.clip(whistled(text), -1, 1) * 32767).astype("<i2").tobytes()


def offline(run: Path, sound: bytes) -> list[Any]:
    """Return the words of `elman predict RUN -`."""
    stream = elman.load(run).stream_transcriber()
    answers = stream.transcribe(sample_blocks(io.BytesIO(sound), stream.features.rate))
    return [answer.fields for answer in answers if "word" in answer.fields]


async def streamed(url: str, sound: bytes, number: int, **options: Any) -> list[Any]:
    """Send sound in messages of any sizes, and return the final words."""
    rng, words = random.Random(number), []
    address = url.replace("http:", "ws:")
    async with websockets.connect(f"{address}/v1/audio/stream?model=whistles", proxy=None, **options) as socket:
        assert json.loads(await socket.recv())["rate"] == 4000

        async def send() -> None:
            place = 0
            while place < len(sound):
                step = 2 * rng.randint(1, 2000)
                await socket.send(sound[place : place + step])
                place += step
            await socket.send('{"end": true}')

        task = asyncio.create_task(send())
        async for message in socket:
            fields = json.loads(message)
            words += fields["words"]
            if fields.get("end"):
                break
        await task
    return words


def test_live_streams_have_the_words_of_the_run(server: Any, transcription_run: Path, whistled: Whistled) -> None:
    sounds = [samples(whistled, text) for text in ("ab ba", "cd dac bd", "ab", "dac", "bd bd ba", "cd ab")]

    async def everyone() -> list[list[Any]]:
        return await asyncio.gather(*(streamed(server.url, sound, n) for n, sound in enumerate(sounds)))

    words = asyncio.run(everyone())
    assert words == [offline(transcription_run, sound) for sound in sounds]
    assert [word["word"] for word in words[1]] == ["cd", "dac", "bd"]
    assert all(0 <= word["second"] <= word["end"] for word in words[1])


def test_a_session_of_sound_is_a_value(server: Any, transcription_run: Path, whistled: Whistled) -> None:
    sound = samples(whistled, "cd dac bd")
    half = len(sound) // 4 * 2

    async def halves() -> list[Any]:
        async with server.async_client() as client:
            name = (await client.post("/v1/sessions", json={"model": "whistles"})).json()["id"]
            address = f"{server.url.replace('http:', 'ws:')}/v1/sessions"
            words = await exchanged(f"{address}/{name}/stream", [sound[:half]])
            fork = (await client.post(f"/v1/sessions/{name}/fork")).json()
            assert fork["position"] == half // 2
            await client.delete(f"/v1/sessions/{name}")
            return words + await exchanged(f"{address}/{fork['id']}/stream", [sound[half:], '{"end": true}'])

    assert asyncio.run(halves()) == offline(transcription_run, sound)


async def exchanged(address: str, messages: list[Any]) -> list[Any]:
    words = []
    async with websockets.connect(address, proxy=None) as socket:
        for message in messages:
            await socket.send(message)
            words += json.loads(await socket.recv())["words"]
    return words


def test_steps_of_any_session_stream(server: Any, recommend_run: Path) -> None:
    async def steps() -> Any:
        async with server.async_client() as client:
            names = [(await client.post("/v1/sessions", json={"model": m})).json()["id"] for m in ("shop", "text")]
        address = f"{server.url.replace('http:', 'ws:')}/v1/sessions"
        answers = []
        async with websockets.connect(f"{address}/{names[0]}/stream", proxy=None) as socket:
            for item in ("p1", "p3"):
                await socket.send(json.dumps({"items": [item], "top_k": 2}))
                answers.append(json.loads(await socket.recv()))
        async with websockets.connect(f"{address}/{names[1]}/stream", proxy=None) as socket:
            await socket.send('{"generate": {"text": "ein", "max_tokens": 3, "temperature": 0}}')
            answers += [json.loads(await socket.recv()) for _ in range(4)]
            await socket.send("[1]")
            answers.append(json.loads(await socket.recv()))
        return answers

    *answers, error = asyncio.run(steps())
    (expected,) = elman.load(recommend_run).predict(["p1", "p3"], top_k=2)
    assert answers[1]["items"] == expected.fields["items"]
    assert [answer["position"] for answer in answers[2:]] == [4, 5, 6, 6]
    assert error["error"]["what"] == "a message cannot be read"


@pytest.mark.parametrize("message", [b"123", b"\0" * 90_000, '{"end":', "[" * 50_000])
def test_bad_messages_end_a_stream_with_an_error(server: Any, message: Any) -> None:
    async def send() -> Any:
        address = f"{server.url.replace('http:', 'ws:')}/v1/audio/stream?model=whistles"
        async with websockets.connect(address, proxy=None) as socket:
            await socket.recv()
            await socket.send(message)
            answer = json.loads(await socket.recv())
            await socket.wait_closed()
            return answer, socket.close_code

    answer, code = asyncio.run(send())
    assert answer["error"]["what"] and code == 1008


def test_files_are_transcribed_for_the_stock_client(
    server: Any, transcription_run: Path, whistled: Whistled, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "talk.wav", whistled("cd dac"), 4000)
    (expected,) = elman.load(transcription_run).predict(tmp_path / "talk.wav")
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client,
        (tmp_path / "talk.wav").open("rb") as file,
    ):
        answer = client.audio.transcriptions.create(model="whistles", file=file)
    assert answer.text == expected.fields["text"] == "cd dac"
    with server.client() as client:
        files = {"file": ("talk.wav", (tmp_path / "talk.wav").read_bytes())}
        form = {"model": "whistles", "response_format": "verbose_json"}
        words = client.post("/v1/audio/transcriptions", files=files, data=form).json()["words"]
        assert [word["word"] for word in words] == ["cd", "dac"] and words[0]["start"] <= words[0]["end"]
        for bad in (b"no sound", b"RIFF" + bytes(40)):
            answer = client.post("/v1/audio/transcriptions", files={"file": ("../x.wav", bad)}, data=form)
            assert answer.status_code == 422 and "/tmp" not in answer.text


def test_sound_needs_a_transcriber(client: httpx.Client) -> None:
    answer = client.post("/v1/audio/transcriptions", files={"file": b"x"}, data={"model": "text"})
    assert answer.status_code == 409
    assert client.post("/v1/audio/transcriptions", json={}).status_code == 400
