"""Decoding of sentences: in batches of like length, and long recordings in parts between their pauses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elman.data.batching import in_order
from elman.data.speech.ctc_length import known_symbols
from elman.data.speech.pauses import DECIBELS, Span, spans_between_pauses
from elman.data.text.vocabularies import Vocabulary
from elman.decoding.ctc import TimedSequence, greedy
from elman.models.transcriber import BLANK, Transcriber
from elman.predictors.answer import Note

BATCH = 16  # sentences that are decoded at a time
LONGER = 1.2  # times the longest sentence of training, from which on a recording is cut at its pauses
MUCH_LONGER = 2.0  # times the longest sentence of training, from which on that is said
DEVIATION = 3.0  # nats: about the standard deviation of a log energy of speech
NEVER = -30.0  # log p of what cannot be


class Decoded(NamedTuple):
    """A decoded sentence.

    Attributes:
        number: its place among the sentences.
        timed: the greedy symbols.
        log_p_TV: log-probabilities of the blank and the symbols.
        spans: the parts that it was cut into, in input steps; none where it was not cut.
    """

    number: int
    timed: TimedSequence
    log_p_TV: Tensor
    spans: Sequence[Span]


@dataclass(frozen=True)
class SentenceDecoder:
    """Decodes sentences.

    Attributes:
        model: the model, in evaluation mode.
        vocabulary: its symbols.
        longest: input steps of the longest sentence of training; 0: unknown.
        sound: whether the features are log energies of sound.
        by_speaker: whether they are divided by the deviation of a speaker.
    """

    model: Transcriber
    vocabulary: Vocabulary
    longest: int = 0
    sound: bool = True
    by_speaker: bool = False

    def decode(self, features: Sequence[NDArray[Any]], *, cut: bool = True) -> Iterator[Decoded]:
        """Yield the decoded sentences in any order, those of like length together.

        Args:
            features: of each sentence, (T, I).
            cut: whether one that is longer than any of training is cut at its pauses.
        """
        parts = {n: spans for n, x_TI in enumerate(features) if cut and (spans := self.spans(x_TI))}
        whole = [n for n in range(len(features)) if n not in parts]
        lengths = [len(features[n]) for n in whole]
        for numbers in in_order(lengths, batch_size=BATCH) if whole else ():
            log_p_TBV, steps = self._log_p([features[whole[int(n)]] for n in numbers])
            for b, timed in enumerate(greedy(log_p_TBV, steps)):
                yield Decoded(whole[int(numbers[b])], timed, log_p_TBV[: steps[b], b], ())
        for n, spans in parts.items():
            log_p_TV = self._joined(features[n], spans)
            yield Decoded(n, greedy(log_p_TV[:, None], [len(log_p_TV)])[0], log_p_TV, spans)

    def spans(self, x_TI: NDArray[Any]) -> list[Span]:
        """Return the parts that a recording is cut into, in input steps; none where it stays whole.

        Sound is cut at its pauses if it is longer than any sentence of training and the model sees sentences as a
        whole.
        """
        if not (self.longest and self.sound) or self.model.streaming or len(x_TI) <= LONGER * self.longest:
            return []
        decibels = DECIBELS * (DEVIATION if self.by_speaker else 1.0)
        spans = spans_between_pauses(x_TI, self.longest, stride=self.model.stride, decibels=decibels)
        return [] if spans == [Span(0, len(x_TI))] else spans

    def notes(self, x_TI: NDArray[Any], spans: Sequence[Span], seconds: float) -> list[Note]:
        """Return notes about a recording that is longer than any sentence of training.

        Args:
            x_TI: its features.
            spans: the parts that it was cut into.
            seconds: of an input step.
        """
        if not self.longest or self.model.streaming:
            return []
        notes = []
        if spans:
            text = (
                f"cut at its pauses into {len(spans)} parts: {len(x_TI) * seconds:.1f} s, "
                f"and the longest sentence of training has {self.longest * seconds:.1f} s"
            )
            notes.append(Note("recordings cut at their pauses", text))
        longest = longest_part(x_TI, spans)
        if self._is_much_longer(x_TI, spans):
            what = "without a pause to cut at, " if self.sound else ""
            text = (
                f"{longest * seconds:.1f} s {what}{longest / self.longest:.0f} times longer than any sentence of "
                "training: the transcript may be wrong; cut it into sentences"
            )
            notes.append(Note("recordings much longer than any sentence of training", text))
        return notes

    def long_recordings(self, features: Sequence[NDArray[Any]]) -> dict[str, int]:
        """Return how many of sentences are cut at pauses, and how many are much longer than any of training, if any."""
        if not self.longest or self.model.streaming:
            return {}
        spans = [self.spans(x_TI) for x_TI in features]
        cut = sum(map(bool, spans))
        longer = sum(self._is_much_longer(x_TI, parts) for x_TI, parts in zip(features, spans, strict=True))
        return {
            **({"cut_at_pauses": cut} if cut else {}),
            **({"much_longer_than_training": longer} if longer else {}),
        }

    def _is_much_longer(self, x_TI: NDArray[Any], spans: Sequence[Span]) -> bool:
        """Return whether a recording, or the longest part of it, is much longer than any sentence of training."""
        return longest_part(x_TI, spans) >= MUCH_LONGER * self.longest

    @torch.no_grad()
    def _log_p(self, sentences: Sequence[NDArray[Any]]) -> tuple[Tensor, list[int]]:
        """Return the log-probabilities of sentences, (T', B, V + 1), and the steps of each."""
        device = next(self.model.parameters()).device
        rows = [torch.from_numpy(np.asarray(x_TI, np.float32)) for x_TI in sentences]
        x_TBI, lengths_B = nn.utils.rnn.pad_sequence(rows).to(device), torch.tensor([len(row) for row in rows])
        logits_TBV, steps_B = self.model(x_TBI, lengths_B.to(device))
        return logits_TBV.log_softmax(2).cpu(), steps_B.tolist()

    def _joined(self, x_TI: NDArray[Any], spans: Sequence[Span]) -> Tensor:
        """Return the log-probabilities of a recording in parts, with the blank between them.

        Where the symbols are no words, a space stands before each part, if there is one in the vocabulary.
        """
        stride, symbols = self.model.stride, self.vocabulary.size + 1
        space = known_symbols(self.vocabulary, " ")[:1].tolist() if self.vocabulary.kind != "words" else []
        log_p_TV = torch.full((len(x_TI) // stride, symbols), NEVER)
        log_p_TV[:, BLANK] = 0.0
        parts = [x_TI[span.begin : span.end] for span in spans]
        for numbers in in_order([len(part) for part in parts], batch_size=BATCH):
            log_p_TBV, steps = self._log_p([parts[int(n)] for n in numbers])
            for b, n in enumerate(numbers):
                begin = spans[int(n)].begin // stride
                log_p_TV[begin : begin + steps[b]] = log_p_TBV[: steps[b], b]
                if begin and space:
                    log_p_TV[begin - 1] = NEVER
                    log_p_TV[begin - 1, space[0] + 1] = 0.0
        return log_p_TV


def longest_part(x_TI: NDArray[Any], spans: Sequence[Span]) -> int:
    """Return the steps of the longest part of a recording; of the whole, where it is not cut."""
    return max((span.end - span.begin for span in spans), default=len(x_TI))
