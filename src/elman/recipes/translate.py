"""Text -> text: train on aligned lines, translate others."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elman.data.bitext import Batch, Bitext, Languages, encode_line, read_lines, symbols_of, write_lines
from elman.data.default_dates import dates_in_words
from elman.data.parallel import Pair, read_parallel, spoken_lines
from elman.data.shuffled import Shuffled, in_order, pad
from elman.data.words import UNKNOWN
from elman.decoding.beam import Beam, Hypothesis
from elman.errors import DataError, RunError, SettingError
from elman.evaluation.translation import bleu_and_chrf, signatures
from elman.models.translator import Translator
from elman.recipes.recipe import Answer, Recipe, Sample
from elman.training.device import choose_device
from elman.training.run_directory import RunDirectory
from elman.training.settings import Settings, TrainingSettings, setting
from elman.training.task import Loss, Task

DATES = 6000  # pairs of the default data
TOGETHER = 32  # lines of a file that are translated at a time
SAMPLE = 8  # pairs that a diagnosis looks at


@dataclass(frozen=True, kw_only=True)
class TranslateSettings(TrainingSettings):
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
    cell: str = setting("gru", "the recurrent layer", choices=("rnn", "gru", "lstm"), fixed=True)
    embedding: int = setting(256, "size of the vector of a symbol", low=1, high=65536, fixed=True)
    hidden: int = setting(
        512, "units of a decoder layer; half of them in each direction of the encoder", low=2, fixed=True
    )
    layers: int = setting(1, "layers of the encoder, and upper layers of the decoder", low=1, high=64, fixed=True)
    attention: str = setting(
        "multiplicative", "how a query is compared", choices=("multiplicative", "additive"), fixed=True
    )
    input_feeding: bool = setting(False, "the last readout is fed to the decoder; slower", fixed=True)
    dropout: float = setting(0.3, "probability of dropping a feature", low=0, high=1)
    smoothing: float = setting(0.1, "label smoothing", low=0, high=0.99)
    batch_size: int = setting(256, "most pairs in a batch", low=1, high=65536, fixed=True)
    tokens: int = setting(1500, "most target symbols in a batch, padding counted; 0: no limit", low=0, fixed=True)
    learning_rate: float = setting(0.002, "step size at the top of the schedule", low=0)


@dataclass(frozen=True, kw_only=True)
class Translating(Settings):
    """What `elman predict` can be told."""

    beam: int = setting(5, "hypotheses that live at a time; 1: greedy", low=1, high=1000)
    length_penalty: float = setting(0.6, "0 favours short translations, 1 long ones", low=0)
    n_best: int = setting(1, "translations of each line, at most as many as the beam is wide", low=1)
    alignment: bool = setting(False, "the source symbol that each symbol looked at most")
    copy_unknown: bool = setting(False, "words: an unknown word becomes the source word that it looked at most")


def prepare(sources: Sequence[Path], settings: TranslateSettings, folder: Path) -> dict[str, Any]:
    """Read the pairs, choose the symbols, and encode them into the folder."""
    pairs = list(read_parallel(sources)) if sources else list(dates_in_words(DATES, seed=settings.seed))
    if settings.validation_data:
        judged = list(read_parallel([Path(name) for name in settings.validation_data]))
    else:
        cut = _cut(len(pairs), settings.validation)
        pairs, judged = pairs[:cut], pairs[cut:]
    kind = settings.vocabulary if settings.vocabulary != "auto" else "bpe" if sources else "characters"
    languages = Languages.learn(pairs, folder, kind=kind, size=settings.vocabulary_size, joint=settings.joint)
    kept = Bitext.of(pairs, languages).up_to(settings.longest)
    if not len(kept.source):
        raise DataError(
            "every pair is too long",
            should=f"at most {settings.longest} symbols in each line",
            found="more in all of them",
            hint="--set longest=1000",
        )
    kept.write(folder)
    write_lines(folder / "validation.json", judged)
    return {
        "sources": [str(source) for source in sources] or ["dates in words, English to German and French"],
        "fingerprint": kept.fingerprint,
        "vocabulary": ", ".join(dict.fromkeys(f"{v.size} {v.kind}" for v in languages)),
        "training_pairs": len(kept.source),
        "left_out_as_too_long": len(pairs) - len(kept.source),
        "validation_pairs": len(judged),
        "validation_from": ", ".join(settings.validation_data) or "the end of the pairs",
    }


def _cut(count: int, share: float) -> int:
    cut = count - max(1, round(count * share))
    if not 0 < share < 1 or cut < 1:
        raise DataError(
            "there are too few pairs to keep a part for validation",
            should="at least 2 pairs, and a share between 0 and 1",
            found=f"{count} pairs, validation={share}",
            hint="--set validation_data=SOURCE,TARGET",
        )
    return cut


def build(settings: TranslateSettings, folder: Path) -> Translator:
    """Build the untrained model for the vocabularies in the folder."""
    languages = Languages.load(folder)
    return Translator(
        languages.source.size,
        languages.target.size,
        shared=settings.joint,
        embedding=settings.embedding,
        hidden=settings.hidden,
        layers=settings.layers,
        cell=settings.cell,
        attention=settings.attention,
        input_feeding=settings.input_feeding,
        dropout=settings.dropout,
    )


def task(settings: TranslateSettings, run: RunDirectory, model: nn.Module) -> Task:
    """Return what training needs."""
    device = choose_device(settings.device)
    corpus = Bitext.open(run.path)
    if corpus.fingerprint != run.config["data"].get("fingerprint"):
        raise RunError(
            f"the pairs in {run.path} are not those that the run began with",
            should="the fingerprint in config.json",
            found="another",
            hint="take the run again from where it was made",
        )
    judged = validation(run)
    batches = Shuffled(
        np.maximum(corpus.source.lengths, corpus.target.lengths + 1),
        corpus.batch,
        batch_size=settings.batch_size,
        tokens=settings.tokens,
        seed=settings.seed,
    )

    def objective(model: Any, batch: Batch, state: Any) -> Loss:
        nats, count = model.nats(*(t.to(device) for t in batch), smoothing=settings.smoothing)
        return Loss(nats / count, count)

    def evaluate(model: Any) -> dict[str, float | None]:
        return {"nats_per_symbol": nats_per_symbol(model, judged, Languages.load(run.path), device)}

    return Task(model, batches, objective, evaluate, metric="nats_per_symbol")


def validation(run: RunDirectory) -> list[Pair]:
    """Return the pairs for validation in a run's folder."""
    return read_lines(run.path / "validation.json")


