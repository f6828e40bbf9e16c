"""Workers that cannot begin are an error."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from elman.errors import RunError
from elman.serving import workers
from elman.serving.server import ServerSettings


def test_workers_that_cannot_begin_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = SimpleNamespace(
        pid=1, returncode=2, poll=lambda: 2, terminate=lambda: None, wait=lambda *_: 2, kill=lambda: None
    )
    monkeypatch.setattr(workers.subprocess, "Popen", lambda *_, **__: ended)
    monkeypatch.setattr(workers.signal, "signal", lambda *_: None)
    monkeypatch.setattr(workers.time, "sleep", lambda _: None)
    lines: list[Any] = []
    settings = ServerSettings([str(tmp_path)], port=0, store=f"sqlite:{tmp_path}/s.db")
    with pytest.raises(RunError, match="the workers cannot begin"):
        workers.run_workers(2, settings, [], lines.append)
    assert len(lines) >= 11
