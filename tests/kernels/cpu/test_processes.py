"""Instruction sets, forks, Python threads and OpenMP's pool: what needs a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from elman.kernels import cpu
from elman.kernels.cpu import _engine
from elman.layers.cell import Cell

HERE = Path(__file__).parent
Draw = Callable[..., Any]


def python(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("isa", _engine.isas())
def test_every_instruction_set_of_this_machine(isa: str) -> None:
    """The other tests, under each instruction set but the one that they run under anyway."""
    if isa == _engine.isa():
        return
    files = [str(HERE / name) for name in ("test_against_eager.py", "test_same_bits.py")]
    chosen = "test_options and (rnn_tanh or gru or lstm) or test_threads or test_layouts"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, *files],
        env=os.environ | {"ELMAN_CPU_ISA": isa},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "100%" in done.stdout


SPECIAL = """
import torch
from elman.kernels.cpu import _engine
x = torch.cat([torch.linspace(-100, 100, 200_001), torch.logspace(-30, 3, 9999)])
y = torch.empty_like(x)
for f, wanted in ((0, torch.tanh), (2, torch.sigmoid)):
    _engine.activation(f, x, y)
    error = ((y.double() - wanted(x.double())) / wanted(x.double())).abs()[x >= -87].max().item()
    assert error <= 2.0 ** -22, error
print(_engine.isa())
"""


@pytest.mark.parametrize("isa", _engine.isas())
def test_the_environment_forces_an_instruction_set(isa: str) -> None:
    done = python(SPECIAL, ELMAN_CPU_ISA=isa)
    assert done.stdout.strip() == isa, done.stderr


def test_an_unknown_instruction_set_is_an_error_that_names_the_known_ones() -> None:
    program = """
import torch, elman
layer = elman.GRU(2, 3)
for call in (layer, layer.step):
    try:
        call(torch.zeros(4, 1, 2)[0] if call != layer else torch.zeros(4, 1, 2))
    except elman.ElmanError as error:
        print(error)
"""
    done = python(program, ELMAN_CPU_ISA="mmx")
    assert done.stdout.count("ELMAN_CPU_ISA names no instruction set of this machine") == 2, done.stderr
    assert f"should be: one of {', '.join(_engine.isas())}, or unset" in done.stdout and "'mmx'" in done.stdout


def test_one_openmp_library() -> None:
    if not Path("/proc/self/maps").exists():
        pytest.skip("no /proc on this system")
    program = (
        "import torch; from elman.kernels import cpu; "
        "print(len({line.split()[-1] for line in open('/proc/self/maps') if 'omp' in line.split()[-1]}))"
    )
    assert python(program).stdout.strip() == "1"


FORK = """
import os, torch
import elman
torch.set_num_threads(2)
layer = elman.GRU(64, 128)
x, ones = torch.randn(40, 32, 64), torch.ones(40, 32, 128)
def run():
    y = layer(x)[0]
    return y, *torch.autograd.grad(y, list(layer.parameters()), ones)
wanted = run()
pid = os.fork()
if pid == 0:
    # No operator of torch's own on many numbers: it would wait for threads that the child has not got.
    found = run()
    same = found[0].detach().numpy().tobytes() == wanted[0].detach().numpy().tobytes()
    os._exit(0 if same and abs(found[1].numpy() - wanted[1].numpy()).max() < 1e-3 else 1)
_, status = os.waitpid(pid, 0)
run()
print(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_child_and_its_parent_both_work() -> None:
    done = python(FORK)
    assert done.stdout.strip() == "0", done.stderr


def test_python_threads_at_the_same_time(main_cell: Cell, draw: Draw) -> None:
    torch.set_num_threads(2)
    drawn = [draw(main_cell, 30, 16, 8, 48, seed=seed, grad=True) for seed in range(4)]

    def work(k: int) -> list[torch.Tensor]:
        y, _ = drawn[k].on(cpu)
        return [y, *torch.autograd.grad(y.square().sum(), drawn[k].leaves()[:3], allow_unused=True)]

    wanted = [work(k) for k in range(4)]
    found: list[list[torch.Tensor]] = [[] for _ in drawn]

    def several(k: int) -> None:
        torch.set_num_threads(2)
        for _ in range(5):
            found[k] = work(k)

    threads = [threading.Thread(target=several, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for got, right in zip(found, wanted, strict=True):
        assert torch.equal(got[0], right[0])
        for g, r in zip(got[1:], right[1:], strict=True):
            assert g is r is None or torch.allclose(g, r, atol=1e-5)


def test_the_gil_is_let_go(draw: Draw) -> None:
    """While the engine runs in one thread, Python runs in another."""
    from elman.layers.lstm import LSTMEquations

    torch.set_num_threads(1)
    drawn = draw(LSTMEquations(), 200, 16, 64, 128)
    counted = [0]
    running = threading.Event()

    def count() -> None:
        running.wait()
        while running.is_set():
            counted[0] += 1
            time.sleep(0)

    other = threading.Thread(target=count)
    other.start()
    switch = sys.getswitchinterval()
    sys.setswitchinterval(60)  # nobody gives the GIL away but of his own will
    try:
        running.set()
        for _ in range(200):  # on a busy machine the other thread may come late, but not never
            drawn.on(cpu)
            if counted[0]:
                break
        running.clear()
    finally:
        sys.setswitchinterval(switch)
    other.join()
    assert counted[0] > 0


def test_a_million_numbers_of_streaming_need_no_memory(draw: Draw) -> None:
    import resource

    from elman.layers.lstm import LSTMEquations

    drawn = draw(LSTMEquations(), 1, 1, 8, 16)
    state, x = tuple(s.clone() for s in drawn.state), drawn.x_TBI[0]
    for k in range(30_000):
        cpu.step(drawn.cell, x, state, drawn.weights, out=state)
        if k == 2_000:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1000  # kilobytes
