"""Which trained models are read step by step."""

from __future__ import annotations

from elman.predictors.base import Predictor
from elman.predictors.generator import LanguageModelPredictor
from elman.predictors.online.base import OnlinePredictor
from elman.predictors.online.text import OnlineText

KINDS: dict[type[Predictor], type[OnlinePredictor]] = {LanguageModelPredictor: OnlineText}
"""The online predictor of each kind of predictor."""


def online_predictor(predictor: Predictor) -> OnlinePredictor | None:
    """Return a model for sessions; None where it answers whole inputs alone."""
    kind = KINDS.get(type(predictor))
    return None if kind is None or not kind.can_read(predictor) else kind(predictor)
