"""Translation metrics against the formulas of BLEU and chrF."""

import math
from collections import Counter

import pytest

from elman.evaluation.metrics.translation import signatures, translation_metrics

TRANSLATIONS = ["the cat sat on the mat today", "a dog runs in the green park"]
REFERENCES = ["the cat sat on a mat today", "the dog runs in the green park"]


def ngrams(tokens: list[str] | str, n: int) -> Counter:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def bleu_by_formula() -> float:
    """Geometric mean of the n-gram precisions of the corpus; its lengths are equal, so there is no brevity penalty."""
    logs = []
    for n in range(1, 5):
        pairs = [(ngrams(t.split(), n), ngrams(r.split(), n)) for t, r in zip(TRANSLATIONS, REFERENCES, strict=True)]
        logs.append(math.log(sum((t & r).total() for t, r in pairs) / sum(t.total() for t, _ in pairs)))
    return 100 * math.exp(sum(logs) / 4)


def chrf_by_formula() -> float:
    """F2 of the precision and recall of character n-grams, both means over n = 1 to 6."""
    precision = recall = 0.0
    for n in range(1, 7):
        pairs = [
            (ngrams(t.replace(" ", ""), n), ngrams(r.replace(" ", ""), n))
            for t, r in zip(TRANSLATIONS, REFERENCES, strict=True)
        ]
        hits = sum((t & r).total() for t, r in pairs)
        precision += hits / sum(t.total() for t, _ in pairs) / 6
        recall += hits / sum(r.total() for _, r in pairs) / 6
    return 100 * 5 * precision * recall / (4 * precision + recall)


def test_the_metrics_are_those_of_the_formulas() -> None:
    metrics = translation_metrics(TRANSLATIONS, REFERENCES)
    assert metrics["bleu"] == pytest.approx(bleu_by_formula())
    assert metrics["chrf"] == pytest.approx(chrf_by_formula(), rel=1e-3)


def test_a_perfect_translation_has_100() -> None:
    assert translation_metrics(REFERENCES, REFERENCES) == pytest.approx({"bleu": 100, "chrf": 100})


def test_the_signatures_name_the_tokenizer_and_the_version() -> None:
    assert "tok:13a" in signatures() and signatures().count("version:") == 2
