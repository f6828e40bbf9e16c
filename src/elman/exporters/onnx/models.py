"""The graph of a model, written by torch's exporter with ONNX's operators for the recurrent layers inside."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.utils._expanded_weights.expanded_weights_impl  # reads tables that torch's exporter changes as it runs
from torch import Tensor, nn

from elman.errors import ElmanError, ExportError, extra, first_line
from elman.exporters.layer_cases import LEAST_SIZE, SEED, evaluation_mode
from elman.exporters.onnx.own_cell import OPSET
from elman.exporters.onnx.runtime import BOUNDS, OnnxSession
from elman.exporters.parity import ParityRow, compare
from elman.exporters.stack import Array
from elman.exporters.target import ModelInputs
from elman.layers.accelerate import accelerate, decelerate
from elman.layers.recurrent import Recurrent


def model_graph(model: nn.Module, given: ModelInputs) -> onnx.ModelProto:
    """Return the graph of a model, in evaluation mode.

    Raises:
        ExportError: a layer or an operation of the model cannot be exported.
        MissingExtraError: onnxscript is not installed.
    """
    with extra("export", "the export of a model"):
        import onnxscript  # noqa: F401 - torch's exporter needs it
    shapes = tuple(map(_free_axes, given.inputs)) if given.dynamic_shapes is None else given.dynamic_shapes
    options: dict[str, Any] = {"dynamo": True, "opset_version": OPSET, "verbose": False}
    with evaluation_mode(model), _accelerated(model), _silent():
        _refuse_wrong_layers(model)
        try:
            program = torch.onnx.export(model, given.inputs, dynamic_shapes=shapes, **options)
        except Exception as error:
            raise _reason(error) from error
    assert program is not None
    graph: onnx.ModelProto = program.model_proto
    return graph


def model_parity(model: nn.Module, path: Path, given: ModelInputs, precision: str) -> list[ParityRow]:
    """Compare `whole.onnx` with the model, on the example and on inputs of other sizes where axes are free."""
    session = OnnxSession(path)
    rows = []
    for title, inputs in model_cases(given, onnx.load(path, load_external_data=False)):
        feeds = dict(zip(session.inputs, (each.numpy() for each in _flat(inputs)), strict=True))
        with _takes(title), evaluation_mode(model):
            expected = _flat(model(*inputs))
        with _takes(title):
            outputs = session.run(feeds)
        if len(outputs) != len(expected):
            raise ExportError(
                "the graph has another number of outputs than the model",
                should=f"{len(expected)} tensors",
                found=str(len(outputs)),
            )
        triples = zip(session.outputs, expected, outputs, strict=True)
        rows += [
            compare(f"{name} of {path.name}", title, before.numpy(), after, BOUNDS[precision], least_size=LEAST_SIZE)
            for name, before, after in triples
        ]
    return rows


def fixed_axes(graph: onnx.ModelProto) -> tuple[str, ...]:
    """Return a remark for each input of a graph that names its axes of fixed size among the first two."""
    remarks = []
    for each in graph.graph.input:
        axes = list(each.type.tensor_type.shape.dim)[:2]
        sizes = [f"axis {place} is {axis.dim_value}" for place, axis in enumerate(axes) if not axis.dim_param]
        if sizes:
            remarks.append(f"the input {each.name} has a fixed size: {', '.join(sizes)}")
    return tuple(remarks)


@contextlib.contextmanager
def _takes(title: str) -> Iterator[None]:
    """Make one message of what a model or its graph raises on inputs of sizes that the graph leaves free."""
    try:
        yield
    except Exception as error:  # whatever the user's own code raises
        reason = (error.found if isinstance(error, ElmanError) else None) or first_line(error)
        raise ExportError(
            f"the model or its graph does not run on inputs of sizes that the graph leaves free ({title})",
            should="a model that takes any size of these axes", found=reason,
            hint="dynamic_shapes, which names the free axes of each input: ({},) for one input and none",
        ) from error  # fmt: skip


def model_cases(given: ModelInputs, graph: onnx.ModelProto) -> Iterator[tuple[str, Any]]:
    """Yield the example, and inputs of two other sizes of every axis that is free in the graph.

    Whole numbers keep their range, so that they stay symbols and lengths: they are repeated or cut.
    """
    yield "the example", given.inputs
    axes = [[axis.dim_param for axis in each.type.tensor_type.shape.dim] for each in graph.graph.input]
    names = sorted({name for each in axes for name in each if name})
    rng = np.random.default_rng(SEED)
    for change in (-1, 4) if names else ():
        tensors = _flat(given.inputs)
        sizes = {
            name: max(1, int(size) + change)
            for tensor, each in zip(tensors, axes, strict=True)
            for name, size in zip(each, tensor.shape, strict=True)
            if name
        }
        resized = iter([_resized(tensor, each, sizes, rng) for tensor, each in zip(tensors, axes, strict=True)])
        yield ", ".join(f"{name} = {size}" for name, size in sizes.items()), _rebuilt(given.inputs, resized)


def _free_axes(value: Any) -> Any:
    """Return an input's axes for `torch.export`: the first two of each tensor are free where the model allows it."""
    if isinstance(value, Tensor):
        return dict.fromkeys(range(min(2, value.dim())), torch.export.Dim.AUTO)
    if isinstance(value, tuple | list):
        return type(value)(map(_free_axes, value))
    return {name: _free_axes(each) for name, each in value.items()} if isinstance(value, dict) else None


