"""The manifest of an export: what the graphs take and give, for programs that run them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from elman.exporters.stack import LayerStack

FILE = "manifest.json"

FORMAT = 1


def layer_manifest(stack: LayerStack, folder: Path, precision: str) -> dict[str, Any]:
    """Return the manifest of a layer whose graphs are in a folder."""
    initial = [None] * len(stack.states) if stack.initial is None else [rows.tolist() for rows in stack.initial]
    described = _manifest(stack.title, folder, precision)
    return {
        **described,
        "initial_states": dict(zip(stack.states, initial, strict=True)),
        "remarks": list(_remarks(stack, described["graphs"])),
    }


def _remarks(stack: LayerStack, graphs: dict[str, Any]) -> Iterator[str]:
    if "step" not in graphs:
        yield "no step.onnx: the output of a bidirectional layer needs the future"
    if stack.cell in ("gru", "lstm"):
        yield "ONNX Runtime ends the process where its GRU or LSTM gets an empty batch (B = 0)"
    if stack.cell == "gru" and all(each["name"] != "lengths" for each in graphs["whole"]["inputs"]):
        yield "ONNX Runtime ends the process where its GRU gets no steps (T = 0), unless the graph has lengths"


def model_manifest(title: str, folder: Path) -> dict[str, Any]:
    """Return the manifest of a model whose graph is in a folder."""
    return _manifest(title, folder, "float32")


def _manifest(subject: str, folder: Path, precision: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "elman": version("elman"),
        "target": "onnx",
        "precision": precision,
        "subject": subject,
        "graphs": {path.stem: graph_manifest(path) for path in sorted(folder.glob("*.onnx"))},
    }


def graph_manifest(path: Path) -> dict[str, Any]:
    """Return the name, type and shape of each input and output of a graph."""
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    return {
        "file": path.name,
        "opset": next(each.version for each in model.opset_import if not each.domain),
        "inputs": [_described(each) for each in graph.input],
        "outputs": [_described(each) for each in graph.output],
    }


def _described(each: onnx.ValueInfoProto) -> dict[str, Any]:
    kind = each.type.tensor_type
    shape = [axis.dim_param or axis.dim_value for axis in kind.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    return {"name": each.name, "type": str(dtype), "shape": shape}
