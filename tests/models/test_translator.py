"""The translator: rows are independent, steps equal the whole, and the losses by their formulas."""

import itertools

import pytest
import torch

from elman.errors import SettingError
from elman.models.translator import Translator

OPTIONS = [
    {"cell": cell, "attention": attention, "input_feeding": feeding, "layers": layers, "joint_vocabulary": feeding}
    for cell, attention, feeding, layers in itertools.product(
        ("rnn", "lstm"), ("multiplicative", "additive"), (False, True), (1, 2)
    )
]


def built(**options: object) -> Translator:
    torch.manual_seed(1)
    return Translator(7, 7, embedding=5, hidden=6, **options).double().eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_loss_of_a_batch_is_the_sum_of_its_rows(options: dict) -> None:
    model = built(**options)
    source, target = torch.randint(0, 7, (5, 3)), torch.randint(0, 7, (4, 3))
    lengths, ends = [5, 2, 1], [1, 4, 0]
    for b, end in enumerate(ends):
        target[end:, b] = -100
    nats, count = model.nats(source, torch.tensor(lengths), target)
    alone = [
        model.nats(source[:n, b : b + 1], torch.tensor([n]), target[:end, b : b + 1])
        for b, (n, end) in enumerate(zip(lengths, ends, strict=True))
    ]
    assert count == sum(result for _, result in alone) == sum(ends) + 3
    torch.testing.assert_close(nats, sum(result for result, _ in alone), rtol=1e-10, atol=0)


@pytest.mark.parametrize("options", OPTIONS)
def test_single_steps_equal_the_whole(options: dict) -> None:
    model = built(**options)
    source, lengths, target = torch.randint(0, 7, (5, 3)), torch.tensor([5, 2, 4]), torch.randint(0, 7, (4, 3))
    with torch.no_grad():
        readout, _, _ = model.decode(target, model.encode(source, lengths))
        whole = model.output.logits(readout)
        state = model.encode(source, lengths)
        # The rows change places on the way, as beam search makes them do.
        order = torch.tensor([2, 0, 1])
        for t in range(4):
            logits, state = model.step(target[t], state)
            torch.testing.assert_close(logits, whole[t], rtol=1e-10, atol=1e-12)
            state, target, whole = state.select(order), target[:, order], whole[:, order]


def test_the_loss_is_the_cross_entropy_of_the_symbols_and_the_end() -> None:
    model = built()
    source, target = torch.randint(0, 7, (3, 1)), torch.tensor([[4], [2]])
    with torch.no_grad():
        readout, _, _ = model.decode(torch.tensor([[7], [4], [2]]), model.encode(source, torch.tensor([3])))
        logits = model.output.logits(readout[:, 0])
        nats, count = model.nats(source, torch.tensor([3]), target)
        smooth, _ = model.nats(source, torch.tensor([3]), target, label_smoothing=0.1)
    labels = torch.tensor([4, 2, 7])
    log_p = logits.log_softmax(1)
    assert count == 3
    torch.testing.assert_close(nats, -log_p[range(3), labels].sum())
    torch.testing.assert_close(smooth, -(0.9 * log_p[range(3), labels] + 0.1 * log_p.mean(1)).sum())


@pytest.mark.parametrize("feeding", [False, True])
def test_attended_is_the_sum_of_the_attention(feeding: bool) -> None:
    model = built(input_feeding=feeding)
    source, lengths, target = torch.randint(0, 7, (5, 2)), torch.tensor([5, 2]), torch.randint(0, 7, (4, 2))
    with torch.no_grad():
        state = model.encode(source, lengths)
        _, weights_BTS, whole = model.decode(target, state)
        for t in range(4):
            _, state = model.step(target[t], state)
        state = state.select(torch.tensor([1, 0]))
    torch.testing.assert_close(whole.attended_BS, weights_BTS.sum(1))
    torch.testing.assert_close(state.attended_BS, weights_BTS.sum(1)[[1, 0]])
    torch.testing.assert_close(state.attended_BS.sum(1), torch.full((2,), 4.0).double())


def test_scheduled_sampling_reads_the_predictions() -> None:
    model = built()
    source, lengths, target = torch.randint(0, 7, (3, 2)), torch.tensor([3, 2]), torch.randint(0, 7, (4, 2))
    with torch.no_grad():
        readout, _, _ = model.decode(torch.cat((torch.full((1, 2), 7), target)), model.encode(source, lengths))
        predicted = model.output.logits(readout).argmax(2)[:-1]
        readout, _, _ = model.decode(torch.cat((torch.full((1, 2), 7), predicted)), model.encode(source, lengths))
        log_p = model.output.logits(readout).log_softmax(2)
        labels = torch.cat((target, torch.full((1, 2), 7)))
        expected = -log_p.gather(2, labels[..., None]).sum()
        assert not torch.equal(predicted, target)
        result, count = model.nats(source, lengths, target, scheduled_sampling=1.0)
        torch.testing.assert_close(result, expected)
        assert count == 10
        # A share between gives something between reading only the target and only guesses, position by position.
        losses = {round(float(model.nats(source, lengths, target, scheduled_sampling=0.5)[0]), 9) for _ in range(20)}
    assert len(losses) > 5


def test_each_parameter_has_a_gradient() -> None:
    for options in OPTIONS:
        model = built(**options)
        nats, _ = model.nats(torch.randint(0, 7, (3, 2)), torch.tensor([3, 2]), torch.randint(0, 7, (2, 2)))
        nats.backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_invalid_arguments() -> None:
    with pytest.raises(SettingError, match="the sizes of the translator do not match"):
        Translator(7, 7, hidden=5)
    with pytest.raises(SettingError, match="the sizes of the translator do not match"):
        Translator(7, 8, hidden=6, joint_vocabulary=True)
    with pytest.raises(SettingError, match="unknown attention 'additve'"):
        built(attention="additve")
