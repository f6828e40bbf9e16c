"""The target `rtneural`: the JSON, read back by equations of the test alone, and what it refuses."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import elman
from elman.errors import ElmanError, ExportError
from elman.exporters.rtneural import target


class Head(nn.Module):
    def __init__(self, layer: nn.Module, *behind: nn.Module) -> None:
        super().__init__()
        self.layer, self.behind = layer, nn.Sequential(*behind)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.behind(self.layer(x)[0])


MODELS: dict[str, tuple[nn.Module, tuple[int, ...] | None]] = {
    "lstm": (elman.LSTM(3, 5, 2), None),
    "gru": (nn.GRU(1, 4, 3), None),
    "no bias": (nn.GRU(2, 5, bias=False), None),
    "cell": (nn.LSTMCell(2, 3), None),
    "batch first": (Head(nn.LSTM(1, 6, batch_first=True), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1)), (2, 30, 1)),
    "dense": (Head(elman.GRU(2, 3), nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2), nn.Sigmoid()), (30, 2, 2)),
}


def run(model: dict[str, Any], inputs: list[list[float]]) -> list[list[float]]:
    """RTNeural's own loops, number by number: `LSTMLayer`, `GRULayer` and `Dense` of its STL backend."""
    width = model["in_shape"][-1]
    states = [([0.0] * layer["shape"][-1], [0.0] * layer["shape"][-1]) for layer in model["layers"]]
    outputs = []
    for x in inputs:
        assert len(x) == width
        for number, layer in enumerate(model["layers"]):
            size, weights = layer["shape"][-1], layer["weights"]
            if layer["type"] == "dense":
                y = [sum(weights[0][i][j] * x[i] for i in range(len(x))) + weights[1][j] for j in range(size)]
                f = {"": float, "tanh": math.tanh, "relu": lambda v: max(v, 0.0), "sigmoid": sigmoid}
                x = [f[layer["activation"]](v) for v in y]
                continue
            h, c = states[number]

            def kernel(gate: int, j: int, x: list[float] = x, size: int = size, W: Any = weights[0]) -> float:
                return sum(W[i][gate * size + j] * x[i] for i in range(len(x)))

            def recurrent(gate: int, j: int, h: list[float] = h, size: int = size, U: Any = weights[1]) -> float:
                return sum(U[i][gate * size + j] * h[i] for i in range(size))

            after, cells = [], []
            for j in range(size):
                if layer["type"] == "lstm":
                    i, f, g, o = (kernel(k, j) + recurrent(k, j) + weights[2][k * size + j] for k in range(4))
                    cells.append(sigmoid(f) * c[j] + sigmoid(i) * math.tanh(g))
                    after.append(sigmoid(o) * math.tanh(cells[-1]))
                else:
                    b0, b1 = weights[2]
                    z = sigmoid(recurrent(0, j) + b0[j] + b1[j] + kernel(0, j))
                    r = sigmoid(recurrent(1, j) + b0[size + j] + b1[size + j] + kernel(1, j))
                    candidate = r * (recurrent(2, j) + b1[2 * size + j]) + b0[2 * size + j] + kernel(2, j)
                    after.append((1 - z) * math.tanh(candidate) + z * h[j])
            states[number] = after, cells
            x = after
        outputs.append(x)
    return outputs


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def numbers(path: Path) -> list[list[float]]:
    return [[float(word) for word in row] for row in csv.reader(path.read_text().splitlines())]


@pytest.mark.parametrize("name", MODELS)
def test_rtneurals_equations_give_the_test_vectors(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    model, shape = MODELS[name]
    options = {} if shape is None else {"inputs": (torch.randn(shape),)}
    done = elman.export(model, tmp_path / "out", to="rtneural", **options)
    assert done.files == ("check.cpp", "input.csv", "model.json", "output.csv", "parity.json")
    content = json.loads((tmp_path / "out" / "model.json").read_text())
    inputs, outputs = (numbers(tmp_path / "out" / file) for file in ("input.csv", "output.csv"))
    assert len(inputs) == len(outputs) >= 30
    np.testing.assert_allclose(run(content, inputs[:30]), outputs[:30], atol=2e-6)
    assert done.report.passed and "RTNeural itself was not run" in done.report.table()


def test_all_layers_of_a_stack_are_there(tmp_path: Path) -> None:
    elman.export(nn.GRU(1, 4, 3), tmp_path / "out", to="rtneural")
    content = json.loads((tmp_path / "out" / "model.json").read_text())
    assert content["in_shape"] == [None, None, 1]
    assert [layer["type"] for layer in content["layers"]] == ["gru"] * 3
    for layer, width in zip(content["layers"], (1, 4, 4), strict=True):
        assert [np.shape(part) for part in layer["weights"]] == [(width, 12), (4, 12), (2, 12)]
        assert layer["shape"] == [None, None, 4]
    types = (tmp_path / "out" / "check.cpp").read_text()
    assert types.count("GRULayerT<float, 4, 4>") == 2 and "ModelT<float, 1, 4," in types


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.RNN(2, 3), "the cell TanhCell"),
        (nn.GRU(2, 3, bidirectional=True), "bidirectional=True"),
        (elman.LSTM(2, 3, proj_size=2), "proj_size=2"),
        (elman.GRU(2, 3, learn_initial_state=True), "learn_initial_state=True"),
        (nn.Sequential(nn.Embedding(5, 2), nn.GRU(2, 3)), "an Embedding"),
    ],
)
def test_what_rtneural_has_not_is_refused(tmp_path: Path, model: nn.Module, message: str) -> None:
    options = {"inputs": (torch.zeros(3, 1),)} if isinstance(model, nn.Sequential) else {}
    with pytest.raises(ExportError, match=message):
        elman.export(model, tmp_path / "out", to="rtneural", **options)
    with pytest.raises(ElmanError, match="precision"):
        elman.export(nn.GRU(2, 3), tmp_path / "out", to="rtneural", precision="int8")
    assert not list(tmp_path.iterdir())


class Last(Head):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[-1]


class Other(Head):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + x


@pytest.mark.parametrize(("kind", "message"), [(Last, "the last output alone"), (Other, "computes other numbers")])
def test_a_model_that_is_no_chain_leaves_nothing(tmp_path: Path, kind: Any, message: str) -> None:
    model = kind(nn.GRU(1, 3), nn.Linear(3, 1))
    with pytest.raises(ExportError, match=message):
        elman.export(model, tmp_path / "out", to="rtneural", inputs=(torch.ones(5, 2, 1),))
    assert not list(tmp_path.iterdir())


def test_a_wrong_order_of_gates_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = target.model_json

    def swapped(chain: Any) -> Any:
        content = write(chain)
        kernel = content["layers"][0]["weights"][0]
        content["layers"][0]["weights"][0] = [row[3:6] + row[:3] + row[6:] for row in kernel]
        return content

    monkeypatch.setattr(target, "model_json", swapped)
    for layer in (nn.GRU(2, 3), nn.LSTM(2, 3)):
        with pytest.raises(ExportError, match="computes other numbers"):
            elman.export(layer, tmp_path / "out", to="rtneural")
