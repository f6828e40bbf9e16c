"""Comparisons of texts: symmetric, the same in any company, and each what its name says."""

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
BATCHER = PairCollator(LEXICON, buckets=40, longest=8)
TEXTS = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4)


def made(comparison: str, **options: object) -> SimilarityModel:
    torch.manual_seed(1)
    words = WordEmbedding(len(LEXICON), 5, subword_buckets=40)
    return SimilarityModel(words, 6, comparison=comparison, **{"bidirectional": True, **options}).eval()


def scores(model: SimilarityModel, pairs: list) -> list[float]:
    with torch.no_grad():
        return model(BATCHER.pairs([ScoredPair(one, other, math.nan) for one, other in pairs])).tolist()


@given(st.sampled_from(sorted(COMPARISONS)), PAIRS)
def test_it_is_symmetric_and_company_changes_nothing(comparison: str, pairs: list) -> None:
    model = made(comparison)
    together = scores(model, pairs)
    assert all(0 <= score <= 1 for score in together)
    np.testing.assert_allclose([scores(model, [pair])[0] for pair in pairs], together, atol=2e-6)
    np.testing.assert_allclose(scores(model, [pair[::-1] for pair in pairs]), together, atol=2e-6)


@pytest.mark.parametrize("comparison", ["manhattan", "cosine"])
def test_a_text_is_like_itself(comparison: str) -> None:
    assert scores(made(comparison), [("the cat sat", "the cat sat")]) == pytest.approx([1.0])


def test_distances_are_those_of_the_papers() -> None:
    batch = BATCHER.pairs([ScoredPair("the cat sat", "a dog", 0.0)])
    for name in ("manhattan", "cosine"):
        model = made(name)
        with torch.no_grad():
            vectors = model.encode(batch.texts).vector_BF.numpy().astype(float)
        u, v = vectors
        if name == "manhattan":
            assert isinstance(model.distance, ManhattanSimilarity)
            expected = math.exp(-np.abs(u - v).sum() / math.exp(float(model.distance.log_scale.detach())))
        else:
            expected = max(0.0, u @ v / np.linalg.norm(u) / np.linalg.norm(v))
        assert model(batch).item() == pytest.approx(expected, rel=1e-5)
        close = model.vector_similarity(torch.tensor(vectors[:1]).float(), torch.tensor(vectors[1:]).float())
        assert close.item() == pytest.approx(model(batch).item(), rel=1e-4)


@given(PAIRS)
def test_overlaps_are_those_of_counting(pairs: list) -> None:
    batch = BATCHER.pairs([ScoredPair(one, other, 0.0) for one, other in pairs])
    one, other = split_pairs(made("aligned").encode(batch.texts))
    found = overlap_features(one, other, spelling_similarity(batch))
    for b, texts in enumerate(pairs):
        words = [text.split() for text in texts]
        shares, weighted = [], []
        for mine, theirs in (words, words[::-1]):
            common = [word for word in mine if word in theirs]
            shares.append(len(common) / max(1, len(mine)))
            total = sum(map(LEXICON.weight, mine))
            weighted.append(sum(map(LEXICON.weight, common)) / max(1e-6, total))
        assert found[b, 0].item() == pytest.approx(min(shares), abs=1e-5)
        assert found[b, 4].item() == pytest.approx(max(shares), abs=1e-5)
        assert found[b, 1].item() == pytest.approx(min(weighted), abs=1e-5)
        assert found[b, 5].item() == pytest.approx(max(weighted), abs=1e-5)
        lengths = [max(1, len(part)) for part in words]
        assert found[b, 8].item() == pytest.approx(min(lengths) / max(lengths), abs=1e-5)


def test_every_part_learns() -> None:
    batch = BATCHER.pairs([ScoredPair("the cat sat", "a dog unheard", 0.0), ScoredPair("a cat", "cats", 1.0)])
    for comparison in COMPARISONS:
        model = made(comparison, vector_weight=0.5, pooling="attention").train()
        model.loss(batch, batch.score_B).backward()
        without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert without == []


def test_an_unknown_word_lives_by_its_pieces() -> None:
    words = WordEmbedding(len(LEXICON), 5, subword_buckets=4000)
    texts = PairCollator(LEXICON, buckets=4000, longest=8).texts(["unheard unheards zzz"])
    one, alike, other = words(texts.word_W, texts.piece_N, texts.begin_W).detach()
    assert functional.cosine_similarity(one, alike, 0) > functional.cosine_similarity(one, other, 0)
    assert texts.word_W.tolist() == [0, 0, 0]


def test_an_unknown_comparison_is_refused() -> None:
    with pytest.raises(SettingError, match=r"unknown comparison 'cosin'\n.*\n.*\n.*did you mean 'cosine'"):
        made("cosin")
