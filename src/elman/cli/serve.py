"""`elman serve`: trained runs as a service."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from elman.cli.options import Pairs, gather
from elman.cli.output import warn
from elman.errors import extra, look_up

RELOADS = {"finish": True, "end": False, "off": False}


def serve(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Run directories, each perhaps as NAME=RUN.")],
    host: Annotated[str, typer.Option(help="The address; others than loopback need --token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0: a free one.", min=0, max=65535)] = 8000,
    store: Annotated[
        str, typer.Option(help="Where sessions are: sqlite:PATH, memory, or redis://HOST:PORT/NUMBER.")
    ] = "sqlite:elman-sessions.db",
    token: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Bearer tokens, one a line: NAME TOKEN.", show_default=False)
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that serve.", min=1, max=256)] = 1,
    durability: Annotated[
        str,
        typer.Option(help="What an answer survives. full: a loss of power; process: kill -9; none: as process, but a "
                     "loss of power may damage the store."),
    ] = "process",
    reload: Annotated[
        str,
        typer.Option(help="When a run is trained further, its old sessions finish (on the weights of before) or end; "
                     "off: nothing is loaded again."),
    ] = "finish",
    host_name: Annotated[
        list[str] | None, typer.Option(help="A further name that the Host header may have.", show_default=False)
    ] = None,
    set_: Pairs = None,
    descriptor: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:  # fmt: skip
    """Serve trained runs over HTTP and WebSocket: sessions, completions, transcriptions, predictions.

    --set changes a limit, such as body_bytes, sessions or requests_per_second. SIGTERM ends requests, saves, and stops.
    """
    with extra("serve", "elman serve"):
        from elman.serving.server import ServerSettings, run
        from elman.serving.settings import Limits
        from elman.serving.workers import run_workers

    look_up("value of --reload:", reload, RELOADS)
    settings = ServerSettings(
        runs, host, port, store, durability, token, tuple(host_name or ()), reload, Limits.parse(gather({}, set_)),
        descriptor,
    )  # fmt: skip
    if workers > 1 and descriptor is None:
        run_workers(workers, settings, sys.argv[1:], warn)
    else:
        run(settings, warn)
