"""The similarity model: symmetric, rows are independent, and each comparison by its formula."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from elman.data.pairs.batches import PairCollator
from elman.data.pairs.inverse_frequency import InverseFrequency
from elman.data.pairs.readers import ScoredPair
from elman.errors import SettingError
from elman.models.similarity import SimilarityModel, spelling_similarity, split_pairs
from elman.modules.comparison import COMPARISONS, ManhattanSimilarity, overlap_features
from elman.modules.word_embedding import WordEmbedding

WORDS = ["cat", "cats", "dog", "the", "a", "sat", "unheard"]
LEXICON = InverseFrequency.build(["the cat sat", "a dog", "the cats"], size=9)
BATCHER = PairCollator(LEXICON, buckets=40, max_words=8)
TEXTS = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4)


def built(comparison: str, **options: object) -> SimilarityModel:
    torch.manual_seed(1)
    words = WordEmbedding(len(LEXICON), 5, subword_buckets=40)
    return SimilarityModel(words, 6, comparison=comparison, **{"bidirectional": True, **options}).eval()


def scores(model: SimilarityModel, pairs: list) -> list[float]:
    with torch.no_grad():
        return model(BATCHER.pairs([ScoredPair(first, second, math.nan) for first, second in pairs])).tolist()


@given(st.sampled_from(sorted(COMPARISONS)), PAIRS)
def test_it_is_symmetric_and_rows_are_independent(comparison: str, pairs: list) -> None:
    model = built(comparison)
    together = scores(model, pairs)
    assert all(0 <= score <= 1 for score in together)
    np.testing.assert_allclose([scores(model, [pair])[0] for pair in pairs], together, atol=2e-6)
    np.testing.assert_allclose(scores(model, [pair[::-1] for pair in pairs]), together, atol=2e-6)


@pytest.mark.parametrize("comparison", ["manhattan", "cosine"])
def test_identical_texts_have_similarity_1(comparison: str) -> None:
    assert scores(built(comparison), [("the cat sat", "the cat sat")]) == pytest.approx([1.0])


def test_similarities_by_their_formulas() -> None:
    batch = BATCHER.pairs([ScoredPair("the cat sat", "a dog", 0.0)])
    for name in ("manhattan", "cosine"):
        model = built(name)
        with torch.no_grad():
            vectors = model.encode(batch.texts).vector_BF.numpy().astype(float)
        u, v = vectors
        if name == "manhattan":
            assert isinstance(model.distance, ManhattanSimilarity)
            expected = math.exp(-np.abs(u - v).sum() / math.exp(float(model.distance.log_scale.detach())))
        else:
            expected = max(0.0, u @ v / np.linalg.norm(u) / np.linalg.norm(v))
        assert model(batch).item() == pytest.approx(expected, rel=1e-5)
        similarity = model.vector_similarity(torch.tensor(vectors[:1]).float(), torch.tensor(vectors[1:]).float())
        assert similarity.item() == pytest.approx(model(batch).item(), rel=1e-4)


@given(PAIRS)
def test_overlap_features_by_counting(pairs: list) -> None:
    batch = BATCHER.pairs([ScoredPair(first, second, 0.0) for first, second in pairs])
    first, second = split_pairs(built("aligned").encode(batch.texts))
    features = overlap_features(first, second, spelling_similarity(batch))
    for b, texts in enumerate(pairs):
        words = [text.split() for text in texts]
        shares, weighted = [], []
        for mine, theirs in (words, words[::-1]):
            common = [word for word in mine if word in theirs]
            shares.append(len(common) / max(1, len(mine)))
            total = sum(map(LEXICON.weight, mine))
            weighted.append(sum(map(LEXICON.weight, common)) / max(1e-6, total))
        assert features[b, 0].item() == pytest.approx(min(shares), abs=1e-5)
        assert features[b, 4].item() == pytest.approx(max(shares), abs=1e-5)
        assert features[b, 1].item() == pytest.approx(min(weighted), abs=1e-5)
        assert features[b, 5].item() == pytest.approx(max(weighted), abs=1e-5)
        lengths = [max(1, len(part)) for part in words]
        assert features[b, 8].item() == pytest.approx(min(lengths) / max(lengths), abs=1e-5)


def test_each_parameter_has_a_gradient() -> None:
    batch = BATCHER.pairs([ScoredPair("the cat sat", "a dog unheard", 0.0), ScoredPair("a cat", "cats", 1.0)])
    for comparison in COMPARISONS:
        model = built(comparison, vector_weight=0.5, pooling="attention").train()
        model.loss(batch, batch.score_B).backward()
        without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert without == []


def test_unknown_words_are_compared_by_subwords() -> None:
    words = WordEmbedding(len(LEXICON), 5, subword_buckets=4000)
    texts = PairCollator(LEXICON, buckets=4000, max_words=8).texts(["unheard unheards zzz"])
    first, alike, second = words(texts.word_W, texts.piece_N, texts.begin_W).detach()
    assert functional.cosine_similarity(first, alike, 0) > functional.cosine_similarity(first, second, 0)
    assert texts.word_W.tolist() == [0, 0, 0]


def test_unknown_comparison() -> None:
    with pytest.raises(SettingError, match=r"unknown comparison 'cosin'\n.*\n.*\n.*did you mean 'cosine'"):
        built("cosin")
