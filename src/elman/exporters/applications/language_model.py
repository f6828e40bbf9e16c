"""The export of a language model: symbols to logits, whole texts and step by step."""

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
    initial_rows,
    outputs,
    validation_data,
)
from elman.exporters.applications.blocks import (
    embedding,
    recurrent,
    recurrent_step,
    softmax_logits,
    state_inputs,
    states_of,
)
from elman.exporters.applications.decoder import vocabulary_facts
from elman.exporters.onnx.graph import GraphBuilder, value
from elman.exporters.parity import ParityRow
from elman.exporters.stack import LayerStack, stack_of
from elman.predictors.generator import LanguageModelPredictor

STEPS = 64  # symbols of a validation text, and of what is generated


def application(predictor: LanguageModelPredictor, precision: str) -> Application:
    """Return the export of a language model."""
    model, vocabulary = predictor.model, predictor.vocabulary
    stack = stack_of(model.recurrent)
    data = validation_data(predictor)
    units = {
        "x": f"token ids from 0 to {len(vocabulary) - 1}; a larger one is an unknown symbol",
        "y": "logits of the next symbol: unnormalised log-probabilities",
        **dict.fromkeys(states_of(stack), "state before"),
        **dict.fromkeys(states_of(stack, ending="_n"), "state after"),
    }
    graphs = {name: _graph(model, stack, precision, whole=name == "whole") for name in ("whole", "step")}
    return Application(
        "language_model",
        graphs,
        units,
        lambda comparison: _compare(predictor, stack, data, comparison),
        facts={
            "symbols": vocabulary_facts(vocabulary),
            "line_begin": predictor.line_begin(),
            "initial_states": initial_rows(stack),
        },
        files={vocabulary.filename: vocabulary.to_json()},
        requires=("tokenizers",) if vocabulary.kind == "bpe" else (),
        remarks=() if data else (NO_DATA,),
    )


def _graph(model: Any, stack: LayerStack, precision: str, *, whole: bool) -> onnx.ModelProto:
    graph = GraphBuilder(precision)
    e = embedding(graph, model.embedding.weight, "x", zero_beyond=True)
    step = recurrent if whole else recurrent_step
    s, after = step(graph, model.recurrent, e, stack.states)
    axes: tuple[int | str, ...] = ("T", "B") if whole else ("B",)
    described = {"y": (softmax_logits(graph, model.output, s), (*axes, model.embedding.num_embeddings))}
    shapes = states_of(stack, ending="_n").items()
    described |= {name: (state, shape) for (name, shape), state in zip(shapes, after, strict=True)}
    results = outputs(graph, described)
    inputs = [value("x", axes, "int64"), *state_inputs(stack)]
    return finished(graph, "whole" if whole else "step", inputs, results)


def _compare(
    predictor: LanguageModelPredictor, stack: LayerStack, data: Any, comparison: Comparison
) -> list[ParityRow]:
    """Compare logits and states of both graphs, and the texts of the program."""
    vocabulary = predictor.vocabulary
    whole, step = (comparison.session(name) for name in ("whole", "step"))
    rng, V = np.random.default_rng(1), len(vocabulary)
    cases = {f"random symbols, T = {T}, B = {B}": rng.integers(0, V + 2, (T, B)) for T, B in ((1, 1), (7, 3))}
    prompts = ["", vocabulary.decode(rng.integers(len(vocabulary.never_written), V, 8))]
    if data:
        tokens = data.token_ids[: 2 * STEPS * VALIDATION_INPUTS].astype(np.int64)
        cases["validation text"] = tokens[:STEPS, None]
        prompts += [vocabulary.decode(part) for part in np.array_split(tokens, VALIDATION_INPUTS) if (part < V).all()]
    rows = []
    for title, x_TB in cases.items():
        states = dict(zip(stack.states, stack.initial_states(x_TB.shape[1]), strict=True))
        with torch.no_grad():
            y, after = predictor.model(torch.from_numpy(x_TB))
        originals = [y, *(after if isinstance(after, tuple) else (after,))]
        exported = whole.run({"x": x_TB, **states})
        names = whole.outputs
        for name, original, actual in zip(names, originals, exported, strict=True):
            rows.append(comparison.numbers(f"{name} of whole.onnx", title, original.numpy(), actual))
        y_BV: list[Any] = []
        for x_B in x_TB:
            logits_BV, *steps = step.run({"x": x_B, **states})
            states = dict(zip(states, steps, strict=True))
            y_BV.append(logits_BV)
        rows.append(comparison.numbers("y of step.onnx", title, originals[0].numpy(), np.stack(y_BV)))
    program = comparison.program.TextGenerator(comparison.folder)
    pieces = ["".join(predictor.generate(each, length=STEPS, temperature=0)) for each in prompts]
    texts = [program.generate(each, STEPS) for each in prompts]
    return [*rows, *comparison.texts("prompts", pieces, texts)]
