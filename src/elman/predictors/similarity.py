"""A trained comparison of texts: it scores pairs, turns texts into vectors, and finds the nearest of many."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman.data.pairs.batches import PairCollator
from elman.data.pairs.dataset import write_pairs
from elman.data.pairs.inverted_index import InvertedIndex
from elman.data.pairs.readers import PairTable, ScoredPair, read_pairs
from elman.data.pairs.score_scale import ScoreScale
from elman.data.text.documents import read_text
from elman.data.text.lines import KeptLines, document_lines
from elman.errors import DataError, NonFiniteError, SettingError
from elman.models.similarity import SimilarityModel
from elman.modules.nearest_neighbours import nearest
from elman.predictors.answer import Answer
from elman.recipes.similarity_evaluation import TOGETHER, metrics_of, own_pairs, ranks_of, vectors_of
from elman.settings import Settings, setting
from elman.storage.npy_rows import write_rows
from elman.storage.ragged import read_array
from elman.storage.run_directory import RunDirectory

CANDIDATES = 100  # near by their vectors, and as many by their words, that are compared in full


@dataclass(frozen=True, kw_only=True)
class SimilarityOptions(Settings):
    """What `elman predict` can be told of a comparison of texts."""

    embed: str | None = setting(None, "write the vector of each text (each line of a file) into this .npy file")
    nearest: str | None = setting(None, "find the nearest lines of this file to each text")
    top: int = setting(5, "how many of them", low=1, high=1000)
    skip_bad: bool = setting(False, "name the broken rows of a file of pairs, and answer the others")

    def check(self) -> None:
        if self.embed is not None and self.nearest is not None:
            raise SettingError(
                "embed and nearest are two things", should="one of them at a time", found="both", hint="run it twice"
            )


@dataclass(frozen=True)
class SimilarityPredictor:
    """A comparison of texts that is ready to use."""

    model: SimilarityModel
    batcher: PairCollator
    scale: ScoreScale
    settings: Any
    run: RunDirectory

    def evaluate(self, data: Sequence[Path] | None = None, *, skip_bad: bool = False) -> dict[str, Any]:
        """Return the metrics on the pairs of `data`, or on the run's validation pairs, beside trivial predictors.

        Raises:
            DataError, RunError: the pairs cannot be read, or the run has none.
        """
        left_out: dict[str, Any] = {}
        with TemporaryDirectory() as folder:
            if data:
                table = self._table(data, scored=True, skip_bad=skip_bad)
                pairs = write_pairs(Path(folder), "evaluation", table)
                left_out = {"rows_left_out": table.skipped.count, "left_out": table.skipped.lines()}
                self.scale.check(pairs)
            else:
                pairs = own_pairs(self.run, "validation")
            metrics: dict[str, Any] = metrics_of(self.model, self.batcher, pairs, self.scale)
            if not math.isfinite(metrics["mean_squared_error"]):
                raise self._no_numbers()
            columns: dict[str, Any] = self.scale.trivial.metrics(pairs, pairs.scores(), yes_no=self.scale.yes_no)
            ranks = ranks_of(self.model, self.batcher, pairs, self.scale)
        if ranks:
            metrics["mean_reciprocal_rank"] = ranks["the model"]
            columns["word overlap"]["mean_reciprocal_rank"] = ranks["word overlap"]
        return {**metrics, "pairs": len(pairs), **(left_out if skip_bad else {}), "baselines": columns}

    def predict(
        self,
        inputs: Sequence[str] = (),
        *,
        embed: str | None = None,
        nearest: str | None = None,
        top: int = 5,
        skip_bad: bool = False,
    ) -> Iterator[Answer]:
        """Score pairs, or write the vectors of texts, or find the nearest lines of a file, an answer at a time.

        Args:
            inputs: for pairs two texts, texts with a tab between the two of a pair, files as in training (without a
                score), or "-" for pairs on standard input; else texts, files with one a line, or "-".
            embed: the .npy file for the vectors, (N, F) in float32.
            nearest: the file whose lines are searched.
            top: how many of them.
            skip_bad: name the broken rows of files of pairs behind the answers to the others.

        Raises:
            DataError: an input is no pair, or a file cannot be read.
            RunError: the .npy file cannot be written.
        """
        if embed is not None:
            yield self._embedded(inputs, Path(embed))
        elif nearest is not None:
            yield from self._nearest(inputs, Path(nearest), top)
        else:
            left_out: list[str] = []
            for pairs in self._pairs(inputs, left_out, skip_bad):
                for pair, score in zip(pairs, self.score(pairs), strict=True):
                    yield self._answer(pair, score)
            for row in left_out:
                yield Answer(f"no answer: {row}", {"error": row}, answered=False)

    def score(self, pairs: Sequence[ScoredPair]) -> list[float]:
        """Return how alike the texts of each pair are, on the scale of the training data; the scores are not read."""
        with torch.no_grad():
            found = self.scale.from_unit(self.model(self.batcher.pairs(pairs)))
        if not bool(torch.isfinite(found).all()):
            raise self._no_numbers()
        return found.tolist()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vector of each text, (N, F)."""
        return vectors_of(self.model, self.batcher, texts)

    def _no_numbers(self) -> NonFiniteError:
        return NonFiniteError(
            f"the model in {self.run.path} gives no numbers",
            should="finite weights",
            found="scores that are infinite or not a number",
            hint="train anew, with a smaller learning rate",
        )

    def _answer(self, pair: ScoredPair, score: float) -> Answer:
        fields: dict[str, Any] = {"first": pair.first, "second": pair.second, "score": score}
        line = f"{score:.3f}"
        if self.scale.yes_no:
            fields["answer"] = "yes" if score >= 0.5 else "no"
            line = f"{fields['answer']}\t{score:.3f}"
        return Answer(f"{line}\t{pair.first}\t{pair.second}", fields)

    def _table(self, sources: Sequence[Path], *, scored: bool, skip_bad: bool = False) -> PairTable:
        names = ("encoding", "first", "second", "score")
        columns = {name: getattr(self.settings, name) for name in names}
        return read_pairs(sources, **columns, scored=scored, skip_bad=skip_bad)

    def _pairs(self, inputs: Sequence[str], left_out: list[str], skip_bad: bool) -> Iterator[list[ScoredPair]]:
        """Yield the pairs of the inputs, some at a time, and add the broken rows of files to those left out."""
        if len(inputs) == 2 and not any(name == "-" or "\t" in name or is_file(name) for name in inputs):
            yield [ScoredPair(inputs[0], inputs[1], float("nan"))]
            return
        if not inputs:
            raise no_pair("no input")
        for name in inputs:
            if name == "-":
                yield from ([pair_of(line)] for line in sys.stdin if line.strip())
            elif "\t" in name:
                yield [pair_of(name)]
            elif is_file(name):
                table = self._table([Path(name)], scored=False, skip_bad=skip_bad)
                rows = iter(table)
                while some := list(islice(rows, TOGETHER)):
                    yield some
                left_out += table.skipped.lines()
            else:
                raise no_pair(repr(name[:60]))

    def _embedded(self, inputs: Sequence[str], path: Path) -> Answer:
        parts = (self.embed(some) for some in together(texts_of(inputs, self.settings.encoding)))
        count = write_rows(path, parts)
        features = self.model.encoder.output_size
        return Answer(f"{path}: {count:,} vectors of {features}", {"file": str(path), "shape": [count, features]})

    def _nearest(self, inputs: Sequence[str], path: Path, top: int) -> Iterator[Answer]:
        with TemporaryDirectory() as folder:
            lines = KeptLines(path, Path(folder), encoding=self.settings.encoding)
            write_rows(Path(folder) / "rows.npy", (self.embed(some) for some in together(lines)))
            rows_NF = read_array(Path(folder) / "rows.npy")
            words = InvertedIndex(lines, Path(folder))
            for text in texts_of(inputs, self.settings.encoding):
                if text.strip():
                    yield self._nearest_to(text, lines, rows_NF, words, top)

    def _nearest_to(self, text: str, lines: KeptLines, rows_NF: NDArray[Any], words: InvertedIndex, top: int) -> Answer:
        """Return the lines with the highest scores among those with the nearest vectors, and with most words shared."""
        query_QF, count = torch.from_numpy(self.embed([text])), max(2 * top, CANDIDATES)
        with torch.no_grad():
            _, place_QK = nearest(query_QF, rows_NF, count, self.model.closeness)
        near = dict.fromkeys([*place_QK[0].tolist(), *words.nearest(text, count)])
        places = [place for place in near if lines[place].strip()]
        found = [lines[place] for place in places]
        scores = self.score([ScoredPair(text, other, float("nan")) for other in found])
        best = sorted(range(len(found)), key=lambda n: -scores[n])[:top]
        fields = [{"line": places[n] + 1, "score": scores[n], "text": found[n]} for n in best]
        shown = "".join(f"\n{f['score']:.3f}\t{f['line']}\t{f['text']}" for f in fields)
        return Answer(text + shown, {"text": text, "nearest": fields})


