"""What the kernel refuses, with which words; how it is chosen, explained and asked for by `strict`."""

from __future__ import annotations

import pytest
import torch

import elman
from elman.kernels import cpu, triton
from elman.kernels.dispatch import SlowPathError, choose
from elman.layers.lstm import LSTMEquations
from elman.testing import Case, make_arguments


class Mine(LSTMEquations):
    """A user's own cell: a step of its own takes the kernel's name away."""

    def step(self, gx_BGH, gh_BGH, state):  # type: ignore[no-untyped-def]
        return super().step(gx_BGH, gh_BGH, state)


def test_reasons(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, state, weights, *_ = make_arguments(LSTMEquations(), Case(dtype=torch.float32))
    x, state = x.to(here), tuple(s.to(here) for s in state)
    weights = type(weights)(*(None if t is None else t.to(here) for t in weights[:4]))

    def why(cell=None, x=x, state=state, weights=weights) -> str:  # type: ignore[no-untyped-def]
        return triton.refusal(cell or LSTMEquations(), x, state, weights) or ""

    assert why() == ""
    assert "Mine" in why(Mine())
    assert "projection" in why(weights=weights._replace(hr=torch.zeros(1, 3, device=here)))
    assert "the input is torch.int64" in why(x=x.long())
    assert "weight or state torch.float64" in why(state=tuple(s.double() for s in state))
    assert "weight or state on meta" in why(state=tuple(s.to("meta") for s in state))
    assert why(x=x.to("meta")) == "the input is not on a GPU"
    monkeypatch.setattr(triton, "missing", "triton is not installed: pip install 'elman[gpu]'")
    assert "pip install 'elman[gpu]'" in why()


def test_a_layer_runs_on_it_and_explain_says_so(here: str) -> None:
    layer, x = elman.LSTM(3, 4, bidirectional=True, device=here), torch.zeros(2, 2, 3, device=here)
    explained = str(elman.explain(layer, x))
    assert "l0_reverse: runs on the kernel 'triton', alone: all of W in each of 1 programs" in explained
    for tier, words in ((2, "'triton', resident: W spread over 1 programs, times 1 of rows"), (3, "'triton', steps: ")):
        with triton.use(tier=tier):
            assert words in str(elman.explain(layer, x))
    wide = elman.LSTM(3, 100, device=here)
    assert "resident" in str(elman.explain(wide, x))
    with torch.autocast(here, torch.bfloat16):
        assert "alone" in str(elman.explain(wide, x))
    with elman.strict():
        layer(x)[0].sum().backward()


def test_for_a_cpu_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "device", "cuda")
    layer, x = elman.LSTM(3, 4), torch.zeros(2, 2, 3)
    explained = elman.explain(layer, x).choices["l0"]
    assert explained.name == ("cpu" if cpu.passes.missing is None else "eager")
    assert explained.refusals["triton"] == "the input is not on a GPU"
    if cpu.passes.missing is None:
        with elman.strict():
            layer(x)


def test_strict_names_the_reasons_of_the_device_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "device", "cuda")
    layer, x = elman.LSTM(3, 4, proj_size=2), torch.zeros(2, 2, 3)
    with elman.strict(), pytest.raises(SlowPathError) as raised:
        layer(x)
    assert "the kernel 'cpu'" in str(raised.value) and "triton" not in str(raised.value)
    meta = elman.LSTM(3, 4, device="meta")
    with elman.strict(), pytest.raises(SlowPathError, match="the input is not on a GPU"):
        meta(x.to("meta"))


def test_settings_are_for_a_block_or_the_process() -> None:
    with triton.use(recompute=True):
        assert triton.options() == triton.EngineOptions(recompute=True)
    assert triton.options() == triton.EngineOptions()
    with pytest.raises(elman.ElmanError, match="did you mean 'recompute'"):
        triton.use(recompte=True)


@pytest.mark.gpu
def test_the_gpu_engine_is_chosen_on_a_gpu() -> None:
    arguments = make_arguments(LSTMEquations(), Case(dtype=torch.bfloat16))
    x, state, weights, *_ = arguments
    weights = type(weights)(*(None if t is None else t.cuda() for t in weights[:4]))
    assert choose(LSTMEquations(), x.cuda(), tuple(s.cuda() for s in state), weights).name == "triton"
