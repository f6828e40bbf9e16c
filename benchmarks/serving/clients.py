"""Clients that load a server: they run in a process of their own, and parse as little as they can."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import pairwise
from typing import Any

import numpy as np
import websockets


async def request(port: int, path: str, body: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request, and return the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(content)}\r\n"
    writer.write(head.encode() + b"content-type: application/json\r\nconnection: close\r\n\r\n" + content)
    await writer.drain()
    return reader, writer


async def posted(port: int, path: str, body: Any) -> Any:
    """Return the JSON answer of a request."""
    reader, writer = await request(port, path, body)
    content = await reader.read()
    writer.close()
    return json.loads(content[content.index(b"{") : content.rindex(b"}") + 1])


async def streamed(port: int, path: str, body: Any, rows: list[tuple[float, int]]) -> None:
    """Read a stream; rows get the time and the number of symbols of each delivery."""
    reader, writer = await request(port, path, body)
    while content := await reader.read(1 << 20):
        if count := content.count(b'"text"'):
            rows.append((time.perf_counter(), count))
    writer.close()


async def texts(port: int, sessions: int, symbols: int, durable: bool) -> dict[str, Any]:
    """Let sessions generate at the same time."""
    body = {"max_tokens": symbols, "stream": True, "seed": 1}
    paths = ["/v1/completions"] * sessions
    if durable:
        made = [await posted(port, "/v1/sessions", {"model": "lm"}) for _ in range(sessions)]
        paths = [f"/v1/sessions/{session['id']}/generate" for session in made]
    else:
        body |= {"model": "lm", "prompt": "a"}
    rows: list[list[tuple[float, int]]] = [[] for _ in range(sessions)]
    begun = time.perf_counter()
    await asyncio.gather(*(streamed(port, path, body, each) for path, each in zip(paths, rows, strict=True)))
    seconds = time.perf_counter() - begun
    gaps, per_symbol = [], []
    for each in rows:
        for (before, _), (after, count) in pairwise(each):
            gaps.append(after - before)
            per_symbol += [(after - before) / count] * count
    got = sum(count for each in rows for _, count in each)
    assert got == sessions * (symbols + 1), (got, sessions, symbols)  # the last event has no symbol
    if not gaps:
        raise SystemExit("every session got its symbols at once: ask for more")
    quantiles = {f"p{q}": float(np.percentile(per_symbol, q)) for q in (50, 99)}
    return {
        "symbols": sessions * symbols,
        "seconds": seconds,
        **quantiles,
        "delivery_p99": float(np.percentile(gaps, 99)),
    }


async def idle(port: int, sessions: int) -> dict[str, Any]:
    """Begin sessions, let each read, and leave them."""
    gate = asyncio.Semaphore(32)

    async def one() -> None:
        async with gate:
            session = await posted(port, "/v1/sessions", {"model": "lm"})
            await posted(port, f"/v1/sessions/{session['id']}/feed", {"text": "hello"})

    begun = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(sessions)))
    return {"sessions": sessions, "seconds": time.perf_counter() - begun}


async def sounds(port: int, streams: int, path: str, repeats: int) -> dict[str, Any]:
    """Send sound at the speed of speech in blocks of 0.1 s; the lag of a word is from its last block on."""
    sound = np.fromfile(path, "<i2")
    block = 1600
    lags: list[float] = []
    lateness: list[float] = []

    async def one(number: int) -> int:
        words = 0
        async with websockets.connect(
            f"ws://127.0.0.1:{port}/v1/audio/stream?model=tr", proxy=None, max_queue=None, compression=None
        ) as socket:
            await socket.recv()
            sent: list[float] = []
            blocks = [sound[n : n + block].tobytes() for n in range(0, len(sound), block)] * repeats
            start = time.perf_counter() + 2 + 0.1 * number / streams

            async def send() -> None:
                for n, content in enumerate(blocks):
                    pause = start + 0.1 * n - time.perf_counter()
                    if pause > 0:
                        await asyncio.sleep(pause)
                    lateness.append(-min(0.0, pause))
                    sent.append(time.perf_counter())
                    await socket.send(content)
                await socket.send('{"end": true}')

            task = asyncio.create_task(send())
            async for message in socket:
                now, fields = time.perf_counter(), json.loads(message)
                if fields.get("end"):
                    break
                if fields["words"]:
                    place = round(fields["seconds"] / 0.1) - 1
                    lags.append(now - sent[place])
                    words += len(fields["words"])
            await task
        return words

    words = sum(await asyncio.gather(*(one(n) for n in range(streams))))
    seconds = 0.1 * repeats * -(-len(sound) // block)
    late = float(np.percentile(lateness, 99))
    return {"streams": streams, "words": words, "seconds": seconds, "sender_late_p99": late,
            **{f"lag_p{q}": float(np.percentile(lags, q)) for q in (50, 95, 99)}}  # fmt: skip


TASKS = {"texts": texts, "idle": idle, "sounds": sounds}

if __name__ == "__main__":
    print(json.dumps(asyncio.run(TASKS[sys.argv[1]](**json.loads(sys.argv[2])))))