def texts_of(inputs: Sequence[str], encoding: str) -> Iterator[str]:
    """Yield the lines of the files among the inputs, of standard input for "-", and the other inputs as they are.

    Raises:
        DataError: there is no input, or a file cannot be read.
    """
    if not inputs:
        raise DataError("there is no text", should="a text, a file, or - for standard input", found="no input")
    for name in inputs:
        if name == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin)
        elif is_file(name):
            (document,) = read_text(name, encoding=encoding)
            yield from (line.rstrip("\r\n") for line in document_lines(document))
        else:
            yield name


def together(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield the texts some at a time."""
    rest = iter(texts)
    while some := list(islice(rest, 16 * TOGETHER)):
        yield some


def is_file(name: str) -> bool:
    """Return whether a file has this name; a long text is none."""
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def pair_of(line: str) -> ScoredPair:
    """Return the pair of a line with a tab in it.

    Raises:
        DataError: it is none.
    """
    parts = line.strip().split("\t")
    if len(parts) < 2 or not all(part.strip() for part in parts[:2]):
        raise no_pair(repr(line[:60]))
    return ScoredPair(parts[0], parts[1], float("nan"))


def no_pair(found: str) -> DataError:
    """Return the error for an input that is no pair of texts."""
    return DataError(
        "an input is no pair of texts",
        should="two texts, or texts with a tab between the two, or a TSV or CSV file, or - for standard input",
        found=found,
        hint='elman predict RUN "one text" "another text"',
    )
