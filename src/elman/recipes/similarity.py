"""Two texts -> how alike they are: a score, or yes or no."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from elman.data.batching import BucketBatches
from elman.data.pairs.batches import PairCollator
from elman.data.pairs.builtin import edited_pairs
from elman.data.pairs.dataset import is_held_out, write_pairs
from elman.data.pairs.inverse_frequency import InverseFrequency
from elman.data.pairs.readers import PairTable, ScoredPair, read_pairs
from elman.data.pairs.score_scale import ScoreScale, refuse_one_score
from elman.data.pairs.word_vectors import read_vectors, unit_vectors
from elman.errors import RunError
from elman.evaluation.result import Metrics
from elman.models.similarity import SimilarityModel
from elman.modules.word_embedding import WordEmbedding
from elman.predictors.similarity import SimilarityOptions, SimilarityPredictor
from elman.recipes.base import Recipe, Sample
from elman.recipes.network_settings import NetworkSettings
from elman.recipes.similarity_evaluation import metrics_of, own_pairs
from elman.settings import setting
from elman.storage.npy_rows import write_rows
from elman.storage.ragged import read_array
from elman.storage.run_directory import RunDirectory
from elman.training.device import choose_device
from elman.training.task import Loss, Task

SAMPLE_ROWS, SAMPLE_BATCHES = 16, 2  # pairs that a diagnosis looks at


@dataclass(frozen=True, kw_only=True)
class SimilaritySettings(NetworkSettings):
    """The settings of a comparison of texts."""

    first: str | None = setting(None, "column of the first text, by name or number; none: found", fixed=True)
    second: str | None = setting(None, "column of the second text", fixed=True)
    score: str | None = setting(None, "column of the score, numbers or yes and no", fixed=True)
    encoding: str = setting("utf-8", "encoding of the files", fixed=True)
    skip_bad: bool = setting(False, "leave broken rows out, and count them", fixed=True)
    validation: float = setting(0.1, "share of the pairs that is kept for validation", low=0, high=0.9, fixed=True)
    validation_data: str | None = setting(None, "file or folder for validation instead", fixed=True)
    vocabulary_size: int = setting(50_000, "words with a vector of their own", low=1, high=1 << 24, fixed=True)
    longest: int = setting(200, "words of a text that are read", low=1, high=100_000, fixed=True)
    embedding: int = setting(64, "size of the vector of a word", low=1, high=65536, fixed=True)
    buckets: int = setting(20_000, "vectors that pieces of words share; 0: none", low=0, high=1 << 28, fixed=True)
    vectors: str | None = setting(None, "file of word vectors (GloVe, word2vec, fastText as text)", fixed=True)
    vectors_more: int = setting(50_000, "first words of it kept beside those of the data", low=0, fixed=True)
    word_dropout: float = setting(0.1, "probability of taking a word for an unknown one", low=0, high=1)
    embedding_dropout: float = setting(0.2, "probability of dropping a feature of a word", low=0, high=1)
    dropout: float = setting(0.3, "probability of dropping a feature after the encoder", low=0, high=1)
    bidirectional: bool = setting(True, "a second set of weights reads from the end", fixed=True)
    pooling: str = setting("max", "from states to a vector", choices=("last", "mean", "max", "attention"), fixed=True)
    comparison: str = setting(
        "aligned", "of the two texts", choices=("aligned", "learned", "manhattan", "cosine"), fixed=True
    )
    grades: int = setting(6, "steps of the scale that are told apart; for yes and no 2", low=2, high=1000, fixed=True)
    vector_weight: float = setting(0.3, "of the vectors' own cosine in the loss of aligned and learned", low=0)


def prepare(sources: Sequence[Path], settings: SimilaritySettings, folder: Path) -> dict[str, Any]:
    """Read the pairs, keep them in the folder, number the words, and look at the scores."""
    pairs = table(sources, settings) if sources else None
    judged = table([Path(settings.validation_data)], settings) if settings.validation_data else None
    training = write_pairs(folder, "training", part(pairs, judged, settings, kept_out=False))
    validation = write_pairs(folder, "validation", part(pairs, judged, settings, kept_out=True))
    scale = ScoreScale.of(training)
    scale.check(validation)
    refuse_one_score(validation)
    scale.save(folder)
    lexicon = InverseFrequency.build((text for pair in training for text in pair[:2]), size=settings.vocabulary_size)
    if settings.vectors is not None:
        vectors = read_vectors(Path(settings.vectors), lexicon.number_of, more=settings.vectors_more)
        lexicon = lexicon.extended(vectors)
        write_rows(folder / "vectors.npy", unit_vectors(vectors, lexicon.words.words))
    lexicon.save(folder)
    skipped = [found.skipped for found in (pairs, judged) if found]
    return {
        "sources": [document.name for document in pairs.documents] if pairs else ["the Python language reference"],
        "fingerprint": training.fingerprint,
        "training_pairs": len(training),
        "validation_pairs": len(validation),
        "validation_from": settings.validation_data or "pairs chosen by chance",
        "words": len(lexicon),
        "scores": "yes and no" if scale.yes_no else f"{scale.low:g} to {scale.high:g}",
        "rows_left_out": sum(found.count for found in skipped),
        **({"left_out": told} if (told := [line for found in skipped for line in found.lines()]) else {}),
    }


def table(sources: Sequence[Path], settings: SimilaritySettings) -> PairTable:
    """Return the pairs of DATA."""
    names = ("encoding", "first", "second", "score", "skip_bad")
    return read_pairs(sources, **{name: getattr(settings, name) for name in names})


def part(
    pairs: PairTable | None, judged: PairTable | None, settings: SimilaritySettings, *, kept_out: bool
) -> Iterator[ScoredPair]:
    """Yield the pairs for training, or those that are kept out of it."""
    if judged is not None and (kept_out or pairs is not None):
        yield from judged if kept_out else pairs or ()
        return
    share = 0.0 if judged is not None else settings.validation
    for pair in edited_pairs(settings.seed) if pairs is None else pairs:
        # All edits of a sentence of the default data stand on one side.
        texts = pair[:1] if pairs is None else pair[:2]
        if is_held_out(texts, share, settings.seed) == kept_out:
            yield pair


def build(settings: SimilaritySettings, folder: Path) -> SimilarityModel:
    """Build the untrained model for the words and the scale in the folder."""
    given = read_array(folder / "vectors.npy") if settings.vectors is not None else None
    words = len(InverseFrequency.open(folder))
    if given is not None and (given.ndim != 2 or len(given) != words or given.dtype != "f4"):
        raise RunError(
            f"{folder}/vectors.npy does not fit the vocabulary",
            should=f"{words} vectors",
            found=f"{given.dtype} of shape {given.shape}",
            hint="take the run again from where it was made",
        )
    embedding = WordEmbedding(
        words,
        settings.embedding,
        buckets=settings.buckets,
        given=0 if given is None else given.shape[1],
        word_dropout=settings.word_dropout,
    )
    if given is not None and embedding.given is not None and not embedding.given.is_meta:
        embedding.given.copy_(torch.from_numpy(given.copy()))
    return SimilarityModel(
        embedding,
        settings.hidden,
        comparison=settings.comparison,
        grades=2 if ScoreScale.open(folder).yes_no else settings.grades,
        embedding_dropout=settings.embedding_dropout,
        vector_weight=settings.vector_weight,
        pooling=settings.pooling,
        **settings.network(),
    )


def batcher(settings: SimilaritySettings, folder: Path) -> PairCollator:
    """Return what makes tensors of texts."""
    return PairCollator(InverseFrequency.open(folder), buckets=settings.buckets, max_words=settings.longest)


def task(settings: SimilaritySettings, run: RunDirectory, model: nn.Module) -> Task:
    """Return what training needs."""
    device = choose_device(settings.device)
    training, validation = own_pairs(run, "training"), own_pairs(run, "validation")
    run_batcher, scale = batcher(settings, run.path), ScoreScale.open(run.path)

    def collate(chosen: Any) -> Any:
        return run_batcher.pairs([training[n] for n in chosen])

    def objective(model: Any, batch: Any, state: Any) -> Loss:
        batch = batch.to(device)
        return Loss(model.loss(batch, scale.to_unit(batch.score_B)), len(batch.score_B))

    def evaluate(model: Any) -> Metrics:
        return metrics_of(model, run_batcher, validation, scale)

    batches = BucketBatches(training.lengths, collate, batch_size=settings.batch_size, seed=settings.seed)
    return Task(model, batches, objective, evaluate, metric="pearson", lower_is_better=False, unit="pairs")


def sample(settings: SimilaritySettings, run: RunDirectory, sources: Sequence[Path]) -> Sample:
    """Return a few pairs; every sequence is read whole, so there is no window."""
    scale, run_batcher = ScoreScale.open(run.path), batcher(settings, run.path)
    pairs = iter(table(sources, settings)) if sources else iter(own_pairs(run, "validation"))
    rows = [list(islice(pairs, SAMPLE_ROWS)) for _ in range(SAMPLE_BATCHES)]

    def loss(model: Any, batch: Any) -> Any:
        return model.loss(batch, scale.to_unit(batch.score_B))

    return Sample([run_batcher.pairs(some) for some in rows if some], loss, None)


def load(settings: SimilaritySettings, run: RunDirectory, model: nn.Module) -> SimilarityPredictor:
    """Return the trained model with what it can do."""
    assert isinstance(model, SimilarityModel)
    return SimilarityPredictor(model, batcher(settings, run.path), ScoreScale.open(run.path), settings, run)


def baselines(settings: SimilaritySettings, run: RunDirectory) -> Mapping[str, Metrics]:
    """Return what trivial predictors get on the run's validation pairs."""
    validation, scale = own_pairs(run, "validation"), ScoreScale.open(run.path)
    return scale.trivial.metrics(validation, validation.scores(), yes_no=scale.yes_no)