def nats_per_symbol(model: Translator, pairs: Sequence[Pair], languages: Languages, device: torch.device) -> float:
    """Return the cross-entropy of the translations, per symbol."""
    corpus = Bitext.of(pairs, languages)
    total = count = 0.0
    with torch.no_grad():
        for chosen in in_order(corpus.target.lengths, batch_size=64):
            nats, symbols = model.nats(*(t.to(device) for t in corpus.batch(chosen)))
            total, count = total + float(nats), count + symbols
    return total / count


def sample(settings: TranslateSettings, run: RunDirectory, sources: Sequence[Path]) -> Sample:
    """Return the first pairs of DATA, or of the run's validation data."""
    pairs = list(islice(read_parallel(sources), SAMPLE)) if sources else validation(run)[:SAMPLE]
    corpus = Bitext.of(pairs, Languages.load(run.path))

    def loss(model: Any, batch: Batch) -> Tensor:
        nats, count = model.nats(*batch)
        mean: Tensor = nats / count
        return mean

    return Sample([corpus.batch(np.arange(len(pairs)))], loss, None)


@dataclass(frozen=True)
class TrainedTranslator:
    """A translator that is ready to use."""

    model: Translator
    languages: Languages
    settings: TranslateSettings
    run: RunDirectory

    def predict(self, inputs: Sequence[str | Path], **options: Any) -> Iterator[Answer]:
        """Translate lines, and yield each translation as it is made.

        Args:
            inputs: lines; the name of a file stands for its lines, "-" for those of standard input.
            options: see `Translating`.
        """
        wanted = Translating(**options)
        if wanted.n_best > wanted.beam:
            raise SettingError(
                "n_best is more than the beam finds",
                should=f"at most beam={wanted.beam}",
                found=str(wanted.n_best),
                hint=f"--set beam={wanted.n_best}",
            )
        for lines in spoken_lines(inputs, TOGETHER):
            for line, found in zip(lines, self.translate(lines, wanted), strict=True):
                yield self._answer(line, found, wanted)

    @torch.no_grad()
    def translate(self, lines: Sequence[str], wanted: Translating) -> list[list[Hypothesis]]:
        """Return the best translations of each line; none for an empty one."""
        encoded = [encode_line(self.languages.source, line) if line.strip() else None for line in lines]
        full = [ids for ids in encoded if ids is not None]
        if not full:
            return [[] for _ in lines]
        source, lengths = pad(full)
        at = self.model.read(torch.from_numpy(source), torch.from_numpy(lengths))
        beam = Beam(
            self.model.step,
            lambda state, rows: state.select(rows),
            self.model.mark,
            self.model.mark,
            width=wanted.beam,
            length_penalty=wanted.length_penalty,
        )
        found = iter(beam.search(at, len(full), [3 * int(n) + 10 for n in lengths]))
        return [next(found) if ids is not None else [] for ids in encoded]

    def _answer(self, line: str, found: list[Hypothesis], wanted: Translating) -> Answer:
        if not found:
            return Answer("", {"source": line, "translation": "", "n_best": []})
        texts, shown = [], []
        for hypothesis in found[: wanted.n_best]:
            symbols = self._symbols(hypothesis)
            fields: dict[str, Any] = {"score": hypothesis.score, "log_probability": hypothesis.log_probability}
            if wanted.alignment or wanted.copy_unknown:
                looked = self.attention(line, hypothesis).argmax(1).tolist()
                source = self._source_symbols(line)
                if wanted.copy_unknown:
                    symbols = [_copied(t, source[s]) for t, s in zip(symbols, looked, strict=False)]
                if wanted.alignment:
                    fields["alignment"] = [
                        [t.strip(), source[s].strip()] for t, s in zip(symbols, looked, strict=False)
                    ]
            texts.append("".join(symbols).strip())
            shown.append({"translation": texts[-1], **fields})
        lines = (
            texts if len(shown) == 1 else [f"{f['score']:9.4f}  {text}" for f, text in zip(shown, texts, strict=True)]
        )
        if wanted.alignment:
            lines += [f"    {t} <- {s}" for t, s in shown[0]["alignment"]]
        return Answer("\n".join(lines), {"source": line, "translation": texts[0], "n_best": shown})

    @torch.no_grad()
    def attention(self, line: str, hypothesis: Hypothesis) -> Tensor:
        """Return how much each symbol of a translation, its end included, looked at each of the source, (T, S)."""
        source = torch.from_numpy(encode_line(self.languages.source, line))[:, None]
        read = torch.tensor([self.model.mark, *hypothesis.token_ids])[:, None]
        return self.model.write(read, self.model.read(source, torch.tensor([len(source)])))[1][0]

    def _symbols(self, hypothesis: Hypothesis) -> list[str]:
        return symbols_of(self.languages.target, hypothesis.token_ids)

    def _source_symbols(self, line: str) -> list[str]:
        if self.languages.source.kind == "words":
            return line.split()  # as they stand there, also those that have no symbol
        return symbols_of(self.languages.source, encode_line(self.languages.source, line).tolist())

    def evaluate(self, data: Sequence[Path] | None = None) -> dict[str, Any]:
        """Return nats per symbol, BLEU and chrF on `data` or the run's validation pairs, beside a copy of the source.

        Raises:
            DataError, RunError: the data cannot be read, or the run has none.
        """
        pairs = list(read_parallel(data)) if data else validation(self.run)
        nats = nats_per_symbol(self.model, pairs, self.languages, torch.device("cpu"))
        order = sorted(range(len(pairs)), key=lambda n: len(pairs[n].source))
        written = [""] * len(pairs)
        for begin in range(0, len(order), TOGETHER):
            chosen = order[begin : begin + TOGETHER]
            found = self.translate([pairs[n].source for n in chosen], Translating())
            for n, hypotheses in zip(chosen, found, strict=True):
                written[n] = "".join(self._symbols(hypotheses[0])).strip() if hypotheses else ""
        references = [pair.target for pair in pairs]
        exact = sum(text == wanted for text, wanted in zip(written, references, strict=True)) / len(pairs)
        return {
            "nats_per_symbol": nats,
            **bleu_and_chrf(written, references),
            "exact": exact,
            "pairs": len(pairs),
            "signatures": signatures(),
            "baselines": {"a copy of the source": bleu_and_chrf([pair.source for pair in pairs], references)},
        }


def _copied(symbol: str, source: str) -> str:
    """Return a symbol of the translation, or that of the source in the place of an unknown one."""
    return symbol.replace(UNKNOWN, source.strip()) if symbol.strip() == UNKNOWN else symbol


def load(settings: TranslateSettings, run: RunDirectory, model: nn.Module) -> TrainedTranslator:
    """Return the trained model, ready to use."""
    assert isinstance(model, Translator)
    return TrainedTranslator(model, Languages.load(run.path), settings, run)


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


RECIPE = Recipe(
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
    predict=Translating,
)
