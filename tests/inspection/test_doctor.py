import json
import resource

import pytest
import torch
from torch import nn

import elman
from elman.errors import DataError, ElmanError, NonFiniteError, SettingError
from elman.inspection import diagnose, doctor

PAIRS = {
    "rnn": (nn.RNN, elman.RNN, {}),
    "relu": (nn.RNN, elman.RNN, {"nonlinearity": "relu"}),
    "gru": (nn.GRU, elman.GRU, {}),
    "lstm": (nn.LSTM, elman.LSTM, {}),
    "projected": (nn.LSTM, elman.LSTM, {"proj_size": 3}),
}


def batch_of(T: int = 12, B: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(T, B, 3, generator=generator), torch.randn(T, B, 3, generator=generator)


@pytest.mark.parametrize("name", PAIRS)
def test_torchs_layers_and_ours_get_the_same_report(reader, loss, name: str) -> None:
    theirs, ours, options = PAIRS[name]
    torch.manual_seed(0)
    theirs = reader(theirs(3, 6, 2, bidirectional=True, **options))
    ours = reader(ours(3, 6, 2, bidirectional=True, **options))
    ours.load_state_dict(theirs.state_dict())
    first, second = (diagnose(model, [batch_of()], loss, window=4).as_dict() for model in (theirs, ours))
    assert len(first["layers"]) == 4
    assert first == second


def test_layers_anywhere_in_a_module_are_found(loss) -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleDict({"a": nn.GRU(3, 4, batch_first=True), "b": elman.LSTM(4, 3, bidirectional=True)})
            self.norm = nn.LayerNorm(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y, _ = self.parts["a"](x.transpose(0, 1))
            _, (h, _) = self.parts["b"](self.norm(y).transpose(0, 1))
            return h[0] + h[1]

    report = diagnose(Deep(), [batch_of()], lambda m, b: (m(b[0]) - b[1][0]).square().mean())
    assert [layer.name for layer in report.layers] == ["parts.a layer 0", "parts.b layer 0", "parts.b layer 0 reverse"]
    for layer in report.layers:
        assert layer.measurements.flow.error_norm > 0
        assert layer.measurements.contributions.remainder <= 1e-5 * layer.measurements.contributions.total_norm
    # Only the last state of b is read: its error is at one step, and 12 lags have one pair in each sequence.
    assert report.layers[1].measurements.flow.counts == (3,) * 12


def test_several_batches_are_one_sample(reader, loss) -> None:
    model = reader(nn.GRU(3, 5)).double()
    long, short = [tuple(t.double() for t in batch_of(T)) for T in (12, 7)]
    report = diagnose(model, [long, short], loss)
    assert (report.batches, report.sequences, report.steps, report.memory) == (2, 6, 12, 3)
    layer = report.layers[0].measurements
    assert layer.flow.counts[0] == 3 * 19 and layer.flow.counts[7] == 3 * 5
    (loss(model, long) + loss(model, short)).backward()
    assert layer.contributions.total_norm == pytest.approx(float(model.layer.weight_hh_l0.grad.norm()), rel=1e-9)
    assert report.loss == pytest.approx((loss(model, long) + loss(model, short)).item() / 2)
    total = sum(sequence.norm for sequence in report.largest_gradients)
    assert sum(sequence.share for sequence in report.largest_gradients) == pytest.approx(1)
    assert report.largest_gradients[0].share == pytest.approx(report.largest_gradients[0].norm / total)
    assert report.largest_gradients == tuple(sorted(report.largest_gradients, key=lambda sequence: -sequence.norm))


def test_the_sequence_that_holds_most_is_named(reader, loss) -> None:
    x, target = batch_of()
    target[:, 2] *= 100
    report = diagnose(reader(nn.GRU(3, 5)), [(x, target)], loss)
    first = report.largest_gradients[0]
    assert (first.batch, first.row) == (0, 2) and first.share > 0.9
    assert report.half_gradient_share == pytest.approx(1 / 3)


def test_fewer_lags_leave_the_rest_beyond(reader, loss) -> None:
    torch.manual_seed(0)
    model = reader(elman.RNN(3, 6, init="orthogonal"))
    parts = diagnose(model, [batch_of()], loss, lags=3).layers[0].measurements.contributions
    whole = diagnose(model, [batch_of()], loss).layers[0].measurements.contributions
    assert parts.norms == pytest.approx(whole.norms[:4]) and len(parts.norms) == 4
    assert parts.remainder > 0.01 * parts.total_norm and parts.cumulative_share[-1] < 1
    assert sum(parts.projections) == pytest.approx(sum(whole.projections[:4]), abs=1e-5)


def test_what_the_walk_cannot_afford_it_does_for_fewer_sequences(reader, loss, monkeypatch) -> None:
    model = reader(elman.LSTM(3, 6))
    assert diagnose(model, [batch_of()], loss).layers[0].measurements.sampled_sequences == 0
    monkeypatch.setattr(doctor, "MAX_WORK", 1e5)
    layer = diagnose(model, [batch_of()], loss).layers[0].measurements
    assert layer.sampled_sequences == 1 and layer.flow.counts[0] == 12
    assert layer.contributions.remainder <= 1e-5 * layer.contributions.total_norm


def test_a_diagnosis_draws_no_random_number_and_repeats(reader) -> None:
    model = reader(elman.LSTM(3, 6, 2, dropout=0.5)).train()

    def loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return (model(batch[0]) + torch.randn(()) - batch[1]).square().mean()

    torch.manual_seed(1)
    first = diagnose(model, [batch_of()], loss)
    after = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), after)
    torch.manual_seed(1)
    assert diagnose(model, [batch_of()], loss).to_json() == first.to_json()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_where_gradients_are_switched_off_it_measures_them_all_the_same(reader, loss, mode: type) -> None:
    model, batch = reader(elman.GRU(3, 6)), batch_of()
    with mode():
        result = diagnose(model, [batch], loss).to_json()
    assert result == diagnose(model, [batch], loss).to_json()