def headline(metrics: Metrics) -> str:
    """Say how well in a few words."""
    accuracy = f", accuracy {metrics['accuracy']:.1%}" if "accuracy" in metrics else ""
    return f"Pearson {metrics['pearson']:.3f}, Spearman {metrics['spearman']:.3f}{accuracy}"


def commands(folder: Path) -> list[tuple[str, str]]:
    """Return what can be done with a run."""
    run = shlex.quote(str(folder))
    return [
        ("Score a pair", f'elman predict {run} "a cat sleeps" "the cat is asleep"'),
        ("Find the nearest lines of a file", f'elman predict {run} "a cat sleeps" --set nearest=FILE'),
        ("Turn the lines of a file into vectors", f"elman predict {run} FILE --set embed=vectors.npy"),
        ("Measure it on other pairs", f"elman evaluate {run} FILE"),
        ("Train it further", f"elman train similarity --out {run} --resume --minutes 10"),
    ]


RECIPE = Recipe(
    name="similarity",
    summary="two texts -> a score, or yes or no: how alike they are, vectors of texts, and the nearest of many",
    data="TSV or CSV files with two texts and a score (or yes and no)",
    default="edited sentences of the Python language reference",
    example="elman train similarity pairs.tsv --minutes 3 --out runs/pairs",
    settings=SimilaritySettings,
    prepare=prepare,
    build=build,
    task=task,
    sample=sample,
    load=load,
    headline=headline,
    commands=commands,
    predict=SimilarityOptions,
    baselines=baselines,
)
