"""Sound or video -> text: speech recognition and lip reading."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
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
from elman.data.speech.dataset import MAX_STRIDE, FeatureScale, SpeechDataset, load_extractor
from elman.data.speech.eigenlips import Lips
from elman.data.speech.features import extract_features, write_features
from elman.data.speech.preparation import prepare_speech
from elman.data.speech.sources import SAMPLE_RATE, Sentences, check_default_data, rows_of, sentences
from elman.data.speech.utterance import SoundFeatures
from elman.data.text.vocabularies import Vocabulary, load_vocabulary
from elman.errors import SettingError
from elman.evaluation.metrics.word_errors import error_rates
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
    from elman.data.speech.batches import SpeechBatch
    from elman.models.transcriber import Transcriber
    from elman.predictors.transcriber import TranscriptionPredictor

BEAM_WIDTH = 8  # of an evaluation
CHUNK = 64  # sentences of an evaluation that are transcribed together
NORMS = ("auto", "utterance", "speaker", "training")


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
        "auto", "unit of mean and deviation; auto: utterance, or training if streaming", choices=NORMS, fixed=True
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
        if self.streaming and self.feature_norm not in ("auto", "training"):
            raise SettingError(
                "a stream cannot be normalised by its own mean",
                should="feature_norm=training with streaming=true",
                found=f"feature_norm={self.feature_norm}",
            )

    @property
    def norm(self) -> str:
        """What the features are normalised by: "utterance", "speaker" or "training"."""
        return ("training" if self.streaming else "utterance") if self.feature_norm == "auto" else self.feature_norm

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
    unit, examples = "symbols", "sentences"
    sample_size = 8
    evaluation_files = "references and transcripts"
    default_minutes = 5.0

    @property
    def metric(self) -> str:
        return "word_error_rate" if self.settings.vocabulary == "words" else "character_error_rate"

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
            by_speaker=s.norm == "speaker",
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
            utterance_norm=s.norm == "utterance",
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

    def dataset(self, part: Part) -> SpeechDataset:
        return SpeechDataset.open(self.folder, part, self.vocabulary.size)

    def read(
        self, sources: Sequence[Path], folder: Path, *, skip_bad: bool, limit: int | None
    ) -> tuple[SpeechDataset, SkippedRows]:
        rows, skipped = islice(rows_of(sources, self.settings.columns), limit), SkippedRows()
        options: dict[str, Any] = {"skip_bad": skip_bad, "on_skip": skipped.add, "notes": FileNotes()}
        part = extract_features(rows, load_extractor(self.folder), **options)
        return write_features(folder, part, by_speaker=self.settings.norm == "speaker")[0], skipped

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
        return error_rates(self.predictor(model).transcribe(data.features(range(len(data)))), data.texts)

    def evaluate(self, model: Transcriber, data: SpeechDataset, *, out: Path | None) -> dict[str, Any]:
        """Return the error rates of greedy decoding and of a beam search."""
        predictor = self.predictor(model)
        beam = predictor.beam_search(BEAM_WIDTH)

        def transcribe(numbers: Sequence[int]) -> list[tuple[str, str]]:
            decoded = predictor.decode(data.features(numbers))
            return [(predictor.text(timed), predictor.text(beam.search(scores)[0])) for timed, scores in decoded]

        weights = hashlib.sha256(self.run.model.read_bytes()).hexdigest()[:12]  # others make other transcripts
        keys = list(zip(data.names, data.texts, strict=True))
        file, names = out and out / f"transcripts-{weights}.jsonl", ("path", "reference", "greedy", "beam_search")
        transcripts = resumed_answers(keys, transcribe, file, names=names, chunk=CHUNK)
        greedy, by_beam = (error_rates([pair[n] for pair in transcripts], data.texts) for n in (0, 1))
        return {
            **greedy,
            **{f"{name}_by_beam": by_beam[name] for name in ("character_error_rate", "word_error_rate")},
        }

    def baselines(self, data: SpeechDataset) -> dict[str, Metrics]:
        text = Counter(self.dataset("training").texts).most_common(1)[0][0]
        return {"most frequent transcript": error_rates([text] * len(data), data.texts)}

    def sample(self, data: SpeechDataset) -> tuple[list[SpeechBatch], None]:
        from elman.data.speech.batches import known_symbols, speech_batch

        symbols = RaggedArrays.of(known_symbols(self.vocabulary, text) for text in data.texts[: self.sample_size])
        return [speech_batch(data.input, symbols, np.arange(len(symbols)))], None

    def predictor(self, model: Transcriber) -> TranscriptionPredictor:
        from elman.predictors.transcriber import TranscriptionPredictor

        features, by_speaker = load_extractor(self.folder), self.settings.norm == "speaker"
        return TranscriptionPredictor(model, self.folder, self.vocabulary, features, by_speaker=by_speaker)

    @staticmethod
    def headline(metrics: Metrics) -> str:
        characters, words = (percent(metrics[f"{unit}_error_rate"]) for unit in ("character", "word"))
        return f"{characters} of characters, {words} of words wrong"

    def usage(self, run: str) -> list[tuple[str, str]]:
        return [
            ("Transcribe files", f"elman predict {run} FILE ... --set times=true"),
            ("Transcribe a stream (a run with streaming=true)", f"arecord -f S16_LE -r RATE | elman predict {run} -"),
        ]
