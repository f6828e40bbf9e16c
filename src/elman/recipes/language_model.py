"""Text -> the next symbol: train on text, generate more of it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from elman.data.text.bptt_streams import Streams
from elman.data.text.builtin import python_reference
from elman.data.text.documents import Document, read_text
from elman.data.text.token_file import TokenFile, encode_text
from elman.data.text.vocabularies import Vocabulary, build_vocabulary, load_vocabulary
from elman.decoding.generate import generate
from elman.decoding.sampling import Sampler
from elman.errors import BrokenRun, DataError, NonFiniteError, RunError, SettingError
from elman.evaluation.baselines.symbol_frequencies import text_baselines
from elman.evaluation.metrics.perplexity import perplexity
from elman.evaluation.result import Metrics
from elman.layers import LAYERS
from elman.models.language_model import LanguageModel
from elman.recipes.legacy import LegacyRecipe, LegacySample
from elman.recipes.network_settings import CellSettings
from elman.settings import setting
from elman.storage.run_directory import RunDirectory
from elman.training.device import choose_device
from elman.training.task import Loss, Task

LARGE = 20_000  # symbols from which on the adaptive softmax is worth it
SAMPLE_ROWS, SAMPLE_BATCHES = 8, 2  # of text that a diagnosis looks at


@dataclass(frozen=True, kw_only=True)
class LanguageModelSettings(CellSettings):
    """The settings of a language model."""

    vocabulary: str = setting(
        "characters", "what a symbol is", choices=("bytes", "characters", "words", "bpe"), fixed=True
    )
    vocabulary_size: int | None = setting(None, "most symbols there may be, for words and bpe", low=1, fixed=True)
    encoding: str = setting("utf-8", "encoding of the text files", fixed=True)
    validation: float = setting(0.1, "share of the text, at its end, that is kept for validation", fixed=True)
    validation_data: str | None = setting(None, "file or folder for validation instead", fixed=True)
    validation_symbols: int = setting(1_000_000, "most symbols of it that are used", low=2, fixed=True)
    cell: str = setting("lstm", "the recurrent layer", choices=tuple(LAYERS), fixed=True)
    embedding: int = setting(128, "size of the vector of a symbol", low=1, high=65536, fixed=True)
    hidden: int = setting(512, "units of a layer", low=1, high=65536, fixed=True)
    layers: int = setting(1, "recurrent layers", low=1, high=256, fixed=True)
    tied: bool = setting(False, "the output layer uses the embedding's weight", fixed=True)
    softmax: str = setting("auto", "auto, full or adaptive", choices=("auto", "full", "adaptive"), fixed=True)
    cutoffs: tuple[int, ...] = setting((), "where the adaptive softmax cuts; none: V/20, V/4", low=1, fixed=True)
    embedding_dropout: float = setting(0.0, "probability of dropping a feature of the embedding", low=0, high=1)
    dropout: float = setting(0.1, "the same between layers and before the output", low=0, high=1)
    variational_dropout: bool = setting(False, "one dropout mask for all steps of a window", fixed=True)
    learn_initial_state: bool = setting(False, "the state before the first symbol is learned", fixed=True)
    batch_size: int = setting(32, "streams that the text is cut into", low=1, high=65536, fixed=True)
    window: int = setting(64, "steps between two cuts of the gradient", low=1, high=1_000_000, fixed=True)
    vary: bool = setting(False, "windows of varying length", fixed=True)


def prepare(sources: Sequence[Path], settings: LanguageModelSettings, folder: Path) -> dict[str, Any]:
    """Read the text, choose the symbols, and encode it into the folder."""
    documents = read_text(sources, encoding=settings.encoding) if sources else [python_reference()]
    judged: list[Document] = []
    if settings.validation_data is not None:
        judged = read_text(settings.validation_data, encoding=settings.encoding)
    # A character of the validation text must have a symbol; a word has <unk>, and bytes and BPE write everything.
    seen = documents + judged if settings.vocabulary == "characters" else documents
    vocabulary = build_vocabulary(settings.vocabulary, seen, size=settings.vocabulary_size)
    vocabulary.save(folder)
    encode_text(documents, vocabulary, folder / "text.tokens")
    if judged:
        encode_text(judged, vocabulary, folder / "validation.tokens")
    training, validation = parts(settings, folder)
    streams(settings, training)  # refuses a text that is too short
    return {
        "sources": [document.name for document in documents],
        "fingerprint": training.fingerprint,
        "vocabulary": f"{vocabulary.size} {vocabulary.kind}",
        "training_symbols": len(training),
        "validation_symbols": len(validation),
        "validation_from": settings.validation_data or "the end of the text",
    }


def parts(settings: LanguageModelSettings, folder: Path) -> tuple[TokenFile, TokenFile]:
    """Return the text for training and the text for validation out of a run's folder.

    Raises:
        RunError: a file is missing or broken, or was encoded with another vocabulary.
        DataError, SettingError: the text cannot be parted as the settings say.
    """
    text = TokenFile.open(folder / "text.tokens")
    separate = folder / "validation.tokens"
    training, judged = (text, TokenFile.open(separate)) if separate.exists() else text.split(settings.validation)
    size = load_vocabulary(folder).size
    for part in (training, judged):
        if part.vocabulary_size != size:
            raise BrokenRun(
                f"the text in {folder} was encoded with another vocabulary",
                should=f"{size} symbols",
                found=f"{part.vocabulary_size} symbols",
            )
    return training, judged.part(0, min(len(judged), settings.validation_symbols))


def streams(settings: LanguageModelSettings, text: TokenFile) -> Streams:
    """Return the training batches."""
    return Streams(text, batch_size=settings.batch_size, window=settings.window, vary=settings.vary, seed=settings.seed)


def build(settings: LanguageModelSettings, folder: Path) -> LanguageModel:
    """Build the untrained model for the vocabulary in the folder.

    Raises:
        RunError: the vocabulary is missing or broken.
        SettingError: sizes or names that do not go together.
    """
    size = load_vocabulary(folder).size
    if settings.softmax == "adaptive" and settings.vocabulary in ("characters", "bytes"):
        raise SettingError(
            "the adaptive softmax needs symbols in the order of their frequency",
            should="softmax=full, or vocabulary=words",
            found=f"vocabulary={settings.vocabulary}",
            hint="--set softmax=full",
        )
    adaptive = settings.softmax == "adaptive" or (
        settings.softmax == "auto" and settings.vocabulary == "words" and size > LARGE and not settings.tied
    )
    cutoffs = settings.cutoffs or (max(1, size // 20), max(2, size // 4))
    return LanguageModel(
        size,
        **settings.layer(),
        embedding=settings.embedding,
        hidden=settings.hidden,
        layers=settings.layers,
        tie_weights=settings.tied,
        cutoffs=cutoffs if adaptive else (),
        embedding_dropout=settings.embedding_dropout,
        dropout=settings.dropout,
        variational_dropout=settings.variational_dropout,
        learn_initial_state=settings.learn_initial_state,
    )


def task(settings: LanguageModelSettings, run: RunDirectory, model: nn.Module) -> Task:
    """Return what training needs.

    Raises:
        RunError: the text is missing or broken, or is not the one that the run began with.
    """
    assert isinstance(model, LanguageModel)
    device = choose_device(settings.device)
    training, validation = parts(settings, run.path)
    run.check_data(training.fingerprint, "symbols of the text")
    vocabulary = load_vocabulary(run.path)
    characters = count_characters(vocabulary, validation)

    def objective(model: Any, batch: Any, state: Any) -> Loss:
        resets = batch.resets_TB.to(device) if batch.resets_TB is not None else None
        state = None if batch.first else state
        nats, state = model.nats(batch.input_TB.to(device), batch.target_TB.to(device), state, resets=resets)
        return Loss(nats / max(1, batch.count), batch.count, state)

    def evaluate(model: Any) -> Mapping[str, float | None]:
        return perplexity(model.nats, validation, characters=characters, device=device)

    return Task(model, streams(settings, training), objective, evaluate, metric="nats_per_symbol")


def baselines(settings: LanguageModelSettings, run: RunDirectory) -> Mapping[str, Metrics]:
    """Return what counting alone predicts of the run's validation text."""
    training, validation = parts(settings, run.path)
    return text_baselines(training, validation, characters=count_characters(load_vocabulary(run.path), validation))


