"""Text -> the next symbol: a language model, which generates text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elman.data.in_memory import RowFormat
from elman.data.skipped import SkippedRows
from elman.data.text.bptt_streams import Streams, Window
from elman.data.text.builtin import python_reference
from elman.data.text.documents import read_text
from elman.data.text.token_file import TokenFile, encode_text
from elman.data.text.vocabularies import VOCABULARIES, Vocabulary, build_vocabulary, load_vocabulary
from elman.errors import BrokenRun, SettingError
from elman.evaluation.result import Metrics
from elman.layers import LAYERS
from elman.number_format import decimal
from elman.recipes.base import Part, Recipe
from elman.recipes.network_settings import CellSettings, ValidationSettings, VocabularySettings
from elman.settings import setting
from elman.storage.files import exists
from elman.training.task import Loss

if TYPE_CHECKING:
    from elman.models.language_model import LanguageModel
    from elman.predictors.generator import LanguageModelPredictor

TEXT, VALIDATION = "text.tokens", "validation.tokens"
ADAPTIVE_FROM = 20_000  # symbols, from which on the adaptive softmax is faster
SAMPLE_ROWS, SAMPLE_BATCHES = 8, 2  # of a diagnosis


@dataclass(frozen=True, kw_only=True)
class LanguageModelSettings(ValidationSettings, VocabularySettings, CellSettings):
    """Settings of language models."""

    vocabulary: str = setting("characters", "kind of symbols", choices=tuple(VOCABULARIES), fixed=True)
    encoding: str = setting("utf-8", "encoding of the text files", fixed=True)
    validation: float = setting(0.1, "share of the text, at its end, for validation", low=0, high=1, fixed=True)
    validation_symbols: int = setting(1_000_000, "maximum number of symbols for validation", low=2, fixed=True)
    cell: str = setting("lstm", "the recurrent layer", choices=tuple(LAYERS), fixed=True)
    embedding: int = setting(128, "size of the vector of a symbol", low=1, high=65536, fixed=True)
    hidden: int = setting(512, "units of a layer", low=1, high=65536, fixed=True)
    layers: int = setting(1, "recurrent layers", low=1, high=256, fixed=True)
    tie_weights: bool = setting(False, "the output layer uses the weight of the embedding", fixed=True)
    softmax: str = setting("auto", "the output layer", choices=("auto", "full", "adaptive"), fixed=True)
    cutoffs: tuple[int, ...] = setting((), "cutoffs of the adaptive softmax; none: V/20, V/4", low=1, fixed=True)
    embedding_dropout: float = setting(0.0, "probability of dropping a feature of the embedding", low=0, high=1)
    dropout: float = setting(0.1, "probability of dropping a feature between layers and after them", low=0, high=1)
    variational_dropout: bool = setting(False, "one dropout mask for all steps of a window", fixed=True)
    learn_initial_state: bool = setting(False, "the state before the first symbol is learned", fixed=True)
    batch_size: int = setting(32, "streams that the text is split into", low=1, high=65536, fixed=True)
    window: int = setting(64, "truncation length (TBPTT), in steps", low=1, high=1_000_000, fixed=True)
    vary_window: bool = setting(False, "windows of random length", fixed=True)


class LanguageModelling(Recipe[LanguageModelSettings, TokenFile]):
    """Language modelling with truncated backpropagation through time and a state that is carried over."""

    name = "language-model"
    summary = "text -> the next symbol: a language model, and text that it generates"
    data = "a text file, several, or a folder of them"
    default = "the Python language reference (465 000 characters)"
    example = "elman train language-model book.txt --minutes 10 --out runs/book"
    Settings = LanguageModelSettings
    rows = RowFormat(("text",), ".txt", header=False)
    metric = "nats_per_symbol"
    unit = examples = "symbols"
    can_skip = False

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return load_vocabulary(self.folder).with_unknown()

    @cached_property
    def parts(self) -> dict[Part, TokenFile]:
        """The text for training, and the text for validation."""
        text, separate = TokenFile.open(self.folder / TEXT), self.folder / VALIDATION
        pair = (text, TokenFile.open(separate)) if exists(separate) else text.split(self.settings.validation)
        size = self.vocabulary.size
        for part in pair:
            if part.vocabulary_size != size:
                raise BrokenRun(
                    f"the text in {self.folder} was encoded with another vocabulary",
                    should=f"{size} symbols",
                    found=f"{part.vocabulary_size} symbols",
                )
        training, validation = pair
        limit = min(len(validation), self.settings.validation_symbols)
        return {"training": training, "validation": validation.part(0, limit)}

    def prepare(self, sources: Sequence[Path]) -> dict[str, Any]:
        s = self.settings
        documents = read_text(sources, encoding=s.encoding) if sources else [python_reference()]
        files = [Path(name) for name in s.validation_data]
        held_out = read_text(files, encoding=s.encoding) if files else []
        # A character of the validation text must have a symbol; a word has <unk>, and bytes and BPE encode everything.
        seen = documents + held_out if s.vocabulary == "characters" else documents
        vocabulary = build_vocabulary(s.vocabulary, seen, size=s.vocabulary_size)
        vocabulary.save(self.folder)
        encode_text(documents, vocabulary, self.folder / TEXT)
        if held_out:
            encode_text(held_out, vocabulary, self.folder / VALIDATION)
        return {
            "sources": [document.name for document in documents],
            "vocabulary": f"{vocabulary.size} {vocabulary.kind}",
            "validation_from": s.validation_source("the end of the text"),
        }

    def build(self) -> LanguageModel:
        from elman.models.language_model import LanguageModel

        s, size = self.settings, self.vocabulary.size
        if s.softmax == "adaptive" and s.vocabulary in ("characters", "bytes"):
            raise SettingError(
                "the adaptive softmax needs symbols in the order of their frequency",
                should="softmax=full, or vocabulary=words",
                found=f"vocabulary={s.vocabulary}",
                hint="--set softmax=full",
            )
        large = s.vocabulary == "words" and size > ADAPTIVE_FROM and not s.tie_weights
        adaptive = s.softmax == "adaptive" or (s.softmax == "auto" and large)
        return LanguageModel(
            size,
            **s.layer(),
            embedding=s.embedding,
            hidden=s.hidden,
            layers=s.layers,
            tie_weights=s.tie_weights,
            cutoffs=(s.cutoffs or (max(1, size // 20), max(2, size // 4))) if adaptive else (),
            embedding_dropout=s.embedding_dropout,
            dropout=s.dropout,
            variational_dropout=s.variational_dropout,
            learn_initial_state=s.learn_initial_state,
        )

    def dataset(self, part: Part) -> TokenFile:
        return self.parts[part]

    def read(
        self, sources: Sequence[Path], folder: Path, *, skip_bad: bool, limit: int | None
    ) -> tuple[TokenFile, SkippedRows]:
        documents = read_text(sources, encoding=self.settings.encoding)
        return encode_text(documents, self.vocabulary, folder / TEXT), SkippedRows()

    def batches(self, training: TokenFile) -> Streams:
        s = self.settings
        return Streams(training, batch_size=s.batch_size, window=s.window, vary=s.vary_window, seed=s.seed)

    def loss(self, model: LanguageModel, batch: Window, state: Any, progress: float | None) -> Loss:
        state = None if batch.first else state
        nats, state = model.nats(batch.input_TB, batch.target_TB, state, resets=batch.resets_TB)
        return Loss(nats / max(1, batch.count), batch.count, state)

    def measure(self, model: LanguageModel, data: TokenFile) -> Metrics:
        from elman.evaluation.metrics.perplexity import count_characters, perplexity, unscored_symbol

        device, characters = next(model.parameters()).device, count_characters(self.vocabulary, data)
        unscored = unscored_symbol(self.vocabulary)
        return perplexity(model.nats, data, characters=characters, unscored=unscored, device=device)

    def evaluate(self, model: LanguageModel, data: TokenFile, *, out: Path | None) -> dict[str, Any]:
        """Return the metrics of a validation, and how many symbols are unknown."""
        from elman.evaluation.metrics.perplexity import unknown_metrics

        return {**self.measure(model, data), **unknown_metrics(self.vocabulary, data)}

    def baselines(self, data: TokenFile) -> dict[str, Metrics]:
        from elman.evaluation.baselines.symbol_frequencies import text_baselines
        from elman.evaluation.metrics.perplexity import count_characters, unscored_symbol

        characters, unscored = count_characters(self.vocabulary, data), unscored_symbol(self.vocabulary)
        return text_baselines(self.parts["training"], data, characters=characters, unscored=unscored)

    def sample(self, data: TokenFile) -> tuple[list[Window], int]:
        """Return windows four times as long as those of training, which show what truncation loses."""
        from elman.evaluation.metrics.perplexity import unscored_symbol

        window = 4 * self.settings.window
        rows = max(1, min(SAMPLE_ROWS, (len(data) - 1) // window))
        unscored = unscored_symbol(self.vocabulary)
        streams = Streams(data, batch_size=rows, window=window, drop=False, unscored=unscored)
        return list(islice(streams, SAMPLE_BATCHES)), self.settings.window

    def predictor(self, model: LanguageModel) -> LanguageModelPredictor:
        from elman.predictors.generator import LanguageModelPredictor

        return LanguageModelPredictor(model, self.folder, self.vocabulary)

    @staticmethod
    def headline(metrics: Metrics) -> str:
        if "bits_per_character" in metrics:
            return f"{decimal(metrics['bits_per_character'], 3)} bits per character"
        perplexity = metrics["perplexity"]
        return "perplexity: overflow" if perplexity is None else f"perplexity {decimal(perplexity, 1)}"

    def usage(self, run: str) -> list[tuple[str, str]]:
        return [("Generate text", f"elman generate {run} --length 500 --temperature 0.8")]
