"""A trained language model: it generates text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from elman.data.text.vocabularies import Vocabulary
from elman.decoding.generate import generate
from elman.decoding.sampling import Sampler
from elman.errors import SettingError
from elman.models.language_model import LanguageModel
from elman.modules.recurrent_stack import frozen_weights
from elman.predictors.answer import Answer
from elman.predictors.base import Predictor
from elman.settings import Settings


class LanguageModelPredictor(Predictor):
    """A language model that is ready to use.

    Args:
        model: the model, in evaluation mode.
        run: the run directory.
        vocabulary: the symbols of the model.
    """

    Options = Settings
    model: LanguageModel

    def __init__(self, model: LanguageModel, run: Path, vocabulary: Vocabulary) -> None:
        super().__init__(model, run)
        self.vocabulary = vocabulary

    def answers(self, inputs: Sequence[str | Path] = (), **options: Any) -> Iterator[Answer]:
        """Refuse: a language model answers no single inputs.

        Raises:
            SettingError: always.
        """
        raise SettingError(
            f"{self.run} cannot predict", should="generate(prompt)", found="predict", hint=f"elman generate {self.run}"
        )

    def generate(
        self,
        prompt: str = "",
        *,
        length: int | None = 300,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> Iterator[str]:
        """Yield text that continues `prompt`, piece by piece as it is made, in constant memory.

        Args:
            prompt: the beginning of the text; it is not yielded. Empty: a line begins. `remarks` names what is unknown
                in it.
            length: the number of symbols; None: endless.
            temperature: below 1 sharper, above 1 more random; 0: greedy.
            top_k: sample from the most probable symbols only, this many.
            top_p: sample from the most probable symbols only, which together have this probability.
            seed: the same seed gives the same text; None: another text each time.

        Raises:
            DataError: the prompt is not valid UTF-8.
            SettingError: an invalid value.
        """
        if seed is not None and not 0 <= seed < 1 << 63:
            raise SettingError("the seed is out of range", should="0 to 2^63 - 1", found=str(seed))
        first = [int(number) for number in self.vocabulary.encode(prompt)] or self.line_begin()
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        sampler = partial(Sampler(temperature, top_k, top_p, self.vocabulary.never_written), generator=generator)
        step = frozen_weights()(self.model.step)
        return self._decoded(first, generate(step, None, first, sampler=sampler, length=length))

    def remarks(self, prompt: str) -> list[str]:
        """Return what a person should know about a prompt: its symbols that are unknown, which are read as such."""
        count = int((self.vocabulary.encode(prompt) == self.vocabulary.unknown).sum()) if prompt else 0
        if not count:
            return []
        symbols = prompt.split() if self.vocabulary.kind == "words" else list(prompt)
        unknown = [symbol for symbol in symbols if self.vocabulary.unknown in self.vocabulary.encode(symbol)]
        names = ", ".join(repr(symbol) for symbol in list(dict.fromkeys(unknown))[:5])
        return [f"note: {count} symbols of the prompt are not in the vocabulary: {names}"]

    def line_begin(self) -> list[int]:
        """Return the token ids with which a text begins that has no prompt."""
        first = [int(number) for number in self.vocabulary.encode("\n")]
        return first if first and first[0] < len(self.vocabulary) else [0]

    def _decoded(self, first: Sequence[int], numbers: Iterator[int]) -> Iterator[str]:
        decoder = self.vocabulary.decoder()
        for number in first:  # so that the white space between the prompt and the first word is right
            if number < len(self.vocabulary):
                decoder.push(number)
        for number in numbers:
            if text := decoder.push(number):
                yield text
        if text := decoder.finish():
            yield text
