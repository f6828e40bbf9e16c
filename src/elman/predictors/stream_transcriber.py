"""Streaming transcription: words are yielded when they are final, and the delay is measured."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman.data.media.audio import QUIET
from elman.data.speech.utterance import SoundFeatures
from elman.data.text.encoding import symbols_of
from elman.data.text.vocabularies import Vocabulary
from elman.decoding.ctc import Emission, GreedyDecoder
from elman.errors import DataError
from elman.models.transcriber import Transcriber
from elman.number_format import percent
from elman.predictors.answer import Answer
from elman.predictors.word_timings import Word, words_of

CHUNK = 0.1  # seconds of a block of a stream
MAX_DELAYS = 1000  # words whose delays are stored
SOUND_FILES = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"FORM")  # their first bytes


@dataclass(frozen=True)
class StreamTranscriber:
    """Transcribes streams.

    Attributes:
        model: a unidirectional model.
        vocabulary: its symbols.
        features: computes the features of the sound.
    """

    model: Transcriber
    vocabulary: Vocabulary
    features: SoundFeatures

    @property
    def seconds(self) -> float:
        """Seconds of a step of the model."""
        return self.features.step * self.model.stride

    def transcribe(self, blocks: Iterator[NDArray[np.float32]]) -> Iterator[Answer]:
        """Transcribe a stream of samples, and yield each word when it is final; last, the delay.

        A word is final when a space or the next word follows, or the stream ends; where symbols are words, at once. The
        delay is from the step of a word's last symbol to the moment at which the word is yielded, if the stream comes
        in at the speed of speech. Memory does not grow: the median delay is that of the last `MAX_DELAYS` words, the
        longest delay that of all. A stream that is almost silent has no words, and an answer says so at its end.

        Args:
            blocks: samples at the rate of `features`.

        Raises:
            SettingError: the model is not a streaming one.
        """
        rate = self.features.rate
        width, hop = round(0.025 * rate), round(self.features.step * rate)
        decoder, state, rest = GreedyDecoder(), None, np.zeros(0, np.float32)
        pending: list[Emission] = []
        duration, computing, longest, loudest = 0.0, 0.0, 0.0, 0.0
        delays: deque[float] = deque(maxlen=MAX_DELAYS)
        for block in blocks:
            began = time.perf_counter()
            rest = np.concatenate([rest, block])
            duration += len(block) / rate
            loudest = max(loudest, float(np.abs(block).max(initial=0.0)))
            count = 1 + (len(rest) - width) // hop if len(rest) >= width else 0
            if not count:
                continue
            x_TI = self.features.of_samples(rest[: (count - 1) * hop + width])
            rest = rest[count * hop :]
            logits_TBV, state = self.model.forward_chunk(torch.from_numpy(x_TI)[:, None], state)
            symbols = decoder.push(logits_TBV[:, 0])
            pending += symbols if loudest >= QUIET else []  # nothing is said where there is hardly any sound
            ready, pending = self.final(pending)
            computing = max(computing, time.perf_counter() - began)
            now = duration + time.perf_counter() - began
            delays += [now - word.end for word in ready]
            longest = max([longest, *(now - word.end for word in ready)])
            yield from map(_word_answer, ready)
        ready = self.words(pending)
        delays += [duration - word.end for word in ready]
        longest = max([longest, *(duration - word.end for word in ready)])
        yield from map(_word_answer, ready)
        if loudest < QUIET:
            line = f"the sound is almost silent: {duration:.1f} s, peak at {percent(loudest)} of full scale"
            yield Answer(line, {"seconds": duration, "loudest": loudest})
        if delays:
            line = (
                f"delay: {1000 * median(delays):.0f} ms for most words, {1000 * longest:.0f} ms at the most "
                f"(blocks of {1000 * CHUNK:.0f} ms, computing at most {1000 * computing:.1f} ms for one)"
            )
            yield Answer(line, {"delay": median(delays), "longest_delay": longest, "computing": computing})

    def words(self, pending: list[Emission]) -> list[Word]:
        """Return the words of symbols, the last of which may not be final."""
        return words_of(self.vocabulary, pending, self.seconds)

    def final(self, pending: list[Emission]) -> tuple[list[Word], list[Emission]]:
        """Return the words that cannot change any more, and the symbols behind them."""
        words = self.words(pending)
        closed = self.vocabulary.kind == "words" or (
            bool(pending) and symbols_of(self.vocabulary, [pending[-1].token_id - 1])[-1][-1:].isspace()
        )
        if closed or not words:
            return words, []
        return words[:-1], [symbol for symbol in pending if symbol.step * self.seconds >= words[-1].begin]


def _word_answer(word: Word) -> Answer:
    return Answer(f"{word.begin:8.2f} s  {word.text}", word.fields())


def sample_blocks(stream: Any, rate: int) -> Iterator[NDArray[np.float32]]:
    """Yield a stream of 16-bit samples in blocks of `CHUNK` seconds, full scale as 1.

    Raises:
        DataError: the stream begins as a sound file does.
    """
    rest, begun = b"", False
    while raw := stream.read(2 * round(CHUNK * rate)):
        if not begun and raw.startswith(SOUND_FILES):
            raise DataError(
                "standard input is a sound file",
                should=f"raw samples: 16 bits, little-endian, one channel, {rate} Hz",
                found=f"a file that begins with {raw[:4]!r}",
                hint=f"name the file instead of -, or ffmpeg -i FILE -f s16le -ac 1 -ar {rate} - | elman predict ...",
            )
        begun, raw = True, rest + raw
        rest = raw[len(raw) - len(raw) % 2 :]
        samples: NDArray[np.float32] = np.frombuffer(raw[: len(raw) - len(rest)], "<i2").astype(np.float32)
        samples /= 32768
        yield samples
