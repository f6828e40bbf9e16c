"""Metrics of transcripts: word and character error rates, by jiwer, and the loss."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import NamedTuple, Self

from elman.errors import extra
from elman.evaluation.result import Metrics


class SentenceAnswer(NamedTuple):
    """What a model answers to a sentence of an evaluation.

    Attributes:
        text: the greedy transcript.
        nats: -log p of the reference.
        misplaced: whether its words are not written where they are spoken.
    """

    text: str
    nats: float
    misplaced: bool

    def measured(self) -> tuple[str, str]:
        """Return the numbers as texts, for a file."""
        return repr(self.nats), json.dumps(self.misplaced)

    @classmethod
    def read(cls, text: str, nats: str, misplaced: str) -> Self:
        """Return what was written by `measured`."""
        return cls(text, float(nats), misplaced == "true")


def error_rates(transcripts: Sequence[str], references: Sequence[str]) -> Metrics:
    """Return the error rates of transcripts.

    The rates are edits divided by the words (characters) of the references; they may be above 1.

    Args:
        transcripts: the output of a model.
        references: the correct ones, none of them empty, in the same order.

    Returns:
        character_error_rate, word_error_rate, and its parts: the rates of substituted, deleted and inserted words.

    Raises:
        MissingExtraError: jiwer is not installed.
    """
    with extra("transcribe", "evaluating transcripts"):
        import jiwer
    words = jiwer.process_words(list(references), list(transcripts))
    characters = jiwer.process_characters(list(references), list(transcripts))
    count = words.hits + words.substitutions + words.deletions
    return {
        "character_error_rate": float(characters.cer),
        "word_error_rate": float(words.wer),
        "substituted": words.substitutions / count,
        "deleted": words.deletions / count,
        "inserted": words.insertions / count,
    }


def nats_per_symbol(nats: Sequence[float], sizes: Sequence[int]) -> float | None:
    """Return the mean loss of symbols, in nats; None where no sentence can be written.

    Args:
        nats: -log p of the symbols of each sentence; infinite where it has too few steps for them, which is not
            counted.
        sizes: the number of symbols of each.
    """
    counted = [(loss, size) for loss, size in zip(nats, sizes, strict=True) if math.isfinite(loss) and size]
    return math.fsum(loss for loss, _ in counted) / sum(size for _, size in counted) if counted else None


def transcript_metrics(answers: Sequence[SentenceAnswer], references: Sequence[str], sizes: Sequence[int]) -> Metrics:
    """Return the metrics of answers to sentences.

    Args:
        answers: of a model.
        references: the correct transcripts, in the same order.
        sizes: the number of symbols of each of them.

    Returns:
        What `error_rates` returns, `nats_per_symbol`, and `misplaced_words`, the share of sentences whose words are.
    """
    return {
        **error_rates([answer.text for answer in answers], references),
        "nats_per_symbol": nats_per_symbol([answer.nats for answer in answers], sizes),
        "misplaced_words": sum(answer.misplaced for answer in answers) / len(answers),
    }
