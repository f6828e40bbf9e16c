"""A trained classifier: it answers single sequences, and streams while they last."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.in_memory import RowFormat
from elman.data.labelled.dataset import LabelledFormat
from elman.data.labelled.example import Example, ReaderOptions, Values
from elman.data.labelled.preparation import Encode, load_example, make_encoder
from elman.data.labelled.readers import read_inputs
from elman.data.labelled.text_encoder import TextEncoder
from elman.data.labelled.ts_archive import parse_numbers
from elman.data.text.lines import decoded_line
from elman.decoding.probabilities import sigmoid, softmax
from elman.errors import DataError, SettingError
from elman.models.classifier import Classifier
from elman.number_format import percent, resolved
from elman.predictors.answer import Answer, no_answer
from elman.predictors.base import Predictor, non_finite_output
from elman.predictors.inputs import STANDARD_INPUT, STDIN, is_stdin, stdin_lines, stdin_text
from elman.predictors.inputs import resolved as resolved_inputs
from elman.predictors.options import ClassifyOptions


class ClassificationPredictor(Predictor):
    """A classifier that is ready to use.

    Args:
        model: the model, in evaluation mode.
        run: the run directory.
        form: the format of the sequences, and the labels.
        encoder: of text; None for a model of numbers.
        reader_options: as in training.
        temperature: the scores are divided by it, so that probabilities are calibrated.
    """

    Options = ClassifyOptions
    input_rows = RowFormat(("text",), files="path")
    model: Classifier

    def __init__(
        self,
        model: Classifier,
        run: Path,
        form: LabelledFormat,
        encoder: TextEncoder | None,
        reader_options: ReaderOptions,
        *,
        temperature: float,
    ) -> None:
        super().__init__(model, run)
        self.form, self.encoder, self.temperature = form, encoder, temperature
        self.reader_options = replace(reader_options, labelled=False)

    @property
    def reads_text(self) -> bool:
        """Whether an input may be a text itself."""
        return self.encoder is not None

    def answers(self, inputs: Sequence[str | Path] = (), **options: Any) -> Iterator[Answer]:
        """Yield the answer to each input, as it is made.

        Args:
            inputs: files, folders and data sets; for a model of text also the text itself, which `resolved` tells from
                a misspelt name; "-" reads standard input, a text or one step of a series on each line.
            options: the fields of `ClassifyOptions`.

        Raises:
            DataError: an input cannot be read.
            NonFiniteError: the model gives numbers that are not finite.
            SettingError: there is no input, an option is invalid, or the layers are bidirectional and cannot stream.
        """
        chosen = ClassifyOptions(**options)
        if not inputs:
            raise SettingError(
                "there is nothing to answer", should="a file, a text, or - for standard input", found="nothing"
            )
        for source in inputs:
            try:
                if self.encoder:
                    (source,) = resolved_inputs([source], folders=True)
                if is_stdin(source) and self.encoder is None:
                    yield from self._running(STDIN, self._stream(stdin_text()), chosen)
                else:
                    yield from self._answers(
                        source, make_encoder(None, self.encoder, recentring=self.form.recentring), chosen
                    )
            except DataError as error:
                if not chosen.skip_bad:
                    raise
                yield no_answer(str(source), error)
        for line in self.reader_options.notes.lines():
            sys.stderr.write(f"{line}\n")
        self.reader_options.notes.clear()

    def _answers(self, source: str | Path, encode: Encode, chosen: ClassifyOptions) -> Iterator[Answer]:
        """Yield the answers to the examples of an input."""

        def steps_of(name: str, values: Values, label: Any) -> Tensor:
            steps, _ = encode(name, values, label)
            self.form.check_steps(name, steps.shape[1:])
            return torch.from_numpy(np.ascontiguousarray(steps))

        for example in self._examples(source):
            name = example.name
            try:
                steps = load_example(example, steps_of)
            except DataError as error:
                if not chosen.skip_bad:
                    raise
                yield no_answer(name, error)
                continue
            if chosen.every:
                yield from self._running(name, steps, chosen)
            else:
                yield self.answer_to(name, steps, chosen.top)

    @torch.no_grad()
    def answer_to(self, name: str, steps: Tensor, top: int = 3) -> Answer:
        """Return the answer to one sequence, whose steps (T, ...) are as the model reads them."""
        scores = self.model(steps[:, None])
        return self._answer(name, scores[:, 0] if self.model.per_step else scores, top)

    def _examples(self, source: str | Path) -> Iterator[Example]:
        if self.encoder and is_stdin(source):
            for number, line in enumerate(stdin_lines(), 1):
                if line.strip():
                    yield Example(f"line {number}", partial(decoded_line, line, number, STANDARD_INPUT), None)
        elif self.encoder and not isinstance(source, Path):
            yield Example(str(source)[:60] or "the text", partial(str, source), None)
        elif source == "":
            raise DataError(
                "the name of a file is empty", should="a file, a folder, or - for standard input", found="''"
            )
        else:
            yield from read_inputs([Path(source)], self.reader_options, self.form.reader)

    def _stream(self, lines: Iterable[str]) -> Iterator[Tensor]:
        """Yield the steps of standard input, one on each line, numbers with commas or blanks between."""
        for number, line in enumerate(lines, 1):
            if line.strip():
                name, cells = f"line {number}", line.replace(",", " ").replace(";", " ").split()
                step = parse_numbers(name, cells)
                self.form.check_steps(name, step.shape)
                yield torch.from_numpy(self.form.recentring.to_float32(name, step))

    def _running(self, name: str, steps: Iterable[Tensor], chosen: ClassifyOptions) -> Iterator[Answer]:
        """Yield an answer after every so many steps, and after the last one if it has none yet."""
        count, scores, every = 0, None, chosen.every
        for count, scores in enumerate(self.model.stream(steps), 1):
            if every and count % every == 0:
                yield self._answer(name, scores, chosen.top, step=count)
        if scores is None:
            raise DataError(f"{name} is empty", should="at least one step", found="none")
        if not every or count % every:
            yield self._answer(name, scores, chosen.top, step=count)

    def _answer(self, name: str, scores: Tensor, top: int, step: int | None = None) -> Answer:
        """Return the answer for scores (1, C), or (T, C) of tags."""
        scores_NC, labels = scores.numpy(), self.form.labels
        if not np.isfinite(scores_NC).all():
            raise non_finite_output(self.run)
        where = {"input": name, **({} if step is None else {"step": step})}
        prefix = f"{name}: " if step is None else f"{name}, step {step}: "
        if labels.target == "number":
            number = float(scores_NC[0, 0]) * labels.deviation + labels.mean
            return Answer(prefix + resolved([number], labels.deviation)[0], {**where, "number": number})
        if labels.target == "classes":
            each_C = sigmoid(scores_NC[0], self.temperature)
            names = [labels.classes[n] for n in np.flatnonzero(each_C > 0.5)]
            line = f"{prefix}{', '.join(names) or 'none'}   ({_shown(labels.classes, each_C, top)})"
            return Answer(line, {**where, "labels": names, "probabilities": _by_name(labels.classes, each_C)})
        each_NC = softmax(scores_NC, self.temperature)
        best = [labels.classes[n] for n in each_NC.argmax(1)]
        if labels.target == "tags":
            return Answer(prefix + " ".join(best), {**where, "tags": best, "probabilities": each_NC.max(1).tolist()})
        fields = {**where, "label": best[0], "probabilities": _by_name(labels.classes, each_NC[0])}
        return Answer(prefix + _shown(labels.classes, each_NC[0], top), fields)


def _shown(classes: Sequence[str], probability_C: NDArray[Any], top: int) -> str:
    order = np.argsort(-probability_C, kind="stable")[:top]
    return "  ".join(f"{classes[n]} {percent(float(probability_C[n]))}" for n in order)


def _by_name(classes: Sequence[str], probability_C: NDArray[Any]) -> dict[str, float]:
    return {name: float(p) for name, p in zip(classes, probability_C, strict=True)}
