"""The export of a translator: an encoder of sources, and one step of the decoder."""

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
from elman.exporters.applications.blocks import (
    embedding,
    linear,
    recurrent,
    recurrent_step,
    size,
    softmax_logits,
    state_parts,
)
from elman.exporters.applications.decoder import DecoderLayers, vocabulary_facts
from elman.exporters.onnx.graph import GraphBuilder, value
from elman.exporters.parity import ParityRow
from elman.exporters.stack import stack_of
from elman.predictors.options import TranslateOptions
from elman.predictors.translator import TranslationPredictor

LINES = ["a", "a b", "b a b a b a", "Ä ☃ 語", "x" * 40]
"""Lines that every export is compared on."""

STEPS = 8
"""Symbols of a decoder that are compared."""


def application(predictor: TranslationPredictor, precision: str) -> Application:
    """Return the export of a translator."""
    layers, data = _layers(predictor), validation_data(predictor)
    pair = {"source": predictor.vocabularies.source, "target": predictor.vocabularies.target}
    kinds = {vocabulary.kind for vocabulary in pair.values()}
    sides = {
        name: {**vocabulary_facts(vocabulary), "file": f"{name}-{vocabulary.filename}"}
        for name, vocabulary in pair.items()
    }
    return Application(
        "translate",
        {"encoder": _encoder(predictor, layers, precision), "step": _step(predictor, layers, precision)},
        {
            "x": "token ids: of sources, or the last of each translation, which begins with the end symbol",
            "lengths": "symbols of each source",
            "memory": "encoded sources",
            "keys": "keys of the attention",
            "fed": "last readout, zeros at first",
            "fed_n": "readout",
            "y": "logits of the next symbol; the last one ends the translation",
            "attention": "weight of each source symbol",
            **layers.units(),
        },
        lambda comparison: _compare(predictor, layers, data, comparison),
        facts={
            "translation": {
                **sides,
                "lowercase": predictor.lowercase,
                "max_symbols": TranslateOptions().max_symbols,
                "ratio": predictor.limits.ratio,
                "spare_symbols": predictor.limits.length(0),
                "repetitions": predictor.limits.repetitions,
            }
        },
        files={sides[name]["file"]: vocabulary.to_json() for name, vocabulary in pair.items()},
        requires=("tokenizers",) if "bpe" in kinds else (),
        remarks=() if data is not None else (NO_DATA,),
    )


def _layers(predictor: TranslationPredictor) -> DecoderLayers:
    return DecoderLayers(stack_of(predictor.model.lower), stack_of(predictor.model.upper))


def _encoder(predictor: TranslationPredictor, layers: DecoderLayers, precision: str) -> onnx.ModelProto:
    graph, model = GraphBuilder(precision), predictor.model
    weight = (model.source_embedding or model.target_embedding).weight[: model.source_size]
    m_SBM, states = recurrent(graph, model.encoder, embedding(graph, weight, "x", zero_beyond=True), lengths="lengths")
    ends = [
        graph.add("Gather", states[0], graph.constant(place), axis=0) for place in (-2, -1)
    ]  # of both directions of the last layer
    initial = graph.add("Tanh", linear(graph, model.bridge, graph.add("Concat", *ends, axis=1)))
    memory = graph.add("Transpose", m_SBM, perm=[1, 0, 2])
    keys = linear(graph, model.attention.key, memory)
    M, Q = model.encoder.output_size, model.lower.hidden_size
    described: dict[str, tuple[str, tuple[int | str, ...]]] = {"memory": (memory, ("B", "S", M))}
    described["keys"] = (keys, ("B", "S", Q))
    parts = zip(layers.shapes().items(), layers.initial(graph, initial), strict=True)
    described |= {name: (part, shape) for (name, shape), part in parts}
    if model.input_feeding:
        E = model.target_embedding.embedding_dim
        shape = graph.add("Concat", size(graph, "x", 1), graph.constant([E]), axis=0)
        described["fed"] = (graph.add("Expand", graph.constant(0, np.float32), shape), ("B", E))
    inputs = [value("x", ("S", "B"), "int64"), value("lengths", ("B",), "int32")]
    return finished(graph, "encoder", inputs, outputs(graph, described))


