"""Transcribers of streams for the page: features of sound, network, symbols."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from elman.errors import ExportError
from elman.exporters.stack import Array
from elman.exporters.web.case import SEED, WebCase, numbers
from elman.exporters.web.model import WebModel, vocabulary_fields
from elman.predictors.transcriber import TranscriptionPredictor

WINDOW, LOW = 0.025, 20.0
"""Seconds of a frame and the lower edge of the lowest mel band (Hz), as in `elman.data.media.mel.log_mel`."""


def describe(predictor: TranscriptionPredictor) -> WebModel:
    """Return a streaming transcriber of sound as the page computes it.

    Raises:
        ExportError: it reads video, or whole recordings alone.
    """
    features: Any = predictor.features
    if not hasattr(features, "rate"):
        raise ExportError(
            "the target web reads no video",
            should="a transcriber of sound",
            found="a run on video",
            hint="another target",
        )
    model = predictor.model
    if not model.streaming:
        raise ExportError(
            "the target web transcribes streams alone",
            should="a run that was trained with streaming=true",
            found="a bidirectional one, whose text depends on the whole recording",
            hint="elman train transcribe ... --set streaming=true",
        )
    width = round(WINDOW * features.rate)
    web = WebModel(
        {
            "recipe": "transcribe",
            "vocabulary": vocabulary_fields(predictor.vocabulary),
            "transcribe": {
                "step": features.step,
                "stride": model.stride,
                "kernel": model.front.kernel,
                "gain_control": model.gain_control is not None,
                "words": predictor.vocabulary.kind == "words",
                "features": {
                    "rate": features.rate,
                    "bands": features.bands,
                    "width": width,
                    "hop": round(features.step * features.rate),
                    "bins": 1 << (2 * width - 1).bit_length(),
                    "low": LOW,
                    "high": features.rate / 2,
                },
            },
        }
    )
    web.add("mean", model.mean_I)
    web.add("deviation", model.deviation_I)
    web.add_linear("front", model.front.linear)
    web.add_recurrent(model.recurrent)
    web.add_linear("output", model.output)
    return web


def cases(predictor: TranscriptionPredictor) -> list[WebCase]:
    """Return sounds with their features and logits: noise, a tone that begins and ends, and hardly anything."""
    rng = np.random.default_rng(SEED)
    rate = predictor.features.rate  # type: ignore[union-attr]
    time = np.arange(round(1.2 * rate)) / rate
    tone = 0.4 * np.sin(2 * np.pi * 600 * time) * (np.sin(2 * np.pi * 2.5 * time) > 0)
    noise = rng.standard_normal(len(time))
    sounds = {"noise": 0.1 * noise, "a tone in noise": tone + 0.01 * noise, "hardly a sound": 1e-4 * noise}
    rows = []
    for title, samples in sounds.items():
        sound = samples.astype(np.float32)
        rows.append(WebCase(f"{title}, 1.2 s", {"samples": numbers(sound)}, sound_outputs(predictor, sound)))
    return rows


@torch.no_grad()
def sound_outputs(predictor: TranscriptionPredictor, samples: Array) -> dict[str, Array]:
    """Return the features, (T, F), and the logits, (T', V + 1), of a sound."""
    features: Any = predictor.features
    x_TF = features.of_samples(samples)
    logits_T1V, _ = predictor.model.forward_chunk(torch.from_numpy(x_TF)[:, None])
    return {"features": x_TF, "logits": logits_T1V[:, 0].numpy()}


def step_call(predictor: TranscriptionPredictor) -> Any:
    """Return a call of one recurrent step, for a measurement."""
    recurrent: Any = predictor.model.recurrent
    x_1I = torch.zeros(1, recurrent.input_size)
    return lambda: recurrent.step(x_1I, None)
