"""The step of a cell with equations of its own, as torch's exporter translates it: the nodes of one step, no loop."""

from __future__ import annotations

import warnings
from typing import Any

import onnx
import onnx.compose
import onnx.inliner
import torch
import torch.nn.utils._expanded_weights.expanded_weights_impl  # reads tables that torch's exporter changes as it runs
from torch import Tensor, nn

from elman.errors import ExportError, extra, first_line
from elman.exporters.onnx.graph import GraphBuilder
from elman.exporters.stack import LayerStack

OPSET = 18
"""The oldest version of operators that torch's exporter writes."""


class OwnCellStep(nn.Module):
    """The step of a cell as a module: the parts of the gates and the states in, the states out."""

    def __init__(self, stack: LayerStack) -> None:
        super().__init__()
        self._equations = stack.equations

    def forward(self, gx_BGH: Tensor, gh_BGH: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Run the step."""
        return tuple(self._equations.step(gx_BGH, gh_BGH, state))


def step_model(stack: LayerStack) -> onnx.ModelProto:
    """Return the step of a cell as a model: inputs gx and gh (B, G, H) and the states, outputs the states.

    Raises:
        ExportError: torch's exporter cannot translate the step.
        MissingExtraError: onnxscript is not installed.
    """
    with extra("export", "the export of a cell with equations of its own"):
        import onnxscript  # noqa: F401 - torch's exporter needs it
    G, H, batch = len(stack.gates), stack.hidden_size, torch.export.Dim("B")
    examples = [torch.zeros(3, G, H), torch.zeros(3, G, H), *(torch.zeros(3, H) for _ in stack.states)]
    names = ["gx", "gh", *stack.states]
    options: dict[str, Any] = {"input_names": names, "output_names": [f"{name}_after" for name in stack.states]}
    options |= {"dynamo": True, "opset_version": OPSET, "verbose": False}
    shapes = ({0: batch}, {0: batch}, tuple({0: batch} for _ in stack.states))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(OwnCellStep(stack), tuple(examples), dynamic_shapes=shapes, **options)
    except Exception as error:
        raise ExportError(
            f"the step of {type(stack.equations).__name__} cannot be translated to ONNX",
            should="operations of torch that do not depend on the values of tensors",
            found=first_line(error),
            hint="torch.onnx.export of a module that runs the step shows where",
        ) from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def inlined(graph: GraphBuilder, model: onnx.ModelProto, inputs: list[str]) -> list[str]:
    """Add the nodes of a model to a graph, and return the names of its outputs.

    Args:
        graph: where they are added.
        model: what is added.
        inputs: the values that its inputs are.
    """
    own: onnx.ModelProto = onnx.compose.add_prefix(model, graph.name("cell") + "_")
    for name, described in zip(inputs, own.graph.input, strict=True):
        graph.add("Identity", name, output=described.name)
    graph.nodes.extend(own.graph.node)
    graph.initializers.extend(own.graph.initializer)
    return [each.name for each in own.graph.output]
