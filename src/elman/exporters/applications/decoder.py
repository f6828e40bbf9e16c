"""What decoders of text have in common: their states, and the JSON of a vocabulary."""

from __future__ import annotations

from typing import Any

import onnx

from elman.exporters.applications.blocks import state_inputs, states_of
from elman.exporters.onnx.graph import GraphBuilder
from elman.exporters.stack import LayerStack


def vocabulary_facts(vocabulary: Any) -> dict[str, Any]:
    """Return what a program needs to know about a vocabulary beside its file."""
    written = vocabulary.never_written
    return {
        "kind": vocabulary.kind,
        "count": len(vocabulary),
        "unknown": vocabulary.unknown,
        "never_written": [written.start, written.stop],
    }


class DecoderLayers:
    """The lower layer of a decoder, and the upper ones, if there are any.

    Args:
        lower: its layers; their states are called lower_h and lower_c.
        upper: its layers, or None.
    """

    def __init__(self, lower: LayerStack, upper: LayerStack | None) -> None:
        self.stacks = {"lower_": lower, **({} if upper is None else {"upper_": upper})}

    @property
    def names(self) -> list[str]:
        """The names of all states."""
        return list(self.shapes())

    def shapes(self, ending: str = "") -> dict[str, tuple[int | str, ...]]:
        """Return the names and shapes of all states."""
        return {
            name: shape
            for prefix, stack in self.stacks.items()
            for name, shape in states_of(stack, prefix, ending).items()
        }

    def inputs(self) -> list[onnx.ValueInfoProto]:
        """Return the descriptions of the states as inputs of a graph."""
        return [each for prefix, stack in self.stacks.items() for each in state_inputs(stack, prefix)]

    def units(self) -> dict[str, str]:
        """Return what the states are."""
        return {**dict.fromkeys(self.shapes(), "state before"), **dict.fromkeys(self.shapes("_n"), "state after")}

    def initial(self, graph: GraphBuilder, values_BX: str) -> list[str]:
        """Return the states (L, B, H) from one row of all their values for each sequence, (B, L * states * H)."""
        sizes = [len(stack.layers) for stack in self.stacks.values() for _ in stack.states]
        hidden = next(iter(self.stacks.values())).hidden_size
        rows_BLH = graph.add("Reshape", values_BX, graph.constant([0, -1, hidden]))
        rows_LBH = graph.add("Transpose", rows_BLH, perm=[1, 0, 2])
        return graph.add_several("Split", [rows_LBH, graph.constant(sizes)], len(sizes), axis=0)
