"""What ONNX has no operator for: one step as simple operators, and a Scan of it over time.

That are projections, resets within a sequence, and cells with equations of their own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from elman.exporters.onnx.graph import GraphBuilder, value
from elman.exporters.onnx.own_cell import inlined
from elman.exporters.stack import OWN, Direction, LayerStack

States = list[str]


def step_nodes(graph: GraphBuilder, stack: LayerStack, direction: Direction, x_BI: str, states: States) -> States:
    """Add one step of one layer from its input, and return the states after it."""
    return _after(graph, stack, direction, _from_input(graph, direction, x_BI), states)


def scan_nodes(
    graph: GraphBuilder, stack: LayerStack, direction: Direction, x_TBI: str, states: States,
    *, exists_TB1: str | None, resets_TB1: str | None, initial: list[str], reverse: bool,
) -> tuple[str, States]:  # fmt: skip
    """Add one layer in one direction over a sequence.

    Args:
        graph: where it is added.
        stack: the options of all layers.
        direction: the weights.
        x_TBI: the input.
        states: before the first step that is run, (B, P or H) each.
        exists_TB1: booleans, false beyond the length of a sequence.
        resets_TB1: booleans, true where a step begins a new sequence.
        initial: the state that a reset puts back, (1, P or H) each.
        reverse: from the last step to the first.

    Returns:
        The outputs (T, B, P) and the states after the last step.
    """
    sequences = [_from_input(graph, direction, x_TBI)]
    if exists_TB1 is not None:
        sequences.append(exists_TB1)
    if resets_TB1 is not None:
        sequences.append(_crossed_backwards(graph, resets_TB1) if reverse else resets_TB1)
    if reverse:
        sequences = [_flipped(graph, each) for each in sequences]
    body = GraphBuilder(parent=graph)
    names = [body.name(f"{name}_before") for name in stack.states]
    inputs = [value(name, ("B", size)) for name, size in zip(names, stack.state_sizes, strict=True)]
    gx = body.name("gx")
    inputs.append(value(gx, ("B", len(direction.U))))
    flags = [body.name("flag") for _ in sequences[1:]]
    inputs += [value(flag, ("B", 1), "bool") for flag in flags]
    before = names
    if resets_TB1 is not None:
        before = [body.add("Where", flags[-1], put, name) for put, name in zip(initial, names, strict=True)]
    after = _after(body, stack, direction, gx, before)
    y = after[0]
    if exists_TB1 is not None:
        y = body.add("Where", flags[0], after[0], body.constant(0, np.float32))
        after = [body.add("Where", flags[0], new, old) for new, old in zip(after, names, strict=True)]
    outputs = [body.add("Identity", name) for name in (*after, y)]
    described = zip(outputs, (*stack.state_sizes, stack.state_sizes[0]), strict=True)
    proto = body.body(graph.name("step"), inputs, [value(name, ("B", size)) for name, size in described])
    results = graph.add_several("Scan", [*states, *sequences], len(outputs), body=proto, num_scan_inputs=len(sequences))
    y_TBP = results[-1]
    return _flipped(graph, y_TBP) if reverse else y_TBP, results[:-1]


def existing_steps(graph: GraphBuilder, x_TBI: str, lengths_B: str) -> str:
    """Return booleans (T, B, 1), true for the steps within the length of their sequence."""
    T = graph.add("Gather", graph.add("Shape", x_TBI), graph.constant(0))
    steps = graph.add("Range", graph.constant(0), T, graph.constant(1))
    steps_T1 = graph.add("Unsqueeze", steps, graph.constant([1]))
    exists_TB = graph.add("Less", steps_T1, graph.add("Cast", lengths_B, to=7))
    return graph.add("Unsqueeze", exists_TB, graph.constant([2]))


def _from_input(graph: GraphBuilder, direction: Direction, x: str) -> str:
    """Return U x + b for each gate."""
    gx = graph.add("MatMul", x, graph.weight("U", direction.U.T, 1))
    return gx if direction.b is None else graph.add("Add", gx, graph.weight("b", direction.b))


def _flipped(graph: GraphBuilder, sequence: str) -> str:
    bounds = (graph.constant([bound]) for bound in (-1, np.iinfo(np.int64).min, 0, -1))
    return graph.add("Slice", sequence, *bounds)


def _crossed_backwards(graph: GraphBuilder, resets_TB1: str) -> str:
    """Return the resets one step earlier: a boundary is crossed from the other side."""
    zero, one, end = graph.constant([0]), graph.constant([1]), graph.constant([np.iinfo(np.int64).max])
    first = graph.add("Slice", resets_TB1, zero, one, zero)
    none = graph.add("And", first, graph.constant(False, np.bool_))
    return graph.add("Concat", graph.add("Slice", resets_TB1, one, end, zero), none, axis=0)


def _after(graph: GraphBuilder, stack: LayerStack, direction: Direction, gx: str, states: States) -> States:
    """Add the equations of the cell and the projection, and return the states after the step."""
    gh = graph.add("MatMul", states[0], graph.weight("W", direction.W.T, 1))
    if direction.b_hidden is not None:
        gh = graph.add("Add", gh, graph.weight("b_hidden", direction.b_hidden))
    after = EQUATIONS[stack.cell](graph, stack, gx, gh, states)
    if direction.projection is None:
        return after
    return [graph.add("MatMul", after[0], graph.weight("projection", direction.projection.T, 1)), *after[1:]]


def _split(graph: GraphBuilder, value: str, sizes: list[int]) -> list[str]:
    return graph.add_several("Split", [value, graph.constant(sizes)], len(sizes), axis=-1)


def _rnn(graph: GraphBuilder, stack: LayerStack, gx: str, gh: str, states: States) -> States:
    """Add h' = f(gx + gh)."""
    operator = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid", "identity": "Identity"}
    return [graph.add(operator[stack.nonlinearity or ""], graph.add("Add", gx, gh))]


