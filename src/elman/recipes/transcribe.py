"""Sound or video -> text: speech recognition and lip reading."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.data.batching import BucketBatches
from elman.data.in_memory import RowFormat
from elman.data.notes import FileNotes
from elman.data.skipped import SkippedRows
from elman.data.speech import builtin
from elman.data.speech.ctc_length import known_symbols, numbers_that_fit
from elman.data.speech.dataset import (
    MAX_STRIDE,
    NORMS,
    SAMPLE,
    FeatureScale,
    SpeechDataset,
    load_extractor,
    longest_sentence,
)
from elman.data.speech.eigenlips import Lips
from elman.data.speech.features import extract_features, keep_sentences, write_features
from elman.data.speech.normalisation import Moments
from elman.data.speech.preparation import prepare_speech
from elman.data.speech.sources import SAMPLE_RATE, Sentences, check_default_data, rows_of, sentences
from elman.data.speech.utterance import SoundFeatures
from elman.data.text.vocabularies import Vocabulary, load_vocabulary
from elman.errors import SettingError
from elman.evaluation.metrics.word_errors import SentenceAnswer, error_rates, transcript_metrics
from elman.evaluation.result import Metrics
from elman.evaluation.resumed_answers import resumed_answers
from elman.number_format import percent
from elman.predictors.options import TranscribeOptions
from elman.recipes.base import Part, Recipe
from elman.recipes.network_settings import CellSettings, SkipBadSettings, ValidationSettings, VocabularySettings
from elman.settings import setting
from elman.storage.ragged import RaggedArrays
from elman.training.task import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from elman.data.speech.batches import SpeechBatch
    from elman.models.transcriber import Transcriber
    from elman.predictors.transcriber import TranscriptionPredictor

BEAM_WIDTH = 8  # of an evaluation
MAX_LEVEL_ERROR = 3.0  # nats, 13 decibels
CHUNK = 64  # sentences of an evaluation that are transcribed together


@dataclass(frozen=True, kw_only=True)
class TranscribeSettings(ValidationSettings, SkipBadSettings, VocabularySettings, CellSettings):
    """Settings of transcription."""

    input: str = setting("sound", "what is read of a file", choices=("sound", "video"), fixed=True)
    vocabulary: str = setting("characters", "kind of symbols", choices=("characters", "words", "bpe"), fixed=True)
    path_column: str = setting("path", "column of the files", fixed=True)
    text_column: str = setting("text", "column of the texts", fixed=True)
    speaker_column: str = setting("speaker", "column of the speakers, for feature_norm=speaker", fixed=True)
    sample_rate: int | None = setting(
        None, "sound: sample rate (Hz); none: 16000, the default data 4000", low=1000, high=192000, fixed=True
    )
    mel_bands: int = setting(40, "sound: mel bands", low=1, high=512, fixed=True)
    trim_silence: bool | None = setting(None, "sound: trim noise at both ends; none: unless streaming", fixed=True)
    max_seconds: float = setting(60.0, "seconds of a file; a longer one is broken", low=0.1, fixed=True)
    crop: tuple[int, int] = setting((32, 48), "video: height and width of the window with most motion", fixed=True)
    pca_components: int = setting(96, "video: principal components of a frame", low=1, high=4096, fixed=True)
    augmented_copies: int = setting(1, "video: versions of a clip, shifted by pixels", low=1, high=100, fixed=True)
    feature_norm: str = setting(
        "auto",
        "unit of mean and deviation, or a running level; auto: utterance, or if streaming level (video: training)",
        choices=("auto", *NORMS),
        fixed=True,
    )
    streaming: bool = setting(False, "unidirectional, so that it can transcribe a stream", fixed=True)
    hidden: int = setting(128, "units of a layer and direction", low=1, high=65536, fixed=True)
    layers: int = setting(2, "recurrent layers", low=1, high=64, fixed=True)
    stride: int | None = setting(
        None,
        "input steps of a network step; none: by the pace of the symbols",
        low=1,
        high=MAX_STRIDE,
        fixed=True,
    )
    dropout: float = setting(0.2, "probability of dropping a feature", low=0, high=1)
    mask_steps: int = setting(0, "longest run of steps that is masked in training, twice a sentence", low=0)
    mask_features: int = setting(0, "widest run of features that is masked in training, twice a sentence", low=0)
    max_time_stretch: float = setting(0.1, "largest random change of speed in training", low=0, high=0.5)
    max_frequency_warp: float = setting(0.05, "sound: largest random change of pitch in training", low=0, high=0.5)
    flat_start: float | None = setting(None, "epochs until CTC is the only loss; none: 8 for words, else 0", low=0)
    batch_size: int = setting(16, "sentences in a batch", low=1, high=65536, fixed=True)
    learning_rate: float = setting(0.003, "peak learning rate", low=0)

    def check(self) -> None:
        super().check()
        if self.streaming and self.feature_norm not in ("auto", "training", "level"):
            raise SettingError(
                "a stream cannot be normalised by its own mean",
                should="feature_norm=level or feature_norm=training with streaming=true",
                found=f"feature_norm={self.feature_norm}",
            )
        if self.input == "video" and self.feature_norm == "level":
            raise SettingError(
                "video has no level of sound",
                should="another feature_norm with input=video",
                found="feature_norm=level",
            )

    @property
    def norm(self) -> str:
        """What the features of a new run are normalised by, one of `NORMS`."""
        if self.feature_norm != "auto":
            return self.feature_norm
        if not self.streaming:
            return "utterance"
        return "level" if self.input == "sound" else "training"

    @property
    def early_norm(self) -> str:
        """What the features of a run are normalised by that does not say so: an earlier version had no level."""
        return "training" if self.norm == "level" else self.norm

    @property
    def flat_epochs(self) -> float:
        """Epochs of the flat start."""
        return self.flat_start if self.flat_start is not None else 8.0 if self.vocabulary == "words" else 0.0

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a table that are read."""
        return (self.path_column, self.text_column, *([self.speaker_column] if self.norm == "speaker" else []))


