"""Runs of graphs by ONNX Runtime, and the comparison of a layer's graphs with the layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn

from elman.errors import ExportError, first_line
from elman.exporters.layer_cases import LayerCase, evaluation_mode, layer_cases, original_outputs, widened
from elman.exporters.parity import ParityRow, ParityTime, compare, microseconds
from elman.exporters.stack import Array, LayerStack, as_recurrent

BOUNDS = {"float32": 1e-5, "float16": 5e-3, "int8": 1e-1}
"""The largest relative difference by the precision of the weights, whose rounding adds up in the sums."""

STEPS_BOUNDS = {"float32": 1e-5, "float16": 1e-5, "int8": 1e-2}
"""The same of single steps against the whole; ONNX Runtime multiplies 8-bit weights by inputs rounded to 8 bits."""


class OnnxSession:
    """A graph in ONNX Runtime, on one thread of the CPU.

    Args:
        path: the file.
        graph: its content, where it is another than that of the file.
        weights_in_float32: makes float32 of int8 weights once, as the programs of exported runs do.

    Attributes:
        inputs: the names of the inputs.
        outputs: the names of the outputs.
    """

    def __init__(self, path: Path, *, graph: bytes | None = None, weights_in_float32: bool = False) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        if weights_in_float32:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        with _refused(path):
            self._session = onnxruntime.InferenceSession(
                graph or str(path), options, providers=["CPUExecutionProvider"]
            )
        self._path = path
        self.inputs = [each.name for each in self._session.get_inputs()]
        self.outputs = [each.name for each in self._session.get_outputs()]

    def run(self, feeds: dict[str, Array]) -> list[Array]:
        """Return the outputs; inputs that the graph does not have are not given to it."""
        with _refused(self._path):
            results: list[Array] = self._session.run(None, {name: feeds[name] for name in self.inputs})
        return results


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        raise ExportError(
            f"ONNX Runtime cannot run {path.name}", should="a graph that it can run", found=first_line(error)
        ) from error


def case_feeds(stack: LayerStack, case: LayerCase) -> dict[str, Array]:
    """Return the inputs of a whole graph for a case; without lengths all steps exist, without resets none is one."""
    T, B, _ = case.x.shape
    feeds = {"x": case.x.astype(np.float32)}
    feeds["lengths"] = np.full(B, T, np.int32) if case.lengths is None else case.lengths
    feeds["resets"] = np.zeros((T, B), np.bool_) if case.resets is None else case.resets
    states = zip(stack.states, case.states(stack), strict=True)
    return {**feeds, **{name: state.astype(np.float32) for name, state in states}}


def run_steps(session: OnnxSession, stack: LayerStack, feeds: dict[str, Array]) -> list[Array]:
    """Return what a step graph gives for a sequence, one step at a time: y (T, B, P) and the last states."""
    state = {name: feeds[name] for name in stack.states}
    y = []
    for x_BI, resets_B in zip(feeds["x"], feeds["resets"], strict=True):
        y_BP, *after = session.run({"x": x_BI, "resets": resets_B, **state})
        state = dict(zip(stack.states, after, strict=True))
        y.append(y_BP)
    outputs = np.stack(y) if y else np.zeros((0, feeds["x"].shape[1], stack.output_size), np.float32)
    return [outputs, *state.values()]


def layer_parity(
    layer: nn.Module, stack: LayerStack, folder: Path, precision: str, *, lengths: bool, resets: bool
) -> tuple[list[ParityRow], list[ParityTime]]:
    """Compare `whole.onnx` and `step.onnx` in a folder with the layer, and measure a step."""
    whole = OnnxSession(folder / "whole.onnx")
    step = OnnxSession(folder / "step.onnx") if stack.num_directions == 1 else None
    rows: list[ParityRow] = []
    for case in layer_cases(stack, lengths=lengths, resets=resets, precision=precision):
        y, states = original_outputs(layer, stack, case)
        feeds = case_feeds(stack, case)
        outputs = whole.run(feeds)
        bound = widened(BOUNDS[precision], case.rounding)
        names = ["y", *stack.states]
        rows += _rows("whole.onnx", names, case, [y, *states], outputs, bound)
        if step is not None and case.lengths is None:
            bound = widened(STEPS_BOUNDS[precision], case.rounding)
            steps = run_steps(step, stack, feeds)
            rows += _rows("step.onnx against whole.onnx", names, case, outputs, steps, bound)
    return rows, [] if step is None else [step_time(layer, stack, step)]


def step_time(layer: nn.Module, stack: LayerStack, session: OnnxSession) -> ParityTime:
    """Measure a step of one sequence, in ONNX Runtime and in elman, both on one thread."""
    case = LayerCase("one step", np.ones((1, 1, stack.input_size), stack.dtype))
    feeds = {**case_feeds(stack, case), "x": case.x[0].astype(np.float32), "resets": np.zeros(1, np.bool_)}
    theirs = microseconds(lambda: session.run(feeds))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours = _original_time(layer, stack, case)
    finally:
        torch.set_num_threads(threads)
    return ParityTime("step.onnx, B = 1", theirs, ours)


def _original_time(layer: nn.Module, stack: LayerStack, case: LayerCase) -> float | None:
    device = next(iter(layer.parameters())).device
    x = torch.from_numpy(case.x[0]).to(device)
    states = tuple(torch.from_numpy(state).to(device) for state in case.states(stack))
    with evaluation_mode(layer):
        if isinstance(layer, nn.RNNCellBase):
            parts = [state[0] for state in states]
            hx: Any = tuple(parts) if len(parts) > 1 else parts[0]
            return microseconds(lambda: layer(x, hx))
        runner = as_recurrent(layer)
        hx = states if len(states) > 1 else states[0]
        with evaluation_mode(runner):
            return microseconds(lambda: runner.step(x, hx))


def _rows(
    graph: str, names: list[str], case: LayerCase, expected: Sequence[Array], actual: Sequence[Array], bound: float
) -> list[ParityRow]:
    pairs = zip(names, expected, actual, strict=True)
    return [
        compare(f"{name} of {graph}", case.title, original, export, bound, least_size=case.least_size)
        for name, original, export in pairs
    ]
