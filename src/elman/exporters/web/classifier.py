"""Classifiers for the page: of texts, of series, and of pictures that are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from elman.errors import ExportError
from elman.exporters.stack import Array
from elman.exporters.web.case import SEED, WebCase, numbers
from elman.exporters.web.language_model import TEXTS
from elman.exporters.web.model import WebModel, vocabulary_fields
from elman.modules.pooling import AttentionPool, LastPool, MaxPool, MeanPool
from elman.predictors.classifier import ClassificationPredictor

POOLINGS = {LastPool: "last", MeanPool: "mean", MaxPool: "max", AttentionPool: "attention"}

FITS = {"digits": 1.0, "idx": 20 / 28}
"""By reader: the share of the frame that the longer side of a digit takes in the usual data sets."""

NEAR_TIE = 1e-3
"""Of probabilities or scores: what differs by less may change its order."""

PIXELS = 255.0
"""The number of a white pixel."""


def describe(predictor: ClassificationPredictor, picture: Sequence[int] = ()) -> WebModel:
    """Return a classifier as the page computes it.

    Args:
        predictor: the classifier.
        picture: height and width of the pictures that are read; empty: those of the training data where they are known.

    Raises:
        ExportError: it reads video or sound.
    """
    form, model = predictor.form, predictor.model
    if form.kind == "frames":
        raise ExportError(
            "the target web reads no video",
            should="a classifier of text, series or pictures",
            found=f"frames of shape {form.shape}",
            hint="another target",
        )
    if form.content == "sound":
        raise ExportError(
            "the page of a classifier reads no sound",
            should="a classifier of text, series or pictures",
            found=f"a run on sound, whose steps are {form.shape[0]} log-mel energies",
            hint="--to onnx, whose predict.py reads sounds",
        )
    encoder: Any = model.encoder
    labels = form.labels
    web = WebModel(
        {
            "recipe": "classify",
            "input": {
                "kind": form.kind,
                "size": form.shape[0] if form.shape else 0,
                "offset": list(form.offset),
                "unit": list(form.unit),
                "picture": _picture(predictor, tuple(picture)),
            },
            "labels": {
                "target": labels.target,
                "classes": list(labels.classes),
                "temperature": predictor.temperature,
                "mean": labels.mean,
                "deviation": labels.deviation,
            },
            "pooling": POOLINGS[type(encoder.pooling)],
        }
    )
    front: Any = model.front
    if predictor.encoder is not None:
        web.fields["vocabulary"] = vocabulary_fields(predictor.encoder.vocabulary)
        web.add("embedding", front.embedding.weight)
    else:
        web.add("front.mean", front.mean.reshape(-1))
        web.add("front.deviation", front.deviation.reshape(-1))
    web.add_recurrent(encoder.recurrent)
    if isinstance(encoder.pooling, AttentionPool):
        web.add_linear("pooling.hidden", encoder.pooling.hidden)
        web.add("pooling.score.weight", encoder.pooling.score.weight)
    web.add_linear("output", model.output)
    return web


def _picture(predictor: ClassificationPredictor, size: tuple[int, ...]) -> dict[str, Any] | None:
    """Return how pictures become sequences, or None where the sequences are not those of pictures."""
    form, options = predictor.form, predictor.reader_options
    if size and form.kind != "features":
        raise ExportError(
            "a classifier of text reads no pictures", should="no picture", found=f"{size}", hint="leave picture out"
        )
    size = size or tuple(options.image_size) or ((8, 8) if form.reader == "digits" else ())
    size = size or ((form.shape[0],) * 2 if form.reader == "idx" and form.shape[0] > 3 else ())
    if form.kind != "features" or not size:
        return None
    if len(size) != 2:
        raise ExportError(
            "the size of the pictures is not a height and a width",
            should="two numbers",
            found=",".join(map(str, size)),
            hint="--set picture=28,28",
        )
    height, width = size
    order = options.pixel_order
    if order == "auto":
        order = "pixels" if height * width <= 256 else "rows"
    channels = form.shape[0] // width if order == "rows" else form.shape[0]
    if channels not in (1, 3) or channels * (width if order == "rows" else 1) != form.shape[0]:
        raise ExportError(
            f"pictures of {height} x {width} are not what the run reads",
            should=f"steps of {form.shape[0]} numbers, in the order {order}",
            found=f"{width if order == 'rows' else 1} pixels a step",
            hint="another --set picture=HEIGHT,WIDTH",
        )
    places = None
    if order == "permuted":  # as elman.data.labelled.pixel_scan
        places = np.random.Generator(np.random.Philox(key=1504)).permutation(height * width).tolist()
    return {
        "height": height,
        "width": width,
        "channels": channels,
        "order": order,
        "places": places,
        "fit": FITS.get(form.reader, 0.0),
    }


def cases(predictor: ClassificationPredictor) -> list[WebCase]:
    """Return sequences with their scores, whole and step by step, and texts with their symbols."""
    rng = np.random.default_rng(SEED)
    sequences = {f"random, T = {steps}": _steps(predictor, rng, steps) for steps in (1, 2, 17, 60)}
    rows = []
    for title, steps in sequences.items():
        request = {"steps": numbers(steps)}
        rows.append(WebCase(title, request, {"scores": whole_scores(predictor, steps)}))
        rows.append(_answer_case(predictor, title, steps))
        if not predictor.model.encoder.recurrent.bidirectional:
            scores = streamed_scores(predictor, steps)
            rows.append(WebCase(title, {**request, "stream": True}, {"scores after each step": scores}))
    if predictor.encoder is not None:
        for n, text in enumerate(TEXTS[1:], 1):
            symbols = predictor.encoder.encode(text).astype(np.int64)
            rows.append(WebCase(f"text {n}", {"text": text}, {"symbols": symbols}, bound=0.0))
    return rows


def _answer_case(predictor: ClassificationPredictor, title: str, steps: Array) -> WebCase:
    """Return a sequence with the answer to it: a number in its deviations, or probabilities and labels.

    Labels are left out where the last digits of two probabilities decide.
    """
    labels, request = predictor.form.labels, {"steps": numbers(steps), "answer": True}
    fields = predictor.answer_to("", _input(predictor, steps)).fields
    if labels.target == "number":
        number = np.array([fields["number"]])
        return WebCase(title, request, {"number": number}, centre=labels.mean, unit=labels.deviation)
    if labels.target == "tags":
        scores = np.sort(whole_scores(predictor, steps), 1)
        names, probabilities = fields["tags"], np.array(fields["probabilities"])[:, None]
        margin = float((scores[:, -1] - scores[:, -2]).min()) if scores.shape[1] > 1 else 1.0
    else:
        probabilities = np.array([list(fields["probabilities"].values())])
        names = fields["labels"] if labels.target == "classes" else [fields["label"]]
        ordered = np.sort(probabilities[0])
        gaps = np.abs(ordered - 0.5) if labels.target == "classes" else np.diff(ordered)[-1:]
        margin = float(gaps.min(initial=1.0))
    expected = {"probabilities": probabilities}
    if margin > NEAR_TIE:
        expected["labels"] = np.array([labels.classes.index(name) for name in names])
    return WebCase(title, request, expected)


def _steps(predictor: ClassificationPredictor, rng: np.random.Generator, count: int) -> Array:
    """Return a random sequence in the numbers of files: symbols (T,), or rows (T, I) like those of training."""
    form = predictor.form
    if predictor.encoder is not None:
        return rng.integers(0, predictor.encoder.size, count)
    if predictor.form.reader in ("digits", "idx"):
        return rng.integers(0, int(PIXELS) + 1, (count, form.shape[0])).astype(np.float64)
    rows = rng.standard_normal((count, form.shape[0])) * np.array(form.deviation) + np.array(form.mean)
    if form.offset:
        rows = rows * np.array(form.unit) + np.array(form.offset)
    return np.asarray(rows, np.float64)


def _input(predictor: ClassificationPredictor, steps: Array) -> Any:
    if predictor.encoder is None:
        steps = predictor.form.recentring.to_float32("a case", steps)
    return torch.from_numpy(np.ascontiguousarray(steps))


@torch.no_grad()
def whole_scores(predictor: ClassificationPredictor, steps: Array) -> Array:
    """Return the scores of a sequence, (1, C), or (T, C) of tags."""
    scores = predictor.model(_input(predictor, steps)[:, None])
    rows: Array = (scores[:, 0] if predictor.model.per_step else scores).numpy()
    return rows


def streamed_scores(predictor: ClassificationPredictor, steps: Array) -> Array:
    """Return the scores after each step, (T, C)."""
    return np.stack([scores[0].numpy() for scores in predictor.model.stream(_input(predictor, steps))])


def step_call(predictor: ClassificationPredictor) -> Any:
    """Return a call of one recurrent step, for a measurement."""
    recurrent: Any = predictor.model.encoder.recurrent
    x_1I = torch.zeros(1, recurrent.input_size)
    return None if recurrent.bidirectional else lambda: recurrent.step(x_1I, None)
