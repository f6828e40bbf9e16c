"""`GraphBuilder`: a graph of ONNX as it is built, node by node, with names that are given once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from elman.errors import ExportError
from elman.exporters.precision import symmetric_rows
from elman.exporters.stack import Array

IR_VERSION = 8
"""Of the file format: the one that came with opset 17, so that runtimes of its time read the graphs."""

LARGEST = 2**31 - 2**20
"""Bytes of a graph in one file, which protobuf limits to 2 GiB."""

TYPES = {
    "float32": onnx.TensorProto.FLOAT,
    "float64": onnx.TensorProto.DOUBLE,
    "int32": onnx.TensorProto.INT32,
    "int64": onnx.TensorProto.INT64,
    "uint8": onnx.TensorProto.UINT8,
    "bool": onnx.TensorProto.BOOL,
}
"""ONNX's number of a type of inputs and outputs."""


class GraphBuilder:
    """A graph that is being built.

    Args:
        precision: of the weights: "float32", "float16" or "int8". The arithmetic is in float32.
        parent: the graph around a body, whose values the body sees.
        cell: the step of a cell with equations of its own, translated.
    """

    def __init__(
        self, precision: str = "float32", parent: GraphBuilder | None = None, cell: onnx.ModelProto | None = None
    ) -> None:
        self.precision, self._parent = precision, parent
        self.cell: onnx.ModelProto | None = cell if parent is None else parent.cell
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._numbers: count[int] = count() if parent is None else parent._numbers
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def name(self, stem: str) -> str:
        """Return a name that no other value has."""
        return f"{stem}_{next(self._numbers)}"

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node with one output, and return the name of that; an empty name is an input that is not there."""
        output = output or self.name(operator.lower())
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def add_several(self, operator: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """Add a node with several outputs, and return their names."""
        names = [self.name(operator.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        """Return the name of a small constant; equal ones are one."""
        if self._parent is not None:
            return self._parent.constant(value, dtype)
        array = np.asarray(value, dtype)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._initializer(self.name("constant"), array)
        return self._constants[key]

    def weight(self, stem: str, array: Array, rows: int | None = None) -> str:
        """Return the name of a value that is these weights in float32, stored at the precision of the graph.

        Args:
            stem: the beginning of the name.
            array: the weights.
            rows: the axis of the gates' rows, each of which has a scale of its own under int8; None: a bias, which
                stays float32 then.
        """
        if self._parent is not None:
            return self._parent.weight(stem, array, rows)
        array = array.astype(np.float32)
        name = self.name(stem)
        if self.precision == "float16":
            with np.errstate(over="ignore"):
                half = array.astype(np.float16)
            if not np.isfinite(half).all():
                raise ExportError(
                    f"a weight of {stem} is too large for float16",
                    should="numbers up to 65,504",
                    found=f"{float(np.abs(array).max()):.3g}",
                    hint="precision=float32",
                )
            return self.add("Cast", self._initializer(name, half), to=onnx.TensorProto.FLOAT)
        if self.precision == "int8" and rows is not None:
            integers, scales = symmetric_rows(array, rows)
            parts = [self._initializer(name, integers), self._initializer(self.name(f"{stem}_scale"), scales)]
            return self.add("DequantizeLinear", *parts, axis=rows)
        return self._initializer(name, array)

    def _initializer(self, name: str, array: Array) -> str:
        self.initializers.append(numpy_helper.from_array(array.copy(order="C"), name))
        return name

    def body(
        self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.GraphProto:
        """Return the graph as the body of a node of its parent."""
        return helper.make_graph(self.nodes, name, list(inputs), list(outputs), self.initializers)

    def model(
        self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto], opset: int
    ) -> onnx.ModelProto:
        """Return the whole model.

        Raises:
            ExportError: it is larger than a file of ONNX can be.
        """
        size = sum(len(each.raw_data) for each in self.initializers)
        if size > LARGEST:
            raise ExportError(
                "the layer is too large for one file of ONNX",
                should=f"at most {LARGEST:,} bytes of weights",
                found=f"{size:,}",
                hint="precision=float16",
            )
        graph = helper.make_graph(self.nodes, name, list(inputs), list(outputs), self.initializers)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION, producer_name="elman"
        )


def value(name: str, shape: Sequence[int | str], dtype: str = "float32") -> onnx.ValueInfoProto:
    """Return the description of an input or output; an axis with a letter is free."""
    return helper.make_tensor_value_info(name, TYPES[dtype], list(shape))
