"""The captioner: steps equal the whole, rows are independent, and the losses by their formulas."""

import pytest
import torch

from elman.models.captioner import Captioner
from elman.modules.image_encoder import PixelEncoder

V = 7


def built(attention: str = "multiplicative", **options: object) -> Captioner:
    torch.manual_seed(1)
    encoder = PixelEncoder((32, 32, 3), width=4)
    model = Captioner(encoder, V, embedding=6, hidden=8, attention=attention, **options)
    with torch.no_grad():
        model.place.normal_()
    return model.eval()


def images(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


VARIANTS = [("multiplicative", "lstm", 1), ("additive", "gru", 2), ("none", "lstm", 1), ("none", "rnn", 2)]


@pytest.mark.parametrize(("attention", "cell", "layers"), VARIANTS)
def test_single_steps_equal_the_whole(attention: str, cell: str, layers: int) -> None:
    model = built(attention, cell=cell, layers=layers)
    memory_BSM = model.encode(images(2))
    of_N, target_TN = torch.tensor([0, 1, 1]), torch.tensor([[1, 2, 3], [4, 5, 6], [0, 3, 3]])
    r_TNE, weights_NTS, _ = model.decode(target_TN, model.initial_state(memory_BSM, of_N))
    state = model.initial_state(memory_BSM, of_N)
    for t, ids_N in enumerate(target_TN):
        logits_NV, state = model.step(ids_N, state)
        torch.testing.assert_close(logits_NV, model.output.logits(r_TNE[t]))
    if attention != "none":
        assert weights_NTS is not None and weights_NTS.shape == (3, 3, model.seeing.regions)
        torch.testing.assert_close(weights_NTS.sum(2), torch.ones(3, 3))


@pytest.mark.parametrize(("attention", "cell", "layers"), VARIANTS)
def test_the_loss_of_a_batch_is_the_sum_of_its_rows(attention: str, cell: str, layers: int) -> None:
    model, images_B = built(attention, cell=cell, layers=layers), images(2)
    captions = [[1, 2, 3], [4], [5, 0, 6, 6]]
    of = [0, 1, 1]
    target_TN = torch.full((6, 3), -100)  # longer than any of them
    for n, caption in enumerate(captions):
        target_TN[: len(caption), n] = torch.tensor(caption)
    together, count = model.nats(model.encode(images_B), target_TN, torch.tensor(of))
    alone = [
        model.nats(model.encode(images_B[b : b + 1]), torch.tensor(caption)[:, None])[0]
        for b, caption in zip(of, captions, strict=True)
    ]
    assert count == 3 + 1 + 4 + 3
    torch.testing.assert_close(together, torch.stack(alone).sum())
    other, _ = model.nats(model.encode(images_B.flip(0)), target_TN, torch.tensor(of))
    assert abs(together - other) > 1e-4  # the image matters


def test_the_bag_of_words_loss_by_its_formula() -> None:
    model = built()
    memory_BSM = model.encode(images(2))
    found = model.bag_of_words_nats(memory_BSM, torch.tensor([1, 2, 5, 3]), torch.tensor([0, 0, 0, 1]))
    p_BV = model.bag(memory_BSM.mean(1)).sigmoid()
    nats = -(1 - p_BV).log()
    for b, v in [(0, 1), (0, 2), (0, 5), (1, 3)]:
        nats[b, v] = -p_BV[b, v].log()
    torch.testing.assert_close(found, nats.sum() / 4)


def test_suppressed_symbols_have_probability_zero() -> None:
    model = built(suppressed=(0, 3))
    logits_NV, _ = model.step(torch.tensor([V]), model.initial_state(model.encode(images(1))))
    assert (logits_NV.softmax(1)[0] == 0).nonzero().flatten().tolist() == [0, 3]


def test_each_parameter_has_a_gradient() -> None:
    for attention, cell, layers in VARIANTS:
        model = built(attention, cell=cell, layers=layers, word_dropout=0.5).train()
        memory_BSM, target_TN, of_N = model.encode(images(2)), torch.tensor([[1, 2], [4, 5]]), torch.tensor([0, 1])
        loss = model.nats(memory_BSM, target_TN, of_N)[0] + model.bag_of_words_nats(memory_BSM, target_TN[0], of_N)
        loss.backward()
        idle = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
        assert not idle


def test_word_dropout_masks_inputs_in_training_only() -> None:
    model, memory_BSM = built(word_dropout=1.0), None
    memory_BSM = model.encode(images(1))
    one, other = (model.decode(torch.tensor([[n]]), model.initial_state(memory_BSM))[0] for n in (1, 2))
    assert not torch.allclose(one, other)
    model.train()
    model.drop.probability = 0.0
    one, other = (model.decode(torch.tensor([[n]]), model.initial_state(memory_BSM))[0] for n in (1, 2))
    torch.testing.assert_close(one, other)
