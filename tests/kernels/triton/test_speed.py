"""The benchmark of the GPU engine: it says where it cannot run, and its parts run here on tiny sizes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

BENCHMARKS = Path(__file__).parents[3] / "benchmarks" / "speed"


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import speed_cuda

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield speed_cuda
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_message() -> None:
    command = [sys.executable, str(BENCHMARKS / "speed.py"), "--device", "cuda"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "--device cuda needs a GPU and a torch that is built for it; none is here\n"


def test_it_checks_then_times_then_says_how_far_the_limit_is(speed: ModuleType, here: str, tmp_path: Path) -> None:
    case = speed.Case(2, 2, 3, 3)
    lines, left_out, _ = speed.measure_all(["GRU"], ["fp32"], [case], here, 0.01)
    assert not left_out
    assert [line["what"] for line in lines] == ["train", "infer"]
    for line in lines:
        assert (line["kernel"], line["tier"]) == ("triton", 1)
        assert line["error"] < 1e-4 and line["microseconds_a_step"] > 0 and line["share_of_limit"] < 1
    text = speed.table(lines, [{"cell": "LSTM", "case": [1, 2, 3, 4], "type": "bf16", "why": "no time left"}])
    assert "| GRU | 2, 2, 3, 3 | fp32 | train | triton 1 |" in text
    assert "Left out, 1: LSTM (1, 2, 3, 4) bf16: no time left" in text
    assert speed.plot(lines, tmp_path / "speed.png")


def test_what_is_wrong_is_not_timed(speed: ModuleType, here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "errors", lambda *arguments: (float("nan"), 0.0))
    lines, _, _ = speed.measure_all(["LSTM"], ["fp32"], [speed.Case(2, 2, 3, 3)], here, 0.01)
    assert [line["what"] for line in lines] == ["wrong"]
    assert "error nan" in speed.table(lines, [])


def test_out_of_time_is_told(speed: ModuleType, here: str) -> None:
    lines, left_out, _ = speed.measure_all(["RNN", "GRU"], ["fp32"], [speed.Case(2, 2, 3, 3)], here, 0.0)
    assert not lines and [m["why"] for m in left_out] == ["no time left"] * 2


def test_the_limit_is_the_larger_of_two(speed: ModuleType) -> None:
    case = speed.Case(100, 16, 256, 256)
    operations = case.flops(4, False)
    assert speed.Limits(1e12, 1e30).seconds("LSTM", case, 2, False) == pytest.approx(operations / 1e12)
    # input and output, U, W and two biases
    moved = 2 * (100 * 16 * 512 + 4 * 256 * (256 + 256 + 2))
    assert speed.Limits(1e30, 1e12).seconds("LSTM", case, 2, False) == pytest.approx(moved / 1e12)
    assert len(speed.cases()) == 2 * 6 * 4
