"""Models that hold recurrent layers: torch's exporter writes ONNX's operators for these, right for every size."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import elman
from elman.errors import ExportError, SettingError
from elman.exporters.onnx.models import model_cases
from elman.exporters.onnx.runtime import OnnxSession
from elman.exporters.target import ModelInputs


class Tagger(nn.Module):
    """All cells in one model: a plain network of torch's, an LSTM with lengths, a GRU of one sequence after another."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.plain = nn.RNN(3, 4, 2, nonlinearity="relu", batch_first=True)
        self.memory = elman.LSTM(4, 5, bidirectional=True, batch_first=True, learn_initial_state=True)
        self.gate = elman.GRU(10, 3, 2, bias=False, batch_first=True)
        self.sigmoid = elman.RNN(3, 2, nonlinearity="sigmoid", batch_first=True)

    def forward(self, symbols: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        x, h = self.plain(self.embedding(symbols))
        y, (h_n, c_n) = self.memory(x, lengths=lengths)
        y, state = self.gate(y, h[:, :, :3].contiguous())
        return self.sigmoid(y)[0], h_n, c_n, state


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    model = Tagger()
    inputs = (torch.randint(7, (4, 6)), torch.tensor([6, 3, 1, 2]))
    path = tmp_path_factory.mktemp("model") / "out"
    done = elman.export(model, path, inputs=inputs)
    assert done.report.passed and {row.inputs for row in done.report.rows} > {"the example"}
    assert type(model.plain) is nn.RNN and model.plain.training  # as before
    torch.save(model.state_dict(), path.with_name("weights"))
    return path


def test_every_size_has_the_numbers_of_the_model(folder: Path) -> None:
    model = Tagger().eval()
    model.load_state_dict(torch.load(folder.with_name("weights")))
    session = OnnxSession(folder / "whole.onnx")
    rng = np.random.default_rng(1)
    for B, T in ((1, 2), (2, 11), (9, 3), (3, 1)):
        symbols, lengths = rng.integers(0, 7, (B, T)), rng.integers(0, T + 1, B)
        with torch.no_grad():
            expected = model(torch.from_numpy(symbols), torch.from_numpy(lengths))
        outputs = session.run(dict(zip(session.inputs, (symbols, lengths), strict=True)))
        for before, after in zip(expected, outputs, strict=True):
            np.testing.assert_allclose(after, before.numpy(), rtol=0, atol=1e-5)


def test_the_graph_has_onnxs_operators_and_free_axes(folder: Path) -> None:
    graph = onnx.load(folder / "whole.onnx").graph
    operators = [node.op_type for node in graph.node]
    assert [operators.count(name) for name in ("RNN", "LSTM", "GRU")] == [3, 2, 2]
    manifest = json.loads((folder / "manifest.json").read_text())["graphs"]["whole"]
    assert all(isinstance(axis, str) for axis in manifest["inputs"][0]["shape"]) and len(manifest["outputs"]) == 4


def test_inputs_of_other_sizes_keep_symbols_and_lengths_valid(folder: Path) -> None:
    given = ModelInputs((torch.randint(7, (4, 6)), torch.tensor([6, 3, 1, 2])))
    cases = list(model_cases(given, onnx.load(folder / "whole.onnx")))
    assert [tuple(inputs[0].shape) for _, inputs in cases] == [(4, 6), (3, 5), (8, 10)]
    for _, (symbols, lengths) in cases:
        assert (
            symbols.max() < 7 and len(lengths) == len(symbols) and 0 < lengths.min() <= lengths.max() <= len(symbols[0])
        )


class Wrapped(nn.Module):
    def __init__(self, layer: nn.Module, **call: Any) -> None:
        super().__init__()
        self.layer, self.call = layer, call

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x, **self.call)[0]
        return y


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (Wrapped(nn.LSTM(3, 4, proj_size=2)), {}, "the layer layer cannot be exported"),
        (Wrapped(elman.GRU(3, 4), resets=torch.zeros(5, 2, dtype=torch.bool)), {}, "no operator with resets="),
        (Wrapped(nn.GRU(3, 4)), {"precision": "int8"}, "exported as it is"),
        (Wrapped(nn.GRU(3, 4)), {"lengths": True}, "exported as it is"),
        (Wrapped(nn.GRU(3, 4)), {"inputs": None}, "needs an example"),
    ],
)
def test_what_cannot_be_exported_is_one_message(
    model: nn.Module, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises((ExportError, SettingError), match=message):
        elman.export(model, tmp_path / "out", **{"inputs": (torch.randn(5, 2, 3),), **options})
    assert not list(tmp_path.iterdir())


class Table(nn.Module):
    """A layer, and a table of five positions: longer sequences do not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.table = nn.GRU(3, 4), nn.Parameter(torch.randn(5, 1, 4))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)[0] + self.table[: len(x)]
        return y


class Flat(nn.Module):
    """A layer, and a linear map over all of its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out = nn.GRU(3, 4), nn.Linear(20, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.layer(x)[0].transpose(0, 1).flatten(1))
        return y


@pytest.mark.parametrize("model", [Table(), Flat()], ids=["table", "flat"])
def test_a_model_of_one_size_says_which_axes_are_fixed(model: nn.Module, tmp_path: Path) -> None:
    inputs = (torch.randn(5, 2, 3),)
    with pytest.raises(ExportError, match="does not run on inputs of sizes") as caught:
        elman.export(model, tmp_path / "out", inputs=inputs)
    assert caught.value.hint is not None and "dynamic_shapes" in caught.value.hint
    assert not list(tmp_path.iterdir())
    report = elman.export(model, tmp_path / "out", inputs=inputs, dynamic_shapes=({},)).report
    assert report.remarks == ("the input x has a fixed size: axis 0 is 5, axis 1 is 2",)


def test_torchs_exporter_takes_a_layer_by_itself(tmp_path: Path) -> None:
    layer = elman.RNN(3, 4, bidirectional=True).eval()
    free = {0: torch.export.Dim("T"), 1: torch.export.Dim("B")}
    logging.disable(logging.WARNING)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                layer, (torch.randn(6, 5, 3),), dynamo=True, dynamic_shapes=(free,), verbose=False
            )
    finally:
        logging.disable(logging.NOTSET)
    assert program is not None
    program.save(tmp_path / "layer.onnx")
    session, x = OnnxSession(tmp_path / "layer.onnx"), torch.randn(9, 2, 3)
    for before, after in zip(layer(x), session.run({session.inputs[0]: x.numpy()}), strict=True):
        np.testing.assert_allclose(after, before.detach().numpy(), rtol=0, atol=1e-5)
