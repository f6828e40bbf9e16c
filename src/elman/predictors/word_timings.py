"""What a transcriber has heard: the best symbols of each sentence, as text, and as words with their times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elman.data.batching import in_order
from elman.data.text.encoding import symbols_of
from elman.data.text.vocabularies import Vocabulary
from elman.decoding.ctc import TimedSequence, greedy
from elman.models.transcriber import Transcriber


class Word(NamedTuple):
    """A word, and the seconds at which its first symbol appears and its last one has been heard."""

    text: str
    begin: float
    end: float


def read_out(
    model: Transcriber, features: Sequence[NDArray[Any]], device: torch.device | str = "cpu"
) -> list[tuple[TimedSequence, Tensor]]:
    """Return the greedy transcription of each sentence, and its log-probabilities (T', V + 1)."""
    found = {n: (timed, log_p_TV) for n, timed, log_p_TV in read_each(model, features, device)}
    return [found[n] for n in range(len(features))]


@torch.no_grad()
def read_each(
    model: Transcriber, features: Sequence[NDArray[Any]], device: torch.device | str = "cpu"
) -> Iterator[tuple[int, TimedSequence, Tensor]]:
    """Yield the same, the number of each sentence before it, as they are made, like lengths together."""
    for chosen in in_order([len(f) for f in features], batch_size=16):
        rows = [np.asarray(features[int(n)], np.float32) for n in chosen]
        x_TBI = nn.utils.rnn.pad_sequence([torch.from_numpy(row) for row in rows]).to(device)
        logits_TBV, steps_B = model(x_TBI, torch.tensor([len(row) for row in rows], device=device))
        log_p_TBV, steps = logits_TBV.log_softmax(2).cpu(), steps_B.tolist()
        for b, timed in enumerate(greedy(log_p_TBV, steps)):
            yield int(chosen[b]), timed, log_p_TBV[: steps[b], b]


def spelled(vocabulary: Vocabulary, timed: TimedSequence) -> str:
    """Return a transcription as text."""
    return " ".join(vocabulary.decode([token_id - 1 for token_id in timed.token_ids]).split())


def words_of(vocabulary: Vocabulary, timed: TimedSequence, seconds: float, begin: float = 0.0) -> list[Word]:
    """Return the words and when they are heard.

    Args:
        vocabulary: of the symbols.
        timed: their numbers, plus 1, and the steps at which they appear.
        seconds: of a step.
        begin: of the first step.
    """
    words: list[Word] = []
    new = True
    for symbol, step in zip(symbols_of(vocabulary, [n - 1 for n in timed.token_ids]), timed.steps, strict=True):
        new = new or symbol[:1].isspace()
        text = symbol.strip()
        if text:
            if new:
                words.append(Word(text, begin + step * seconds, begin + (step + 1) * seconds))
            else:
                words[-1] = Word(words[-1].text + text, words[-1].begin, begin + (step + 1) * seconds)
        new = symbol[-1:].isspace() if text else True
    return words
