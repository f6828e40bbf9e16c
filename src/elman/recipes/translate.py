"""Text -> text: train on aligned lines, translate others."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch import Tensor, nn

from elman.data.batching import BucketBatches
from elman.data.skipped import SkippedRows
from elman.data.translation.builtin import dates_in_words
from elman.data.translation.dataset import ParallelBatch, ParallelDataset, write_validation_pairs
from elman.data.translation.readers import SentencePair, numbered_pairs, read_parallel
from elman.data.translation.spool import SpooledPairs
from elman.data.translation.vocabularies import EncodedPair, VocabularyPair
from elman.errors import DataError
from elman.models.translator import Translator
from elman.predictors.options import TranslateOptions
from elman.predictors.translator import TranslationPredictor, nats_per_symbol, validation
from elman.recipes.legacy import LegacyRecipe, LegacySample
from elman.recipes.network_settings import CellSettings
from elman.settings import setting
from elman.storage.run_directory import RunDirectory
from elman.training.device import choose_device
from elman.training.task import Loss, Task

DATES = 6000  # pairs of the default data
SAMPLING_EPOCHS = 10  # in which scheduled sampling rises to its share
SAMPLE = 8  # pairs that a diagnosis looks at


@dataclass(frozen=True, kw_only=True)
class TranslateSettings(CellSettings):
    """The settings of a translator."""

    vocabulary: str = setting(
        "auto",
        "what a symbol is; auto: bpe for DATA, characters for the default dates",
        choices=("auto", "bytes", "characters", "words", "bpe"),
        fixed=True,
    )
    vocabulary_size: int | None = setting(None, "most symbols there may be, for words and bpe", low=1, fixed=True)
    joint: bool = setting(True, "one vocabulary and one embedding for both languages", fixed=True)
    validation: float = setting(0.05, "share of the pairs, at the end, that is kept for validation", fixed=True)
    validation_data: tuple[str, ...] = setting((), "one or two files for validation instead", fixed=True)
    longest: int = setting(200, "longer pairs, in symbols, are left out and counted", low=1, fixed=True)
    embedding: int = setting(128, "size of the vector of a symbol", low=1, high=65536, fixed=True)
    hidden: int = setting(
        256, "units of a decoder layer; half of them in each direction of the encoder", low=2, fixed=True
    )
    layers: int = setting(1, "layers of the encoder, and upper layers of the decoder", low=1, high=64, fixed=True)
    attention: str = setting(
        "multiplicative", "how a query is compared", choices=("multiplicative", "additive"), fixed=True
    )
    input_feeding: bool = setting(False, "the last readout is fed to the decoder; slower", fixed=True)
    dropout: float = setting(0.3, "probability of dropping a feature", low=0, high=1)
    smoothing: float = setting(0.1, "label smoothing", low=0, high=0.99)
    sampling: float = setting(
        0.0,
        "scheduled sampling: share of what the decoder reads that it guessed itself, after 10 epochs",
        low=0,
        high=1,
    )
    batch_size: int = setting(256, "most pairs in a batch", low=1, high=65536, fixed=True)
    tokens: int = setting(800, "most target symbols in a batch, padding counted; 0: no limit", low=0, fixed=True)
    learning_rate: float = setting(0.002, "step size at the top of the schedule", low=0)


def prepare(sources: Sequence[Path], settings: TranslateSettings, folder: Path) -> dict[str, Any]:
    """Read the pairs, choose the symbols, and encode them into the folder; never more than a few pairs are held."""
    kind = settings.vocabulary if settings.vocabulary != "auto" else "bpe" if sources else "characters"
    left_out = SkippedRows()
    with TemporaryDirectory(dir=folder) as beside:
        pairs, judged = parts(sources, settings, Path(beside))
        # A character of the validation pairs must have a symbol; a word has <unk>, and bytes and BPE write everything.
        seen = [pairs, judged] if kind == "characters" else [pairs]
        languages = VocabularyPair.learn(seen, folder, kind=kind, size=settings.vocabulary_size, joint=settings.joint)

        def short(part: SpooledPairs, what: str) -> Iterator[tuple[SentencePair, EncodedPair]]:
            before = left_out.count
            yield from languages.encode_short(part, settings.longest, left_out)
            if left_out.count - before == len(part):
                raise every_pair_is_too_long(what, settings.longest)

        kept = ParallelDataset.write(folder, (encoded for _, encoded in short(pairs, "pair")))
        count = write_validation_pairs(
            folder / "validation.json", (pair for pair, _ in short(judged, "pair for validation"))
        )
    return {
        "sources": [str(source) for source in sources] or ["dates in words, English to German and French"],
        "fingerprint": kept.fingerprint,
        "vocabulary": ", ".join(dict.fromkeys(f"{v.size} {v.kind}" for v in languages)),
        "training_pairs": len(kept.source),
        "left_out_as_too_long": left_out.count,
        **({"too_long": left_out.lines()} if left_out.count else {}),
        "validation_pairs": count,
        "validation_from": ", ".join(settings.validation_data) or "the end of the pairs",
    }


def parts(sources: Sequence[Path], settings: TranslateSettings, folder: Path) -> tuple[SpooledPairs, SpooledPairs]:
    """Return the pairs for training and for validation, which are read once, into the folder.

    Raises:
        DataError: they cannot be read, or there are too few of them.
    """

    def spooled(name: str, files: Sequence[Path]) -> SpooledPairs:
        rows = numbered_pairs(files) if files else enumerate(dates_in_words(DATES, seed=settings.seed), 1)
        return SpooledPairs.write(folder / name, tuple(map(str, files)) or ("dates in words",), rows)

    pairs = spooled("pairs", sources)
    if settings.validation_data:
        return pairs, spooled("judged", [Path(name) for name in settings.validation_data])
    held = max(1, round(len(pairs) * settings.validation))
    if not 0 < settings.validation < 1 or held >= len(pairs):
        raise DataError(
            "there are too few pairs to keep a part for validation",
            should="at least 2 pairs, and a share between 0 and 1",
            found=f"{len(pairs)} pairs, validation={settings.validation}",
            hint="--set validation_data=SOURCE,TARGET",
        )
    return pairs.cut(len(pairs) - held)


def every_pair_is_too_long(what: str, longest: int) -> DataError:
    """Return the error for pairs of which none is left."""
    return DataError(
        f"every {what} is too long",
        should=f"at most {longest} symbols in each line",
        found="more in all of them",
        hint=f"--set longest={5 * longest}",
    )


def build(settings: TranslateSettings, folder: Path) -> Translator:
    """Build the untrained model for the vocabularies in the folder."""
    languages = VocabularyPair.load(folder)
    return Translator(
        languages.source.size,
        languages.target.size,
        joint_vocabulary=settings.joint,
        embedding=settings.embedding,
        hidden=settings.hidden,
        layers=settings.layers,
        **settings.layer(),
        attention=settings.attention,
        input_feeding=settings.input_feeding,
        dropout=settings.dropout,
    )


def task(settings: TranslateSettings, run: RunDirectory, model: nn.Module) -> Task:
    """Return what training needs."""
    device = choose_device(settings.device)
    corpus = ParallelDataset.open(run.path)
    run.check_data(corpus.fingerprint, "pairs")
    judged = ParallelDataset.of(validation(run), VocabularyPair.load(run.path))
    batches = BucketBatches(
        corpus.steps,
        corpus.batch,
        batch_size=settings.batch_size,
        tokens=settings.tokens,
        seed=settings.seed,
    )

    def objective(model: Any, batch: ParallelBatch, state: Any) -> Loss:
        guesses = settings.sampling * min(1.0, batches.progress / SAMPLING_EPOCHS)
        nats, count = model.nats(
            *(t.to(device) for t in batch), label_smoothing=settings.smoothing, scheduled_sampling=guesses
        )
        return Loss(nats / count, count)

    def evaluate(model: Any) -> dict[str, float | None]:
        return {"nats_per_symbol": nats_per_symbol(model, judged, device)}

    return Task(model, batches, objective, evaluate, metric="nats_per_symbol")


def sample(settings: TranslateSettings, run: RunDirectory, sources: Sequence[Path]) -> LegacySample:
    """Return the first pairs of DATA, or of the run's validation data."""
    pairs = list(islice(read_parallel(sources), SAMPLE)) if sources else validation(run)[:SAMPLE]
    corpus = ParallelDataset.of(pairs, VocabularyPair.load(run.path))

    def loss(model: Any, batch: ParallelBatch) -> Tensor:
        nats, count = model.nats(*batch)
        mean: Tensor = nats / count
        return mean

    return LegacySample([corpus.batch(np.arange(len(pairs)))], loss, None)