def _gru(graph: GraphBuilder, stack: LayerStack, gx: str, gh: str, states: States) -> States:
    """Add r, z = sigmoid(gx + gh), n = tanh(gx + r * gh), h' = (1 - z) * n + z * h."""
    H = stack.hidden_size
    (gates_x, new_x), (gates_h, new_h) = (_split(graph, each, [2 * H, H]) for each in (gx, gh))
    r, z = _split(graph, graph.add("Sigmoid", graph.add("Add", gates_x, gates_h)), [H, H])
    n = graph.add("Tanh", graph.add("Add", new_x, graph.add("Mul", r, new_h)))
    rest = graph.add("Sub", graph.constant(1, np.float32), z)
    return [graph.add("Add", graph.add("Mul", rest, n), graph.add("Mul", z, states[0]))]


def _lstm(graph: GraphBuilder, stack: LayerStack, gx: str, gh: str, states: States) -> States:
    """Add c' = sigmoid(f) * c + sigmoid(i) * tanh(g), h' = sigmoid(o) * tanh(c')."""
    H = stack.hidden_size
    i, f, g, o = _split(graph, graph.add("Add", gx, gh), [H] * 4)
    i, f, o = (graph.add("Sigmoid", gate) for gate in (i, f, o))
    kept, written = graph.add("Mul", f, states[1]), graph.add("Mul", i, graph.add("Tanh", g))
    c = graph.add("Add", kept, written)
    return [graph.add("Mul", o, graph.add("Tanh", c)), c]


def _own(graph: GraphBuilder, stack: LayerStack, gx: str, gh: str, states: States) -> States:
    """Add the equations of the cell, translated."""
    shape = graph.constant([0, len(stack.gates), stack.hidden_size])
    parts = [graph.add("Reshape", each, shape) for each in (gx, gh)]
    assert graph.cell is not None
    return inlined(graph, graph.cell, [*parts, *states])


EQUATIONS: dict[str, Callable[[GraphBuilder, LayerStack, str, str, States], States]] = {
    "rnn": _rnn,
    "gru": _gru,
    "lstm": _lstm,
    OWN: _own,
}
"""The nodes of one step by the name of the cell."""
