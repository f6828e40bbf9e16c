"""Sequences -> a class, several classes, a number, or a tag for each step."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from elman.data.labelled.batches import LabelledBatch, evaluation_batches, training_batches
from elman.data.labelled.dataset import LabelledFormat, LabelledPart, open_parts
from elman.data.labelled.example import ReaderOptions
from elman.data.labelled.labels import TARGETS
from elman.data.labelled.preparation import fingerprint_examples, prepare_examples
from elman.data.labelled.readers import read_examples, reader_name
from elman.data.text.vocabularies import load_vocabulary
from elman.evaluation.labelling import evaluate_calibrated, prior_baseline
from elman.evaluation.result import Metrics
from elman.models.classifier import TARGET_LOSSES, Classifier, class_weights
from elman.modules.input_layers import build_input_layer
from elman.modules.recurrent_stack import RecurrentStack
from elman.predictors.classifier import ClassificationPredictor, judged_part, kept_temperature
from elman.predictors.options import ClassifyOptions
from elman.recipes.legacy import LegacyRecipe, LegacySample
from elman.recipes.network_settings import NetworkSettings
from elman.settings import setting
from elman.storage.run_directory import RunDirectory
from elman.training.device import choose_device
from elman.training.task import Loss, Task

SAMPLE_ROWS, SAMPLE_BATCHES = 8, 2  # sequences that a diagnosis looks at


@dataclass(frozen=True, kw_only=True)
class ClassifySettings(NetworkSettings):
    """The settings of a classifier."""

    target: str = setting("class", "what a label is", choices=TARGETS, fixed=True)
    columns: tuple[str, ...] = setting((), "names of a table's columns, if its first line has none", fixed=True)
    text_column: str | None = setting(None, "column of a table with the text; else text or sentence", fixed=True)
    series_columns: tuple[str, ...] = setting((), "columns with the numbers; patterns such as x* too", fixed=True)
    path_column: str | None = setting(None, "column with the path of a file; else path or file", fixed=True)
    label_column: str | None = setting(None, "column with the label; else label, class or target", fixed=True)
    group_column: str | None = setting(None, "rows with the same value here are one sequence", fixed=True)
    encoding: str = setting("utf-8", "encoding of text files and tables", fixed=True)
    order: str = setting(
        "auto", "of pixels; auto: pixels up to 256", choices=("auto", "rows", "pixels", "permuted"), fixed=True
    )
    picture_size: tuple[int, ...] = setting(
        (), "height,width that pictures and video are brought to", low=1, fixed=True
    )
    colour: bool = setting(False, "pictures and video in colour", fixed=True)
    crop: tuple[int, ...] = setting((), "height,width of a window around what moves in a video", low=1, fixed=True)
    still: bool = setting(False, "the mean frame of a video, what stands still, stays in it", fixed=True)
    seconds: tuple[float, ...] = setting((), "begin,end of the part of sounds and videos that is read", fixed=True)
    longest: float = setting(600.0, "seconds that a sound or video may last", low=0, fixed=True)
    rate: int = setting(16000, "samples a second that sound is brought to", low=100, high=1_000_000, fixed=True)
    bands: int = setting(40, "of the mel scale that sound is parted into", low=1, high=1000, fixed=True)
    trim: bool = setting(False, "leave out what is quiet at the beginning and end of a sound", fixed=True)
    shift: int = setting(0, "pixels that frames are moved by in training", low=0, high=1000, fixed=True)
    mirror: bool = setting(False, "half of the videos are mirrored in training", fixed=True)
    mask_steps: int = setting(0, "longest run of steps of numbers that is masked in training", low=0)
    mask_features: int = setting(0, "the same of features", low=0)
    vocabulary: str = setting("auto", "auto, characters, words, bytes or bpe: what a symbol of text is", fixed=True)
    vocabulary_size: int | None = setting(None, "most symbols there may be, for words and bpe", low=1, fixed=True)
    validation: float = setting(0.1, "share of the examples that is kept for validation", low=0, high=1, fixed=True)
    validation_data: str | None = setting(None, "file or folder for validation instead", fixed=True)
    skip_bad: bool = setting(False, "leave broken examples out, and count them", fixed=True)
    class_weights: str = setting("none", "of the loss; balanced: rare count more", choices=("none", "balanced"))
    pooling: str = setting("last", "over steps: last, mean, max, attention", fixed=True)
    embedding: int = setting(64, "size of the vector of a symbol or frame", low=1, high=65536, fixed=True)
    symbol_dropout: float = setting(0.05, "probability that a symbol becomes unknown in training", low=0, high=1)


def reading(settings: ClassifySettings, **changes: Any) -> ReaderOptions:
    """Return what readers are told."""
    names = {field.name for field in fields(ReaderOptions)} & {field.name for field in fields(settings)}
    return replace(ReaderOptions(**{name: getattr(settings, name) for name in names}), **changes)


def prepare(sources: Sequence[Path], settings: ClassifySettings, folder: Path) -> dict[str, Any]:
    """Read the examples and put them into the folder, in the form that training takes."""
    told = reading(settings)
    judged = [Path(settings.validation_data)] if settings.validation_data else []
    described = prepare_examples(
        partial(read_examples, sources, told),
        folder,
        reader=reader_name(sources),
        target=settings.target,
        vocabulary=settings.vocabulary,
        vocabulary_size=settings.vocabulary_size,
        validation=settings.validation,
        validation_read=partial(read_examples, judged, told) if judged else None,
        seed=settings.seed,
        skip_bad=settings.skip_bad,
    )
    return {**described, **({"notes": sorted(told.notes)} if told.notes else {})}


def build(settings: ClassifySettings, folder: Path) -> Classifier:
    """Build the untrained model for the form of the sequences in the folder."""
    form = LabelledFormat.open(folder)
    front = build_input_layer(
        form.kind,
        form.shape,
        symbols=len(load_vocabulary(folder)) + 1 if form.kind == "symbols" else 0,
        embedding=settings.embedding,
        word_dropout=settings.symbol_dropout,
        mean=form.mean,
        deviation=form.deviation,
        mask_steps=settings.mask_steps,
        mask_features=settings.mask_features,
        dropout=settings.dropout,
        max_shift=settings.shift,
        horizontal_flip=settings.mirror,
    )
    encoder = RecurrentStack(front.output_size, settings.hidden, pooling=settings.pooling, **settings.network())
    return Classifier(front, encoder, form.labels.outputs, per_step=form.labels.target == "tags")


def task(settings: ClassifySettings, run: RunDirectory, model: nn.Module) -> Task:
    """Return what training needs."""
    form, (training, validation) = LabelledFormat.open(run.path), open_parts(run.path)
    run.check_data(fingerprint_examples(training), "examples")
    loss = objective(settings, form, choose_device(settings.device))

    def evaluate(model: nn.Module) -> Metrics:
        return evaluate_calibrated(model, form.labels, validation)

    return Task(
        model,
        training_batches(training, form.labels, batch_size=settings.batch_size, seed=settings.seed),
        lambda model, batch, state: loss(model, batch),
        evaluate,
        metric="mse" if settings.target == "number" else "nats",
        unit="tags" if settings.target == "tags" else "sequences",
    )


def objective(settings: ClassifySettings, form: LabelledFormat, device: torch.device) -> Any:
    """Return (model, batch) -> Loss."""
    weights = class_weights(form.labels.counts, settings.class_weights == "balanced")
    weights = None if weights is None else weights.to(device)

    def loss(model: nn.Module, batch: LabelledBatch) -> Loss:
        scores = model(batch.input.to(device), batch.lengths_B)
        return Loss(*TARGET_LOSSES[settings.target](scores, batch.target.to(device), weights))

    return loss


def sample(settings: ClassifySettings, run: RunDirectory, sources: Sequence[Path]) -> LegacySample:
    """Return some examples of DATA, or of the validation part."""
    form = LabelledFormat.open(run.path)
    loss = objective(settings, form, torch.device("cpu"))
    with judged_part(reading(settings), run.path, form, sources) as (part, _):
        few = LabelledPart(part.input, part.target, part.chosen[: SAMPLE_ROWS * SAMPLE_BATCHES])
        found = list(islice(evaluation_batches(few, form.labels, batch_size=SAMPLE_ROWS), SAMPLE_BATCHES))
    return LegacySample(found, lambda model, batch: loss(model, batch).mean, None)


def baselines(settings: ClassifySettings, run: RunDirectory) -> Mapping[str, Metrics]:
    """Return what the most frequent class, or the mean, gets on the validation part."""
    return prior_baseline(LabelledFormat.open(run.path).labels, open_parts(run.path)[1])


def load(settings: ClassifySettings, run: RunDirectory, model: nn.Module) -> ClassificationPredictor:
    """Return the trained model with what belongs to it."""
    assert isinstance(model, Classifier)
    return ClassificationPredictor(model, LabelledFormat.open(run.path), reading(settings), run, kept_temperature(run))


def headline(metrics: Metrics) -> str:
    """Return how well, in a few words."""
    if "mse" in metrics:
        return f"mean squared error {metrics['mse']:.4g}"
    return f"accuracy {metrics['accuracy']:.1%}, {metrics['nats']:.4f} nats"


def commands(folder: Path) -> list[tuple[str, str]]:
    """Return what can be done next."""
    run = shlex.quote(str(folder))
    return [
        ("Label a new sequence", f"elman predict {run} FILE"),
        ("Measure it on other data, with a picture of what is confused", f"elman evaluate {run} DATA --out pictures"),
        ("See how its gradients flow", f"elman diagnose {run}"),
        ("Train it further", f"elman train classify --out {run} --resume --minutes 30"),
    ]


RECIPE = LegacyRecipe(
    name="classify",
    summary="a sequence -> a class, several classes, a number, or a tag for each step",
    data="a folder with one sub-folder per class (text, pictures, sound, video or series), text files named after "
    "their class with an example on each line, a table or manifest (.csv, .tsv, .jsonl), IDX files as of MNIST, or .ts "
    "files",
    default="1797 digits of 8 x 8 pixels, read pixel by pixel",
    example="elman train classify names/ --minutes 1 --out runs/names",
    settings=ClassifySettings,
    prepare=prepare,
    build=build,
    task=task,
    sample=sample,
    load=load,
    headline=headline,
    commands=commands,
    predict=ClassifyOptions,
    baselines=baselines,
)
