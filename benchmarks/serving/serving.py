"""The service under load: symbols a second, latencies, idle sessions and live streams of sound.

    python benchmarks/serving/serving.py [--folder build/serving] [--symbols 100] [--json FILE]

The clients run in a second process on the same host. First a completion is compared with the text of the run, bit for
bit. Beside the wall clock stands the processor time of the server, which other work on the host hardly changes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import torch
from runs import language_model, sound, transcriber

import elman
from elman.predictors.online.kinds import online_predictor
from elman.predictors.online.text import GenerationBatch, OnlineText, TextSettings

CLIENTS = Path(__file__).with_name("clients.py")
TICK = os.sysconf("SC_CLK_TCK")


class Server:
    """A server in a process of its own."""

    def __init__(self, run: str, *words: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "elman", "serve", run, "--port", str(self.port), *words]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                self.get("/readyz")
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit("the server does not become ready")

    def get(self, path: str) -> bytes:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return bytes(answer.read())

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def resident(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()

    def load(self, task: str, **arguments: Any) -> dict[str, Any]:
        before = self.cpu()
        words = [sys.executable, str(CLIENTS), task, json.dumps({"port": self.port, **arguments})]
        done = subprocess.run(words, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        return {**json.loads(done.stdout), "cpu": self.cpu() - before}

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)


def check(server: Server, run: Path) -> None:
    """Compare a completion with the text of the run."""
    body = json.dumps({"model": "lm", "prompt": "a", "max_tokens": 50, "seed": 3}).encode()
    address = f"http://127.0.0.1:{server.port}/v1/completions"
    request = urllib.request.Request(address, body, {"content-type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        text = json.loads(answer.read())["choices"][0]["text"]
    if text != "".join(elman.load(run).generate("a", length=50, seed=3)):
        raise SystemExit("the server writes another text than the run")


def engine_rate(run: Path, rows: int, seconds: float = 3.0) -> tuple[float, float]:
    """Return the symbols a second of the batch without a server, by wall clock and by processor time."""
    model = online_predictor(elman.load(run))
    assert isinstance(model, OnlineText)
    batch = GenerationBatch(model)
    for n in range(rows):
        batch.add(model.row(model.begin({}), model.encode("a"), TextSettings(10**6, seed=n)))
    for _ in range(3):
        batch.run()
    begun, processor, steps = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - begun < seconds:
        batch.run()
        steps += 1
    return rows * steps / (time.perf_counter() - begun), rows * steps / (time.process_time() - processor)


def texts(run: Path, symbols: int) -> dict[str, Any]:
    """Measure a language model."""
    rows: dict[str, Any] = {"engine": engine_rate(run, 256), "engine_single": engine_rate(run, 1)}
    for name, words in (("batched", ()), ("one_at_a_time", ("--set", "one_at_a_time=true"))):
        server = Server(f"lm={run}", "--store", "memory", *words)
        try:
            check(server, run)
            server.load("texts", sessions=8, symbols=20, durable=False)
            rows[name] = server.load("texts", sessions=256, symbols=symbols, durable=False)
            if name == "batched":
                for sessions in (1, 16, 1000):
                    rows[f"sessions_{sessions}"] = server.load(
                        "texts",
                        sessions=sessions,
                        symbols=min(symbols, 100) if sessions > 500 else symbols,
                        durable=False,
                    )
        finally:
            server.stop()
    folder = run.parent / "store"
    for path in folder.glob("*") if folder.exists() else ():
        path.unlink()
    folder.mkdir(exist_ok=True)
    server = Server(f"lm={run}", "--store", f"sqlite:{folder}/s.db")
    try:
        rows["durable"] = server.load("texts", sessions=256, symbols=symbols, durable=True)
    finally:
        server.stop()
    return rows


def idle(run: Path, sessions: int) -> dict[str, Any]:
    """Measure the memory of idle sessions."""
    model = online_predictor(elman.load(run))
    assert isinstance(model, OnlineText)
    state = sum(part.numel() * part.element_size() for part in model.initial())
    rows: dict[str, Any] = {"state_bytes": state}
    for store in ("memory", f"sqlite:{run.parent}/store/idle-{run.name}.db"):
        server = Server(f"lm={run}", "--store", store)
        try:
            server.load("idle", sessions=500)
            before = server.resident()
            row = server.load("idle", sessions=sessions)
            row["bytes_per_session"] = (server.resident() - before) / sessions
            rows[store.partition(":")[0]] = row
        finally:
            server.stop()
    return rows


def live(run: Path, folder: Path, counts: tuple[int, ...]) -> dict[str, Any]:
    """Measure live streams of sound."""
    path = folder / "speech.raw"
    samples = sound("ab ba cd dac bd ab cd ba ")
    (samples.clip(-1, 1) * 32767).astype("<i2")[: len(samples) // 1600 * 1600].tofile(path)
    parameters = sum(p.numel() for p in elman.load(run).model.parameters())
    rows: dict[str, Any] = {"parameters": parameters}
    server = Server(f"tr={run}", "--store", "memory")
    try:
        for count in counts:
            rows[f"streams_{count}"] = server.load("sounds", streams=count, path=str(path), repeats=3)
    finally:
        server.stop()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("build/serving"))
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--only", nargs="*", default=["512", "128", "idle", "sound"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"threads": torch.get_num_threads(), "load": os.getloadavg()}
    for hidden in (512, 128):
        if str(hidden) in arguments.only:
            results[f"lstm{hidden}"] = texts(language_model(arguments.folder, hidden), arguments.symbols)
            print(json.dumps(results[f"lstm{hidden}"], indent=1), flush=True)
    if "idle" in arguments.only:
        (arguments.folder / "store").mkdir(exist_ok=True)
        results["idle"] = {
            hidden: idle(language_model(arguments.folder, hidden), arguments.sessions) for hidden in (512, 128)
        }
        print(json.dumps(results["idle"], indent=1), flush=True)
    if "sound" in arguments.only:
        results["sound"] = live(transcriber(arguments.folder), arguments.folder, (50, 100, 200))
        print(json.dumps(results["sound"], indent=1), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
