"""Two texts -> their similarity: a score, or yes or no."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elman.data.batching import BucketBatches
from elman.data.in_memory import RowFormat
from elman.data.pairs.builtin import edited_pairs
from elman.data.pairs.dataset import PairDataset, split_pairs
from elman.data.pairs.inverse_frequency import InverseFrequency
from elman.data.pairs.readers import PairTable, read_pairs
from elman.data.pairs.score_scale import ScoreScale
from elman.data.pairs.word_vectors import add_vectors
from elman.data.skipped import SkippedRows
from elman.evaluation.baselines.word_overlap import OverlapBaselines
from elman.evaluation.metrics.agreement import agreement, partner_rank
from elman.evaluation.result import Metrics
from elman.number_format import decimal, percent
from elman.predictors.options import SimilarityOptions
from elman.recipes.base import Part, Recipe, skipped_rows
from elman.recipes.network_settings import NetworkSettings, SkipBadSettings, ValidationSettings
from elman.settings import setting
from elman.storage.files import write_json
from elman.storage.npy_rows import read_rows
from elman.training.task import Loss

if TYPE_CHECKING:
    from elman.data.pairs.batches import PairBatch, PairCollator
    from elman.models.similarity import SimilarityModel
    from elman.predictors.similarity import SimilarityPredictor


@dataclass(frozen=True, kw_only=True)
class SimilaritySettings(ValidationSettings, SkipBadSettings, NetworkSettings):
    """Settings of text similarity."""

    first_column: str | None = setting(None, "column of the first text: name or number", fixed=True)
    second_column: str | None = setting(None, "column of the second text", fixed=True)
    score_column: str | None = setting(None, "column of the score, numbers or yes and no", fixed=True)
    encoding: str = setting("utf-8", "encoding of the files", fixed=True)
    vocabulary_size: int = setting(50_000, "words with a vector of their own", low=1, high=1 << 24, fixed=True)
    max_words: int = setting(200, "words of a text that are read", low=1, high=100_000, fixed=True)
    embedding: int = setting(64, "size of the vector of a word", low=1, high=65536, fixed=True)
    subword_buckets: int = setting(20_000, "hashed character n-grams; 0: none", low=0, high=1 << 28, fixed=True)
    word_vectors: str | None = setting(None, "file of word vectors (GloVe, word2vec, fastText as text)", fixed=True)
    extra_word_vectors: int = setting(50_000, "first words of it beside those of the data", low=0, fixed=True)
    word_dropout: float = setting(0.1, "probability of replacing a word by the unknown one", low=0, high=1)
    embedding_dropout: float = setting(0.2, "probability of dropping a feature of a word", low=0, high=1)
    dropout: float = setting(0.3, "probability of dropping a feature after the encoder", low=0, high=1)
    bidirectional: bool = setting(True, "a second set of weights reads from the end", fixed=True)
    pooling: str = setting("max", "from states to a vector", choices=("last", "mean", "max", "attention"), fixed=True)
    comparison: str = setting("aligned", "of texts", choices=("aligned", "learned", "manhattan", "cosine"), fixed=True)
    score_bins: int = setting(6, "bins that the scale is divided into; 2 for yes and no", low=2, high=1000, fixed=True)
    vector_weight: float = setting(0.3, "weight of the cosine loss beside that of aligned and learned", low=0)


class Similarity(Recipe[SimilaritySettings, PairDataset]):
    """Sentence-pair regression or classification with a siamese encoder."""

    name = "similarity"
    summary = "two texts -> a score, or yes or no: similarity, vectors of texts, and the nearest of many"
    data = "TSV or CSV files with two texts and a score (or yes and no)"
    default = "edited sentences of the Python language reference"
    example = "elman train similarity pairs.tsv --minutes 3 --out runs/pairs"
    Settings, Options = SimilaritySettings, SimilarityOptions
    metric, lower_is_better = "pearson", False
    unit = examples = "pairs"
    sample_size = 32
    rows = RowFormat(("first", "second", "score"))

    @cached_property
    def scale(self) -> ScoreScale:
        return ScoreScale.open(self.folder)

    @cached_property
    def collator(self) -> PairCollator:
        from elman.data.pairs.batches import PairCollator

        return PairCollator.open(self.folder, self.settings.subword_buckets, self.settings.max_words)

    def read_table(self, sources: Iterable[Path], *, skip_bad: bool, scored: bool = True) -> PairTable:
        s = self.settings
        columns = {"first": s.first_column, "second": s.second_column, "score": s.score_column}
        return read_pairs(sources, encoding=s.encoding, scored=scored, skip_bad=skip_bad, **columns)

    def prepare(self, sources: Sequence[Path]) -> dict[str, Any]:
        s = self.settings
        table = self.read_table(sources, skip_bad=s.skip_bad) if sources else None
        held_out = self.read_table(map(Path, s.validation_data), skip_bad=s.skip_bad) if s.validation_data else None
        pairs = table or list(edited_pairs(s.seed))  # all edits of a sentence stay in one part
        training, validation = split_pairs(self.folder, pairs, held_out, s.validation, s.seed, by_first=not table)
        scale = ScoreScale.fit(training, validation)
        write_json(self.folder / "scale.json", {**asdict(scale), "trivial": asdict(OverlapBaselines.fit(training))})
        words = InverseFrequency.build((text for pair in training for text in pair[:2]), size=s.vocabulary_size)
        if s.word_vectors is not None:
            words = add_vectors(words, Path(s.word_vectors), self.folder, extra=s.extra_word_vectors)
        words.save(self.folder)
        return {
            "sources": [document.name for document in table.documents] if table else [self.default],
            "validation_from": s.validation_source("a random split"),
            "words": len(words),
            "scores": str(scale),
            **({"notes": sorted(table.notes)} if table else {}),
            **skipped_rows(table, held_out),
        }

    def build(self) -> SimilarityModel:
        from elman.models.similarity import SimilarityModel
        from elman.modules.word_embedding import WordEmbedding

        s, words = self.settings, len(self.collator.lexicon)
        size = 0 if s.word_vectors is None else read_rows(self.folder / "vectors.npy", words).shape[1]
        return SimilarityModel(
            WordEmbedding(
                words, s.embedding, subword_buckets=s.subword_buckets, pretrained=size, word_dropout=s.word_dropout
            ),
            s.hidden,
            comparison=s.comparison,
            score_bins=2 if self.scale.yes_no else s.score_bins,
            embedding_dropout=s.embedding_dropout,
            vector_weight=s.vector_weight,
            pooling=s.pooling,
            **s.network(),
        )

    def initialise(self, model: SimilarityModel, training: PairDataset) -> None:
        if (given_VD := model.words.given) is not None:
            given_VD.copy_(given_VD.new_tensor(read_rows(self.folder / "vectors.npy", len(given_VD))))

    def dataset(self, part: Part) -> PairDataset:
        return PairDataset.open(self.folder, part)

    def read(
        self, sources: Sequence[Path], folder: Path, *, skip_bad: bool, limit: int | None
    ) -> tuple[PairDataset, SkippedRows]:
        table = self.read_table(sources, skip_bad=skip_bad)
        pairs = PairDataset.write(folder, "evaluation", islice(table, limit))
        self.scale.check(pairs)
        return pairs, table.skipped

    def batches(self, training: PairDataset) -> BucketBatches[PairBatch]:
        s, collate = self.settings, partial(self.collator.chosen, training)
        return BucketBatches(training.lengths, collate, batch_size=s.batch_size, seed=s.seed)

    def loss(self, model: SimilarityModel, batch: PairBatch, state: None, progress: float | None) -> Loss:
        return Loss(model.loss(batch, self.scale.to_unit(batch.score_B)), len(batch.score_B))

    def measure(self, model: SimilarityModel, data: PairDataset) -> dict[str, float | None]:
        scores_B = self.predictor(model).score_dataset(data)
        return agreement(scores_B, data.scores(), yes_no=self.scale.yes_no)

    def evaluate(self, model: SimilarityModel, data: PairDataset, *, out: Path | None) -> dict[str, Any]:
        return {**self.measure(model, data), **partner_rank(data, self.scale, self.predictor(model).vector_similarity)}

    def baselines(self, data: PairDataset) -> dict[str, Metrics]:
        return OverlapBaselines.open(self.folder).metrics(data, self.scale)

    def sample(self, data: PairDataset) -> tuple[list[PairBatch], None]:
        rows = list(islice(data, self.sample_size))
        return [self.collator.pairs(part) for part in (rows[:16], rows[16:]) if part], None

    def predictor(self, model: SimilarityModel) -> SimilarityPredictor:
        from elman.predictors.similarity import SimilarityPredictor

        return SimilarityPredictor(
            model, self.folder, self.collator, self.scale, encoding=self.settings.encoding, read_table=self.read_table
        )

    @staticmethod
    def headline(metrics: Metrics) -> str:
        accuracy = f", accuracy {percent(metrics['accuracy'])}" if "accuracy" in metrics else ""
        return f"Pearson {decimal(metrics['pearson'], 3)}, Spearman {decimal(metrics['spearman'], 3)}{accuracy}"

    def usage(self, run: str) -> list[tuple[str, str]]:
        return [
            ("Score a pair", f'elman predict {run} "a cat sleeps" "the cat is asleep"'),
            ("Find the nearest lines of a file", f'elman predict {run} "a cat sleeps" --set nearest=FILE'),
            ("Write the vectors of the lines of a file", f"elman predict {run} FILE --set embed=vectors.npy"),
        ]
