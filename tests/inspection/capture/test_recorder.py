import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import elman
from elman.errors import ElmanError, NonFiniteError
from elman.inspection.capture.recorder import record, recording
from elman.inspection.capture.replay import Linear, replay
from elman.inspection.measures import gradient_flow as flow
from elman.kernels import eager

LAYERS = {
    "rnn": lambda: nn.RNN(3, 5, 2, bidirectional=True),
    "relu": lambda: nn.RNN(3, 5, nonlinearity="relu", batch_first=True),
    "gru": lambda: nn.GRU(3, 5, 2, bias=False),
    "lstm": lambda: nn.LSTM(3, 5, 2, bidirectional=True),
    "projected": lambda: nn.LSTM(3, 5, proj_size=2),
    "elman rnn": lambda: elman.RNN(3, 5, 2, "sigmoid", bidirectional=True, learn_initial_state=True),
    "elman lstm": lambda: elman.LSTM(3, 5, 2, dropout=0.5, bidirectional=True, learn_initial_state=True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_recorded_layers_give_the_same_outputs_and_gradients(name: str) -> None:
    layer = LAYERS[name]().double().eval()
    x = torch.randn(7, 4, 3, dtype=torch.float64)
    weights = list(layer.parameters())

    def run() -> list[torch.Tensor]:
        y, state = layer(x)
        tensors = [y, state] if isinstance(state, torch.Tensor) else [y, *state]
        value = sum((t.sin() * torch.arange(t.numel()).view(t.shape)).sum() for t in tensors)
        return [*tensors, *torch.autograd.grad(value, weights)]

    plain = run()
    with recording(layer) as passages:
        recorded = run()
    assert len(passages) == layer.num_layers * (2 if layer.bidirectional else 1)
    for a, b in zip(recorded, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_parametrised_layers_of_torch_are_recorded() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.GRU(3, 5), "weight_hh_l0").double()
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    recorded = record(layer, x, lambda m, b: m(b)[0].square().sum())
    layer(x)[0].square().sum().backward()
    assert "parametrizations.weight_hh_l0.original1" in recorded.gradients
    for name, p in layer.named_parameters():
        torch.testing.assert_close(recorded.gradients[name], p.grad)


def test_a_model_that_changes_outputs_in_place_is_recorded() -> None:
    layer = elman.GRU(3, 5)
    x = torch.randn(6, 2, 3)
    recorded = record(layer, x, lambda m, b: m(b)[0].mul_(2).square().sum())
    y = layer(x)[0].detach()
    torch.testing.assert_close(recorded.calls[0].d_y_TBP, 8 * y)


def test_a_recorded_layer_is_observed() -> None:
    layer = elman.LSTM(3, 5)
    assert not layer.is_observed
    with recording(layer):
        assert layer.is_observed
    assert not layer.is_observed


def test_recorded_layers_take_packed_sequences_and_states() -> None:
    layer = nn.GRU(3, 5, bidirectional=True).double()
    x = torch.randn(6, 3, 3, dtype=torch.float64)
    packed = pack_padded_sequence(x, torch.tensor([2, 6, 4]), enforce_sorted=False)
    hx = torch.randn(2, 3, 5, dtype=torch.float64)
    y, h = layer(packed, hx)
    with recording(layer):
        y2, h2 = layer(packed, hx)
    torch.testing.assert_close(pad_packed_sequence(y2)[0], pad_packed_sequence(y)[0])
    torch.testing.assert_close(h2, h)


def test_a_model_is_left_as_it_was(reader, loss) -> None:
    model = reader(nn.LSTM(3, 5)).train()
    model.read.eval()
    before = {name: p.clone() for name, p in model.named_parameters()}
    record(model, (torch.randn(4, 2, 3), torch.zeros(4, 2, 3)), loss)
    assert model.layer.training and not model.read.training
    assert "forward" not in model.layer.__dict__
    for name, p in model.named_parameters():
        assert p.grad is None and torch.equal(p, before[name])


def test_a_model_is_left_as_it_was_after_an_error(reader) -> None:
    model = reader(nn.LSTM(3, 5))

    def broken(model: nn.Module, batch: object) -> torch.Tensor:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        record(model, None, broken)
    assert model.layer.training and "forward" not in model.layer.__dict__


def test_the_gradients_are_autograds_also_for_frozen_layers(reader, loss) -> None:
    model = reader(elman.GRU(3, 5, 2)).double()
    batch = torch.randn(6, 2, 3, dtype=torch.float64), torch.randn(6, 2, 3, dtype=torch.float64)
    loss(model, batch).backward()
    recorded = record(model, batch, loss)
    for name, p in model.named_parameters():
        torch.testing.assert_close(recorded.gradients[name], p.grad)
    errors = [p.d_y_TBP for p in recorded.calls]
    for p in model.layer.parameters():
        p.requires_grad_(False)
    frozen = record(model, batch, loss)
    torch.testing.assert_close(frozen.calls[1].d_y_TBP, errors[1])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("options", [{}, {"resets": True}, {"lengths": True}, {"resets": True, "lengths": True}])
def test_a_window_cuts_the_gradient_and_changes_no_number(reader, loss, reverse: bool, options: dict) -> None:
    model = reader(elman.LSTM(3, 5, bidirectional=reverse, learn_initial_state=True)).double()
    call = {}
    if "resets" in options:
        call["resets"] = torch.tensor([[0, 1], [0, 0], [1, 0], [1, 1], [1, 1], [0, 1], [0, 0]], dtype=torch.bool)
    if "lengths" in options:
        call["lengths"] = torch.tensor([7, 4])
        call["hx"] = tuple(torch.randn(1 + reverse, 2, 5, dtype=torch.float64) for _ in "hc")
    batch = torch.randn(7, 2, 3, dtype=torch.float64), torch.randn(7, 2, 3, dtype=torch.float64), call
    full, cut = record(model, batch, loss), record(model, batch, loss, window=3)
    assert cut.loss == pytest.approx(full.loss, rel=1e-12)
    assert not torch.allclose(cut.gradients["layer.weight_hh_l0"], full.gradients["layer.weight_hh_l0"])
    whole = record(model, batch, loss, window=7)
    torch.testing.assert_close(whole.gradients["layer.weight_hh_l0"], full.gradients["layer.weight_hh_l0"])


def test_a_window_cuts_as_a_training_loop_does(reader) -> None:
    model = reader(nn.LSTM(3, 5, 2)).double()
    x, target = torch.randn(7, 2, 3, dtype=torch.float64), torch.randn(7, 2, 3, dtype=torch.float64)
    state = None
    for start in range(0, 7, 3):
        y, state = model.layer(x[start : start + 3], state)
        ((model.read(y) - target[start : start + 3]) ** 2).sum().backward()
        state = tuple(s.detach() for s in state)
    found = record(model, (x, target), lambda m, b: ((m(b[0]) - b[1]) ** 2).sum(), window=3)
    for name, p in model.named_parameters():
        torch.testing.assert_close(found.gradients[name], p.grad)


def test_a_model_without_recurrent_layers_is_refused() -> None:
    with pytest.raises(ElmanError, match="no recurrent layer") as caught:
        record(nn.Sequential(nn.Linear(2, 2)), None, lambda m, b: m(torch.ones(2)).sum())
    assert "LSTMCell" in str(caught.value)


def test_a_loss_that_calls_no_recurrent_layer_is_refused(reader) -> None:
    with pytest.raises(ElmanError, match="no recurrent layer ran"):
        record(reader(nn.RNN(2, 2)), None, lambda m, b: m.read(torch.ones(2)).sum())


@pytest.mark.parametrize("value", [torch.ones(2, requires_grad=True), torch.tensor(1.0), 1.0])
def test_a_loss_without_a_gradient_is_refused(reader, value: object) -> None:
    with pytest.raises(ElmanError, match="cannot be differentiated"):
        record(reader(nn.RNN(2, 2)), None, lambda m, b: value)


def test_a_loss_that_is_not_finite_is_refused(reader) -> None:
    with pytest.raises(NonFiniteError, match="the loss is not finite"):
        record(reader(nn.RNN(2, 2)), None, lambda m, b: m(torch.full((3, 1, 2), torch.nan)).sum())


def test_a_kernel_whose_last_state_is_a_part_of_its_output_is_not_counted_twice(reader, monkeypatch) -> None:
    def unroll(*arguments: object, **options: object) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        y, _ = eager.unroll(*arguments, **options)
        return y, (y[-1],)

    monkeypatch.setattr("elman.inspection.capture.recorder.unroll", unroll)
    layer = elman.GRU(3, 5).double()
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    recorded = record(layer, x, lambda m, b: (m(b)[0] ** 2).sum() + m(b)[1].sin().sum())
    totals = [flow.backpropagate(Linear(replay(passage)))[0] for passage in recorded.calls]
    torch.testing.assert_close(sum(totals), recorded.gradients["weight_hh_l0"])