def _refuse_wrong_layers(model: nn.Module) -> None:
    """Check that no layer is left to torch's exporter that it writes wrongly."""
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.RNNBase) or isinstance(layer, Recurrent):
            continue
        if isinstance(layer, nn.RNN) or layer.proj_size:
            raise ExportError(
                f"the layer {name} cannot be exported to ONNX inside a model",
                should="a layer without a projection, and a plain network that elman.accelerate takes",
                found=repr(layer),
                hint="elman.export of the layer alone",
            )


def _resized(tensor: Tensor, axes: Sequence[str], sizes: dict[str, int], rng: np.random.Generator) -> Tensor:
    shape = tuple(sizes.get(name, size) for name, size in zip(axes, tensor.shape, strict=True))
    if tensor.is_floating_point():
        return torch.from_numpy(rng.standard_normal(shape)).to(tensor.dtype)
    array: Array = tensor.numpy()
    for axis, size in enumerate(shape):
        array = np.take(array, np.arange(size) % max(1, array.shape[axis]), axis)
    largest = min(sizes.values())  # lengths of the example may be longer than the new sequences
    return torch.from_numpy(
        np.minimum(array, max(largest, 1)) if array.ndim == 1 and array.dtype != np.bool_ else array
    )


def _flat(values: Any) -> list[Tensor]:
    leaves, _ = torch.utils._pytree.tree_flatten(values)
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _rebuilt(inputs: tuple[Any, ...], tensors: Iterator[Tensor]) -> Any:
    return torch.utils._pytree.tree_map(lambda leaf: next(tensors) if isinstance(leaf, Tensor) else leaf, inputs)


@contextlib.contextmanager
def _accelerated(model: nn.Module) -> Iterator[None]:
    """Let torch.nn's layers in a model be elman's for the time of the export, which writes those as operators."""
    swapped = accelerate(model).swapped
    try:
        yield
    finally:
        for layer in dict.fromkeys(swapped.values()):
            decelerate(layer)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep what torch's exporter says of itself from the user."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _reason(error: BaseException) -> ElmanError:
    """Return the message of elman's that an error of torch's exporter is about, or one for the error."""
    cause: BaseException | None = error
    last = error
    while cause is not None:
        if isinstance(cause, ElmanError):
            return cause
        last, cause = cause, cause.__cause__ or cause.__context__
    return ExportError(
        "torch's exporter cannot write the model",
        should="operations that torch.export and ONNX have, and inputs of the shapes that dynamic_shapes names",
        found=first_line(last),
        hint="torch.onnx.export(model, inputs, dynamo=True, report=True) tells more",
    )
