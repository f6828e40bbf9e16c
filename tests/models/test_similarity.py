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
from elman.models.similarity import SimilarityModel, between, halves
from elman.modules.comparison import COMPARISONS, Grades, Manhattan, overlaps
from elman.modules.nearest_neighbours import nearest
from elman.modules.word_embedding import WordEmbedding

WORDS = ["cat", "cats", "dog", "the", "a", "sat", "unheard"]
LEXICON = InverseFrequency.build(["the cat sat", "a dog", "the cats"], size=9)
BATCHER = PairCollator(LEXICON, buckets=40, max_words=8)
TEXTS = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4)


def made(comparison: str, **options: object) -> SimilarityModel:
    torch.manual_seed(1)
    words = WordEmbedding(len(LEXICON), 5, buckets=40)
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
            assert isinstance(model.distance, Manhattan)
            expected = math.exp(-np.abs(u - v).sum() / math.exp(float(model.distance.log_scale.detach())))
        else:
            expected = max(0.0, u @ v / np.linalg.norm(u) / np.linalg.norm(v))
        assert model(batch).item() == pytest.approx(expected, rel=1e-5)
        close = model.closeness(torch.tensor(vectors[:1]).float(), torch.tensor(vectors[1:]).float())
        assert close.item() == pytest.approx(model(batch).item(), rel=1e-4)


@given(st.integers(2, 9), st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_the_target_of_grades_has_the_score_as_its_mean(grades: int, targets: list[float]) -> None:
    head = Grades(3, 4, grades, 0.0)
    target_B = torch.tensor(targets)
    # The loss of log p is linear in it, so one grade at a time shows the weights.
    weights = torch.stack([head.loss(-torch.eye(grades)[k].expand(len(targets), -1), target_B) for k in range(grades)])
    torch.testing.assert_close(weights.sum(0), torch.ones(len(targets)), rtol=0, atol=1e-5)
    torch.testing.assert_close(head.grade_K @ weights, target_B, rtol=0, atol=1e-5)
    assert ((weights > 1e-6).sum(0) <= 2).all()


def test_two_grades_are_logistic_regression() -> None:
    head = Grades(3, 4, 2, 0.0)
    log_p = head(torch.randn(5, 3))
    target = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0])
    expected = functional.binary_cross_entropy(head.score(log_p), target, reduction="none")
    torch.testing.assert_close(head.loss(log_p, target), expected)


@given(PAIRS)
def test_overlaps_are_those_of_counting(pairs: list) -> None:
    batch = BATCHER.pairs([ScoredPair(one, other, 0.0) for one, other in pairs])
    one, other = halves(made("aligned").encode(batch.texts))
    found = overlaps(one, other, between(batch))
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
    words = WordEmbedding(len(LEXICON), 5, buckets=4000)
    texts = PairCollator(LEXICON, buckets=4000, max_words=8).texts(["unheard unheards zzz"])
    one, alike, other = words(texts.word_W, texts.piece_N, texts.begin_W).detach()
    assert functional.cosine_similarity(one, alike, 0) > functional.cosine_similarity(one, other, 0)
    assert texts.word_W.tolist() == [0, 0, 0]


def test_given_vectors_stand_behind_and_are_not_trained() -> None:
    words = WordEmbedding(4, 3, given=2)
    words.given.copy_(torch.arange(8.0).view(4, 2))
    none = torch.zeros(0, dtype=torch.int64)
    found = words(torch.tensor([2, 1]), none, none)
    assert found[:, 3:].tolist() == [[4, 5], [2, 3]]
    assert "given" in words.state_dict()
    assert [name for name, _ in words.named_parameters()] == ["own.weight"]


def test_dropped_words_count_as_unknown() -> None:
    words = WordEmbedding(4, 3, word_dropout=1.0)
    none = torch.zeros(0, dtype=torch.int64)
    assert torch.equal(words(torch.tensor([2]), none, none)[0], words.own.weight[0])
    words.eval()
    assert torch.equal(words(torch.tensor([2]), none, none)[0], words.own.weight[2])


def test_an_unknown_comparison_is_refused() -> None:
    with pytest.raises(SettingError, match=r"unknown comparison 'cosin'\n.*\n.*\n.*did you mean 'cosine'"):
        made("cosin")


@given(st.integers(1, 7), st.integers(1, 12), st.integers(1, 5))
def test_the_nearest_are_those_of_looking_at_all(count: int, rows: int, piece: int) -> None:
    chance = np.random.default_rng(rows)
    query, all_rows = torch.tensor(chance.normal(size=(3, 4))), chance.normal(size=(rows, 4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("elman.modules.nearest_neighbours.PIECE", piece)
        close, places = nearest(query, all_rows, count, lambda q, r: q @ r.T)
    expected = query.numpy() @ all_rows.T
    order = np.argsort(-expected, axis=1)[:, :count]
    assert places.tolist() == order.tolist()
    np.testing.assert_allclose(close, np.take_along_axis(expected, order, 1))