class Transcribe(Recipe[TranscribeSettings, SpeechDataset]):
    """Transcription by connectionist temporal classification (CTC)."""

    name = "transcribe"
    summary = "sound or video -> text: speech recognition and lip reading by CTC"
    data = "a table (TSV: path, text) of sound or video files"
    default = "Morse code with noise, generated"
    example = "elman train transcribe train.tsv --set validation_data=valid.tsv --minutes 20 --out runs/speech"
    Settings, Options = TranscribeSettings, TranscribeOptions
    rows = RowFormat(("path", "text"), files="path")
    unit, examples, tie_metric = "symbols", "sentences", "nats_per_symbol"
    sample_size = 8
    evaluation_files = "references and transcripts"
    default_minutes = 5.0

    @property
    def metric(self) -> str:
        return "word_error_rate" if self.settings.vocabulary == "words" else "character_error_rate"

    @cached_property
    def norm(self) -> str:
        """What the features of the run are normalised by, one of `NORMS`."""
        return FeatureScale.open(self.folder).norm or self.settings.early_norm

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return load_vocabulary(self.folder)

    def prepare(self, sources: Sequence[Path]) -> dict[str, Any]:
        s = self.settings
        if not sources:
            check_default_data(vars(s))
        training, validation = sentences(
            sources, columns=s.columns, validation_data=s.validation_data, share=s.validation, seed=s.seed
        )
        return prepare_speech(
            self.folder,
            training,
            validation,
            self.extractor(training, files=bool(sources)),
            vocabulary=s.vocabulary,
            vocabulary_size=s.vocabulary_size,
            skip_bad=s.skip_bad,
            norm=s.norm,
            copies=s.augmented_copies,
            stride=s.stride,
        )

    def extractor(self, training: Sentences, *, files: bool) -> SoundFeatures | Lips:
        """Return what computes features; eigenlips are fitted to the training videos."""
        s = self.settings
        if s.input == "sound":
            rate = (s.sample_rate or SAMPLE_RATE) if files else builtin.RATE
            trim = files and (not s.streaming if s.trim_silence is None else s.trim_silence)
            return SoundFeatures(rate, s.mel_bands, trim, s.max_seconds)
        paths = (row.source for row in training if isinstance(row.source, Path))
        return Lips.fit(
            paths, count=s.pca_components, crop=(s.crop[0], s.crop[-1]), longest=s.max_seconds, skip_bad=s.skip_bad
        )

    def build(self) -> Transcriber:
        from elman.models.transcriber import Transcriber

        s, scale = self.settings, FeatureScale.open(self.folder)
        return Transcriber(
            len(scale.mean),
            self.vocabulary.size,
            mean=scale.mean,
            deviation=scale.deviation,
            streaming=s.streaming,
            utterance_norm=self.norm == "utterance",
            gain_control=self.norm == "level",
            max_level_error=MAX_LEVEL_ERROR,
            hidden=s.hidden,
            layers=s.layers,
            **s.layer(),
            stride=scale.stride,
            dropout=s.dropout,
            mask_steps=s.mask_steps,
            mask_features=s.mask_features,
            max_time_stretch=s.max_time_stretch,
            max_frequency_warp=s.max_frequency_warp if s.input == "sound" else 0.0,
        )

    def initialise(self, model: Transcriber, training: SpeechDataset) -> None:
        """Set mean and deviation to those of the features after gain control, if there is any."""
        if model.gain_control is None:
            return
        import torch

        numbers = range(0, len(training), max(1, len(training) // SAMPLE))
        sentences = (torch.from_numpy(training.input[n].astype(np.float32))[:, None] for n in numbers)
        moments = Moments.of(model.controlled(x_T1I)[:, 0].numpy() for x_T1I in sentences)
        model.set_scale(moments.mean.tolist(), moments.deviation.tolist())

    def dataset(self, part: Part) -> SpeechDataset:
        return SpeechDataset.open(self.folder, part, self.vocabulary.size)

    def read(
        self, sources: Sequence[Path], folder: Path, *, skip_bad: bool, limit: int | None
    ) -> tuple[SpeechDataset, SkippedRows]:
        rows, skipped = islice(rows_of(sources, self.settings.columns), limit), SkippedRows()
        options: dict[str, Any] = {"skip_bad": skip_bad, "on_skip": skipped.add, "notes": FileNotes()}
        features = extract_features(rows, load_extractor(self.folder), **options)
        part, _ = write_features(folder, features, by_speaker=self.norm == "speaker")
        symbols = (known_symbols(self.vocabulary, text) for text in part.texts)
        stride = FeatureScale.open(self.folder).stride
        on_skip = skipped.add
        numbers = numbers_that_fit(
            part.names, part.input.lengths, symbols, stride, skip_bad=skip_bad, on_skip=on_skip, trained=True
        )
        return keep_sentences(folder, part, numbers), skipped

    def batches(self, training: SpeechDataset) -> BucketBatches[SpeechBatch]:
        from elman.data.speech.batches import speech_batch

        assert training.target is not None
        s, collate = self.settings, partial(speech_batch, training.input, training.target)
        return BucketBatches(training.input.lengths, collate, batch_size=s.batch_size, seed=s.seed)

    def loss(self, model: Transcriber, batch: SpeechBatch, state: None, progress: float | None) -> Loss:
        flat, symbols = self.settings.flat_epochs, int(batch.sizes_B.sum())
        flat_start = max(0.0, 1 - progress / flat) if flat and progress is not None else 0.0
        return Loss(model.loss(*batch, flat_start=flat_start) / max(1, symbols), symbols)

    def measure(self, model: Transcriber, data: SpeechDataset) -> Metrics:
        measured = {n: answer for n, answer, _ in self._answers(self.predictor(model), data, range(len(data)))}
        return self._metrics([measured[n] for n in range(len(data))], data)

    def _answers(
        self, predictor: TranscriptionPredictor, data: SpeechDataset, numbers: Sequence[int]
    ) -> Iterator[tuple[int, SentenceAnswer, Tensor]]:
        """Yield the places of sentences in `numbers`, in any order, with their answers and log-probabilities."""
        from elman.decoding.ctc import ctc_nats

        for n, timed, log_p_TV, _ in predictor.decoder.decode(data.features(numbers)):
            symbols = known_symbols(self.vocabulary, data.texts[numbers[n]]) + 1
            _, misplaced = predictor.words(timed, log_p_TV)
            yield n, SentenceAnswer(predictor.text(timed), ctc_nats(log_p_TV, symbols.tolist()), misplaced), log_p_TV

    def _metrics(self, answers: Sequence[SentenceAnswer], data: SpeechDataset) -> Metrics:
        sizes = [len(known_symbols(self.vocabulary, text)) for text in data.texts]
        return transcript_metrics(answers, data.texts, sizes)

    def evaluate(self, model: Transcriber, data: SpeechDataset, *, out: Path | None) -> dict[str, Any]:
        """Return the metrics of greedy decoding, and the error rates of a beam search."""
        predictor = self.predictor(model)
        beam = predictor.beam_search(BEAM_WIDTH)

        def transcribe(numbers: Sequence[int]) -> list[tuple[str, ...]]:
            rows: dict[int, tuple[str, ...]] = {}
            for n, answer, log_p_TV in self._answers(predictor, data, numbers):
                rows[n] = answer.text, predictor.text(beam.search(log_p_TV)[0]), *answer.measured()
            return [rows[n] for n in range(len(numbers))]

        weights = hashlib.sha256(self.run.model.read_bytes()).hexdigest()[:12]  # others make other transcripts
        keys, file = list(zip(data.names, data.texts, strict=True)), out and out / f"transcripts-{weights}.jsonl"
        names = ("path", "reference", "greedy", "beam_search", "nats", "misplaced_words")
        rows = resumed_answers(keys, transcribe, file, names=names, chunk=CHUNK)
        by_beam = error_rates([row[1] for row in rows], data.texts)
        return {
            **self._metrics([SentenceAnswer.read(text, *measured) for text, _, *measured in rows], data),
            **{f"{name}_by_beam": by_beam[name] for name in ("character_error_rate", "word_error_rate")},
            **predictor.decoder.long_recordings(data.features(range(len(data)))),
        }

    def baselines(self, data: SpeechDataset) -> dict[str, Metrics]:
        text = Counter(self.dataset("training").texts).most_common(1)[0][0]
        return {"most frequent transcript": error_rates([text] * len(data), data.texts)}

    def sample(self, data: SpeechDataset) -> tuple[list[SpeechBatch], None]:
        from elman.data.speech.batches import speech_batch

        symbols = RaggedArrays.of(known_symbols(self.vocabulary, text) for text in data.texts[: self.sample_size])
        return [speech_batch(data.input, symbols, np.arange(len(symbols)))], None

    def predictor(self, model: Transcriber) -> TranscriptionPredictor:
        from elman.predictors.transcriber import TranscriptionPredictor

        features, longest = load_extractor(self.folder), longest_sentence(self.folder)
        return TranscriptionPredictor(model, self.folder, self.vocabulary, features, norm=self.norm, longest=longest)

    @staticmethod
    def headline(metrics: Metrics) -> str:
        characters, words = (percent(metrics[f"{unit}_error_rate"]) for unit in ("character", "word"))
        return f"{characters} of characters, {words} of words wrong"

    def usage(self, run: str) -> list[tuple[str, str]]:
        commands = [("Transcribe files", f"elman predict {run} FILE ... --set times=true")]
        if self.settings.streaming and isinstance(features := load_extractor(self.folder), SoundFeatures):
            commands.append(("Transcribe a stream", f"arecord -f S16_LE -r {features.rate} | elman predict {run} -"))
        return commands
