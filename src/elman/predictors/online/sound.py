"""Sessions of a transcriber: sound comes in, words go out when they are final, with their times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from elman.data.media.audio import QUIET
from elman.data.speech.utterance import SoundFeatures
from elman.decoding.ctc import Emission, GreedyDecoder
from elman.errors import DataError, ElmanError, SettingError
from elman.models.transcriber import TranscriberState
from elman.predictors.base import Predictor, non_finite_output
from elman.predictors.online.base import OnlinePredictor, are_like, is_count
from elman.predictors.online.state import OnlineState, as_parts
from elman.predictors.stream_transcriber import CHUNK
from elman.predictors.transcriber import TranscriptionPredictor

MOST_PENDING = 10_000  # symbols of a word that does not end


class OnlineSound(OnlinePredictor):
    """A transcriber over streams of sound. An input has `samples`, full scale as 1, and `end`.

    Sound is cut into blocks of `CHUNK` seconds, as `elman predict -` cuts it, whatever a client sends at a time.
    """

    kind: ClassVar[str] = "sound"
    fields: ClassVar[frozenset[str]] = frozenset(
        {"front", "layers", "level", "rest", "unread", "last", "step", "pending", "loudest"}
    )
    predictor: TranscriptionPredictor

    def __init__(self, predictor: Predictor) -> None:
        super().__init__(predictor)
        self.stream = self.predictor.stream_transcriber()
        self.rate = self.stream.features.rate
        self.block = round(CHUNK * self.rate)

    @classmethod
    def can_read(cls, predictor: Predictor) -> bool:
        """Return whether a model transcribes streams of sound."""
        if not isinstance(predictor, TranscriptionPredictor):
            return False
        return predictor.model.streaming and isinstance(predictor.features, SoundFeatures)

    def facts(self) -> Any:
        """Return what the numbers depend on beside the weights."""
        return [self.kind, self.predictor.vocabulary.fingerprint, repr(self.stream.features)]

    def begin(self, options: Mapping[str, Any]) -> OnlineState:
        """Return the state before any sound."""
        if options:
            raise SettingError("a session of sound has no options", should="none", found=", ".join(options)[:80])
        empty = torch.zeros(0)
        return OnlineState(
            {"front": None, "layers": None, "level": None, "rest": empty, "unread": empty, "last": 0, "step": 0,
             "pending": [], "loudest": 0.0}
        )  # fmt: skip

    def check(self, tree: Any) -> bool:
        """Return whether a tree is one of a state of this model."""
        model = self.predictor.model
        initial = as_parts(model.recurrent.initial_state(1))
        if type(tree["pending"]) is not list or not all(type(row) is list for row in tree["pending"]):
            return False
        fits = tree["layers"] is None or are_like(tree["layers"], initial)
        front, level = tree["front"], tree["level"]
        fits &= front is None or (len(front) <= model.front.kernel and are_like((front[:1],), (
            torch.empty(min(1, len(front)), 1, len(model.mean_I)),)))  # fmt: skip
        fits &= level is None or are_like((level,), (torch.empty(1),))
        for name in ("rest", "unread"):
            fits &= tree[name].dim() == 1 and tree[name].dtype == torch.float32 and len(tree[name]) <= 2 * self.block
        fits &= is_count(tree["last"]) and tree["last"] <= len(self.predictor.vocabulary) and is_count(tree["step"])
        fits &= isinstance(tree["loudest"], float) and len(tree["pending"]) <= MOST_PENDING
        numbers = [row[:3] for row in tree["pending"] if len(row) == 4 and isinstance(row[3], float)]
        fits &= len(numbers) == len(tree["pending"]) and all(is_count(n) for row in numbers for n in row)
        return bool(fits and all(1 <= row[0] <= len(self.predictor.vocabulary) for row in numbers))

    @torch.no_grad()
    def advance(self, states: Sequence[OnlineState], inputs: Sequence[Any]) -> list[Any]:
        """Read sound of each session, and return the words that are final, and the one that is not."""
        results: list[Any] = [self._refusal(value) for value in inputs]
        streams = [
            _Stream(self, state, value)
            for state, value, result in zip(states, inputs, results, strict=True)
            if result is None
        ]
        while active := [stream for stream in streams if stream.blocks]:
            self._run(active)
        rest = iter(streams)
        return [result if result is not None else next(rest).output() for result in results]

    def _run(self, streams: list[_Stream]) -> None:
        """Read the next block of each stream."""
        ready = [(stream, x_TI) for stream in streams if (x_TI := stream.features()) is not None]
        if not ready:
            return
        states = [stream.model_state for stream, _ in ready]
        chunks = self.promise.call(
            self.predictor.model.forward_chunks, [torch.from_numpy(x_TI) for _, x_TI in ready], states
        )
        for (stream, _), (logits_TV, state) in zip(ready, chunks, strict=True):
            stream.take(logits_TV, state)

    def _refusal(self, value: Any) -> ElmanError | None:
        if isinstance(value, dict) and isinstance(value.get("samples"), np.ndarray):
            return None
        return DataError("a transcriber reads sound", should="16-bit samples over a WebSocket", found="another field")


class _Stream:
    """A stream while it reads; the session's state changes at the end."""

    def __init__(self, model: OnlineSound, state: OnlineState, value: Mapping[str, Any]) -> None:
        self.model, self.state, tree = model, state, state.tree
        self.end = bool(value.get("end"))
        samples: NDArray[np.float32] = value["samples"]
        self.count = len(samples)
        unread = np.concatenate([tree["unread"].numpy(), samples])
        whole = len(unread) if self.end else len(unread) // model.block * model.block
        self.blocks = [unread[n : n + model.block] for n in range(0, whole, model.block)]
        self.unread, self.rest = unread[whole:], tree["rest"].numpy()
        self.loudest = tree["loudest"]
        layers = tree["layers"]
        recurrent = None if layers is None else layers[0] if len(layers) == 1 else layers
        self.model_state = TranscriberState(tree["front"], recurrent, tree["level"])
        self.decoder = GreedyDecoder()
        self.decoder.last, self.decoder.step = tree["last"], tree["step"]
        self.pending = [Emission(*row) for row in tree["pending"]]
        self.words: list[Any] = []
        self.error: ElmanError | None = None

    def features(self) -> NDArray[np.float32] | None:
        """Return the features of the frames that are complete with the next block; None if there are none."""
        features, block = self.model.stream.features, self.blocks.pop(0)
        width, hop = round(0.025 * features.rate), round(features.step * features.rate)
        self.rest = np.concatenate([self.rest, block])
        self.loudest = max(self.loudest, float(np.abs(block).max(initial=0.0)))
        count = 1 + (len(self.rest) - width) // hop if len(self.rest) >= width else 0
        if not count:
            return None
        x_TI = features.of_samples(self.rest[: (count - 1) * hop + width])
        self.rest = self.rest[count * hop :]
        return x_TI

    def take(self, logits_TV: torch.Tensor, state: TranscriberState) -> None:
        """Decode the output for the last features."""
        self.model_state = state
        if not bool(torch.isfinite(logits_TV).all()):
            self.error, self.blocks = non_finite_output(self.model.predictor.run), []
            return
        symbols = self.decoder.push(logits_TV)
        self.pending += symbols if self.loudest >= QUIET else []
        ready, self.pending = self.model.stream.final(self.pending)
        self.words += ready
        if len(self.pending) > MOST_PENDING:
            self.pending = []

    def output(self) -> Any:
        """Return the words, and change the session's state."""
        if self.error:
            return self.error
        stream = self.model.stream
        partial = stream.words(self.pending)
        if self.end:
            self.words, self.pending, partial = [*self.words, *partial], [], []
        front, recurrent, level = self.model_state
        self.state.tree = {
            "front": None if front is None else front.clone(),
            "layers": None if recurrent is None else tuple(part.clone() for part in as_parts(recurrent)),
            "level": None if level is None else level.clone(),
            "rest": torch.from_numpy(self.rest.copy()),
            "unread": torch.from_numpy(self.unread.copy()),
            "last": self.decoder.last,
            "step": self.decoder.step,
            "pending": [list(symbol) for symbol in self.pending],
            "loudest": self.loudest,
        }
        self.state.position += self.count
        answer: dict[str, Any] = {"words": [word.fields() for word in self.words]}
        answer["partial"] = " ".join(word.text for word in partial)
        return answer
