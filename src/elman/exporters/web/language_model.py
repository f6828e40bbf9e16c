"""Language models for the page: embedding, recurrent layers, output layer and vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from elman.exporters.stack import Array
from elman.exporters.web.case import SEED, WebCase
from elman.exporters.web.model import WebModel, vocabulary_fields
from elman.models.language_model import LanguageModel
from elman.modules.softmax import AdaptiveSoftmax
from elman.predictors.generator import LanguageModelPredictor

TEXTS = ("", "A line.\nAnd another  one,\twith 3.14 and a name_1: Élan…", "don't\r\n\u3000日本語 😀  \n\n")
"""Texts that the encoding is compared on: empty, usual and unusual ones."""


def describe(predictor: LanguageModelPredictor) -> WebModel:
    """Return a language model as the page computes it."""
    model, vocabulary = predictor.model, predictor.vocabulary
    never = vocabulary.never_written
    web = WebModel(
        {
            "recipe": "language-model",
            "vocabulary": vocabulary_fields(vocabulary),
            "never_written": [never.start, never.stop],
            "cutoffs": [],
        }
    )
    web.add("embedding", model.embedding.weight)
    web.add_recurrent(model.recurrent)
    _add_output(web, model)
    return web


def _add_output(web: WebModel, model: LanguageModel) -> None:
    output: Any = model.output
    if not isinstance(output, AdaptiveSoftmax):
        web.add("output.weight", getattr(output, "weight", None))  # a tied one is the embedding
        web.add("output.bias", output.bias)
        return
    softmax: Any = output.softmax
    web.fields["cutoffs"] = list(softmax.cutoffs)
    web.add("output.head", softmax.head.weight)
    for k, (down, up) in enumerate(softmax.tail):
        web.add(f"output.tail.{k}.0", down.weight)
        web.add(f"output.tail.{k}.1", up.weight)


def cases(predictor: LanguageModelPredictor) -> list[WebCase]:
    """Return sequences of symbols with their logits and states, and texts with their symbols."""
    vocabulary = predictor.vocabulary
    rng = np.random.default_rng(SEED)
    ids = rng.integers(0, len(vocabulary), 40)
    sequences = {
        "random symbols, T = 40": ids,
        "one symbol": ids[:1],
        "the last symbol": np.array([len(vocabulary) - 1]),
    }
    if vocabulary.unknown is not None:
        sequences["an unknown symbol"] = np.array([ids[0], vocabulary.unknown, ids[1]])
    rows = [
        WebCase(title, {"ids": [int(n) for n in row]}, sequence_outputs(predictor.model, row))
        for title, row in sequences.items()
    ]
    texts = [text for text in TEXTS if text or vocabulary.kind != "words"]
    return rows + [
        WebCase(f"text {n}", {"text": text}, {"symbols": vocabulary.encode(text).astype(np.int64)}, bound=0.0)
        for n, text in enumerate(texts, 1)
    ]


@torch.no_grad()
def sequence_outputs(model: LanguageModel, ids_T: Array) -> dict[str, Array]:
    """Return the logits after each symbol, (T, V), and the states after the last one."""
    logits_T1V, state = model(torch.from_numpy(ids_T.astype(np.int64))[:, None])
    parts = state if isinstance(state, tuple) else (state,)
    states = {f"state {n}": part[:, 0].numpy() for n, part in enumerate(parts)}
    return {"logits": logits_T1V[:, 0].numpy(), **states}


def step_call(predictor: LanguageModelPredictor) -> Any:
    """Return a call of one step, for a measurement."""
    model = predictor.model
    _, state = model.step(torch.tensor([0]), None)
    return lambda: model.step(torch.tensor([0]), state)
