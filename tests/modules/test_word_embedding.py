"""Word embedding: sums of learned and subword vectors, pretrained vectors beside them, word dropout."""

import torch

from elman.modules.word_embedding import WordEmbedding, normal_embedding

NO_SUBWORDS = torch.zeros(0, dtype=torch.int64)


def test_a_vector_is_the_words_plus_the_mean_of_its_subwords() -> None:
    words = WordEmbedding(4, 3, subword_buckets=6)
    word_W, piece_N, begin_W = torch.tensor([2, 0, 2]), torch.tensor([5, 1, 1, 3]), torch.tensor([0, 2, 2])
    own, pieces = words.own.weight, words.pieces.weight  # the second word has no subwords
    expected = torch.stack([own[2] + (pieces[5] + pieces[1]) / 2, own[0], own[2] + (pieces[1] + pieces[3]) / 2])
    torch.testing.assert_close(words(word_W, piece_N, begin_W), expected)
    assert words.output_size == 3


def test_pretrained_vectors_are_appended_and_fixed() -> None:
    words = WordEmbedding(4, 3, pretrained=2)
    words.given.copy_(torch.arange(8.0).view(4, 2))
    vectors = words(torch.tensor([2, 1]), NO_SUBWORDS, NO_SUBWORDS)
    assert vectors[:, 3:].tolist() == [[4, 5], [2, 3]]
    assert "given" in words.state_dict()
    assert [name for name, _ in words.named_parameters()] == ["own.weight"]


def test_dropped_words_are_unknown() -> None:
    words = WordEmbedding(4, 3, word_dropout=1.0)
    assert torch.equal(words(torch.tensor([2]), NO_SUBWORDS, NO_SUBWORDS)[0], words.own.weight[0])
    words.eval()
    assert torch.equal(words(torch.tensor([2]), NO_SUBWORDS, NO_SUBWORDS)[0], words.own.weight[2])


def test_gradients() -> None:
    words = WordEmbedding(4, 3, subword_buckets=6).double()
    arguments = torch.tensor([2, 1]), torch.tensor([5, 1, 3]), torch.tensor([0, 2])

    def vectors(own: torch.Tensor, pieces: torch.Tensor) -> torch.Tensor:
        parameters = {"own.weight": own, "pieces.weight": pieces}
        return torch.func.functional_call(words, parameters, arguments)

    assert torch.autograd.gradcheck(vectors, (words.own.weight, words.pieces.weight))


def test_the_normal_embedding_has_the_standard_deviation() -> None:
    torch.manual_seed(1)
    weight = normal_embedding(400, 50, 0.3).weight
    assert weight.shape == (400, 50)
    assert abs(weight.mean().item()) < 0.01 and abs(weight.std().item() - 0.3) < 0.01
    with torch.device("meta"):
        assert normal_embedding(4, 3, 1.0).weight.is_meta