def test_settings_make_the_remedies_concrete(reader, loss) -> None:
    torch.manual_seed(0)
    model = reader(elman.RNN(3, 6, nonlinearity="identity", init="orthogonal=3"))
    report = diagnose(
        model, [batch_of()], loss, settings={"learning_rate": 0.01, "clip": 0.5}, norms=[0.1, 0.4, 0.6, 2]
    )
    pastes = [remedy.options for remedy in report.layers[0].remedies]
    assert report.verdict == "exploding" and pastes[0] == "--set clip=0.125"
    assert "--set learning_rate=0.001" in pastes
    assert report.gradient_norms is not None and report.gradient_norms.clipped_share == 0.5
    assert report.gradient_norms.maximum == 2


@pytest.mark.parametrize("name", ["lags", "memory", "window"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True])
def test_impossible_numbers_are_refused(reader, loss, name: str, value: object) -> None:
    with pytest.raises(SettingError, match=f"{name} is not a number of steps"):
        diagnose(reader(nn.RNN(3, 4)), [batch_of()], loss, **{name: value})


def test_bad_input_is_refused(reader, loss) -> None:
    model = reader(nn.RNN(3, 4))
    with pytest.raises(DataError, match="no batch"):
        diagnose(model, [], loss)
    with pytest.raises(DataError, match="too short for the lags") as caught:
        diagnose(model, [batch_of(5)], loss, lags=5)
    assert "at least 6 steps" in str(caught.value) and "lags=4" in str(caught.value)
    with pytest.raises(DataError, match="too short for the lags"):
        diagnose(model, [batch_of(1)], loss)
    with pytest.raises(DataError, match="half precision cannot be diagnosed"):
        diagnose(model.bfloat16(), [tuple(part.bfloat16() for part in batch_of())], loss)
    with pytest.raises(ElmanError, match="no recurrent layer"):
        diagnose(nn.Linear(3, 3), [batch_of()], lambda m, b: m(b[0]).sum())
    with pytest.raises(NonFiniteError, match="loss is not finite"):
        diagnose(model.float(), [batch_of()], lambda m, b: m(b[0]).sum() / 0)


def test_a_layer_that_is_not_its_cell_is_refused(reader, loss) -> None:
    class Odd(elman.Cell):
        """A cell that counts its calls."""

        gates = ("h",)
        calls = 0.0

        def step(self, gx, gh, state):
            Odd.calls += 1.0
            return (torch.tanh(gx[:, 0] + gh[:, 0]) * Odd.calls,)

    with pytest.raises(ElmanError, match="does not compute what its cell's steps compute"):
        diagnose(reader(elman.Recurrent(Odd(), 3, 4)), [batch_of()], loss)


def test_memory_is_bounded(reader, loss) -> None:
    """The guide states 40 numbers for each step, sequence, unit and gate, beside the model's own."""
    T, B, H = 256, 4, 128
    model = reader(elman.LSTM(3, H))
    x, target = torch.randn(T, B, 3), torch.randn(T, B, 3)
    diagnose(model, [(x[:8], target[:8])], loss)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    diagnose(model, [(x, target)], loss)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 40 * T * B * H * 4 * 4


def test_the_report_is_json(reader, loss) -> None:
    report = diagnose(reader(nn.GRU(3, 5)), [batch_of()], loss)
    read = json.loads(report.to_json())
    assert read["format"] == "elman.diagnosis" and read["version"] == 2
    assert read == report.as_dict()


def test_a_large_layer_is_followed_over_all_its_lags(reader, loss) -> None:
    """T 512, B 16, H 256; benchmarks/diagnosis/diagnosis.py says how long it takes."""
    torch.manual_seed(0)
    model = reader(elman.RNN(32, 256, init="orthogonal"))
    batch = torch.randn(512, 16, 32), torch.randn(512, 16, 3)
    report = diagnose(model, [batch], loss, window=128)
    assert report.layers[0].measurements.flow.lags == 511


def test_a_sequences_norm_is_over_all_layers(reader, loss) -> None:
    model = reader(nn.GRU(3, 5, 2, bidirectional=True))
    x, target = batch_of(B=1)
    report = diagnose(model, [(x, target)], loss)
    totals = [layer.measurements.contributions.total_norm for layer in report.layers]
    assert report.largest_gradients[0].norm == pytest.approx(sum(t * t for t in totals) ** 0.5, rel=1e-5)


def test_a_layer_that_saw_no_step_is_named(reader, loss) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read, self.idle = reader(nn.GRU(3, 5)), nn.GRU(3, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.read(x) + self.idle(x[:0])[1].sum()

    with pytest.raises(DataError, match="idle layer 0 has no step") as refused:
        diagnose(Two(), [batch_of()], loss)
    assert "at least one step" in str(refused.value)
