"""Ctrl-C in the middle of a call: it ends soon, as a KeyboardInterrupt, and the next call is right."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, threading, time
import torch, elman
mode, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
torch.manual_seed(0)
layer, x = elman.{kind}(4, 256), torch.randn(8, 1, 4)
wanted = layer(x)[0].detach()
long = torch.zeros(1, 1, 4).expand(20_000, 1, 4)
sent = []
def send():
    time.sleep(0.15)
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)
def run():
    if mode == "inference":
        with torch.no_grad():
            while True:
                layer(long)
    if mode == "backward":
        y = layer(long)[0].sum()
        threading.Thread(target=send).start()
        while True:
            y.backward(retain_graph=True)
    while True:
        layer(long)
if mode != "backward":
    threading.Thread(target=send).start()
try:
    run()
except KeyboardInterrupt as error:
    late = time.monotonic() - sent[0]
    import traceback
    frame = traceback.extract_tb(error.__traceback__)[-1]
    print(frame.name, late)
assert torch.equal(layer(x)[0], wanted)
layer(x)[0].sum().backward()
"""


@pytest.mark.parametrize(("kind", "mode", "threads"), [
    ("LSTM", "inference", 1), ("GRU", "training", 2), ("LSTM", "backward", 2),
])  # fmt: skip
def test_an_interrupt_ends_a_call(kind: str, mode: str, threads: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(kind=kind), mode, str(threads)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    frame, late = done.stdout.split()
    assert frame in ("forward", "backward"), done.stdout  # inside of the engine's call, not between two
    assert float(late) < 0.5
