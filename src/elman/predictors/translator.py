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
from elman.errors import DataError
from elman.models.translator import DecoderState, Translator
from elman.plots.attention_matrix import create_plot_folder, draw_attention_matrix
from elman.predictors.answer import Answer, no_answer
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
    """

    Options = TranslateOptions
    input_rows = RowFormat(("source",), header=False, by_place=True)
    model: Translator

    def __init__(self, model: Translator, run: Path, vocabularies: VocabularyPair) -> None:
        super().__init__(model, run)
        self.vocabularies = vocabularies

    def answers(self, inputs: Sequence[str | Path], **options: Any) -> Iterator[Answer]:
        """Translate lines, and yield each translation as it is made; each line has exactly one answer.

        Args:
            inputs: lines; the name of a file stands for its lines, "-" for those of standard input.
            options: the fields of `TranslateOptions`.

        Raises:
            DataError: a file cannot be read, or a line of a file is too long or has a character without a symbol; what
                came before is answered. Such a line of standard input gets an answer that says what is wrong.
        """
        chosen = TranslateOptions(**options)
        number = count_lines(Path(chosen.resume_from)) if chosen.resume_from else 0
        lines = ((line, *self._encoded(line, chosen)) for line in input_lines(resolved(inputs), number))
        for batch in batched(lines, BATCH, lambda row: row[0].interactive):
            translations = self.translate([ids for _, ids, _ in batch], chosen)
            for (line, _, error), hypotheses in zip(batch, translations, strict=True):
                number += 1
                answer = self._answer(line.text, hypotheses, chosen, number)
                if error:
                    broken = no_answer(line.where, error)
                    answer = broken._replace(fields={**answer.fields, **broken.fields}, instead=answer.line)
                yield answer

    def _encoded(self, line: InputLine, options: TranslateOptions) -> tuple[Line, DataError | None]:
        """Return the token ids of a line, or what is wrong with it, where that is not raised."""
        if not line.text:
            return None, None
        try:
            vocabulary, limit = self.vocabularies.source, options.max_symbols
            return encode_within(vocabulary, line.text, line.where, limit, skip=SKIP, settable=True), None
        except DataError as error:
            if not (line.interactive or options.skip_bad):
                raise
            return None, error

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
            limits = [3 * int(length) + 10 for length in lengths]
            for (n, _), hypotheses in zip(batch, self._beam(options).search(state, len(batch), limits), strict=True):
                translations[n] = hypotheses
        return translations

    def translate_texts(self, texts: Sequence[str]) -> list[str]:
        """Return the best translation of each text, with the default options."""
        lines = [encode_line(self.vocabularies.source, text) for text in texts]
        return [
            _one_line(symbols_of(self.vocabularies.target, best[0].token_ids)) if best else ""
            for best in self.translate(lines, TranslateOptions())
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
        )

    def _answer(self, line: str, hypotheses: list[Hypothesis], options: TranslateOptions, number: int) -> Answer:
        if not hypotheses:
            return Answer("", {"source": line, "translation": "", "n_best": []})
        n_best = [self._translation(line, hypothesis, options) for hypothesis in hypotheses[: options.n_best]]
        lines = [row["translation"] for row in n_best]
        if len(lines) > 1:
            lines = [f"{row['score']:9.4f}  {row['translation']}" for row in n_best]
        if options.alignment:
            lines += [f"    {target} <- {source}" for target, source in n_best[0]["alignment"]]
        fields: dict[str, Any] = {"source": line, "translation": n_best[0]["translation"], "n_best": n_best}
        if options.pictures:
            fields["picture"] = str(self._plot(line, hypotheses[0], Path(options.pictures), number))
        return Answer("\n".join(lines), fields)

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

    def _plot(self, line: str, hypothesis: Hypothesis, folder: Path, number: int) -> Path:
        path = create_plot_folder(folder) / f"attention-{number}.png"
        output = [*symbols_of(self.vocabularies.target, hypothesis.token_ids), "(end)"]
        draw_attention_matrix(self.attention(line, hypothesis).numpy(), output, self._source_symbols(line), path)
        return path

    @torch.no_grad()
    def attention(self, line: str, hypothesis: Hypothesis) -> Tensor:
        """Return the attention weights of each symbol of a translation, its end included, (T, S)."""
        source_SB = torch.from_numpy(encode_line(self.vocabularies.source, line))[:, None]
        input_TB = torch.tensor([self.model.boundary, *hypothesis.token_ids])[:, None]
        return self.model.decode(input_TB, self.model.encode(source_SB, torch.tensor([len(source_SB)])))[1][0]

    def _source_symbols(self, line: str) -> list[str]:
        vocabulary = self.vocabularies.source
        if vocabulary.kind == "words":
            return line.split()  # as they are, also those that have no symbol
        return symbols_of(vocabulary, encode_line(vocabulary, line).tolist())


def _copied(symbol: str, source: str) -> str:
    """Return a symbol of the translation, or that of the source in the place of an unknown one."""
    return symbol.replace(UNKNOWN, source.strip()) if symbol.strip() == UNKNOWN else symbol


def _one_line(symbols: Sequence[str]) -> str:
    """Return symbols as a text without line ends."""
    return " ".join("".join(symbols).splitlines()).strip()
