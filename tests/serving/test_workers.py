"""Several workers on one socket: all may be killed, and the sessions go on."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest


def workers_of(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if not children.exists():
        pytest.skip("this system does not list the children of a process in /proc")
    return [int(text) for text in children.read_text().split()]


def test_sessions_survive_the_death_of_all_workers(
    serve_process: Callable[..., Any], text_run: Path, tmp_path: Path
) -> None:
    words = (f"text={text_run}", "--workers", 2, "--store", f"sqlite:{tmp_path / 'sessions.db'}")
    server = serve_process(*words).wait()
    with server.client() as client:
        session = client.post("/v1/sessions", json={"model": "text"}).json()
        fed = client.post(f"/v1/sessions/{session['id']}/feed", json={"text": "the cat"}).json()
    before = workers_of(server.process.pid)
    assert len(before) == 2
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 60
    while set(workers_of(server.process.pid)) & set(before) or len(workers_of(server.process.pid)) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    server.wait()
    with server.client() as client:
        assert client.get(f"/v1/sessions/{session['id']}").json()["position"] == fed["position"]
    code, text = server.stop()
    assert code == 0
    assert "ended with -9" in text
    with pytest.raises(httpx.TransportError), server.client() as client:
        client.get("/readyz")
