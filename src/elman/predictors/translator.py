"""A trained translator: what it is measured by, and what it answers to lines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.batching import in_order, pad
from elman.data.text.encoding import encode_line, symbols_of
from elman.data.text.words import UNKNOWN
from elman.data.translation.dataset import ParallelDataset, read_validation_pairs
from elman.data.translation.readers import SentencePair, read_parallel
from elman.data.translation.vocabularies import VocabularyPair
from elman.decoding.beam import Beam, Hypothesis, coverage
from elman.errors import DataError
from elman.evaluation.metrics.translation import signatures, translation_metrics
from elman.models.translator import DecoderState, Translator
from elman.plots.attention_matrix import create_plot_folder, draw_attention_matrix
from elman.predictors.answer import Answer, no_answer
from elman.predictors.inputs import InputLine, batched, count_lines, input_lines, resolved
from elman.predictors.options import TranslateOptions
from elman.predictors.source_lines import encoded, measurable
from elman.storage.resumable_answers import ResumableAnswers
from elman.storage.run_directory import RunDirectory

TOGETHER = 32  # lines that are translated at a time
SYMBOLS = 4096  # of their sources, padding counted, at the most
WINDOW = 256  # lines of a measurement whose translations are made, and kept, at a time
LONGEST = 1000  # symbols of a line that is translated, where nothing else is said
SKIP = "--skip-bad leaves an empty line in its place"


@dataclass(frozen=True)
class TranslationPredictor:
    """A translator that is ready to use.

    Attributes:
        model: in evaluation mode.
        languages: the symbols of both sides.
        longest: symbols of a line in training at the most.
        run: where it came from.
    """

    model: Translator
    languages: VocabularyPair
    longest: int
    run: RunDirectory

    def predict(self, inputs: Sequence[str | Path], **options: Any) -> Iterator[Answer]:
        """Translate lines, and yield each translation as it is made; to each line there is one answer.

        Args:
            inputs: lines; the name of a file stands for its lines, "-" for those of standard input.
            options: see `TranslateOptions`.

        Raises:
            DataError: a file cannot be read, or a line of a file is too long or has a character that the model does not
                know; what came before is answered. A stream goes on: such a line of standard input gets an answer that
                says what is wrong.
        """
        wanted = TranslateOptions(**options)
        number = count_lines(Path(wanted.after)) if wanted.after else 0
        lines = input_lines(resolved(inputs), number)
        tried = ((line, *self._tried(line, wanted)) for line in lines)
        for some in batched(tried, TOGETHER, lambda each: each[0].interactive):
            found = self.translate([ids for _, ids, _ in some], wanted)
            for (line, _, error), hypotheses in zip(some, found, strict=True):
                number += 1
                answer = self._answer(line.text, hypotheses, wanted, number)
                if error:
                    broken = no_answer(line.where, error)
                    answer = broken._replace(fields={**answer.fields, **broken.fields}, instead=answer.line)
                yield answer

    def _tried(self, line: InputLine, wanted: TranslateOptions) -> tuple[NDArray[np.int64] | None, DataError | None]:
        """Return the token ids of a line, None for an empty one; or what is wrong, where it is not raised."""
        try:
            return self._encoded(line, wanted.longest), None
        except DataError as error:
            if not (line.interactive or wanted.skip_bad):
                raise
            return None, error

    def _encoded(self, line: InputLine, longest: int) -> NDArray[np.int64] | None:
        """Return the token ids of a line, None for an empty one."""
        if not line.text:
            return None
        return encoded(self.languages.source, line.text, line.where, longest, skip=SKIP, settable=True)

    @torch.no_grad()
    def translate(self, lines: Sequence[NDArray[np.int64] | None], wanted: TranslateOptions) -> list[list[Hypothesis]]:
        """Return the best translations of each encoded line, the best first; none for an empty one."""
        found: list[list[Hypothesis]] = [[] for _ in lines]
        full = [(n, ids) for n, ids in enumerate(lines) if ids is not None]
        for chosen in in_order([len(ids) for _, ids in full], batch_size=TOGETHER, tokens=SYMBOLS) if full else ():
            some = [full[int(c)] for c in chosen]
            source, lengths = pad([ids for _, ids in some])
            at = self.model.encode(torch.from_numpy(source), torch.from_numpy(lengths))
            limits = [3 * int(n) + 10 for n in lengths]
            for (n, _), hypotheses in zip(some, self._beam(wanted).search(at, len(some), limits), strict=True):
                found[n] = hypotheses
        return found

    def _beam(self, wanted: TranslateOptions) -> Beam[DecoderState]:
        def penalty(at: DecoderState) -> Tensor:
            return wanted.coverage_penalty * coverage(at.attended_BS, at.lengths_B)

        return Beam(
            self.model.step,
            DecoderState.select,
            self.model.boundary,
            self.model.boundary,
            width=wanted.beam,
            length_penalty=wanted.length_penalty,
            bonus=penalty if wanted.coverage_penalty else None,
        )

    def _answer(self, line: str, found: list[Hypothesis], wanted: TranslateOptions, number: int) -> Answer:
        if not found:
            return Answer("", {"source": line, "translation": "", "n_best": []})
        shown = [self._shown(line, hypothesis, wanted) for hypothesis in found[: wanted.n_best]]
        texts = [each["translation"] for each in shown]
        lines = texts if len(shown) == 1 else [f"{each['score']:9.4f}  {each['translation']}" for each in shown]
        if wanted.alignment:
            lines += [f"    {t} <- {s}" for t, s in shown[0]["alignment"]]
        fields: dict[str, Any] = {"source": line, "translation": texts[0], "n_best": shown}
        if wanted.pictures:
            fields["picture"] = str(self._draw(line, found[0], Path(wanted.pictures), number))
        return Answer("\n".join(lines), fields)

    def _shown(self, line: str, hypothesis: Hypothesis, wanted: TranslateOptions) -> dict[str, Any]:
        """Return one translation of a line as JSON knows it."""
        symbols = symbols_of(self.languages.target, hypothesis.token_ids)
        fields: dict[str, Any] = {"score": hypothesis.score, "log_probability": hypothesis.log_probability}
        if wanted.alignment or wanted.copy_unknown:
            looked = self.attention(line, hypothesis).argmax(1).tolist()
            source = self._source_symbols(line)
            if wanted.copy_unknown:
                symbols = [_copied(t, source[s]) for t, s in zip(symbols, looked, strict=False)]
            if wanted.alignment:
                fields["alignment"] = [[t.strip(), source[s].strip()] for t, s in zip(symbols, looked, strict=False)]
        return {"translation": _one_line(symbols), **fields}

    def _draw(self, line: str, hypothesis: Hypothesis, folder: Path, number: int) -> Path:
        path = create_plot_folder(folder) / f"attention-{number}.png"
        written = [*symbols_of(self.languages.target, hypothesis.token_ids), "(end)"]
        weights_TS = self.attention(line, hypothesis).numpy()
        draw_attention_matrix(weights_TS, written, self._source_symbols(line), path)
        return path

    @torch.no_grad()
    def attention(self, line: str, hypothesis: Hypothesis) -> Tensor:
        """Return how much each symbol of a translation, its end included, looked at each of the source, (T, S)."""
        source = torch.from_numpy(encode_line(self.languages.source, line))[:, None]
        read = torch.tensor([self.model.boundary, *hypothesis.token_ids])[:, None]
        return self.model.decode(read, self.model.encode(source, torch.tensor([len(source)])))[1][0]

    def _source_symbols(self, line: str) -> list[str]:
        if self.languages.source.kind == "words":
            return line.split()  # as they stand there, also those that have no symbol
        return symbols_of(self.languages.source, encode_line(self.languages.source, line).tolist())

    def evaluate(
        self, data: Sequence[Path] | None = None, *, pictures: Path | None = None, skip_bad: bool = False
    ) -> dict[str, Any]:
        """Return nats per symbol, BLEU and chrF on `data` or the run's validation pairs, beside a copy of the source.

        Args:
            data: one file or two; see `read_parallel`.
            pictures: a folder for the translations, a file that grows as they are made; a call that was stopped goes on
                from there.
            skip_bad: pairs that are too long or have characters without a symbol are left out, counted and named.

        Raises:
            DataError, RunError: the data cannot be read, a pair is one that `skip_bad` leaves out, or the run has none.
        """
        shown = signatures()
        every = list(read_parallel(data)) if data else validation(self.run)
        pairs, left_out = measurable(every, self.languages, max(self.longest, LONGEST), skip_bad=skip_bad)
        nats = nats_per_symbol(self.model, ParallelDataset.of(pairs, self.languages), torch.device("cpu"))
        written, references = self._translations([pair.source for pair in pairs], pictures), [p.target for p in pairs]
        exact = sum(text == wanted for text, wanted in zip(written, references, strict=True)) / len(pairs)
        return {
            "nats_per_symbol": nats,
            **translation_metrics(written, references),
            "exact": exact,
            "pairs": len(pairs),
            **({"pairs_left_out": left_out.count, "left_out": left_out.lines()} if skip_bad else {}),
            "signatures": shown,
            "baselines": {"a copy of the source": translation_metrics([pair.source for pair in pairs], references)},
        }

    def _translations(self, sources: Sequence[str], folder: Path | None) -> list[str]:
        """Translate lines, some at a time; those that stand in the folder's file already are taken from there."""
        weights = hashlib.sha256(self.run.model.read_bytes()).hexdigest()[:12]
        kept = ResumableAnswers(folder / f"translations-{weights}.jsonl", ("input", "answer")) if folder else None
        done = {row[0]: row[1] for row in kept.done} if kept else {}
        with kept or nullcontext():
            left = [source for source in dict.fromkeys(sources) if source not in done]
            for begin in range(0, len(left), WINDOW):
                some = left[begin : begin + WINDOW]
                encoded = [encode_line(self.languages.source, source) for source in some]
                for source, found in zip(some, self.translate(encoded, TranslateOptions()), strict=True):
                    done[source] = _one_line(symbols_of(self.languages.target, found[0].token_ids)) if found else ""
                    if kept:
                        kept.add(source, done[source])
        return [done[source] for source in sources]


def _copied(symbol: str, source: str) -> str:
    """Return a symbol of the translation, or that of the source in the place of an unknown one."""
    return symbol.replace(UNKNOWN, source.strip()) if symbol.strip() == UNKNOWN else symbol


def _one_line(symbols: Sequence[str]) -> str:
    """Return symbols as a text without line ends."""
    return " ".join("".join(symbols).splitlines()).strip()


def validation(run: RunDirectory) -> list[SentencePair]:
    """Return the pairs for validation in a run's folder."""
    return read_validation_pairs(run.path / "validation.json")


def nats_per_symbol(model: Translator, corpus: ParallelDataset, device: torch.device) -> float:
    """Return the cross-entropy of the translations, per symbol."""
    total = count = 0.0
    with torch.no_grad():
        for chosen in in_order(corpus.steps, batch_size=64, tokens=SYMBOLS):
            nats, symbols = model.nats(*(t.to(device) for t in corpus.batch(chosen)))
            total, count = total + float(nats), count + symbols
    return total / count
