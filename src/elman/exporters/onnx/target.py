"""The target `onnx`: graphs of a layer, a model or a run for ONNX Runtime and whatever else reads ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from elman.errors import ExportError, extra
from elman.exporters.parity import ParityReport
from elman.exporters.stack import OWN, stack_of
from elman.exporters.target import ModelInputs, Target
from elman.predictors.base import Predictor
from elman.settings import Settings, setting
from elman.storage.files import write_bytes, write_json


@dataclass(frozen=True, kw_only=True)
class OnnxOptions(Settings):
    """What the target may be told."""

    precision: str = setting("float32", "of the weights", choices=("float32", "float16", "int8"))
    lengths: bool = setting(False, "of a layer: whether whole.onnx has the input lengths")
    resets: bool = setting(False, "of a layer: whether the graphs have the input resets")


def write_layer(layer: nn.Module, folder: Path, options: OnnxOptions) -> ParityReport:
    """Write `whole.onnx`, `step.onnx` and `manifest.json` of a layer, and compare them with it."""
    with extra("export", "the export to ONNX"):
        from elman.exporters.onnx import layers, manifest, own_cell, runtime
    stack = stack_of(layer)
    shared: dict[str, Any] = {"resets": options.resets, "precision": options.precision}
    shared["cell"] = own_cell.step_model(stack) if stack.cell == OWN else None
    graphs = {"whole": layers.whole_graph(stack, lengths=options.lengths, **shared)}
    if stack.num_directions == 1:
        graphs["step"] = layers.step_graph(stack, **shared)
    for name, graph in graphs.items():
        write_bytes(folder / f"{name}.onnx", graph.SerializeToString())
    content = manifest.layer_manifest(stack, folder, options.precision)
    write_json(folder / manifest.FILE, content)
    rows, times = runtime.layer_parity(
        layer, stack, folder, options.precision, lengths=options.lengths, resets=options.resets
    )
    return ParityReport("onnx", options.precision, tuple(rows), tuple(times), tuple(content["remarks"]))


def write_model(model: nn.Module, folder: Path, options: OnnxOptions, given: ModelInputs) -> ParityReport:
    """Write `whole.onnx` and `manifest.json` of a model that holds recurrent layers, and compare it with the model."""
    with extra("export", "the export to ONNX"):
        from elman.exporters.onnx import manifest, models
    if options.precision != "float32" or options.lengths or options.resets:
        raise ExportError(
            "a model is exported as it is",
            should="precision=float32, and neither lengths nor resets: they are among its inputs, where it has them",
            found=", ".join(f"{name}={value}" for name, value in options.as_dict().items()),
            hint="export its recurrent layer alone",
        )
    graph = models.model_graph(model, given)
    write_bytes(folder / "whole.onnx", graph.SerializeToString())
    write_json(folder / manifest.FILE, manifest.model_manifest(type(model).__name__, folder))
    rows = models.model_parity(model, folder / "whole.onnx", given, "float32")
    return ParityReport("onnx", options.precision, tuple(rows), (), models.fixed_axes(graph))


def write_run(predictor: Predictor, folder: Path, options: OnnxOptions) -> ParityReport:
    """Write a whole application: graphs, vocabulary and labels, `manifest.json` and `predict.py`.

    Raises:
        ExportError: an option of layers, or what `elman.exporters.applications.run` refuses.
    """
    if options.lengths or options.resets:
        raise ExportError(
            "lengths and resets are options of a layer",
            should="neither of them, for a run: its graphs have the inputs that its recipe needs",
            found=", ".join(name for name in ("lengths", "resets") if getattr(options, name)),
            hint="export its recurrent layer alone",
        )
    with extra("export", "the export to ONNX"):
        from elman.exporters.applications import run
    return run.write_run(predictor, folder, options.precision)


TARGET = Target("onnx", OnnxOptions, layer=write_layer, model=write_model, run=write_run)
