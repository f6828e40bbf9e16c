"""Weights of a small language model as data of the page, which then runs texts that are typed there."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from elman.inspection.capture.recorder import CapturedCall
from elman.predictors.base import Predictor

MOST_WEIGHTS = 160_000
"""Of a page that holds them."""

KERNELS = ("rnn_tanh", "rnn_relu", "gru", "lstm")
"""Cells that the page can run."""


@torch.no_grad()
def typable(predictor: Predictor, calls: Sequence[CapturedCall]) -> dict[str, Any] | None:
    """Return the weights of a language model of characters with one recurrent layer; None for others and large ones."""
    vocabulary: Any = getattr(predictor, "vocabulary", None)
    model: Any = predictor.model
    if not hasattr(predictor, "generate") or getattr(vocabulary, "kind", "") != "characters" or len(calls) != 1:
        return None
    (call,) = calls
    weights, kernel = call.weights, call.cell.kernel or ""
    if kernel not in KERNELS or weights.hr is not None or sum(p.numel() for p in model.parameters()) > MOST_WEIGHTS:
        return None
    H = weights.hh.shape[1]
    c_V = model.output.logits(torch.zeros(1, H))[0]
    V_VH = (model.output.logits(torch.eye(H)) - c_V).T
    zeros = torch.zeros(weights.hh.shape[0])
    parameters = {
        "U": weights.ih, "W": weights.hh, "b": zeros if weights.b_ih is None else weights.b_ih,
        "bh": zeros if weights.b_hh is None else weights.b_hh, "V": V_VH, "c": c_V,
    }  # fmt: skip
    initial = weights.initial or tuple(torch.zeros(H) for _ in call.cell.states)
    E_VE = model.embedding.weight
    return {
        "cell": kernel, "sizes": {"I": E_VE.shape[1], "H": H, "V": len(c_V)},
        "parameters": {name: _packed(p) for name, p in parameters.items()},
        "initial": [_packed(part) for part in initial], "embedding": _packed(E_VE),
        "symbols": [str(vocabulary.decode([n])) for n in range(E_VE.shape[0])],
    }  # fmt: skip


def _packed(values: Tensor) -> str:
    """Return numbers as float32 in base64, row by row."""
    return base64.b64encode(values.detach().float().contiguous().numpy().astype("<f4").tobytes()).decode()
