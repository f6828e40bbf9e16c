"""The target `onnx`: graphs of a layer, a model or a run for ONNX Runtime and whatever else reads ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from elman.errors import extra
from elman.exporters.parity import ParityReport
from elman.exporters.stack import stack_of
from elman.exporters.target import Target
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
        from elman.exporters.onnx import layers, manifest, runtime
    stack = stack_of(layer)
    graphs = {"whole": layers.whole_graph(
        stack, lengths=options.lengths, resets=options.resets, precision=options.precision
    )}  # fmt: skip
    if stack.num_directions == 1:
        graphs["step"] = layers.step_graph(stack, resets=options.resets, precision=options.precision)
    for name, graph in graphs.items():
        write_bytes(folder / f"{name}.onnx", graph.SerializeToString())
    content = manifest.layer_manifest(stack, folder, options.precision)
    write_json(folder / manifest.FILE, content)
    rows, times = runtime.layer_parity(
        layer, stack, folder, options.precision, lengths=options.lengths, resets=options.resets
    )
    return ParityReport("onnx", options.precision, tuple(rows), tuple(times), tuple(content["remarks"]))


TARGET = Target("onnx", OnnxOptions, layer=write_layer)
