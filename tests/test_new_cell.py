"""A new cell touches the files that CONTRIBUTING.md names and no other, tried with the minimal gated unit."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

import elman
import elman.layers
import elman.reference
from elman.layers import LAYERS
from elman.layers.accelerate import TWINS, accelerate
from elman.modules.recurrent_stack import build_layers
from elman.testing import CASES, LAWS, LawBroken, check_cell

LAYER = '''
"""The minimal gated unit (Zhou et al., 2016)."""

import torch

from elman.layers.cell import Cell
from elman.layers.recurrent import Recurrent


class MGUCell(Cell):
    """f = sigmoid(U_f x + W_f h), n = tanh(U_n x + f * W_n h), h' = (1 - f) * h + f * n."""

    gates = ("f", "n")
    sigmoid_gates = ("f",)
    candidate = "n"
    candidate_reset = "f"
    kernel = "mgu"

    def step(self, gx_BGH, gh_BGH, state):
        f = torch.sigmoid(gx_BGH[:, 0] + gh_BGH[:, 0])
        n = torch.tanh(gx_BGH[:, 1] + f * gh_BGH[:, 1])
        return ((1 - f) * state[0] + f * n,)


class MGU(Recurrent):
    cells = (MGUCell,)

    def __init__(
        self, input_size, hidden_size, num_layers=1, dropout=0.0, bidirectional=False, *, variational=False,
        init="torch", learn_initial_state=False,
    ):
        super().__init__(
            MGUCell(), input_size, hidden_size, num_layers, dropout=dropout, bidirectional=bidirectional,
            variational=variational, init=init, learn_initial_state=learn_initial_state,
        )
'''

REFERENCE = '''
"""The minimal gated unit in NumPy."""

from elman.reference.activations import sigmoid, sigmoid_slope, tanh, tanh_slope


class MGUStep:
    gates = ("f", "n")
    states = ("h",)

    def step(self, gx, gh, state):
        f = sigmoid(gx[0] + gh[0])
        n = tanh(gx[1] + f * gh[1])
        return ((1.0 - f) * state[0] + f * n,), (state[0], gh[1], f, n)

    def step_backward(self, kept, d_state):
        past, gh_n, f, n = kept
        d_n = d_state[0] * f * tanh_slope(n)
        d_f = (d_state[0] * (n - past) + d_n * gh_n) * sigmoid_slope(f)
        return [d_f, d_n], [d_f, d_n * f], (d_state[0] * (1.0 - f),)


STEPS = {"mgu": MGUStep()}
'''


@pytest.fixture
def mgu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The files of a new cell, as if they lay in `elman/layers` and `elman/reference`, and its line in `LAYERS`."""
    for room, text in ((elman.layers, LAYER), (elman.reference, REFERENCE)):
        folder = tmp_path / room.__name__
        folder.mkdir()
        (folder / "mgu.py").write_text(text)
        monkeypatch.setattr(room, "__path__", [*room.__path__, str(folder)])
    module = importlib.import_module("elman.layers.mgu")
    monkeypatch.setitem(LAYERS, "mgu", "MGU")
    yield module
    for name in ("elman.layers.mgu", "elman.reference.mgu"):
        sys.modules.pop(name, None)


def test_it_obeys_the_laws_and_equals_its_reference(mgu: ModuleType) -> None:
    check_cell(mgu.MGUCell)


def test_a_wrong_reference_is_noticed(mgu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = importlib.import_module("elman.reference.mgu")
    monkeypatch.setattr(reference, "tanh", lambda a: a)
    with pytest.raises(LawBroken):
        LAWS["it equals the reference"](elman.kernels.eager, mgu.MGUCell(), CASES[0])


def test_it_runs_and_is_explained(mgu: ModuleType) -> None:
    layer = build_layers("mgu", 3, 4, layers=2, bidirectional=True)
    assert repr(layer) == "MGU(3, 4, num_layers=2, bidirectional=True)"
    choice = elman.explain(layer, torch.randn(5, 2, 3)).choices["l0"]
    assert choice.name == "eager" and "MGUCell" in choice.refusals["cpu"]


def test_accelerate_leaves_it_alone(mgu: ModuleType) -> None:
    assert set(TWINS) == {nn.RNN, nn.GRU, nn.LSTM}
    model = nn.ModuleDict({"new": mgu.MGU(3, 4), "old": nn.GRU(3, 4)})
    assert list(accelerate(model).swapped) == ["old"]


def test_the_doctor_knows_its_gates(mgu: ModuleType) -> None:
    torch.manual_seed(0)
    layer = mgu.MGU(3, 4)
    report = elman.diagnose(layer, [torch.randn(12, 3, 3)], lambda model, x: model(x)[0].square().mean())
    saturation = report.layers[0].measurements.saturation
    assert saturation.gates.keys() == {"f"} and saturation.saturated is not None


def test_contributing_names_the_files() -> None:
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## A new cell")[2].partition("\n## ")[0]
    files = re.findall(r"`((?:src/elman|docs)/[\w/.]+\.\w+)`", section)
    root = Path(__file__).parents[1]
    for file in files:
        assert (root / file.replace("NAME", "gru")).exists(), file
    assert len(files) == 10