def load(settings: TranslateSettings, run: RunDirectory, model: nn.Module) -> TranslationPredictor:
    """Return the trained model, ready to use."""
    assert isinstance(model, Translator)
    return TranslationPredictor(model, VocabularyPair.load(run.path), settings.longest, run)


def headline(metrics: Mapping[str, float | None]) -> str:
    """Return how well, in a few words."""
    return f"{metrics['nats_per_symbol']:.3f} nats per symbol"


def commands(folder: Path) -> list[tuple[str, str]]:
    """Return what can be done next."""
    run = shlex.quote(str(folder))
    return [
        ("Translate a line", f"elman predict {run} 'TEXT'"),
        ("Translate a file", f"elman predict {run} FILE"),
        ("Measure BLEU and chrF on the validation pairs", f"elman evaluate {run}"),
        ("Train it further", f"elman train translate --out {run} --resume --minutes 30"),
    ]


RECIPE = LegacyRecipe(
    name="translate",
    summary="text -> text: a translator with attention",
    data="two files of aligned lines, plain or .gz, or one with a tab in each",
    default="dates in German and French",
    example="elman train translate train.en train.de --minutes 60 --out runs/en-de",
    settings=TranslateSettings,
    prepare=prepare,
    build=build,
    task=task,
    sample=sample,
    load=load,
    headline=headline,
    commands=commands,
    predict=TranslateOptions,
)