def _step(predictor: TranslationPredictor, layers: DecoderLayers, precision: str) -> onnx.ModelProto:
    graph, model = GraphBuilder(precision), predictor.model
    E, M, Q = model.target_embedding.embedding_dim, model.encoder.output_size, model.lower.hidden_size
    inputs = [value("x", ("B",), "int64"), value("memory", ("B", "S", M)), value("keys", ("B", "S", Q))]
    inputs += [value("lengths", ("B",), "int32"), *layers.inputs()]
    inputs += [value("fed", ("B", E))] if model.input_feeding else []
    e_BE = embedding(graph, model.target_embedding.weight, "x")
    names, count = layers.names, model.states
    read = graph.add("Concat", e_BE, "fed", axis=1) if model.input_feeding else e_BE
    d_BH, lower = recurrent_step(graph, model.lower, read, names[:count])
    scores = SCORES[type(model.attention)](graph, model.attention, d_BH, "keys")
    a_BM, weights = attend(graph, scores, "memory", "lengths")
    s_BH, upper = recurrent_step(graph, model.upper, graph.add("Concat", d_BH, a_BM, axis=1), names[count:])
    readout = graph.add("Tanh", linear(graph, model.readout, graph.add("Concat", s_BH, a_BM, axis=1)))
    described: dict[str, tuple[str, tuple[int | str, ...]]] = {
        "y": (softmax_logits(graph, model.output, readout), ("B", model.boundary + 1))
    }
    after = zip(layers.shapes("_n").items(), [*lower, *upper], strict=True)
    described |= {name: (part, shape) for (name, shape), part in after}
    if model.input_feeding:
        described["fed_n"] = (readout, ("B", E))
    described["attention"] = (weights, ("B", "S"))
    return finished(graph, "step", inputs, outputs(graph, described))


def _compare(
    predictor: TranslationPredictor, layers: DecoderLayers, data: Any, comparison: Comparison
) -> list[ParityRow]:
    """Compare the encoder, the decoder's steps in a batch, and the translations of the program."""
    encoder, step = (comparison.session(name) for name in ("encoder", "step"))
    rng, model, rows = np.random.default_rng(1), predictor.model, []
    sources = [rng.integers(0, model.source_size + 1, S) for S in (1, 2, 9)]
    lines, title = list(LINES), "random sources"
    if data is not None:
        title = "random and validation sources"
        sources += [np.asarray(data.source[n], np.int64) for n in range(min(len(data), VALIDATION_INPUTS))]
        lines += [predictor.vocabularies.source.decode(ids[ids < model.source_size]).strip() for ids in sources[3:]]
    lengths = np.array(list(map(len, sources)), np.int32)
    x = np.zeros((lengths.max(), len(sources)), np.int64)
    for n, source in enumerate(sources):
        x[: len(source), n] = source
    target = rng.integers(0, model.boundary + 1, (STEPS, len(sources)))
    with torch.no_grad():
        state = model.encode(torch.from_numpy(x), torch.from_numpy(lengths.astype(np.int64)))
        originals = [state.memory_BSM, state.keys_BSQ, *state_parts(state.lower), *state_parts(state.upper)]
        originals += [] if state.fed_BE is None else [state.fed_BE]
        readout, weights, _ = model.decode(torch.from_numpy(target), state)
        logits = model.output.logits(readout).numpy()
    exported = encoder.run({"x": x, "lengths": lengths})
    for name, original, actual in zip(encoder.outputs, originals, exported, strict=True):
        rows.append(comparison.numbers(f"{name} of encoder.onnx", title, original.numpy(), actual))
    values = dict(zip(encoder.outputs, exported, strict=True))
    for t, ids in enumerate(target):
        results = dict(zip(step.outputs, step.run({"x": ids, "lengths": lengths, **values}), strict=True))
        values |= {name: results[f"{name}_n"] for name in values if f"{name}_n" in results}
        rows.append(comparison.numbers("y of step.onnx", title, logits[t], results["y"]))
        original = weights.numpy()[:, t]
        rows.append(comparison.numbers("attention of step.onnx", title, original, results["attention"]))
    program = comparison.program.LineTranslator(comparison.folder)
    lines = [line for line in lines if line]
    answers = [answer.fields["translation"] for answer in predictor.answers(lines, **TranslateOptions().as_dict())]
    return [*rows, *comparison.texts("lines", answers, [program.translate(line)["translation"] for line in lines])]
