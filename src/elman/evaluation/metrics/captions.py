"""How good captions are: BLEU-1 to 4 by sacrebleu, CIDEr, exact matches, and what one caption for all pictures gets.

Captions and references are taken as words between blanks, in lower case and without punctuation. The numbers are those
of the COCO evaluation (Chen et al. 2015, https://arxiv.org/abs/1504.00325) but for its tokens.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from elman.errors import extra

ORDER = 4
WIDTH = 6.0  # of the Gaussian in CIDEr-D over differences of length

Gram = tuple[str, ...]
References = Sequence[Sequence[str]]


def bleu(written: Sequence[str], references: References) -> dict[str, float]:
    """Return BLEU-1 to BLEU-4 (Papineni et al. 2002), 0 to 100, of captions with one reference or more each.

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """
    with extra("caption", "measuring captions"):
        from sacrebleu.metrics.bleu import BLEU
    most = max(map(len, references))
    streams = [[each[k] if k < len(each) else None for each in references] for k in range(most)]
    found = {}
    for order in range(1, ORDER + 1):
        metric = BLEU(max_ngram_order=order, tokenize="none", smooth_method="none", force=True)
        found[f"bleu_{order}"] = float(metric.corpus_score(list(written), streams).score)  # type: ignore[arg-type]
    return found


def grams(caption: str) -> Counter[Gram]:
    """Return the sequences of 1 to 4 words in a caption, and how often each is in it."""
    words = caption.split()
    return Counter(tuple(words[i : i + n]) for n in range(1, ORDER + 1) for i in range(len(words) - n + 1))


class Cider:
    """CIDEr-D (Vedantam et al. 2015, https://arxiv.org/abs/1411.5726), times 10 as there.

    Each caption is, for each n of 1 to 4, a vector of its sequences of n words, weighted by how often they are in it
    and by log(pictures / pictures whose references have it). A caption's score is the mean over n and references of the
    cosine, with counts clipped to the reference's, times exp(-(difference of lengths)^2 / (2 6^2)).

    Args:
        references: of all pictures that are judged; they give the weights.
    """

    def __init__(self, references: References) -> None:
        self.seen: Counter[Gram] = Counter()
        counted = [[grams(text) for text in each] for each in references]
        for each in counted:
            self.seen.update(set().union(*each))
        self.total = math.log(max(1, len(references)))
        self.references = [[self._weighted(found) for found in each] for each in counted]

    def scores(self, written: Sequence[str]) -> list[float]:
        """Return the score of the caption of each picture, in the order of the references."""
        weighted = map(self._weighted, map(grams, written))
        return [self._score(one, each) for one, each in zip(weighted, self.references, strict=True)]

    def _weighted(self, counts: Counter[Gram]) -> tuple[list[dict[Gram, float]], list[float], int]:
        vectors: list[dict[Gram, float]] = [{} for _ in range(ORDER)]
        for gram, count in counts.items():
            vectors[len(gram) - 1][gram] = count * (self.total - math.log(max(1, self.seen[gram])))
        norms = [math.sqrt(sum(value**2 for value in vector.values())) for vector in vectors]
        # The length is counted in pairs of words, as the reference implementation does.
        return vectors, norms, sum(count for gram, count in counts.items() if len(gram) == 2)

    def _score(
        self,
        one: tuple[list[dict[Gram, float]], list[float], int],
        each: Sequence[tuple[list[dict[Gram, float]], list[float], int]],
    ) -> float:
        total = 0.0
        for vectors, norms, length in each:
            near = math.exp(-((one[2] - length) ** 2) / (2 * WIDTH**2))
            for n in range(ORDER):
                common = sum(min(v, vectors[n].get(g, 0.0)) * vectors[n].get(g, 0.0) for g, v in one[0][n].items())
                scale = one[1][n] * norms[n]
                total += near * (common / scale if scale else 0.0)
        return 10 * total / (ORDER * len(each))


def cider(written: Sequence[str], references: References) -> float:
    """Return the mean CIDEr-D of captions."""
    return float(np.mean(Cider(references).scores(written)))


def exact(written: Sequence[str], references: References) -> float:
    """Return the share of captions that equal one of their references."""
    return sum(text in each for text, each in zip(written, references, strict=True)) / len(written)


def metrics(written: Sequence[str], references: References) -> dict[str, float]:
    """Return CIDEr, BLEU-1 to 4 and the share of exact captions."""
    return {"cider": cider(written, references), **bleu(written, references), "exact": exact(written, references)}


def constant_caption(references: References) -> str:
    """Return the caption that gets the highest BLEU-4 if it is given to every picture.

    It is one of the references. Of a caption without a sequence that comes twice in it, n words at a time, BLEU's
    precision is the mean, over its sequences, of the share of pictures that have it in a reference.
    """
    seen: Counter[Gram] = Counter()
    for each in references:
        seen.update(set().union(*map(grams, each)))
    lengths = [sorted({len(text.split()) for text in each}) for each in references]
    best, found = -math.inf, references[0][0]
    for text in dict.fromkeys(_all(references)):
        score = _constant_bleu(text, seen, len(references))
        if score > best:
            length = len(text.split())
            score += min(0.0, 1 - sum(_closest(each, length) for each in lengths) / (len(references) * length))
            if score > best:
                best, found = score, text
    return found


def _constant_bleu(text: str, seen: Counter[Gram], pictures: int) -> float:
    """Return the mean logarithm of the four precisions."""
    words = text.split()
    if len(words) < ORDER:
        return -math.inf
    score = 0.0
    for n in range(1, ORDER + 1):
        own = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        score += math.log(sum(seen[gram] for gram in set(own)) / (len(own) * pictures)) / ORDER
    return score


def _closest(lengths: Sequence[int], length: int) -> int:
    return min(lengths, key=lambda each: (abs(each - length), each))


def _all(references: References) -> Iterator[str]:
    return (text for each in references for text in each)
