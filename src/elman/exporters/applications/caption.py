"""The export of a captioner: an encoder of images, and one step of the decoder."""

from __future__ import annotations

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
from elman.exporters.applications.attention import SCORES, attend
from elman.exporters.applications.blocks import array, embedding, linear, recurrent_step, softmax_logits, state_parts
from elman.exporters.applications.decoder import DecoderLayers, vocabulary_facts
from elman.exporters.applications.image_encoders import IMAGE_ENCODERS
from elman.exporters.onnx.graph import GraphBuilder, value
from elman.exporters.parity import ParityRow
from elman.exporters.stack import Array, stack_of
from elman.predictors.captioner import MAX_SYMBOLS, CaptionPredictor
from elman.predictors.options import CaptionOptions

SUPPRESSED = -1e9  # the logit of a symbol that is never predicted

STEPS = 6
"""Symbols of a decoder that are compared."""


def application(predictor: CaptionPredictor, precision: str) -> Application:
    """Return the export of a captioner."""
    layers, vocabulary, data = _layers(predictor), predictor.vocabulary, validation_data(predictor)
    pixels = len(predictor.shape) == 3
    return Application(
        "caption",
        {"encoder": _encoder(predictor, layers, precision), "step": _step(predictor, layers, precision)},
        {
            "images": "red, green and blue of each pixel, 0 to 255" if pixels else "features of the regions",
            "memory": "encoded regions",
            "keys": "keys of the attention",
            "x": "the last token id of each caption, which begins with the end symbol",
            "y": "logits of the next symbol; the last one ends the caption",
            "attention": "weight of each region, row by row",
            **layers.units(),
        },
        lambda comparison: _compare(predictor, data, comparison),
        facts={
            "caption": {
                "symbols": {**vocabulary_facts(vocabulary), "file": vocabulary.filename},
                "shape": predictor.shape,
                "longest": MAX_SYMBOLS * (6 if vocabulary.kind == "characters" else 1),
                "length_penalty": CaptionOptions().length_penalty,
            }
        },
        files={vocabulary.filename: vocabulary.to_json()},
        requires=(*(("Pillow",) if pixels else ()), *(("tokenizers",) if vocabulary.kind == "bpe" else ())),
        remarks=() if data is not None else (NO_DATA,),
    )


def _layers(predictor: CaptionPredictor) -> DecoderLayers:
    model = predictor.model
    return DecoderLayers(stack_of(model.lower), None if model.upper is None else stack_of(model.upper))


def _encoder(predictor: CaptionPredictor, layers: DecoderLayers, precision: str) -> onnx.ModelProto:
    graph, model = GraphBuilder(precision), predictor.model
    memory = IMAGE_ENCODERS[type(model.seeing)](graph, model.seeing, "images")
    memory = graph.add("Add", memory, graph.weight("place", array(model.place)))
    glance = graph.add("Relu", linear(graph, model.glance, memory))
    mean = graph.add("ReduceMean", glance, graph.constant([1]), keepdims=0)
    initial = layers.initial(graph, graph.add("Tanh", linear(graph, model.bridge, mean)))
    described: dict[str, tuple[str, tuple[int | str, ...]]] = {}
    if model.attention is not None:
        S, M = model.place.shape
        described["memory"] = (memory, ("B", S, M))
        described["keys"] = (linear(graph, model.attention.key, memory), ("B", S, model.lower.hidden_size))
    parts = zip(layers.shapes().items(), initial, strict=True)
    described |= {name: (part, shape) for (name, shape), part in parts}
    return finished(graph, "encoder", [value("images", ("B", *predictor.shape))], outputs(graph, described))


def _step(predictor: CaptionPredictor, layers: DecoderLayers, precision: str) -> onnx.ModelProto:
    graph, model = GraphBuilder(precision), predictor.model
    inputs, names, count = [value("x", ("B",), "int64")], layers.names, model.states
    d, after = recurrent_step(graph, model.lower, embedding(graph, model.embedding.weight, "x"), names[:count])
    attention: dict[str, tuple[str, tuple[int | str, ...]]] = {}
    if model.attention is not None and model.upper is not None:
        S, M = model.place.shape
        inputs += [value("memory", ("B", S, M)), value("keys", ("B", S, model.lower.hidden_size))]
        scores = SCORES[type(model.attention)](graph, model.attention, d, "keys")
        a, weights = attend(graph, scores, "memory", None)
        s, upper = recurrent_step(graph, model.upper, graph.add("Concat", d, a, axis=1), names[count:])
        d, after = graph.add("Concat", s, a, axis=1), [*after, *upper]
        attention["attention"] = (weights, ("B", S))
    readout = graph.add("Tanh", linear(graph, model.readout, d))
    y = softmax_logits(graph, model.output, readout)
    if model.suppressed:
        mask = np.zeros(model.boundary + 1, np.bool_)
        mask[model.suppressed] = True
        y = graph.add("Where", graph.constant(mask, np.bool_), graph.constant(SUPPRESSED, np.float32), y)
    described: dict[str, tuple[str, tuple[int | str, ...]]] = {"y": (y, ("B", model.boundary + 1))}
    parts = zip(layers.shapes("_n").items(), after, strict=True)
    described |= {name: (part, shape) for (name, shape), part in parts}
    return finished(graph, "step", [*inputs, *layers.inputs()], outputs(graph, {**described, **attention}))


def _compare(predictor: CaptionPredictor, data: Any, comparison: Comparison) -> list[ParityRow]:
    """Compare the encoder, the decoder's steps in a batch, and the captions of the program."""
    encoder, step = (comparison.session(name) for name in ("encoder", "step"))
    rng, model, rows = np.random.default_rng(1), predictor.model, []
    shape = (3, *predictor.shape)
    images: Array = rng.integers(0, 256, shape).astype(np.uint8)
    if len(shape) == 3:
        images = rng.normal(0, 1, shape).astype(np.float32)
    title = "random images"
    if data is not None:
        title = "random and validation images"
        images = np.concatenate([images, np.array(data.values[:VALIDATION_INPUTS])])
    target = rng.integers(0, model.boundary + 1, (STEPS, len(images)))
    with torch.no_grad():
        memory = model.encode(torch.from_numpy(images))
        state = model.initial_state(memory)
        seen = [] if state.keys_NSQ is None else [state.memory_NSM, state.keys_NSQ]
        upper = () if state.upper is None else state_parts(state.upper)
        originals = [*seen, *state_parts(state.lower), *upper]
        exported = encoder.run({"images": images.astype(np.float32)})
        for name, original, actual in zip(encoder.outputs, originals, exported, strict=True):
            rows.append(comparison.numbers(f"{name} of encoder.onnx", title, original.numpy(), actual))
        values = dict(zip(encoder.outputs, exported, strict=True))
        for ids in target:
            logits, state = model.step(torch.from_numpy(ids), state)
            results = dict(zip(step.outputs, step.run({"x": ids, **values}), strict=True))
            values |= {name: results[f"{name}_n"] for name in values if f"{name}_n" in results}
            known = np.setdiff1d(np.arange(model.boundary + 1), model.suppressed)
            rows.append(comparison.numbers("y of step.onnx", title, logits.numpy()[:, known], results["y"][:, known]))
        best = predictor.search(memory, CaptionOptions())
    program = comparison.program.ImageCaptioner(comparison.folder)
    texts = [program.caption(image)["caption"] for image in images]
    return [*rows, *comparison.texts(title, [predictor.text(each[0]) for each in best], texts)]
