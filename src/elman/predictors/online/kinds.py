"""Which trained models are read step by step."""

from __future__ import annotations

from elman.predictors.base import Predictor
from elman.predictors.forecaster import ForecastPredictor
from elman.predictors.generator import LanguageModelPredictor
from elman.predictors.online.base import OnlinePredictor
from elman.predictors.online.events import OnlineEvents
from elman.predictors.online.series import OnlineSeries
from elman.predictors.online.sound import OnlineSound
from elman.predictors.online.text import OnlineText
from elman.predictors.recommender import RecommendPredictor
from elman.predictors.transcriber import TranscriptionPredictor

KINDS: dict[type[Predictor], type[OnlinePredictor]] = {
    LanguageModelPredictor: OnlineText,
    RecommendPredictor: OnlineEvents,
    ForecastPredictor: OnlineSeries,
    TranscriptionPredictor: OnlineSound,
}
"""The online predictor of each kind of predictor."""


def online_predictor(predictor: Predictor) -> OnlinePredictor | None:
    """Return a model for sessions; None where it answers whole inputs alone."""
    kind = KINDS.get(type(predictor))
    return None if kind is None or not kind.can_read(predictor) else kind(predictor)
