"""A trained translator: translations of lines by beam search, and their alignments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.batching import in_order, pad
from elman.data.in_memory import RowFormat
from elman.data.text.encoding import encode_line, symbols_of
from elman.data.text.words import UNKNOWN
from elman.data.translation.vocabularies import VocabularyPair, encode_within
from elman.decoding.beam import Beam, Hypothesis, coverage
from elman.decoding.limits import DecodingLimits
from elman.errors import DataError
from elman.models.translator import DecoderState, Translator
from elman.plots.attention_matrix import create_plot_folder, draw_attention_matrix
from elman.predictors.answer import Answer, Note, label_notes, no_answer
from elman.predictors.base import Predictor
from elman.predictors.inputs import InputLine, batched, count_lines, input_lines, resolved
from elman.predictors.options import TranslateOptions

BATCH = 32  # lines that are translated at a time
BATCH_SYMBOLS = 4096  # symbols of their sources at most, padding counted
SKIP = "--skip-bad leaves an empty line in its place"

Line = NDArray[np.int64] | None
"""The token ids of a line; None for an empty one."""


class TranslationPredictor(Predictor):
    """A translator that is ready to use.

    Args:
        model: the model, in evaluation mode.
        run: the run directory.
        vocabularies: of both sides.
        limits: of translations; None: those of earlier versions.
        lowercase: whether the model reads sources in lower case.
    """

    Options = TranslateOptions
    input_rows = RowFormat(("source",), header=False, by_place=True)
    model: Translator

    def __init__(
        self, model: Translator, run: Path, vocabularies: VocabularyPair, *, limits: DecodingLimits | None = None,
        lowercase: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(model, run)
        self.vocabularies, self.limits, self.lowercase = vocabularies, limits or DecodingLimits(), lowercase

    @property
    def reads_text(self) -> bool:
        """Whether an input may be a text itself."""
        return True

    def answers(self, inputs: Sequence[str | Path], **options: Any) -> Iterator[Answer]:
        """Translate lines, and yield each translation as it is made; each line has exactly one answer.

        Args:
            inputs: lines; the name of a file stands for its lines, "-" for those of standard input.
            options: the fields of `TranslateOptions`.

        Raises:
            DataError: a file cannot be read, or a line of a file is too long; what came before is answered. Such a line
                of standard input gets an answer that says what is wrong.
        """
        chosen = TranslateOptions(**options)
        number = count_lines(Path(chosen.resume_from)) if chosen.resume_from else 0
        lines = ((line, *self._encoded(line, chosen)) for line in input_lines(resolved(inputs), number))
        for batch in batched(lines, BATCH, lambda row: row[0].interactive):
            translations = self.translate([ids for _, ids, _ in batch], chosen)
            for (line, _, error), hypotheses in zip(batch, translations, strict=True):
                number += 1
                answer = self._answer(line, hypotheses, chosen, number)
                if error:
                    broken = no_answer(line.where, error)
                    answer = broken._replace(fields={**answer.fields, **broken.fields}, instead=answer.line)
                yield answer

    def _encoded(self, line: InputLine, options: TranslateOptions) -> tuple[Line, DataError | None]:
        """Return the token ids of a line, or what is wrong with it, where that is not raised."""
        if not line.text:
            return None, None
        try:
            vocabulary, limit, text = self.vocabularies.source, options.max_symbols, self._read(line.text)
            return encode_within(vocabulary, text, line.where, limit, skip=SKIP, settable=True), None
        except DataError as error:
            if not (line.interactive or options.skip_bad):
                raise
            return None, error

    def _read(self, text: str) -> str:
        """Return a line as the model reads it."""
        return text.lower() if self.lowercase else text

    @torch.no_grad()
    def translate(self, lines: Sequence[Line], options: TranslateOptions) -> list[list[Hypothesis]]:
        """Return the best translations of each line, the best first; none for an empty one."""
        translations: list[list[Hypothesis]] = [[] for _ in lines]
        full = [(n, ids) for n, ids in enumerate(lines) if ids is not None]
        order = in_order([len(ids) for _, ids in full], batch_size=BATCH, tokens=BATCH_SYMBOLS) if full else ()
        for numbers in order:
            batch = [full[int(n)] for n in numbers]
            source, lengths = pad([ids for _, ids in batch])
            state = self.model.encode(torch.from_numpy(source), torch.from_numpy(lengths))
            limits = [self.limits.length(int(length)) for length in lengths]
            for (n, _), hypotheses in zip(batch, self._beam(options).search(state, len(batch), limits), strict=True):
                translations[n] = hypotheses
        return translations

    def translate_texts(self, texts: Sequence[str], options: TranslateOptions | None = None) -> list[tuple[str, str]]:
        """Return the best translation of each text, and why it ends where it does, empty where the model ends it."""
        lines = [encode_line(self.vocabularies.source, self._read(text)) for text in texts]
        return [
            (_one_line(symbols_of(self.vocabularies.target, best[0].token_ids)), _cut(best[0])) if best else ("", "")
            for best in self.translate(lines, options or TranslateOptions())
        ]

    def _beam(self, options: TranslateOptions) -> Beam[DecoderState]:
        def penalty(state: DecoderState) -> Tensor:
            return options.coverage_penalty * coverage(state.attended_BS, state.lengths_B)

        return Beam(
            self.model.step,
            DecoderState.select,
            self.model.boundary,
            self.model.boundary,
            width=options.beam_width,
            length_penalty=options.length_penalty,
            bonus=penalty if options.coverage_penalty else None,
            limits=None if options.repetitions else self.limits,
            never=self.vocabularies.target.never_written,
        )

    def _answer(self, row: InputLine, hypotheses: list[Hypothesis], options: TranslateOptions, number: int) -> Answer:
        line = row.text
        if not hypotheses:
            return Answer("", {"source": line, "translation": "", "n_best": []})
        n_best = [self._translation(line, hypothesis, options) for hypothesis in hypotheses[: options.n_best]]
        lines = [row["translation"] for row in n_best]
        if len(lines) > 1:
            lines = [f"{row['score']:9.4f}  {row['translation']}" for row in n_best]
        if options.alignment:
            lines += [f"    {target} <- {source}" for target, source in n_best[0]["alignment"]]
        notes = [*self._source_notes(row), *_ending_notes(row.where, hypotheses[0])]
        fields: dict[str, Any] = {"source": line, "translation": n_best[0]["translation"], "n_best": n_best}
        if options.pictures:
            fields |= self._plot(line, hypotheses[0], Path(options.pictures), number)
            notes += label_notes(fields)
        if notes:
            fields["notes"] = [note.text for note in notes]
        return Answer("\n".join(lines), fields, notes=tuple(notes))

    def _source_notes(self, row: InputLine) -> Iterator[Note]:
        """Yield what a person should know about a line that the model has not seen the like of."""
        vocabulary, text = self.vocabularies.source, self._read(row.text)
        ids = encode_line(vocabulary, text)
        symbols = self._source_symbols(row.text)
        unknown = [symbol for symbol, n in zip(symbols, ids, strict=False) if n == vocabulary.unknown]
        if unknown:
            names = ", ".join(name.strip() or repr(name) for name in list(dict.fromkeys(unknown))[:5])
            what = f"{row.where}: {len(unknown)} of {len(symbols)} symbols are not in the vocabulary: {names}"
            yield Note("unknown symbols", what)
        if not text.isupper():
            return
        lower = encode_line(vocabulary, text.lower())
        unknown_lower = int((lower == vocabulary.unknown).sum()) if vocabulary.unknown is not None else 0
        if len(ids) >= 2 * len(lower) or len(unknown) >= max(2, 2 * unknown_lower):
            hint = "training with lowercase=true reads both alike"
            yield Note("lines in capitals", f"{row.where}: the line is in capitals, which training hardly had; {hint}")

    def _translation(self, line: str, hypothesis: Hypothesis, options: TranslateOptions) -> dict[str, Any]:
        """Return a translation of a line as JSON knows it."""
        symbols = symbols_of(self.vocabularies.target, hypothesis.token_ids)
        fields: dict[str, Any] = {"score": hypothesis.score, "log_probability": hypothesis.log_probability}
        if options.alignment or options.copy_unknown:
            all_sources = self._source_symbols(line)
            sources = [all_sources[s] for s in self.attention(line, hypothesis).argmax(1).tolist()]
            if options.copy_unknown:
                symbols = [_copied(target, source) for target, source in zip(symbols, sources, strict=False)]
            if options.alignment:
                fields["alignment"] = [[t.strip(), s.strip()] for t, s in zip(symbols, sources, strict=False)]
        return {"translation": _one_line(symbols), **fields}

    def _plot(self, line: str, hypothesis: Hypothesis, folder: Path, number: int) -> dict[str, Any]:
        path = create_plot_folder(folder) / f"attention-{number}.png"
        output = [*symbols_of(self.vocabularies.target, hypothesis.token_ids), "(end)"]
        weights_TS = self.attention(line, hypothesis).numpy()
        legend = draw_attention_matrix(weights_TS, output, self._source_symbols(line), path)
        return {"picture": str(path), **({"picture_labels": legend} if legend else {})}

    @torch.no_grad()
    def attention(self, line: str, hypothesis: Hypothesis) -> Tensor:
        """Return the attention weights of each symbol of a translation, its end included, (T, S)."""
        source_SB = torch.from_numpy(encode_line(self.vocabularies.source, self._read(line)))[:, None]
        input_TB = torch.tensor([self.model.boundary, *hypothesis.token_ids])[:, None]
        return self.model.decode(input_TB, self.model.encode(source_SB, torch.tensor([len(source_SB)])))[1][0]

    def _source_symbols(self, line: str) -> list[str]:
        vocabulary = self.vocabularies.source
        if vocabulary.kind == "words":
            return line.split()  # as they are, also those that have no symbol
        if vocabulary.kind == "characters":
            return list(f" {self._read(line)}")
        return symbols_of(vocabulary, encode_line(vocabulary, self._read(line)).tolist())


def _cut(hypothesis: Hypothesis) -> str:
    """Return what ended a translation in the place of the model: "length", "repetition", or nothing."""
    return "repetition" if hypothesis.guarded else "" if hypothesis.ended else "length"


def _ending_notes(where: str, hypothesis: Hypothesis) -> Iterator[Note]:
    reason = _cut(hypothesis)
    if reason == "repetition":
        yield Note(
            "repetitions were stopped", f"{where}: the model repeated itself, and was stopped (repetitions=true)"
        )
    elif reason:
        what = f"{where}: the translation was cut at {len(hypothesis.token_ids)} symbols, more than training has"
        yield Note("translations were cut", f"{what} for a line of this length")


def _copied(symbol: str, source: str) -> str:
    """Return a symbol of the translation, or that of the source in the place of an unknown one."""
    return symbol.replace(UNKNOWN, source.strip()) if symbol.strip() == UNKNOWN else symbol


def _one_line(symbols: Sequence[str]) -> str:
    """Return symbols as a text without line ends."""
    return " ".join("".join(symbols).splitlines()).strip()
