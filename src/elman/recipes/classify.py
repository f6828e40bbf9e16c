"""A sequence -> a class, several classes, a number, or a tag for each step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elman.data.batching import BucketBatches
from elman.data.in_memory import RowFormat
from elman.data.labelled.dataset import LabelledFormat, LabelledPart, open_parts
from elman.data.labelled.example import Example, ReaderOptions, ReaderSettings
from elman.data.labelled.preparation import make_encoder, prepare_examples, write_examples
from elman.data.labelled.text_encoder import TextEncoder
from elman.data.skipped import SkippedRows
from elman.data.text.vocabularies import VOCABULARIES, load_vocabulary
from elman.errors import BrokenRun, SettingError
from elman.evaluation.result import Metrics
from elman.number_format import decimal, percent
from elman.plots.confusion_matrix import draw_confusion_matrix
from elman.plots.labels import legend_line
from elman.predictors.options import ClassifyOptions
from elman.recipes.base import Part, Recipe
from elman.recipes.network_settings import NetworkSettings, SkipBadSettings, ValidationSettings, VocabularySettings
from elman.settings import setting
from elman.training.task import Loss

if TYPE_CHECKING:
    from elman.data.labelled.batches import LabelledBatch
    from elman.models.classifier import Classifier
    from elman.predictors.classifier import ClassificationPredictor


@dataclass(frozen=True, kw_only=True)
class ClassifySettings(ReaderSettings, ValidationSettings, SkipBadSettings, VocabularySettings, NetworkSettings):
    """Settings of classification."""

    max_shift: int = setting(0, "augmentation: maximum shift of frames, in pixels", low=0, high=1000, fixed=True)
    horizontal_flip: bool = setting(False, "augmentation: flip half of the videos horizontally", fixed=True)
    mask_steps: int = setting(0, "augmentation: most consecutive steps of numbers that are masked", low=0)
    mask_features: int = setting(0, "augmentation: most adjacent features that are masked", low=0)
    vocabulary: str = setting("auto", "kind of symbols of text", choices=("auto", *VOCABULARIES), fixed=True)
    class_weights: str = setting("none", "balanced: rare classes count more", choices=("none", "balanced"))
    pooling: str = setting("last", "from states to a vector", choices=("last", "mean", "max", "attention"), fixed=True)
    embedding: int = setting(64, "size of the vector of a symbol or frame", low=1, high=65536, fixed=True)
    word_dropout: float = setting(0.05, "probability of replacing a symbol by the unknown one", low=0, high=1)


class Classify(Recipe[ClassifySettings, LabelledPart]):
    """Classification, tagging or regression of sequences."""

    name = "classify"
    summary = "a sequence -> a class, several classes, a number, or a tag for each step"
    data = (
        "a folder with one sub-folder per class (text, images, sound, video or series), text files named after their "
        "class with an example on each line, a table or manifest (.csv, .tsv, .jsonl), IDX files as of MNIST, or .ts "
        "files"
    )
    default = "1797 digits of 8 x 8 pixels, read pixel by pixel"
    example = "elman train classify names/ --minutes 1 --out runs/names"
    Settings, Options = ClassifySettings, ClassifyOptions
    rows = RowFormat(("text", "label"), files="path")
    sample_size = 16
    evaluation_files = "a plot of the confusion matrix"

    @property
    def metric(self) -> str:
        return "mse" if self.settings.target == "number" else "nats"

    @property
    def unit(self) -> str:
        return "tags" if self.settings.target == "tags" else "sequences"

    @cached_property
    def form(self) -> LabelledFormat:
        return LabelledFormat.open(self.folder)

    @cached_property
    def encoder(self) -> TextEncoder | None:
        """The encoder of text; None where sequences are numbers."""
        return TextEncoder(load_vocabulary(self.folder)) if self.form.kind == "symbols" else None

    @cached_property
    def temperature(self) -> float:
        """The temperature that was fitted at the best weights; 1 where there is none."""
        temperature = self.run.best_metrics().get("temperature", 1.0)
        if temperature is None or not 0 < temperature < 1e6:
            raise BrokenRun(f"{self.run.model} is broken", should="a temperature above 0", found=str(temperature)[:40])
        return temperature

    @cached_property
    def reader_options(self) -> ReaderOptions:
        return ReaderOptions(**{field.name: getattr(self.settings, field.name) for field in fields(ReaderSettings)})

    def prepare(self, sources: Sequence[Path]) -> dict[str, Any]:
        from elman.data.labelled.readers import reader_name

        s, held_out = self.settings, [Path(name) for name in self.settings.validation_data]
        description = prepare_examples(
            partial(self.examples_of, sources),
            self.folder,
            reader=reader_name(sources),
            target=s.target,
            vocabulary=s.vocabulary,
            vocabulary_size=s.vocabulary_size,
            validation=s.validation,
            validation_read=partial(self.examples_of, held_out) if held_out else None,
            seed=s.seed,
            skip_bad=s.skip_bad,
        )
        notes = [*self.reader_options.notes.lines(), *description.get("notes", [])]
        return {**description, **({"notes": notes} if notes else {})}

    def examples_of(self, sources: Sequence[Path], limit: int | None = None) -> Iterator[Example]:
        from elman.data.labelled.readers import read_examples

        return islice(read_examples(sources, self.reader_options), limit)

    def build(self) -> Classifier:
        from elman.models.classifier import Classifier
        from elman.modules.input_layers import build_input_layer
        from elman.modules.recurrent_stack import RecurrentStack

        s, form = self.settings, self.form
        input_layer = build_input_layer(
            form.kind,
            form.shape,
            symbols=self.encoder.size if self.encoder else 0,
            embedding=s.embedding,
            word_dropout=s.word_dropout,
            mean=form.mean,
            deviation=form.deviation,
            mask_steps=s.mask_steps,
            mask_features=s.mask_features,
            dropout=s.dropout,
            max_shift=s.max_shift,
            horizontal_flip=s.horizontal_flip,
        )
        encoder = RecurrentStack(input_layer.output_size, s.hidden, pooling=s.pooling, **s.network())
        return Classifier(input_layer, encoder, form.labels.outputs, per_step=form.labels.target == "tags")

    def dataset(self, part: Part) -> LabelledPart:
        training, validation = open_parts(self.folder, self.form, self.encoder.size if self.encoder else 0)
        return training if part == "training" else validation

    def read(
        self, sources: Sequence[Path], folder: Path, *, skip_bad: bool, limit: int | None
    ) -> tuple[LabelledPart, SkippedRows]:
        read, skipped = partial(self.examples_of, sources, limit), SkippedRows()
        encode = make_encoder(self.form.labels, self.encoder, recentring=self.form.recentring)
        part, _ = write_examples(folder, "evaluation", read, encode, skip_bad, skipped)
        self.form.check_steps(str(sources[0]), part.input.values.shape[1:])
        return part, skipped

    def batches(self, training: LabelledPart) -> BucketBatches[LabelledBatch]:
        from elman.data.labelled.batches import training_batches

        s = self.settings
        return training_batches(training, self.form.labels, batch_size=s.batch_size, seed=s.seed)

    def loss(self, model: Classifier, batch: LabelledBatch, state: None, progress: float | None) -> Loss:
        from elman.models.classifier import TARGET_LOSSES, class_weights

        s, scores = self.settings, model(batch.input, batch.lengths_B)
        weights = class_weights(self.form.labels.counts, s.class_weights == "balanced", scores.device)
        return Loss(*TARGET_LOSSES[s.target](scores, batch.target, weights))

    def measure(self, model: Classifier, data: LabelledPart) -> Metrics:
        from elman.evaluation.labelling import evaluate_calibrated

        return evaluate_calibrated(model, self.form.labels, data)

    def evaluate(self, model: Classifier, data: LabelledPart, *, out: Path | None) -> dict[str, Any]:
        from elman.evaluation.labelling import labelling_metrics, predict_part
        from elman.evaluation.metrics.classification import confusion_matrix

        labels = self.form.labels
        if out is not None and labels.target not in ("class", "tags"):
            raise SettingError("there is no confusion matrix to draw", should="target=class", found=labels.target)
        scores, targets = predictions = predict_part(model, labels, data)
        if out is not None:
            table = confusion_matrix(scores.argmax(1), targets, len(labels.classes))
            legend = legend_line(draw_confusion_matrix(table, labels.classes, out / "confusion.png"))
        metrics = dict(labelling_metrics(predictions, labels, self.temperature))
        return {**metrics, **({"picture_labels": legend} if out is not None and legend else {})}

    def baselines(self, data: LabelledPart) -> dict[str, Metrics]:
        from elman.evaluation.labelling import prior_baseline

        return prior_baseline(self.form.labels, data)

    def sample(self, data: LabelledPart) -> tuple[list[LabelledBatch], None]:
        from elman.data.labelled.batches import evaluation_batches

        part = replace(data, chosen=data.chosen[: self.sample_size])
        return list(islice(evaluation_batches(part, self.form.labels, batch_size=8), 2)), None

    def predictor(self, model: Classifier) -> ClassificationPredictor:
        from elman.predictors.classifier import ClassificationPredictor

        return ClassificationPredictor(
            model, self.folder, self.form, self.encoder, self.reader_options, temperature=self.temperature
        )

    @staticmethod
    def headline(metrics: Metrics) -> str:
        if "mse" in metrics:
            return f"mean squared error {decimal(metrics['mse'])}"
        return f"accuracy {percent(metrics['accuracy'])}, {decimal(metrics['nats'])} nats"

    def usage(self, run: str) -> list[tuple[str, str]]:
        return [("Classify a new sequence", f"elman predict {run} FILE")]
