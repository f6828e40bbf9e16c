"""Ctrl-C in the middle of a call: it ends soon, as a KeyboardInterrupt, and the next call is right."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, signal, threading, time, traceback
import torch, elman

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore

def interrupted(call):
    sent = []
    def send():
        time.sleep(0.1)
        sent.append(time.process_time())
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=send).start()
    try:
        while True:
            call()
    except KeyboardInterrupt as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        print(os.path.basename(frame.filename), frame.name, time.process_time() - sent[0], torch.get_num_threads())

for layer, threads in ((elman.LSTM(4, 256), 1), (elman.GRU(4, 256), 2)):
    torch.set_num_threads(threads)
    x, long = torch.randn(8, 1, 4), torch.zeros(1, 1, 4).expand(20_000, 1, 4)
    wanted = layer(x)[0].detach()
    with torch.no_grad():
        interrupted(lambda: layer(long))
    interrupted(lambda: layer(long))
    total = layer(long)[0].sum()
    interrupted(lambda: total.backward(retain_graph=True))
    assert torch.equal(layer(x)[0], wanted)
    layer(x)[0].sum().backward()

torch.set_num_threads(2)
s, V, target = torch.randn(3000, 64), torch.randn(20_000, 64, requires_grad=True), torch.arange(3000)
interrupted(lambda: elman.linear_cross_entropy(s, V, None, target))
assert elman.linear_cross_entropy(s[:5], V, None, target[:5]).isfinite()
"""


def test_an_interrupt_ends_a_call() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    # Inside of the engine's call, not between two; in seconds of each thread, which do not depend on what else runs.
    assert [row[1] for row in rows] == ["forward", "forward", "backward"] * 2 + ["run"]
    assert [row[0] for row in rows] == ["passes.py"] * 6 + ["output_layer.py"]
    assert all(float(late) / int(threads) < 0.5 for *_, late, threads in rows), rows
