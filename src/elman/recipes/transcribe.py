"""Sound or video -> text: train on sentences, transcribe others, as a whole or as they are spoken."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from elman.data.batching import BucketBatches
from elman.data.speech.dataset import SpeechBatch, SpeechDataset, load_extractor, read_numbers
from elman.data.speech.features import collect_features
from elman.data.speech.preparation import prepare_speech
from elman.data.speech.readers import read_transcripts
from elman.data.speech.sources import features_for, sentences
from elman.data.text.vocabularies import load_vocabulary
from elman.errors import BrokenRun, SettingError
from elman.evaluation.metrics.word_errors import error_rates
from elman.models.transcriber import Transcriber
from elman.predictors.options import TranscribeOptions
from elman.predictors.transcriber import TranscriptionPredictor, texts_of
from elman.predictors.word_timings import read_each, spelled
from elman.recipes.legacy import LegacyRecipe, LegacySample
from elman.recipes.network_settings import CellSettings
from elman.settings import setting
from elman.storage.run_directory import RunDirectory
from elman.training.device import choose_device
from elman.training.task import Loss, Task

SAMPLE = 8  # sentences that a diagnosis looks at
MOST_STRIDE = 16  # steps of the input for one of the layers


@dataclass(frozen=True, kw_only=True)
class TranscribeSettings(CellSettings):
    """The settings of a transcriber."""

    input: str = setting("sound", "what is read of a file", choices=("sound", "video"), fixed=True)
    vocabulary: str = setting("characters", "what a symbol is", choices=("characters", "words", "bpe"), fixed=True)
    vocabulary_size: int | None = setting(None, "most symbols there may be, for words and bpe", low=1, fixed=True)
    path_column: str = setting("path", "the column of the files", fixed=True)
    text_column: str = setting("text", "the column of what is said", fixed=True)
    speaker_column: str = setting("speaker", "the column of who speaks, for normalise=speaker", fixed=True)
    validation: float = setting(0.1, "share of the sentences, drawn by the seed, for validation", fixed=True)
    validation_data: str | None = setting(None, "table for validation instead", fixed=True)
    skip_bad: bool = setting(False, "broken files are left out and counted", fixed=True)
    rate: int | None = setting(
        None, "sound: samples a second; none: 16000, the default data 4000", low=1000, high=192000, fixed=True
    )
    bands: int = setting(40, "sound: mel bands", low=1, high=512, fixed=True)
    trim: bool | None = setting(
        None, "sound: the noise before and after the speech is left out; none: unless streaming", fixed=True
    )
    longest: float = setting(60.0, "seconds of a sentence at the most", low=0.1, fixed=True)
    crop: tuple[int, int] = setting((32, 48), "video: height and width of the window round what moves", fixed=True)
    components: int = setting(96, "video: principal components of a frame", low=1, high=4096, fixed=True)
    copies: int = setting(1, "video: of each clip for training, moved by a pixel or two", low=1, high=100, fixed=True)
    normalise: str = setting(
        "auto",
        "by the mean and deviation of what; auto: the utterance, or the training data where streaming",
        choices=("auto", "utterance", "speaker", "training"),
        fixed=True,
    )
    streaming: bool = setting(False, "one direction only, so that a stream can be heard as it comes", fixed=True)
    hidden: int = setting(128, "units of a layer and direction", low=1, high=65536, fixed=True)
    layers: int = setting(2, "recurrent layers", low=1, high=64, fixed=True)
    stride: int | None = setting(
        None,
        "steps of the input for one of the layers; none: as many as leave each symbol two and a half, at most 40 ms",
        low=1,
        high=MOST_STRIDE,
        fixed=True,
    )
    dropout: float = setting(0.2, "probability of dropping a feature", low=0, high=1)
    mask_steps: int = setting(0, "longest run of steps that is hidden in training, twice a sentence", low=0)
    mask_features: int = setting(0, "widest run of features that is hidden in training, twice a sentence", low=0)
    stretch: float = setting(0.1, "greatest change of speed in training", low=0, high=0.5)
    warp: float = setting(0.05, "sound: greatest change of pitch in training, along the mel scale", low=0, high=0.5)
    flat_start: float | None = setting(
        None,
        "epochs in which, less and less, symbols are taught as if spoken evenly; none: 8 for words, else 0",
        low=0,
    )
    batch_size: int = setting(16, "sentences in a batch", low=1, high=65536, fixed=True)
    learning_rate: float = setting(0.003, "step size at the top of the schedule", low=0)

    def check(self) -> None:
        super().check()
        if self.streaming and self.normalise not in ("auto", "training"):
            raise SettingError(
                "a stream cannot be normalised by what is yet to come",
                should="normalise=training with streaming=true",
                found=f"normalise={self.normalise}",
            )

    @property
    def scaled_by(self) -> str:
        """What the features are normalised by."""
        if self.normalise != "auto":
            return self.normalise
        return "training" if self.streaming else "utterance"

    @property
    def flat_epochs(self) -> float:
        """Epochs of the flat start."""
        return self.flat_start if self.flat_start is not None else 8.0 if self.vocabulary == "words" else 0.0

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a table that are read."""
        return (self.path_column, self.text_column, *([self.speaker_column] if self.scaled_by == "speaker" else []))


def prepare(sources: Sequence[Path], settings: TranscribeSettings, folder: Path) -> dict[str, Any]:
    """Read the sentences, choose the symbols, and write the features into the folder, file by file."""
    training, judged = sentences(sources, settings)
    told = prepare_speech(
        folder,
        training,
        judged,
        features_for(training, settings, files=bool(sources)),
        vocabulary=settings.vocabulary,
        vocabulary_size=settings.vocabulary_size,
        skip_bad=settings.skip_bad,
        by_speaker=settings.scaled_by == "speaker" and bool(sources),
        copies=settings.copies,
        stride=settings.stride,
    )
    return {"sources": [str(source) for source in sources] or ["Morse code with noise, generated"], **told}


