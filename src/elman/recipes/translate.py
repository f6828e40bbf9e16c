"""Text -> text: translation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.data.batching import BucketBatches, in_order
from elman.data.in_memory import RowFormat
from elman.data.skipped import SkippedRows
from elman.data.translation.dataset import ParallelDataset, read_validation_pairs, write_validation_pairs
from elman.data.translation.readers import read_parallel
from elman.data.translation.splits import split_parallel
from elman.data.translation.vocabularies import VocabularyPair
from elman.errors import BrokenRun
from elman.evaluation.metrics.translation import (
    BLEU_TOKENIZERS,
    choose_tokenizer,
    signatures,
    tokenized_lines,
    translation_metrics,
)
from elman.evaluation.result import Metrics
from elman.evaluation.resumed_answers import resumed_answers
from elman.number_format import decimal
from elman.predictors.options import TranslateOptions
from elman.recipes.base import Part, Recipe
from elman.recipes.network_settings import CellSettings, SkipBadSettings, ValidationSettings, VocabularySettings
from elman.settings import Settings, setting
from elman.storage.files import exists, temporary_folder
from elman.training.task import Loss

if TYPE_CHECKING:
    from elman.data.translation.batches import ParallelBatch
    from elman.decoding.limits import DecodingLimits
    from elman.models.translator import Translator
    from elman.predictors.translator import TranslationPredictor

SAMPLING_EPOCHS = 10  # in which scheduled sampling rises to its share
MAX_SYMBOLS = 1000  # of a line that is evaluated, or as many as in training
CHUNK = 256  # lines of an evaluation whose translations are made, and written, together
KINDS = ("auto", "bytes", "characters", "words", "bpe")


@dataclass(frozen=True, kw_only=True)
class TranslateSettings(ValidationSettings, SkipBadSettings, VocabularySettings, CellSettings):
    """Settings of translation."""

    vocabulary: str = setting("auto", "kind of symbols; auto: bpe, characters for dates", choices=KINDS, fixed=True)
    joint_vocabulary: bool = setting(True, "one vocabulary and one embedding for both languages", fixed=True)
    validation: float = setting(0.05, "share of the pairs, at the end, for validation", low=0, high=1, fixed=True)
    validation_data: tuple[str, ...] = setting((), "one or two files for validation instead", fixed=True)
    lowercase: bool = setting(False, "sources are read in lower case, in training and after it", fixed=True)
    max_symbols: int = setting(200, "longer pairs are skipped and counted", low=1, fixed=True)
    embedding: int = setting(128, "size of the vector of a symbol", low=1, high=65536, fixed=True)
    hidden: int = setting(256, "units of a decoder layer; the encoder has half in each direction", low=2, fixed=True)
    layers: int = setting(1, "layers of the encoder, and upper layers of the decoder", low=1, high=64, fixed=True)
    attention: str = setting("multiplicative", "scores", choices=("multiplicative", "additive"), fixed=True)
    input_feeding: bool = setting(False, "the last readout is fed to the decoder; slower", fixed=True)
    dropout: float = setting(0.3, "probability of dropping a feature", low=0, high=1)
    label_smoothing: float = setting(0.1, "label smoothing", low=0, high=0.99)
    scheduled_sampling: float = setting(0.0, "share of predictions among inputs after 10 epochs", low=0, high=1)
    batch_size: int = setting(256, "maximum pairs in a batch", low=1, high=65536, fixed=True)
    batch_tokens: int = setting(800, "maximum target symbols in a batch, with padding; 0: no limit", low=0, fixed=True)
    learning_rate: float = setting(0.002, "peak learning rate", low=0)


@dataclass(frozen=True, kw_only=True)
class TranslateEvaluation(Settings):
    """Settings of an evaluation of translations."""

    bleu_tokenize: str = setting(
        "auto", "tokens of BLEU; auto: by the script of the references", choices=BLEU_TOKENIZERS
    )
    beam_width: int = setting(5, "beam width; 1: greedy", low=1, high=1000)
    length_penalty: float = setting(0.6, "0 favours short translations, 1 long ones", low=0)

    def decoding(self) -> TranslateOptions:
        """Return the options of the translations."""
        return TranslateOptions(beam_width=self.beam_width, length_penalty=self.length_penalty)


class Translate(Recipe[TranslateSettings, ParallelDataset]):
    """Translation with an attentive encoder-decoder network."""

    name = "translate"
    summary = "text -> text: a translator with attention"
    data = "two files of aligned lines, plain or .gz, or one with a tab in each"
    default = "dates in words, English to German and French"
    example = "elman train translate train.en train.de --minutes 60 --out runs/en-de"
    Settings, Options, EvaluationOptions = TranslateSettings, TranslateOptions, TranslateEvaluation
    rows = RowFormat(("source", "target"), ".tsv", header=False)
    metric = "nats_per_symbol"
    examples = "pairs"
    sample_size = 8
    evaluation_files = "translations, from which an interrupted evaluation is resumed"

    @cached_property
    def vocabularies(self) -> VocabularyPair:
        return VocabularyPair.load(self.folder).with_unknown()

    @property
    def limits(self) -> DecodingLimits:
        """The limits of translations, which follow from the training pairs; of earlier versions, which have none."""
        from elman.decoding.limits import DecodingLimits
        from elman.storage.records import read_record

        limits = self.run.config["data"].get("limits", {})
        try:
            return read_record(DecodingLimits, limits)
        except ValueError as error:
            raise BrokenRun(
                f"{self.folder}/config.json is broken", should="the limits of translations", found=str(error)
            ) from error

    def prepare(self, sources: Sequence[Path]) -> dict[str, Any]:
        s, skipped = self.settings, SkippedRows()
        kind = s.vocabulary if s.vocabulary != "auto" else "bpe" if sources else "characters"
        other = [Path(name) for name in s.validation_data]
        with temporary_folder(self.folder) as folder:
            pairs, validation = split_parallel(
                sources,
                folder,
                share=s.validation,
                validation_data=other,
                seed=s.seed,
                lowercase=s.lowercase,
                skipped=skipped,
                skip_bad=s.skip_bad,
            )
            # A character of the validation pairs must have a symbol; a word has <unk>, and bytes and BPE have all.
            parts = [pairs, validation] if kind == "characters" else [pairs]
            vocabularies = VocabularyPair.learn(
                parts, self.folder, kind=kind, size=s.vocabulary_size, joint=s.joint_vocabulary
            )
            short = partial(vocabularies.encode_short, max_symbols=s.max_symbols, skipped=skipped)
            ParallelDataset.write(self.folder, (encoded for _, encoded in short(pairs)))
            training = ParallelDataset.open(self.folder, (vocabularies.source.size, vocabularies.target.size))
            write_validation_pairs(self.folder / "validation.json", (pair for pair, _ in short(validation)))
        return {
            "vocabulary": ", ".join(dict.fromkeys(f"{v.size} {v.kind}" for v in vocabularies)),
            "validation_from": s.validation_source("the end of the pairs"),
            "limits": asdict(_limits(training)),
            "skipped_rows": skipped.count,
            **({"skipped": skipped.lines()} if skipped.count else {}),
        }

    def build(self) -> Translator:
        from elman.models.translator import Translator

        s = self.settings
        return Translator(
            self.vocabularies.source.size,
            self.vocabularies.target.size,
            joint_vocabulary=s.joint_vocabulary,
            embedding=s.embedding,
            hidden=s.hidden,
            layers=s.layers,
            **s.layer(),
            attention=s.attention,
            input_feeding=s.input_feeding,
            dropout=s.dropout,
        )

    def dataset(self, part: Part) -> ParallelDataset:
        if part == "training":
            source, target = self.vocabularies
            return ParallelDataset.open(self.folder, (source.size, target.size))
        # config.json is written last: while a run is prepared there is none.
        data = self.run.config["data"] if exists(self.folder / "config.json") else {}
        count = data.get("validation_pairs")
        pairs = read_validation_pairs(self.folder / "validation.json", count if type(count) is int else None)
        return ParallelDataset.of(pairs, self.vocabularies)

    def read(
        self, sources: Sequence[Path], folder: Path, *, skip_bad: bool, limit: int | None
    ) -> tuple[ParallelDataset, SkippedRows]:
        skipped, max_symbols = SkippedRows(), max(self.settings.max_symbols, MAX_SYMBOLS)
        lowercase = self.settings.lowercase
        pairs = islice(read_parallel(sources, lowercase=lowercase, skipped=skipped, skip_bad=skip_bad), limit)
        data = ParallelDataset.checked(pairs, self.vocabularies, max_symbols, skipped=skipped, skip_bad=skip_bad)
        return data, skipped

    def batches(self, training: ParallelDataset) -> BucketBatches[ParallelBatch]:
        from elman.data.translation.batches import parallel_batch

        s, collate = self.settings, partial(parallel_batch, training)
        return BucketBatches(training.steps, collate, batch_size=s.batch_size, tokens=s.batch_tokens, seed=s.seed)

    def loss(self, model: Translator, batch: ParallelBatch, state: None, progress: float | None) -> Loss:
        s = self.settings
        sampling = s.scheduled_sampling * min(1.0, (progress or 0.0) / SAMPLING_EPOCHS)
        nats, count = model.nats(*batch, label_smoothing=s.label_smoothing, scheduled_sampling=sampling)
        return Loss(nats / count, count)

    def measure(self, model: Translator, data: ParallelDataset) -> dict[str, float | None]:
        from elman.data.translation.batches import parallel_batch
        from elman.training.checkpoint import to_device

        device = next(model.parameters()).device
        total = count = 0.0
        for numbers in in_order(data.steps, batch_size=64, tokens=4096):
            nats, symbols = model.nats(*to_device(parallel_batch(data, numbers), device))
            total, count = total + float(nats), count + symbols
        return {"nats_per_symbol": total / count}

    def evaluate(self, model: Translator, data: ParallelDataset, *, out: Path | None) -> dict[str, Any]:
        """Return the metrics of translations by beam search, beside a copy of the source."""
        sources, references = [pair.source for pair in data.lines], [pair.target for pair in data.lines]
        tokenizer, why = self.evaluation.bleu_tokenize, ""
        if tokenizer == "auto":
            tokenizer, why = choose_tokenizer(references)
        signature = signatures(tokenizer)  # that a package is missing is said before the work
        predictor, options = self.predictor(model), self.evaluation.decoding()

        def translate(numbers: Sequence[int]) -> list[tuple[str, str]]:
            return predictor.translate_texts([sources[n] for n in numbers], options)

        # Other weights and options make other translations.
        digest = hashlib.sha256(self.run.model.read_bytes() + repr(options).encode()).hexdigest()[:12]
        file, keys = out and out / f"translations-{digest}.jsonl", [(source,) for source in sources]
        answers = resumed_answers(keys, translate, file, names=("input", "answer", "cut"), chunk=CHUNK)
        translations = [text for text, _ in answers]
        exact = sum(a == b for a, b in zip(translations, references, strict=True)) / len(data)
        metrics = translation_metrics(translations, references, tokenizer)
        return {
            **self.measure(model, data),
            **metrics,
            "exact": exact,
            **_counts(self.vocabularies, data, [cut for _, cut in answers]),
            "bleu_tokenize": f"{tokenizer} (automatic: {why})" if why else tokenizer,
            **_tokenized(translations, tokenizer),
            "signatures": signature,
            "baselines": {"copy of the source": translation_metrics(sources, references, tokenizer)},
        }

    def sample(self, data: ParallelDataset) -> tuple[list[ParallelBatch], None]:
        from elman.data.translation.batches import parallel_batch

        return [parallel_batch(data, np.arange(min(self.sample_size, len(data))))], None

    def predictor(self, model: Translator) -> TranslationPredictor:
        from elman.predictors.translator import TranslationPredictor

        return TranslationPredictor(
            model, self.folder, self.vocabularies, limits=self.limits, lowercase=self.settings.lowercase
        )

    @staticmethod
    def headline(metrics: Metrics) -> str:
        return f"{decimal(metrics['nats_per_symbol'], 3)} nats per symbol"

    def usage(self, run: str) -> list[tuple[str, str]]:
        return [
            ("Translate a line", f"elman predict {run} 'TEXT'"),
            ("Translate a file", f"elman predict {run} FILE"),
            ("Evaluate it by BLEU and chrF", f"elman evaluate {run}"),
        ]


def _limits(training: ParallelDataset) -> DecodingLimits:
    from elman.decoding.limits import DecodingLimits

    sources, targets = ((side[n] for n in range(len(training))) for side in (training.source, training.target))
    return DecodingLimits.of(map(len, sources), targets)


def _counts(vocabularies: VocabularyPair, data: ParallelDataset, cuts: Sequence[str]) -> dict[str, Any]:
    """Return how many symbols are unknown, and how many translations did not end by themselves; 0 is omitted."""
    sides = zip(("sources", "references"), vocabularies, (data.source, data.target), strict=True)
    counts = {
        f"unknown_in_{name}": int(np.count_nonzero(side.values == vocabulary.unknown))
        for name, vocabulary, side in sides
        if vocabulary.unknown is not None
    }
    counts |= {"cut_translations": cuts.count("length"), "repetitions_stopped": cuts.count("repetition")}
    remark = "unknown ones are read as <unk>, which a reference counts as a symbol"
    if vocabularies.source.kind == "characters":
        remark = "unknown ones are read as zeros, and not counted in nats_per_symbol"
    unknown = any(count for name, count in counts.items() if name.startswith("unknown"))
    return {name: count for name, count in counts.items() if count} | ({"unknown": remark} if unknown else {})


def _tokenized(translations: Sequence[str], tokenizer: str) -> dict[str, str]:
    count = tokenized_lines(translations) if tokenizer != "none" else 0
    remark = f"{count} of {len(translations)} translations end in ' .': BLEU expects text that is not tokenized"
    return {"tokenized": remark} if count else {}
