"""Several workers on one socket: processes that are started again when they die."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from elman.errors import RunError
from elman.serving.server import ServerSettings, check_settings, listening_socket

PAUSE = 1.0  # seconds before a worker that died is started again


def run_workers(count: int, settings: ServerSettings, arguments: Sequence[str], say: Callable[[str], None]) -> None:
    """Serve by several processes until SIGTERM or Ctrl-C.

    Args:
        count: of the processes.
        settings: of the server.
        arguments: of `elman`, with which each begins; the descriptor of the socket is added.
        say: is called with lines for the person who started it.

    Raises:
        ElmanError: the settings do not fit together, the address cannot be opened, or the workers do not begin.
    """
    check_settings(settings)
    listener = listening_socket(settings.host, settings.port)
    descriptor = listener.fileno()
    command = [sys.executable, "-m", "elman", *arguments, "--descriptor", str(descriptor)]
    stopping = False

    def stop(*_: Any) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)

    def started() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, pass_fds=[descriptor])

    workers = [started() for _ in range(count)]
    say(f"{count} workers, listening at http://{settings.host}:{listener.getsockname()[1]}")
    failures = 0
    while not stopping and failures < 5 * count:
        time.sleep(0.2)
        for n, worker in enumerate(workers):
            if worker.poll() is not None and not stopping:
                failures += worker.returncode == 2
                say(f"worker {worker.pid} ended with {worker.returncode}; another one begins")
                time.sleep(PAUSE)
                workers[n] = started()
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.wait()
    listener.close()
    if not stopping:
        raise RunError(
            "the workers cannot begin", should="workers that run", found=f"{failures} that ended with an error",
            hint="the messages above say why; without --workers there is one alone",
        )  # fmt: skip
