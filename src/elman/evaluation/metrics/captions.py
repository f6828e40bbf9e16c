"""Caption metrics: BLEU-1 to 4 by sacrebleu, CIDEr, exact matches, and the best constant caption.

Captions and references are words separated by blanks, in lower case and without punctuation. The numbers are those of
the COCO evaluation (Chen et al. 2015, https://arxiv.org/abs/1504.00325) except for its tokenizer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import chain

import numpy as np

from elman.errors import extra

ORDER = 4
SIGMA = 6.0  # of the Gaussian over differences of length

Ngram = tuple[str, ...]
References = Sequence[Sequence[str]]
Vector = tuple[list[dict[Ngram, float]], list[float], int]
"""The weighted n-grams of a caption and their norms, by n, and its length."""


def bleu(captions: Sequence[str], references: References) -> dict[str, float]:
    """Return BLEU-1 to BLEU-4 (Papineni et al. 2002), 0 to 100, of captions with one or more references each.

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """
    with extra("caption", "evaluating captions"):
        from sacrebleu.metrics.bleu import BLEU
    most = max(map(len, references))
    streams = [[texts[k] if k < len(texts) else None for texts in references] for k in range(most)]
    scores = {}
    for order in range(1, ORDER + 1):
        metric = BLEU(max_ngram_order=order, tokenize="none", smooth_method="none", force=True)
        scores[f"bleu_{order}"] = float(metric.corpus_score(list(captions), streams).score)  # type: ignore[arg-type]
    return scores


def ngram_counts(caption: str) -> Counter[Ngram]:
    """Return the counts of the n-grams of 1 to 4 words in a caption."""
    words = caption.split()
    return Counter(tuple(words[i : i + n]) for n in range(1, ORDER + 1) for i in range(len(words) - n + 1))


def cider_scores(captions: Sequence[str], references: References) -> list[float]:
    """Return CIDEr-D (Vedantam et al. 2015, https://arxiv.org/abs/1411.5726), times 10 as there, of each caption.

    Each caption is, for each n of 1 to 4, a vector of its n-grams, weighted by their counts and by log(images / images
    whose references have it). The score of a caption is the mean over n and references of the cosine, with counts
    clipped to the reference's, times exp(-(difference of lengths)^2 / (2 6^2)).

    Args:
        captions: one for each image.
        references: of all images of the evaluation; they give the weights.
    """
    counted = [[ngram_counts(text) for text in texts] for texts in references]
    images_with = Counter(chain.from_iterable(set[Ngram]().union(*counts) for counts in counted))
    log_images = math.log(max(1, len(references)))

    def vector(counts: Counter[Ngram]) -> Vector:
        vectors: list[dict[Ngram, float]] = [{} for _ in range(ORDER)]
        for gram, count in counts.items():
            vectors[len(gram) - 1][gram] = count * (log_images - math.log(max(1, images_with[gram])))
        norms = [math.sqrt(sum(value**2 for value in weights.values())) for weights in vectors]
        # The length is the number of bigrams, as in the reference implementation.
        return vectors, norms, sum(count for gram, count in counts.items() if len(gram) == 2)

    pairs = zip(captions, counted, strict=True)
    return [_cider(vector(ngram_counts(caption)), [vector(count) for count in counts]) for caption, counts in pairs]


def _cider(caption: Vector, references: Sequence[Vector]) -> float:
    own_vectors, own_norms, own_length = caption
    total = 0.0
    for vectors, norms, length in references:
        penalty = math.exp(-((own_length - length) ** 2) / (2 * SIGMA**2))
        for n in range(ORDER):
            common = sum(min(v, vectors[n].get(g, 0.0)) * vectors[n].get(g, 0.0) for g, v in own_vectors[n].items())
            scale = own_norms[n] * norms[n]
            total += penalty * (common / scale if scale else 0.0)
    return 10 * total / (ORDER * len(references))


def cider(captions: Sequence[str], references: References) -> float:
    """Return the mean CIDEr-D of captions."""
    return float(np.mean(cider_scores(captions, references)))


def exact_match(captions: Sequence[str], references: References) -> float:
    """Return the share of captions that equal one of their references."""
    return sum(text in texts for text, texts in zip(captions, references, strict=True)) / len(captions)


def caption_metrics(captions: Sequence[str], references: References) -> dict[str, float]:
    """Return CIDEr, BLEU-1 to 4 and the share of exact matches."""
    exact = exact_match(captions, references)
    return {"cider": cider(captions, references), **bleu(captions, references), "exact": exact}


def constant_caption(references: References) -> str:
    """Return the reference with the highest BLEU-4 as the caption of every image.

    The n-gram precision of a caption without repeated n-grams is the mean over its n-grams of the share of images that
    have it in a reference.
    """
    images_with = Counter(chain.from_iterable(set[Ngram]().union(*map(ngram_counts, texts)) for texts in references))
    lengths = [sorted({len(text.split()) for text in texts}) for texts in references]
    best_score, best = -math.inf, references[0][0]
    for text in dict.fromkeys(chain.from_iterable(references)):
        score = _log_precision(text, images_with, len(references))
        if score > best_score:
            length = len(text.split())
            reference_length = sum(min(choices, key=lambda n: (abs(n - length), n)) for choices in lengths)
            score += min(0.0, 1 - reference_length / (len(references) * length))  # brevity penalty
            if score > best_score:
                best_score, best = score, text
    return best


def _log_precision(text: str, images_with: Counter[Ngram], images: int) -> float:
    """Return the mean logarithm of the four n-gram precisions."""
    words = text.split()
    if len(words) < ORDER:
        return -math.inf
    score = 0.0
    for n in range(1, ORDER + 1):
        own = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        score += math.log(sum(images_with[gram] for gram in set(own)) / (len(own) * images)) / ORDER
    return score