def sample(settings: LanguageModelSettings, run: RunDirectory, sources: Sequence[Path]) -> LegacySample:
    """Return windows four times as long as those of the training, so that what their cuts lose can be seen."""
    window = 4 * settings.window
    with encoded(settings, run, sources) as text:
        rows = max(1, min(SAMPLE_ROWS, (len(text) - 1) // window))
        batches = list(islice(Streams(text, batch_size=rows, window=window, drop=False), SAMPLE_BATCHES))

    def loss(model: Any, batch: Any) -> Any:
        nats, _ = model.nats(batch.input_TB, batch.target_TB, None, resets=batch.resets_TB)
        return nats / max(1, batch.count)

    return LegacySample(batches, loss, settings.window)


@contextmanager
def encoded(settings: LanguageModelSettings, run: RunDirectory, sources: Sequence[Path]) -> Iterator[TokenFile]:
    """Encode a text with the run's vocabulary for a moment, or open the run's own validation text.

    Raises:
        DataError, RunError: the text cannot be read, or the run has none.
    """
    if not sources:
        if not (run.path / "text.tokens").exists():
            raise RunError(f"{run.path} came without its text", hint="name a text file behind the run")
        yield parts(settings, run.path)[1]
        return
    with TemporaryDirectory() as folder:
        documents = read_text(sources, encoding=settings.encoding)
        yield encode_text(documents, load_vocabulary(run.path), Path(folder) / "text.tokens")


def count_characters(vocabulary: Vocabulary, text: TokenFile) -> int | None:
    """Return how many characters the symbols after each document's first stand for; None for words."""
    if vocabulary.kind == "words":
        return None
    judged = len(text) - len(text.document_starts)
    if vocabulary.kind == "characters":
        return judged
    firsts = set(text.document_starts.tolist())
    decoder = vocabulary.decoder()
    # The first symbol of a document is not judged, but a character may begin in it.
    pushed = ((i, len(decoder.push(int(token_id)))) for i, token_id in enumerate(text.token_ids))
    return sum(length for i, length in pushed if i not in firsts)


@dataclass(frozen=True)
class TrainedLanguageModel:
    """A language model that is ready to use."""

    model: LanguageModel
    vocabulary: Vocabulary
    settings: LanguageModelSettings
    run: RunDirectory

    def generate(
        self,
        prompt: str = "",
        *,
        length: int | None = 300,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> Iterator[str]:
        """Yield text that goes on from `prompt`, piece by piece as it is made, in constant memory.

        Args:
            prompt: what the text begins with; it is not yielded. Empty: a line begins.
            length: how many symbols; None: without end.
            temperature: below 1 surer, above 1 wilder; 0 takes the most probable symbol each time.
            top_k: choose among so many of the most probable symbols only.
            top_p: choose among the most probable symbols that together have this probability only.
            seed: the same seed gives the same text; None: another text each time.

        Raises:
            DataError: the prompt holds a symbol that the model does not know.
            SettingError: an impossible value.
        """
        if seed is not None and not 0 <= seed < 1 << 63:
            raise SettingError("the seed is out of range", should="0 to 2^63 - 1", found=str(seed))
        first = [int(number) for number in self.vocabulary.encode(prompt)] or self._line_begins()
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        sampler = partial(Sampler(temperature, top_k, top_p), generator=generator)
        return self._decoded(first, generate(self.model.step, None, first, sampler=sampler, length=length))

    def evaluate(self, data: Sequence[Path] | None = None) -> dict[str, Any]:
        """Return nats per symbol, perplexity and bits per character on `data`, or on the run's own validation text.

        Under "baselines" are those of `elman.evaluation.baselines.symbol_frequencies`, if the run still has its text.

        Raises:
            DataError, RunError: the text cannot be read, or the run has none.
        """
        with encoded(self.settings, self.run, data or []) as text:
            characters = count_characters(self.vocabulary, text)
            metrics = dict[str, Any](perplexity(self.model.nats, text, characters=characters))
            if (self.run.path / "text.tokens").exists():
                training, _ = parts(self.settings, self.run.path)
                metrics["baselines"] = text_baselines(training, text, characters=characters)
        if not math.isfinite(metrics["nats_per_symbol"] or 0.0):
            raise NonFiniteError(
                f"the model in {self.run.path} predicts no numbers",
                should="finite weights",
                found=f"{metrics['nats_per_symbol']} nats per symbol",
                hint="train anew, with a smaller learning rate",
            )
        return metrics

    def _line_begins(self) -> list[int]:
        try:
            return [int(number) for number in self.vocabulary.encode("\n")] or [0]
        except DataError:
            return [0]

    def _decoded(self, first: Sequence[int], numbers: Iterator[int]) -> Iterator[str]:
        decoder = self.vocabulary.decoder()
        for number in first:  # so that what stands between the prompt and the first word is right
            decoder.push(number)
        for number in numbers:
            if text := decoder.push(number):
                yield text
        if text := decoder.finish():
            yield text


def load(settings: LanguageModelSettings, run: RunDirectory, model: nn.Module) -> TrainedLanguageModel:
    """Return the trained model with what belongs to it."""
    assert isinstance(model, LanguageModel)
    return TrainedLanguageModel(model, load_vocabulary(run.path), settings, run)


def headline(metrics: Mapping[str, float | None]) -> str:
    """Return how well, in a few words."""
    if "bits_per_character" in metrics:
        return f"{metrics['bits_per_character']:.3f} bits per character"
    perplexity = metrics["perplexity"]
    return "perplexity beyond all bounds" if perplexity is None else f"perplexity {perplexity:.1f}"


def commands(folder: Path) -> list[tuple[str, str]]:
    """Return what can be done next."""
    run = shlex.quote(str(folder))
    return [
        ("Generate text", f"elman generate {run} --length 500 --temperature 0.8"),
        ("Measure it on other text", f"elman evaluate {run} FILE"),
        ("See how its gradients flow", f"elman diagnose {run}"),
        ("Train it further", f"elman train language-model --out {run} --resume --minutes 30"),
    ]


RECIPE = LegacyRecipe(
    name="language-model",
    summary="text -> the next symbol: a language model, and text that it writes",
    data="a text file, several, or a folder of them",
    default="the Python language reference (465 000 characters)",
    example="elman train language-model book.txt --minutes 10 --out runs/book",
    settings=LanguageModelSettings,
    prepare=prepare,
    build=build,
    task=task,
    sample=sample,
    load=load,
    headline=headline,
    commands=commands,
    baselines=baselines,
)
