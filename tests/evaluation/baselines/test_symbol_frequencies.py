"""What counting predicts, against the counts done by hand, and that it is a distribution."""

import math
from collections import Counter
from itertools import chain, pairwise

import numpy as np
import pytest

from elman.data.text.token_file import TokenFile
from elman.evaluation.baselines import symbol_frequencies
from elman.evaluation.baselines.symbol_frequencies import text_baselines


def tokens(ids: list[int], *starts: int, size: int = 4) -> TokenFile:
    return TokenFile.from_token_ids(np.array(ids), vocabulary_size=size, document_starts=(0, *starts))


def by_hand(training: list[list[int]], judged: list[list[int]], size: int) -> tuple[float, float, int]:
    single = Counter(v for document in training for v in document)
    double = Counter(pair for document in training for pair in pairwise(document))
    before = Counter(u for document in training for u in document[:-1])
    total = sum(single.values())
    one = two = 0.0
    count = 0
    for document in judged:
        for u, v in pairwise(document):
            p = (single[v] + 1) / (total + size)
            one -= math.log(p)
            two -= math.log((double[u, v] + p) / (before[u] + 1))
            count += 1
    return one / count, two / count, count


@pytest.mark.parametrize("at_once", [1, 2, 5, 1000])
def test_both_are_what_counting_by_hand_gives(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(symbol_frequencies, "_AT_ONCE", at_once)
    training = [[0, 1, 1, 2, 0], [2], [1, 0, 1]]
    judged = [[1, 3, 0, 1], [2, 2]]
    files = tokens([*chain(*training)], 5, 6), tokens([*chain(*judged)], 4)
    result = text_baselines(*files, characters=8)
    one, two, count = by_hand(training, judged, 4)
    assert result["unigram"]["nats_per_symbol"] == pytest.approx(one, rel=1e-12)
    assert result["bigram"]["nats_per_symbol"] == pytest.approx(two, rel=1e-12)
    assert result["bigram"]["symbols"] == count == 4
    assert result["bigram"]["bits_per_character"] == pytest.approx(two * 4 / math.log(2) / 8, rel=1e-12)


def test_the_probabilities_of_what_may_follow_add_up_to_1() -> None:
    training = tokens([0, 1, 1, 2, 0, 1])
    for u in range(4):
        each = [text_baselines(training, tokens([u, v])) for v in range(4)]
        for name in ("unigram", "bigram"):
            assert sum(math.exp(-result[name]["nats_per_symbol"]) for result in each) == pytest.approx(1, rel=1e-12)


def test_no_more_than_so_many_symbols_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbol_frequencies, "MAX_SYMBOLS", 3)
    judged = tokens([1, 2, 0])
    assert text_baselines(tokens([0, 1, 1, 2, 0, 1]), judged) == text_baselines(tokens([0, 1, 1]), judged)
