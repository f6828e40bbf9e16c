"""The manifest of an export: what the graphs take and give, for programs that run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

import elman
from elman.exporters.onnx.layers import OPSET
from elman.exporters.stack import LayerStack

FILE = "manifest.json"

FORMAT = 1


def layer_manifest(stack: LayerStack, folder: Path, precision: str) -> dict[str, Any]:
    """Return the manifest of a layer whose graphs are in a folder."""
    graphs = {path.stem: graph_manifest(path) for path in sorted(folder.glob("*.onnx"))}
    initial = [None] * len(stack.states) if stack.initial is None else [rows.tolist() for rows in stack.initial]
    remarks = [] if "step" in graphs else ["no step.onnx: the output of a bidirectional layer needs the future"]
    return {
        "format": FORMAT,
        "elman": elman.__version__,
        "target": "onnx",
        "opset": OPSET,
        "precision": precision,
        "subject": stack.title,
        "letters": "T steps, B sequences; both are free",
        "graphs": graphs,
        "initial_states": dict(zip(stack.states, initial, strict=True)),
        "remarks": remarks,
    }


def graph_manifest(path: Path) -> dict[str, Any]:
    """Return the name, type and shape of each input and output of a graph."""
    graph = onnx.load(path, load_external_data=False).graph
    return {
        "file": path.name,
        "inputs": [_described(each) for each in graph.input],
        "outputs": [_described(each) for each in graph.output],
    }


def _described(each: onnx.ValueInfoProto) -> dict[str, Any]:
    kind = each.type.tensor_type
    shape = [axis.dim_param or axis.dim_value for axis in kind.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    return {"name": each.name, "type": str(dtype), "shape": shape}
