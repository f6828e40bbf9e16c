"""The export of a classifier: sequences to calibrated probabilities, tags or a number, whole and step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch

from elman.exporters.applications.application import (
    NO_DATA,
    VALIDATION_INPUTS,
    Application,
    Comparison,
    finished,
    outputs,
    validation_data,
)
from elman.exporters.applications.blocks import (
    array,
    last_output,
    linear,
    recurrent,
    recurrent_step,
    scalar,
    states_of,
    unsqueezed,
)
from elman.exporters.applications.input_layers import INPUT_LAYERS
from elman.exporters.applications.pooling import POOLINGS
from elman.exporters.onnx.graph import GraphBuilder, value
from elman.exporters.onnx.runtime import OnnxSession
from elman.exporters.parity import ParityRow
from elman.exporters.stack import Array, stack_of
from elman.predictors.classifier import ClassificationPredictor

READING = ("pixel_order", "image_size", "colour", "crop", "keep_mean_frame", "time_range", "sample_rate", "mel_bands",
           "trim_silence", "max_seconds", "encoding")  # fmt: skip
"""The settings of the reader that the programs read."""

PROGRAMS = {
    "classify_text": "TextClassifier",
    "classify_numbers": "SeriesClassifier",
    "classify_pixels": "PixelClassifier",
}
"""The class of the program by its name."""

STREAMED = 3
"""Examples of a kind that are compared step by step."""

MOST_NUMBERS = 1 << 24
"""In the validation examples that are compared."""

BIDIRECTIONAL = "no step.onnx: the scores of bidirectional layers depend on all later steps"


def application(predictor: ClassificationPredictor, precision: str) -> Application:
    """Return the export of a classifier."""
    form, labels, encoder = predictor.form, predictor.form.labels, predictor.encoder
    data, streams = validation_data(predictor), not predictor.model.encoder.recurrent.bidirectional
    graphs = {"whole": _whole(predictor, precision), **({"step": _step(predictor, precision)} if streams else {})}
    reading = {name: getattr(predictor.reader_options, name) for name in READING}
    vocabulary = None if encoder is None else encoder.vocabulary
    remarks = [*([] if data else [NO_DATA]), *([] if streams else [BIDIRECTIONAL])]
    program = "classify_text" if encoder else "classify_pixels" if _has_pixels(predictor, data) else "classify_numbers"
    readers = ("av" if form.kind == "frames" else "Pillow",) if program == "classify_pixels" else ()
    if vocabulary is not None and vocabulary.kind == "bpe":
        readers = ("tokenizers",)
    return Application(
        program,
        graphs,
        _units(predictor),
        lambda comparison: _compare(predictor, data, streams, comparison),
        facts={
            "step": {"kind": form.kind, "shape": form.shape, "reader": form.reader, **reading},
            "symbols": None if vocabulary is None else {"kind": vocabulary.kind, "unknown": len(vocabulary)},
            "initial_states": _initial_states(predictor) if streams else None,
        },
        files={
            "labels.json": {"target": labels.target, "classes": labels.classes},
            **({} if vocabulary is None else {vocabulary.filename: vocabulary.to_json()}),
        },
        requires=readers,
        remarks=tuple(remarks),
    )


def _has_pixels(predictor: ClassificationPredictor, data: Any) -> bool:
    """Return whether the steps are bytes; a run of an earlier version tells by its data, its reader or its one mean."""
    form = predictor.form
    if form.content or form.reader in ("digits", "idx"):
        return form.content == "pixels" or form.reader in ("digits", "idx")
    if form.kind == "frames" or data is None:
        return form.kind == "frames" or (len(form.mean) == 1 and form.shape != (1,))
    return bool(data.input.values.dtype == np.uint8)


def _units(predictor: ClassificationPredictor) -> dict[str, str]:
    labels, stack = predictor.form.labels, stack_of(predictor.model.encoder.recurrent)
    pooling = POOLINGS[type(predictor.model.encoder.pooling)]
    kinds = {
        "class": "calibrated probability of each class",
        "classes": "calibrated probability that a class applies, for each class",
        "tags": "calibrated probability of each tag at each step",
        "number": "the number, in the unit of the training labels",
    }
    units = {
        "symbols": f"token ids; {predictor.encoder.unknown if predictor.encoder else 0} is an unknown symbol",
        "features": "numbers as in the files",
        "frames": "pixels from 0 to 255",
    }
    names = [*states_of(stack), *pooling.states]
    return {
        "x": units[predictor.form.kind],
        "lengths": "steps of each sequence",
        "y": kinds[labels.target],
        **dict.fromkeys(names, "state before"),
        **{f"{name}_n": "state after" for name in names},
    }


def _input(predictor: ClassificationPredictor, axes: Sequence[str]) -> onnx.ValueInfoProto:
    form = predictor.form
    dtype = "int64" if form.kind == "symbols" else "float64" if form.offset else "float32"
    return value("x", (*axes, *form.shape), dtype)


def _encoded(graph: GraphBuilder, predictor: ClassificationPredictor, x: str) -> str:
    """Return the vectors of the input layer, after the recentring of numbers in float64."""
    form, module = predictor.form, predictor.model.front
    if form.offset:
        x = graph.add("Sub", x, graph.constant(form.offset, np.float64))
        x = graph.add("Div", x, graph.constant(form.unit, np.float64))
        x = graph.add("Cast", x, to=onnx.TensorProto.FLOAT)
    return INPUT_LAYERS[type(module)](graph, module, x)


def _answer(graph: GraphBuilder, predictor: ClassificationPredictor, features: str) -> str:
    """Return probabilities, or the number in its unit, from the vectors before the output layer."""
    labels, scores = predictor.form.labels, linear(graph, predictor.model.output, features)
    if labels.target == "number":
        number = graph.add("Cast", scores, to=onnx.TensorProto.DOUBLE)
        number = graph.add("Mul", number, graph.constant(labels.deviation, np.float64))
        return graph.add("Add", number, graph.constant(labels.mean, np.float64))
    scores = graph.add("Div", scores, scalar(graph, predictor.temperature))
    return graph.add("Sigmoid", scores) if labels.target == "classes" else graph.add("Softmax", scores, axis=-1)


def _described(predictor: ClassificationPredictor, y: str, axes: Sequence[str], graph: GraphBuilder) -> list[Any]:
    labels = predictor.form.labels
    described = outputs(graph, {"y": (y, (*axes, labels.outputs))})
    return described if labels.target != "number" else [value("y", (*axes, 1), "float64")]


def _whole(predictor: ClassificationPredictor, precision: str) -> onnx.ModelProto:
    graph, model = GraphBuilder(precision), predictor.model
    layers: Any = model.encoder.recurrent
    y_TBF, states = recurrent(graph, layers, _encoded(graph, predictor, "x"), lengths="lengths")
    if not model.per_step:
        last = last_output(graph, states, layers.num_directions)
        pooling = model.encoder.pooling
        y_TBF = POOLINGS[type(pooling)].whole(graph, pooling, y_TBF, "lengths", last)
    axes = ("T", "B") if model.per_step else ("B",)
    results = _described(predictor, _answer(graph, predictor, y_TBF), axes, graph)
    return finished(graph, "whole", [_input(predictor, ("T", "B")), value("lengths", ("B",), "int32")], results)


def _step(predictor: ClassificationPredictor, precision: str) -> onnx.ModelProto:
    graph, model = GraphBuilder(precision), predictor.model
    layers: Any = model.encoder.recurrent
    stack, pooling = stack_of(layers), POOLINGS[type(model.encoder.pooling)]
    x_BI = graph.add("Squeeze", _encoded(graph, predictor, unsqueezed(graph, "x", 0)), graph.constant([0]))
    y_BF, states = recurrent_step(graph, layers, x_BI, stack.states)
    after: list[str] = []
    if not model.per_step:
        y_BF, after = pooling.step(graph, model.encoder.pooling, y_BF, list(pooling.states))
    results = _described(predictor, _answer(graph, predictor, y_BF), ("B",), graph)
    shapes: dict[str, tuple[int | str, ...]] = states_of(stack)
    if not model.per_step:
        shapes |= {name: ("B", width or stack.output_size) for name, (width, _) in pooling.states.items()}
    pairs = zip(shapes, [*states, *after], strict=True)
    results += outputs(graph, {f"{name}_n": (result, shapes[name]) for name, result in pairs})
    inputs = [_input(predictor, ("B",)), *[value(name, shape) for name, shape in shapes.items()]]
    return finished(graph, "step", inputs, results)


def _initial_states(predictor: ClassificationPredictor) -> dict[str, Any]:
    """Return the states before the first step of one sequence, with their axis B."""
    stack = stack_of(predictor.model.encoder.recurrent)
    states = dict(zip(stack.states, (rows.tolist() for rows in stack.initial_states(1)), strict=True))
    if not predictor.model.per_step:
        pooling = POOLINGS[type(predictor.model.encoder.pooling)]
        states |= {name: [[first] * (width or stack.output_size)] for name, (width, first) in pooling.states.items()}
    return states


def _compare(predictor: ClassificationPredictor, data: Any, streams: bool, comparison: Comparison) -> list[ParityRow]:
    """Compare the answers to validation examples and random ones, alone, in a batch, and step by step."""
    whole = comparison.session("whole")
    step = comparison.session("step") if streams else None
    program = getattr(comparison.program, PROGRAMS[comparison.program.__name__.rpartition(".")[2]])(comparison.folder)
    dtype = {"symbols": np.int64}.get(predictor.form.kind, np.float64 if predictor.form.offset else np.float32)
    rows, per_step = [], predictor.model.per_step
    for title, examples in _examples(predictor, data).items():
        originals = [_original(predictor, each) for each in examples]
        inputs = [_in_files(predictor, each).astype(dtype) for each in examples]
        lengths = np.array(list(map(len, inputs)), np.int32)
        padded = np.zeros((lengths.max(), len(inputs), *inputs[0].shape[1:]), dtype)
        for n, x in enumerate(inputs):
            padded[: len(x), n] = x
        (y,) = whole.run({"x": padded, "lengths": lengths})
        for n, (original, x) in enumerate(zip(originals, inputs, strict=True)):
            named = f"{title}, T = {len(x)}"
            own = y[: lengths[n], n] if per_step else y[n : n + 1]
            rows.append(comparison.numbers("y of whole.onnx, in a batch", named, original, own))
            (alone,) = whole.run({"x": x[:, None], "lengths": lengths[n : n + 1]})
            alone = alone[:, 0] if per_step else alone
            rows.append(comparison.numbers("y of whole.onnx", named, original, alone))
            if step is not None and n < STREAMED:
                rows.append(comparison.numbers("y of step.onnx", named, original, _streamed(predictor, step, x)))
        answers = [predictor.answer_to("", torch.from_numpy(each)).fields for each in examples]
        pairs = [[_texts(each) for each in group] for group in (answers, [program.answer(x) for x in inputs])]
        rows += comparison.texts(title, *pairs)
    return rows


def _examples(predictor: ClassificationPredictor, data: Any) -> dict[str, list[Array]]:
    """Return random sequences and those of the validation, as the model reads them."""
    form, rng = predictor.form, np.random.default_rng(1)
    examples: list[Array] = []
    for T in (1, 2, 17):
        if predictor.encoder:
            examples.append(rng.integers(0, predictor.encoder.size, T).astype(np.int32))
        else:
            mean, deviation = np.asarray(form.mean, np.float64), np.asarray(form.deviation, np.float64)
            examples.append((mean + deviation * rng.standard_normal((T, *form.shape))).astype(np.float32))
    if data is None:
        return {"random input": examples}
    chosen = [np.array(data.input[int(n)]) for n in data.chosen[:VALIDATION_INPUTS]]
    fitting = np.cumsum([each.size for each in chosen]) <= MOST_NUMBERS
    return {"random input": examples, "validation data": chosen[: max(1, int(fitting.sum()))]}


def _in_files(predictor: ClassificationPredictor, steps: Array) -> Array:
    """Return steps as the files have them: the inverse of the recentring."""
    form = predictor.form
    restored: Array = steps * np.asarray(form.unit) + np.asarray(form.offset) if form.offset else steps
    return restored


@torch.no_grad()
def _original(predictor: ClassificationPredictor, steps: Array) -> Array:
    """Return what a graph should give for one sequence, (1, C), or (T, C) of tags."""
    labels, scores = predictor.form.labels, predictor.model(torch.from_numpy(steps)[:, None])
    scores = (scores[:, 0] if predictor.model.per_step else scores).double()
    if labels.target == "number":
        return array(scores * labels.deviation + labels.mean)
    scores = scores / predictor.temperature
    return array(scores.sigmoid() if labels.target == "classes" else scores.softmax(1))


def _streamed(predictor: ClassificationPredictor, session: OnnxSession, x: Array) -> Array:
    """Return what the step graph gives after the last step, or of tags after each."""
    initial = _initial_states(predictor)
    states = {name: np.array(rows, np.float32) for name, rows in initial.items()}
    results = []
    for step in x:
        y, *after = session.run({"x": step[None], **states})
        states = dict(zip(states, after, strict=True))
        results.append(y)
    return np.concatenate(results if predictor.model.per_step else results[-1:])


def _texts(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the labels of an answer, without its numbers."""
    return {name: fields[name] for name in ("label", "labels", "tags") if name in fields}
