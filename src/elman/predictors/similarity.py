"""A trained similarity model: it scores pairs, embeds texts, and finds the nearest of many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman.data.batching import in_order
from elman.data.in_memory import RowFormat
from elman.data.pairs.batches import PairCollator
from elman.data.pairs.dataset import PairDataset
from elman.data.pairs.inverted_index import InvertedIndex
from elman.data.pairs.readers import PairTable, ScoredPair
from elman.data.pairs.score_scale import ScoreScale
from elman.data.text.lines import LineStore
from elman.models.similarity import SimilarityModel
from elman.modules.nearest_neighbours import nearest
from elman.number_format import decimal, resolved
from elman.predictors.answer import Answer
from elman.predictors.base import Predictor, non_finite_output
from elman.predictors.inputs import batched, input_pairs, input_texts
from elman.predictors.options import SimilarityOptions
from elman.storage.files import temporary_folder
from elman.storage.npy_rows import write_rows
from elman.storage.ragged import read_array

BATCH = 64  # texts or pairs that are encoded at a time
BLOCK = 16 * BATCH  # texts that are sorted by length together
CANDIDATES = 100  # nearest by their vectors, and as many by their words, that are compared in full


class SimilarityPredictor(Predictor):
    """A similarity model that is ready to use.

    Args:
        model: the model, in evaluation mode.
        run: the run directory.
        collator: makes tensors of texts.
        scale: the range of the scores.
        encoding: the encoding of text files.
        read_table: (paths, scored=..., skip_bad=...) -> the pairs in files, by the columns of the training.
    """

    Options = SimilarityOptions
    input_rows = RowFormat(("first", "second"), by_place=True)
    model: SimilarityModel

    def __init__(
        self,
        model: SimilarityModel,
        run: Path,
        collator: PairCollator,
        scale: ScoreScale,
        *,
        encoding: str,
        read_table: Callable[..., PairTable],
    ) -> None:
        super().__init__(model, run)
        self.collator, self.scale, self.encoding, self.read_table = collator, scale, encoding, read_table

    @property
    def reads_text(self) -> bool:
        """Whether an input may be a text itself."""
        return True

    def answers(self, inputs: Sequence[str | Path] = (), **options: Any) -> Iterator[Answer]:
        """Score pairs, or write the vectors of texts, or find the nearest lines of a file.

        Args:
            inputs: for pairs two texts, texts with a tab between the two of a pair, files as in training (without a
                score), or "-" for pairs on standard input; else texts, files with one a line, or "-".
            options: the fields of `SimilarityOptions`.

        Raises:
            DataError: an input is not a pair, or a file cannot be read.
            NonFiniteError: the model gives numbers that are not finite.
            RunError: the .npy file cannot be written.
            SettingError: an option is invalid.
        """
        chosen = SimilarityOptions(**options)
        if chosen.embed is not None:
            yield self._embedded(inputs, Path(chosen.embed))
        elif chosen.nearest is not None:
            yield from self._nearest(inputs, Path(chosen.nearest), chosen.top)
        else:
            yield from self._scored(inputs, chosen.skip_bad)

    def score(self, pairs: Sequence[ScoredPair]) -> list[float]:
        """Return the similarity of the texts of each pair, on the scale of the training data.

        Raises:
            NonFiniteError: the model gives numbers that are not finite.
        """
        with torch.no_grad():
            scores_B = self._scores(pairs)
        if not bool(torch.isfinite(scores_B).all()):
            raise non_finite_output(self.run)
        return scores_B.tolist()

    def score_dataset(self, pairs: PairDataset) -> NDArray[np.float64]:
        """Return the similarity of the texts of each pair, (pairs,), those of like length together."""
        scores_B = np.empty(len(pairs))
        with torch.no_grad():
            for numbers in in_order(pairs.lengths, batch_size=BATCH):
                scores_B[numbers] = self._scores([pairs[n] for n in numbers])
        return scores_B

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vector of each text, (N, F)."""
        device = next(self.model.parameters()).device
        vectors_NF = np.empty((len(texts), self.model.encoder.output_size), np.float32)
        with torch.no_grad():
            for numbers in in_order([len(text) for text in texts], batch_size=BATCH):
                batch = self.collator.texts([texts[n] for n in numbers]).to(device)
                vectors_NF[numbers] = self.model.encode(batch).vector_BF.cpu().numpy()
        return vectors_NF

    def vector_similarity(self, queries: Sequence[str], candidates: Sequence[str]) -> NDArray[np.float32]:
        """Return the similarity of the vectors of texts, (queries, candidates)."""
        query_QF, candidate_NF = (torch.from_numpy(self.embed(texts)) for texts in (queries, candidates))
        with torch.no_grad():
            close_QN: NDArray[np.float32] = self.model.vector_similarity(query_QF, candidate_NF).numpy()
        return close_QN

    def _scores(self, pairs: Sequence[ScoredPair]) -> torch.Tensor:
        batch = self.collator.pairs(pairs).to(next(self.model.parameters()).device)
        return self.scale.from_unit(self.model(batch)).cpu()

    def _scored(self, inputs: Sequence[str | Path], skip_bad: bool) -> Iterator[Answer]:
        skipped: list[str] = []
        tables = partial(self.read_table, scored=False, skip_bad=skip_bad)
        for pairs in input_pairs(inputs, lambda path: tables([path]), skipped, skip_bad=skip_bad):
            yield from _no_answers(skipped)
            for pair, score in zip(pairs, self.score(pairs), strict=True):
                yield self._answer(pair, score)
        yield from _no_answers(skipped)

    def _answer(self, pair: ScoredPair, score: float) -> Answer:
        fields: dict[str, Any] = {"first": pair.first, "second": pair.second, "score": score}
        line = self._shown(score)
        if self.scale.yes_no:
            fields["answer"] = "yes" if score >= 0.5 else "no"
            line = f"{fields['answer']}\t{line}"
        return Answer(f"{line}\t{pair.first}\t{pair.second}", fields)

    def _shown(self, score: float) -> str:
        return decimal(score, 3) if self.scale.yes_no else resolved([score], self.scale.high - self.scale.low)[0]

    def _embedded(self, inputs: Sequence[str | Path], path: Path) -> Answer:
        blocks = batched(input_texts(inputs, self.encoding), BLOCK)
        count, features = write_rows(path, map(self.embed, blocks)), self.model.encoder.output_size
        return Answer(f"{path}: {count:,} vectors of {features}", {"file": str(path), "shape": [count, features]})

    def _nearest(self, inputs: Sequence[str | Path], path: Path, top: int) -> Iterator[Answer]:
        with temporary_folder() as folder:
            lines = LineStore(path, folder, encoding=self.encoding)
            write_rows(folder / "rows.npy", map(self.embed, batched(lines, BLOCK)))
            rows_NF = read_array(folder / "rows.npy")
            words = InvertedIndex(lines, folder)
            for text in input_texts(inputs, self.encoding):
                if text.strip():
                    yield self._nearest_to(text, lines, rows_NF, words, top)

    def _nearest_to(self, text: str, lines: LineStore, rows_NF: NDArray[Any], words: InvertedIndex, top: int) -> Answer:
        """Return the lines with the highest scores among those with the nearest vectors, and with most words shared."""
        query_QF, count = torch.from_numpy(self.embed([text])), max(2 * top, CANDIDATES)
        with torch.no_grad():
            _, place_QK = nearest(query_QF, rows_NF, count, self.model.vector_similarity)
        places = dict.fromkeys([*place_QK[0].tolist(), *words.nearest(text, count)])
        candidates = [(place, lines[place]) for place in places if lines[place].strip()]
        scores = self.score([ScoredPair(text, line, float("nan")) for _, line in candidates])
        ranked = sorted(zip(scores, candidates, strict=True), key=lambda pair: -pair[0])[:top]
        fields = [{"line": place + 1, "score": score, "text": line} for score, (place, line) in ranked]
        shown = "".join(f"\n{self._shown(row['score'])}\t{row['line']}\t{row['text']}" for row in fields)
        return Answer(text + shown, {"text": text, "nearest": fields})


def _no_answers(skipped: list[str]) -> Iterator[Answer]:
    """Yield an answer for each skipped row, and forget the rows."""
    rows, skipped[:] = list(skipped), []
    return (Answer(f"no answer: {row}", {"error": row}, answered=False) for row in rows)
