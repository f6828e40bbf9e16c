"""A trained classifier: what it is measured by, and what it answers to single sequences and to streams."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.labelled.dataset import LabelledFormat, LabelledPart, open_parts
from elman.data.labelled.example import Example, ReaderOptions, Values
from elman.data.labelled.preparation import Encode, load_example, make_encoder, write_examples
from elman.data.labelled.readers import read_examples, read_inputs
from elman.data.labelled.text_encoder import TextEncoder
from elman.data.labelled.ts_archive import parse_numbers
from elman.data.skipped import SkippedRows
from elman.data.text.vocabularies import load_vocabulary
from elman.decoding.probabilities import sigmoid, softmax
from elman.errors import DataError, NonFiniteError, RunError, SettingError
from elman.evaluation.labelling import labelling_metrics, predict_part, prior_baseline
from elman.evaluation.metrics.classification import confusion_matrix
from elman.models.classifier import Classifier
from elman.plots.confusion_matrix import draw_confusion_matrix
from elman.predictors.answer import Answer, no_answer
from elman.storage import tensors
from elman.storage.run_directory import RunDirectory


@dataclass(frozen=True)
class ClassificationPredictor:
    """A classifier that is ready to use.

    Attributes:
        model: in evaluation mode.
        form: what it reads, and what it can answer.
        told: how data is read.
        run: where it came from.
        temperature: what its scores are divided by, so that probabilities mean what they say.
    """

    model: Classifier
    form: LabelledFormat
    told: ReaderOptions
    run: RunDirectory
    temperature: float

    def evaluate(
        self, data: Sequence[Path] | None = None, *, pictures: Path | None = None, skip_bad: bool = False
    ) -> dict[str, Any]:
        """Return the metrics on `data`, or on the run's own validation part, and those of the most frequent class.

        Args:
            data: labelled examples.
            pictures: a folder where confusion.png is drawn.
            skip_bad: leave broken examples out; how many, and the first of them, is in the metrics.

        Raises:
            DataError: the data cannot be read, or has a label that the training data has not.
            RunError: the run came without its data.
        """
        labels = self.form.labels
        with judged_part(self.told, self.run.path, self.form, data or [], skip_bad) as (part, skipped):
            answers = predict_part(self.model, labels, part)
            baselines = prior_baseline(labels, part)
        self._check_finite(answers.scores)
        if pictures is not None:
            if labels.target not in ("class", "tags"):
                raise SettingError("there is no confusion matrix to draw", should="target=class", found=labels.target)
            table = confusion_matrix(answers.scores.argmax(1), answers.target, len(labels.classes))
            draw_confusion_matrix(table, labels.classes, pictures / "confusion.png")
        found = {**labelling_metrics(answers, labels, self.temperature), "baselines": baselines}
        return {**found, "skipped": skipped.count, "left_out": skipped.lines()} if skip_bad else found

    def predict(
        self, inputs: Sequence[str], *, top: int = 3, every: int = 0, skip_bad: bool = False
    ) -> Iterator[Answer]:
        """Yield the answer to each input, as it is made.

        Args:
            inputs: files, folders and data sets; for a model of text also the text itself; "-" reads standard input,
                a text on each line, or one step of a series on each line.
            top: how many classes are shown.
            every: an answer after every so many steps, as if the sequence ended there; 0: only at the end.
            skip_bad: broken inputs get an answer that says so, and the others theirs.

        Raises:
            DataError: an input cannot be read.
            SettingError: there is no input, or the layers read in both directions and cannot answer on the way.
        """
        if not inputs:
            raise SettingError(
                "there is nothing to answer", should="a file, a text, or - for standard input", found="nothing"
            )
        encoder = encoder_of(self.run.path, self.form)
        for source in inputs:
            try:
                if source == "-" and encoder is None:
                    yield from self._running("-", self._stream(sys.stdin), every, top)
                else:
                    yield from self._answers(source, make_encoder(None, encoder), top, every, skip_bad)
            except DataError as error:
                if not skip_bad:
                    raise
                yield no_answer(source, error)

    def _answers(self, source: str, encode: Encode, top: int, every: int, skip_bad: bool) -> Iterator[Answer]:
        """Yield the answers to what an input holds."""

        def steps_of(name: str, values: Values, label: Any) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(self._checked(name, encode(name, values, label)[0])))

        for example in self._read(source):
            name = example.name
            try:
                steps = load_example(example, steps_of)
            except DataError as error:
                if not skip_bad:
                    raise
                yield no_answer(name, error)
                continue
            if every:
                yield from self._running(name, steps, every, top)
            else:
                with torch.no_grad():
                    scores = self.model(steps[:, None])
                yield self._answer(name, scores[:, 0] if self.model.per_step else scores, top)

    def _read(self, source: str) -> Iterator[Example]:
        """Yield what an input holds."""
        if self.form.kind == "symbols" and source == "-":
            for number, line in enumerate(sys.stdin, 1):
                if line.strip():
                    yield Example(f"line {number}", partial(_text, line.strip()), None)
        elif self.form.kind == "symbols" and not _exists(source):
            yield Example(source[:60], partial(_text, source), None)
        else:
            yield from read_inputs([Path(source)], replace(self.told, labelled=False), self.form.reader)

    def _stream(self, lines: Iterable[str]) -> Iterator[Tensor]:
        """Yield the steps of standard input, one on each line, numbers with commas or blanks between."""
        for number, line in enumerate(lines, 1):
            if line.strip():
                cells = line.replace(",", " ").replace(";", " ").split()
                step = self._checked(f"line {number}", parse_numbers(f"line {number}", cells)[None])
                yield torch.from_numpy(step[0])

    def _checked(self, name: str, steps: NDArray[Any]) -> NDArray[Any]:
        if steps.shape[1:] != self.form.shape:
            raise DataError(
                f"{name} is not what the model reads",
                should=f"steps of shape {self.form.shape}",
                found=str(steps.shape[1:]),
                hint="sequences as those of the training data",
            )
        return steps

    def _running(self, name: str, steps: Iterable[Tensor], every: int, top: int) -> Iterator[Answer]:
        """Yield an answer after every so many steps, and after the last one where there is none else."""
        count, scores = 0, None
        for count, scores in enumerate(self.model.stream(steps), 1):
            if every and count % every == 0:
                yield self._answer(name, scores, top, step=count)
        if scores is None:
            raise DataError(f"{name} is empty", should="at least one step", found="none")
        if not every or count % every:
            yield self._answer(name, scores, top, step=count)

    def _answer(self, name: str, scores: Tensor, top: int, step: int | None = None) -> Answer:
        """Return the answer for scores (1, C), or (T, C) of tags."""
        found, labels = scores.numpy(), self.form.labels
        self._check_finite(found)
        where = {"input": name, **({} if step is None else {"step": step})}
        prefix = f"{name}: " if step is None else f"{name}, step {step}: "
        if labels.target == "number":
            number = float(found[0, 0]) * labels.deviation + labels.mean
            return Answer(f"{prefix}{number:.6g}", {**where, "number": number})
        if labels.target == "classes":
            each = sigmoid(found[0], self.temperature)
            held = [labels.classes[n] for n in np.flatnonzero(each > 0.5)]
            line = f"{prefix}{', '.join(held) or 'none'}   ({_shown(labels.classes, each, top)})"
            return Answer(line, {**where, "labels": held, "probabilities": _by_name(labels.classes, each)})
        each = softmax(found, self.temperature)
        best = [labels.classes[n] for n in each.argmax(1)]
        if labels.target == "tags":
            return Answer(prefix + " ".join(best), {**where, "tags": best, "probabilities": each.max(1).tolist()})
        fields = {**where, "label": best[0], "probabilities": _by_name(labels.classes, each[0])}
        return Answer(prefix + _shown(labels.classes, each[0], top), fields)

    def _check_finite(self, scores: NDArray[Any]) -> None:
        if not np.isfinite(scores).all():
            raise NonFiniteError(
                f"the model in {self.run.path} answers no numbers",
                should="finite weights and inputs",
                found="scores that are infinite or not a number",
                hint="train anew, with a smaller learning rate",
            )


def _text(text: str) -> Values:
    return text


def _exists(source: str) -> bool:
    try:
        return Path(source).exists()
    except (OSError, ValueError):  # a text that no file can be named
        return False


def _shown(classes: Sequence[str], probability_C: NDArray[Any], top: int) -> str:
    order = np.argsort(-probability_C, kind="stable")[:top]
    return "  ".join(f"{classes[n]} {probability_C[n]:.1%}" for n in order)


def _by_name(classes: Sequence[str], probability_C: NDArray[Any]) -> dict[str, float]:
    return {name: float(p) for name, p in zip(classes, probability_C, strict=True)}


def encoder_of(folder: Path, form: LabelledFormat) -> TextEncoder | None:
    """Return what encodes text for a run; None where it reads numbers."""
    return TextEncoder(load_vocabulary(folder)) if form.kind == "symbols" else None


@contextmanager
def judged_part(
    told: ReaderOptions, folder: Path, form: LabelledFormat, sources: Sequence[Path], skip_bad: bool = False
) -> Iterator[tuple[LabelledPart, SkippedRows]]:
    """Encode DATA as a run reads it, for a moment, or open the run's own validation part; with what was left out.

    Raises:
        DataError, RunError: the data cannot be read, or the run has none.
    """
    if not sources:
        if not (folder / "held.npy").exists():
            raise RunError(f"{folder} came without its data", hint="name data behind the run")
        yield open_parts(folder)[1], SkippedRows()
        return
    skipped = SkippedRows()
    with TemporaryDirectory() as place:
        read, make = partial(read_examples, sources, told), make_encoder(form.labels, encoder_of(folder, form))
        part, _ = write_examples(Path(place), "judged", read, make, skip_bad, skipped)
        if part.input.values.shape[1:] != form.shape:
            raise DataError(
                f"{sources[0]} is not what the model reads",
                should=f"steps of shape {form.shape}",
                found=str(part.input.values.shape[1:]),
            )
        yield part, skipped


def kept_temperature(run: RunDirectory) -> float:
    """Return the temperature that was found at the best weights; 1 where there is none.

    Raises:
        RunError: it is none that training could have found.
    """
    _, facts = tensors.header(run.model)
    try:
        found = facts["metrics"].get("temperature", 1.0)
        good = type(found) in (int, float) and 0 < found < 1e6
    except (TypeError, KeyError, AttributeError):
        found, good = None, False
    if not good:
        raise RunError(f"{run.model} is broken", should="a temperature above 0", found=repr(found)[:40])
    return float(found)
