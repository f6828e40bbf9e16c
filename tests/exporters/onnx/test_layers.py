"""Graphs of layers: ONNX Runtime gives the layer's numbers for any sizes, and onnx's own judges agree."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import elman
from elman.errors import ExportError
from elman.exporters.onnx.layers import step_graph, whole_graph
from elman.exporters.onnx.runtime import OnnxSession
from elman.exporters.precision import symmetric_rows
from elman.exporters.stack import stack_of
from elman.kernels.onnx_export import OPERATORS

PROGRAM = Path(__file__).with_name("layer_trials.py")


@pytest.fixture(scope="module")
def trials() -> Any:
    spec = importlib.util.spec_from_file_location("layer_trials", PROGRAM)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "count", "least"), [("shapes", 192, 192), ("steps", 200, 6), ("reference", 24, 30)])
def test_a_portion_of_the_trials(trials: Any, name: str, count: int, least: int) -> None:
    result = trials.run(name, count)
    assert result["trials"] >= least and not result["beyond"], result


def test_the_trials_see_another_order_of_gates(trials: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATORS, "lstm", ("LSTM", {}, (0, 1, 2, 3)))
    assert {row[0] for row in trials.run("shapes", 96)["beyond"]} == {"lstm"}


class Decayed(elman.Cell):
    """Two states, and gates that are none of the known ones."""

    gates = ("a", "b")
    states = ("h", "m")

    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        h, m = state
        a, b = torch.sigmoid(gx_BGH + gh_BGH).unbind(1)
        m = 0.9 * m + a * torch.nn.functional.softsign(gx_BGH[:, 1])
        return torch.sin(m) * b + 0.1 * h, m


LAYERS: list[tuple[nn.Module, dict[str, Any]]] = [
    (nn.LSTM(3, 6, 2, proj_size=2, bidirectional=True, batch_first=True), {"lengths": True}),
    (elman.LSTM(3, 6, 2, proj_size=4, bias=False), {"resets": True}),
    (elman.LSTM(3, 5, 2, learn_initial_state=True, init="orthogonal"), {"resets": True, "lengths": True}),
    (elman.GRU(3, 5, 2, bidirectional=True, learn_initial_state=True), {"resets": True, "lengths": True}),
    (elman.RNN(3, 5, 1, "relu", batch_first=True), {"resets": True}),
    (elman.GRU(1, 1), {}),
    (nn.GRU(3, 4, dtype=torch.float64), {"lengths": True}),
    (nn.RNNCell(3, 4, nonlinearity="relu"), {}),
    (elman.LSTMCell(3, 4, bias=False), {}),
    (elman.LSTM(3, 40, 2, bidirectional=True), {"precision": "float16"}),
    (elman.GRU(8, 40, 2), {"precision": "int8"}),
    (elman.LSTM(8, 40, 2, proj_size=7), {"precision": "int8", "resets": True}),
    (elman.Recurrent(Decayed(), 3, 4, 2), {"lengths": True, "resets": True}),
]


@pytest.mark.parametrize(("layer", "options"), LAYERS, ids=lambda part: str(part)[:60])
def test_an_export_has_parity_and_passes_the_checker(
    layer: nn.Module, options: dict[str, Any], tmp_path: Path, trials: Any
) -> None:
    done = elman.export(layer, tmp_path / "out", **options)
    stack = stack_of(layer)
    names = {"manifest.json", "parity.json", "whole.onnx", *(["step.onnx"] if stack.num_directions == 1 else [])}
    assert {*done.files} == names and done.report.passed
    manifest = json.loads((done.path / "manifest.json").read_text())
    for name, described in manifest["graphs"].items():
        model = onnx.load(done.path / described["file"])
        trials.check(model)
        assert [each["name"] for each in described["inputs"]] == [each.name for each in model.graph.input]
        assert [each["name"] for each in described["outputs"]] == ["y", *(f"{state}_n" for state in stack.states)]
        sizes = ["T", "B", 3] if name == "whole" else ["B", 3]
        assert described["inputs"][0]["shape"][:-1] == sizes[:-1]
    learned = stack.initial is not None
    assert all((rows is not None) == learned for rows in manifest["initial_states"].values())


@pytest.mark.parametrize(("precision", "most"), [("float16", 0.55), ("int8", 0.32)])
def test_smaller_weights_make_a_smaller_file(precision: str, most: float) -> None:
    stack = stack_of(elman.LSTM(64, 128))
    full, small = (step_graph(stack, precision=each).ByteSize() for each in ("float32", precision))
    assert small < most * full


def test_integers_times_scales_are_the_weights_within_half_a_step() -> None:
    weights = np.random.default_rng(1).standard_normal((5, 7)).astype(np.float32)
    weights[2], weights[:, 3], weights[4] = 0, 0, 1e-44
    for rows in (0, 1):
        integers, scales = symmetric_rows(weights, rows)
        shape = (-1, 1) if rows == 0 else (1, -1)
        assert integers.dtype == np.int8 and (np.abs(integers) <= 127).all()
        error = np.abs(integers * scales.reshape(shape) - weights)
        assert (error <= np.maximum(scales.reshape(shape) * 0.5001, 1e-43)).all()
        assert scales[2 if rows == 0 else 3] == 0


def test_weights_too_large_for_float16_are_refused(tmp_path: Path) -> None:
    layer = nn.GRU(3, 4)
    with torch.no_grad():
        layer.weight_hh_l0[0, 0] = 1e6
    with pytest.raises(ExportError, match="too large for float16"):
        elman.export(layer, tmp_path / "out", precision="float16")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_differs_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATORS, "gru", ("GRU", {}, (1, 0, 2)))  # linear_before_reset is 0
    with pytest.raises(ExportError, match="computes other numbers"):
        elman.export(nn.GRU(3, 4), tmp_path / "out")
    assert not list(tmp_path.iterdir())


class Branching(elman.Cell):
    gates = ("a",)

    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (gx_BGH[:, 0] if gx_BGH.sum() > 0 else gh_BGH[:, 0],)


def test_a_cell_that_branches_on_values_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="Branching cannot be translated"):
        elman.export(elman.Recurrent(Branching(), 3, 4), tmp_path / "out")


@pytest.mark.parametrize("lengths", [False, True])
def test_no_steps_leave_the_state(lengths: bool, tmp_path: Path) -> None:
    onnx.save(whole_graph(stack_of(nn.LSTM(3, 4, bidirectional=True)), lengths=lengths), tmp_path / "w.onnx")
    h, c = (np.full((2, 2, 4), value, np.float32) for value in (0.3, 0.7))
    feeds = {"x": np.zeros((0, 2, 3), np.float32), "lengths": np.zeros(2, np.int32), "h": h, "c": c}
    y, h_n, c_n = OnnxSession(tmp_path / "w.onnx").run(feeds)
    assert y.shape == (0, 2, 8)
    np.testing.assert_array_equal(h_n, h)
    np.testing.assert_array_equal(c_n, c)