def build(settings: TranscribeSettings, folder: Path) -> Transcriber:
    """Build the untrained model for the vocabulary and the features in the folder."""
    scale = read_numbers(folder / "scale.json")
    mean, deviation = scale.get("mean", []), scale.get("deviation", [])
    return Transcriber(
        len(mean),
        load_vocabulary(folder).size,
        mean=mean,
        deviation=deviation,
        streaming=settings.streaming,
        utterance_norm=settings.scaled_by == "utterance",
        hidden=settings.hidden,
        layers=settings.layers,
        **settings.layer(),
        stride=_stride(scale, folder),
        dropout=settings.dropout,
        mask_steps=settings.mask_steps,
        mask_features=settings.mask_features,
        max_time_stretch=settings.stretch,
        max_frequency_warp=settings.warp if settings.input == "sound" else 0.0,
    )


def _stride(scale: Mapping[str, Any], folder: Path) -> int:
    """Return the steps of the input for one of the network, which `prepare_speech` left in scale.json."""
    stride = scale.get("stride")
    if type(stride) is not int or not 1 <= stride <= MOST_STRIDE:
        raise BrokenRun(
            f"{folder}/scale.json has no stride that can be",
            should=f"a whole number from 1 to {MOST_STRIDE}",
            found=repr(stride)[:80],
        )
    return stride


def task(settings: TranscribeSettings, run: RunDirectory, model: nn.Module) -> Task:
    """Return what training needs."""
    device = choose_device(settings.device)
    speech = SpeechDataset.open(run.path)
    run.check_data(speech.fingerprint, "sentences")
    judged, references = SpeechDataset.open(run.path / "validation"), texts_of(run, "validation")
    vocabulary = load_vocabulary(run.path)
    batches = BucketBatches(speech.input.lengths, speech.batch, batch_size=settings.batch_size, seed=settings.seed)

    flat = settings.flat_epochs

    def objective(model: Any, batch: SpeechBatch, state: Any) -> Loss:
        symbols = int(batch.sizes_B.sum())
        spread = max(0.0, 1 - batches.progress / flat) if flat else 0.0
        return Loss(model.loss(*(t.to(device) for t in batch), flat_start=spread) / max(1, symbols), symbols)

    def evaluate(model: Any) -> Mapping[str, float | None]:
        features = [judged.input[n] for n in range(len(judged.input))]
        found = {n: spelled(vocabulary, timed) for n, timed, _ in read_each(model, features, device)}
        return error_rates([found[n] for n in range(len(features))], references)

    metric = "word_error_rate" if settings.vocabulary == "words" else "character_error_rate"
    return Task(model, batches, objective, evaluate, metric=metric, default_minutes=5.0)


def sample(settings: TranscribeSettings, run: RunDirectory, sources: Sequence[Path]) -> LegacySample:
    """Return the first sentences of a table, or of the run's own."""
    speech = SpeechDataset.open(run.path)
    if sources:
        rows = islice((row for path in sources for row in read_transcripts(path, columns=settings.columns)), SAMPLE)
        by_speaker = settings.scaled_by == "speaker"
        found = collect_features(rows, load_extractor(run.path), skip_bad=False, by_speaker=by_speaker)
        symbols = [load_vocabulary(run.path).encode(text).astype(np.int64) for _, text, _ in found.rows]
        speech = SpeechDataset(type(speech.input).of(found.features), type(speech.target).of(symbols))

    def loss(model: Any, batch: SpeechBatch) -> Tensor:
        mean: Tensor = model.loss(*batch) / batch.sizes_B.sum().clamp(min=1)
        return mean

    return LegacySample([speech.batch(np.arange(min(SAMPLE, len(speech.input))))], loss, None)


def load(settings: TranscribeSettings, run: RunDirectory, model: nn.Module) -> TranscriptionPredictor:
    """Return the trained model, ready to use."""
    assert isinstance(model, Transcriber)
    parts = model, load_vocabulary(run.path), load_extractor(run.path), run
    return TranscriptionPredictor(*parts, columns=settings.columns, by_speaker=settings.scaled_by == "speaker")


def headline(metrics: Mapping[str, float | None]) -> str:
    """Return how well, in a few words."""
    return f"{metrics['character_error_rate']:.1%} of characters, {metrics['word_error_rate']:.1%} of words wrong"


def commands(folder: Path) -> list[tuple[str, str]]:
    """Return what can be done next."""
    run = shlex.quote(str(folder))
    return [
        ("Transcribe files", f"elman predict {run} FILE ... --set times=true"),
        ("Hear a stream (a run with streaming=true)", f"arecord -f S16_LE -r RATE | elman predict {run} -"),
        ("Measure it on another table", f"elman evaluate {run} TABLE.tsv"),
        ("Train it further", f"elman train transcribe --out {run} --resume --minutes 30"),
    ]


RECIPE = LegacyRecipe(
    name="transcribe",
    summary="sound or video -> text: speech recognition and lip reading by CTC",
    data="a table (TSV: path, text) of sound or video files",
    default="Morse code with noise, generated",
    example="elman train transcribe train.tsv --set validation_data=valid.tsv --minutes 20 --out runs/speech",
    settings=TranscribeSettings,
    prepare=prepare,
    build=build,
    task=task,
    sample=sample,
    load=load,
    headline=headline,
    commands=commands,
    predict=TranscribeOptions,
)
