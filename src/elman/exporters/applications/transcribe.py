"""The export of a transcriber of sound: features, the acoustic model, and for a streaming one its steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch

from elman.errors import ExportError
from elman.exporters.applications.application import (
    NO_DATA,
    VALIDATION_INPUTS,
    Application,
    Comparison,
    finished,
    initial_rows,
    outputs,
    validation_data,
)
from elman.exporters.applications.blocks import (
    array,
    existing_steps,
    linear,
    positive_length,
    recurrent,
    scalar,
    size,
    state_inputs,
    states_of,
    unsqueezed,
)
from elman.exporters.applications.decoder import vocabulary_facts
from elman.exporters.applications.sound import causal_convolution, gain_control, log_mel_graph
from elman.exporters.onnx.graph import GraphBuilder, value
from elman.exporters.onnx.runtime import OnnxSession
from elman.exporters.parity import ParityRow, compare
from elman.exporters.stack import Array, stack_of
from elman.models.transcriber import EPSILON
from elman.predictors.transcriber import TranscriptionPredictor

FEATURE_BOUND = 2e-3
"""Of features, which float16 rounds: a last digit of some of them may differ."""

REMARKS = (
    "predict.py does not cut long recordings at their pauses and searches no beam; it refuses the former",
    "predict.py gives no times_reliable and no notes",
)


def application(predictor: TranscriptionPredictor, precision: str) -> Application:
    """Return the export of a transcriber.

    Raises:
        ExportError: the run is on video, or its vocabulary is of an earlier version.
    """
    vocabulary, model = predictor.vocabulary, predictor.model
    features: Any = predictor.features
    if not hasattr(features, "rate"):
        raise ExportError(
            "a transcriber of video is not exported",
            should="a run on sound",
            found="a run on video, whose features are those of lips that are searched by their motion",
            hint="export its network alone: elman.export(elman.load(run).model, path, inputs=(features, lengths))",
        )
    if vocabulary.kind == "bpe" and not len(vocabulary.never_written):
        raise ExportError(
            "a vocabulary of an earlier version is not exported",
            should="byte pairs with characters",
            found="byte pairs of bytes",
            hint="train again with this version",
        )
    data, stack = validation_data(predictor), stack_of(model.recurrent)
    graphs = {"features": _features(predictor), "whole": _whole(predictor, precision)}
    if model.streaming:
        graphs["step"] = _step(predictor, precision)
    K = model.front.kernel - model.front.stride
    return Application(
        "transcribe",
        graphs,
        {
            "samples": f"samples at {features.rate} Hz, full scale from -1 to 1",
            "features": "natural logarithms of mel energies, a step each 10 ms",
            "x": "features; of step.onnx any number of times the stride",
            "lengths": "steps of each sequence",
            "y": "log p of the blank and of each symbol",
            "front": f"the last {K} steps of the scaled features, zeros at first",
            "front_n": f"the last {K} steps of the scaled features",
            "level": "running level of the sound, nan at first",
            "level_n": "running level of the sound",
            **dict.fromkeys(states_of(stack), "state before"),
            **dict.fromkeys(states_of(stack, ending="_n"), "state after"),
        },
        lambda comparison: _compare(predictor, data, comparison),
        facts={
            "transcription": {
                "symbols": {**vocabulary_facts(vocabulary), "file": vocabulary.filename},
                "sample_rate": features.rate,
                "max_seconds": features.longest,
                "trim": features.trim,
                "norm": predictor.norm,
                "stride": model.stride,
                "longest": 0 if model.streaming else predictor.decoder.longest,
            },
            "initial_states": initial_rows(stack) if model.streaming else None,
        },
        files={vocabulary.filename: vocabulary.to_json()},
        requires=("soundfile", "scipy", *(("tokenizers",) if vocabulary.kind == "bpe" else ())),
        remarks=(*REMARKS, *(() if data is not None else (NO_DATA,))),
    )


def _features(predictor: TranscriptionPredictor) -> onnx.ModelProto:
    features: Any = predictor.features
    filters, floor = features.filterbank()
    return log_mel_graph(filters, features.rate, floor)


def _scaled(graph: GraphBuilder, predictor: TranscriptionPredictor, x_TBI: str, level: str) -> tuple[str, str]:
    """Return features by the scale of the training data, and the running level after them."""
    model = predictor.model
    if model.gain_control is not None:
        x_TBI, level = gain_control(graph, x_TBI, level)
    centred = graph.add("Sub", x_TBI, graph.constant(array(model.mean_I), np.float32))
    return graph.add("Div", centred, graph.constant(array(model.deviation_I), np.float32)), level


def _whole(predictor: TranscriptionPredictor, precision: str) -> onnx.ModelProto:
    graph, model = GraphBuilder(precision), predictor.model
    exists = unsqueezed(graph, existing_steps(graph, "x", "lengths"), 2)
    zero = scalar(graph, 0)
    if model.utterance_norm:
        count_B1 = positive_length(graph, "lengths")
        mean = graph.add("Div", _total(graph, graph.add("Where", exists, "x", zero)), count_B1)
        x = graph.add("Where", exists, graph.add("Sub", "x", mean), zero)
        variance = graph.add("Div", _total(graph, graph.add("Mul", x, x)), count_B1)
        x = graph.add("Div", x, graph.add("Sqrt", graph.add("Add", variance, scalar(graph, EPSILON))))
    else:
        none = graph.add("Expand", scalar(graph, float("nan")), size(graph, "x", 1))
        x = graph.add("Where", exists, _scaled(graph, predictor, "x", none)[0], zero)
    I, K = len(model.mean_I), model.front.kernel - model.front.stride
    shape = graph.add("Concat", graph.constant([K]), size(graph, "x", 1), graph.constant([I]), axis=0)
    z, _ = causal_convolution(graph, model.front, x, graph.add("Expand", zero, shape))
    steps = graph.add("Div", "lengths", graph.constant(model.stride, np.int32))
    s, _ = recurrent(graph, model.recurrent, graph.add("Relu", z), lengths=steps)
    y = graph.add("LogSoftmax", linear(graph, model.output, s), axis=-1)
    inputs = [value("x", ("T", "B", I)), value("lengths", ("B",), "int32")]
    return finished(graph, "whole", inputs, outputs(graph, {"y": (y, ("S", "B", model.output.out_features))}))


def _step(predictor: TranscriptionPredictor, precision: str) -> onnx.ModelProto:
    graph, model = GraphBuilder(precision), predictor.model
    stack, I, K = stack_of(model.recurrent), len(model.mean_I), model.front.kernel - model.front.stride
    inputs = [value("x", ("T", "B", I)), value("front", (K, "B", I)), *state_inputs(stack)]
    inputs += [value("level", ("B",))] if model.gain_control is not None else []
    x, level = _scaled(graph, predictor, "x", "level")
    z, front = causal_convolution(graph, model.front, x, "front")
    s, after = recurrent(graph, model.recurrent, graph.add("Relu", z), list(stack.states))
    y = graph.add("LogSoftmax", linear(graph, model.output, s), axis=-1)
    described: dict[str, tuple[str, tuple[int | str, ...]]] = {"y": (y, ("S", "B", model.output.out_features))}
    described["front_n"] = (front, (K, "B", I))
    parts = zip(states_of(stack, ending="_n").items(), after, strict=True)
    described |= {name: (part, shape) for (name, shape), part in parts}
    if model.gain_control is not None:
        described["level_n"] = (level, ("B",))
    return finished(graph, "step", inputs, outputs(graph, described))


def _total(graph: GraphBuilder, x_TBI: str) -> str:
    return graph.add("ReduceSum", x_TBI, graph.constant([0]), keepdims=0)


def _compare(predictor: TranscriptionPredictor, data: Any, comparison: Comparison) -> list[ParityRow]:
    """Compare features of noise and tones, the acoustic model, its steps, and the texts of the program."""
    features, whole = (comparison.session(name) for name in ("features", "whole"))
    rng, model, rows = np.random.default_rng(1), predictor.model, []
    extractor: Any = predictor.features
    rate, I = extractor.rate, len(model.mean_I)
    time = np.arange(rate) / rate
    noise = rng.normal(0, 0.1, rate)
    sounds = {"noise": noise, "a tone": 0.3 * np.sin(440 * 2 * np.pi * time) + 0.01 * noise}
    sounds |= {"clicks": np.eye(1, rate, rate // 2)[0], "7 samples": rng.normal(0, 0.1, 7)}
    for title, sound in sounds.items():
        samples = sound.astype(np.float32)
        original = extractor.of_samples(samples).astype(np.float16)
        (actual,) = features.run({"samples": samples})
        rows.append(compare("features of features.onnx", title, original, actual, FEATURE_BOUND))
    inputs = [rng.normal(-5, 3, (T, I)).astype(np.float32) for T in (model.stride, 40, 101)]
    title = "random features"
    if data is not None:
        title = "random and validation features"
        inputs += [data.input[n].astype(np.float32) for n in range(min(len(data), VALIDATION_INPUTS))]
    lengths = np.array(list(map(len, inputs)))
    x = np.zeros((lengths.max(), len(inputs), I), np.float32)
    for n, each in enumerate(inputs):
        x[: len(each), n] = each
    with torch.no_grad():
        logits, steps = model(torch.from_numpy(x), torch.from_numpy(lengths))
    log_p = logits.log_softmax(2).numpy()
    (y,) = whole.run({"x": x, "lengths": lengths.astype(np.int32)})
    step = comparison.session("step") if model.streaming else None
    program, texts = comparison.program.SoundTranscriber(comparison.folder), []
    for n, count in enumerate(steps.tolist()):
        rows.append(comparison.numbers("y of whole.onnx", title, log_p[:count, n], y[:count, n]))
        if step is not None:
            streamed = _streamed(predictor, step, inputs[n])
            rows.append(comparison.numbers("y of step.onnx", title, log_p[:count, n], streamed))
        pieces = program.pieces([number for number, *_ in program.emissions(y[:count, n])])
        texts.append(" ".join("".join(pieces).split()))
    decoded = sorted(predictor.decoder.decode(inputs, cut=False), key=lambda each: each.number)
    originals = [predictor.text(each.timed) for each in decoded]
    return [*rows, *comparison.texts(title, originals, texts)]


def _streamed(predictor: TranscriptionPredictor, step: OnnxSession, x_TI: Array) -> Array:
    """Return what the step graph gives in chunks of many sizes, each a multiple of the stride."""
    model = predictor.model
    stack, stride = stack_of(model.recurrent), model.stride
    values = dict(zip(stack.states, stack.initial_states(1), strict=True))
    values["front"] = np.zeros((model.front.kernel - stride, 1, x_TI.shape[1]), np.float32)
    values["level"] = np.full(1, np.nan, np.float32)
    parts, begin, size = [], 0, stride
    while begin + stride <= len(x_TI):
        end = min(begin + size, len(x_TI) // stride * stride)
        results = dict(zip(step.outputs, step.run({"x": x_TI[begin:end, None], **values}), strict=True))
        values |= {name: results[f"{name}_n"] for name in values if f"{name}_n" in results}
        parts.append(results["y"][:, 0])
        begin, size = end, size + stride
    return np.concatenate(parts)
