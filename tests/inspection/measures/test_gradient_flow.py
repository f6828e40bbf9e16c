import pytest
import torch
from torch import nn

import elman
from elman.inspection.capture.recorder import record
from elman.inspection.capture.replay import Linear, replay
from elman.inspection.measures import gradient_flow as flow
from elman.layers.cell import Cell
from elman.reference import gru, lstm, rnn
from elman.reference.weights import LayerWeights

CELLS = {
    "tanh": lambda **o: elman.RNN(3, 6, **o),
    "relu": lambda **o: elman.RNN(3, 6, nonlinearity="relu", **o),
    "gru": lambda **o: elman.GRU(3, 6, **o),
    "lstm": lambda **o: elman.LSTM(3, 6, **o),
    "projected": lambda **o: elman.LSTM(3, 6, proj_size=4, **o),
}
REFERENCE = {"tanh": rnn, "gru": gru, "lstm": lstm, "projected": lstm}


def draw(reader, name: str, dtype: torch.dtype, layers: int = 1, two: bool = False, marks: bool = False):
    torch.manual_seed(3)
    model = reader(CELLS[name](num_layers=layers, bidirectional=two, learn_initial_state=True).to(dtype))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.5)
    options = {}
    if marks:
        options = {"resets": torch.rand(9, 4) < 0.2, "lengths": torch.tensor([9, 5, 0, 7])}
    return model, (torch.randn(9, 4, 3, dtype=dtype), torch.randn(9, 4, 3, dtype=dtype), options)


@pytest.mark.parametrize("marks", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_lag_contributions_sum_to_autograds_gradient(reader, loss, name: str, marks: bool) -> None:
    model, batch = draw(reader, name, torch.float32, layers=2, two=True, marks=marks)
    recorded = record(model, batch, loss)
    for passage in recorded.calls:
        linear = Linear(replay(passage))
        assert linear.unitwise
        end = f"_l{passage.strand.layer}" + ("_reverse" if passage.strand.direction else "")
        expected = recorded.gradients[f"layer.weight_hh{end}"]
        d_W, _ = flow.backpropagate(linear)
        parts = [step.contribution for step in flow.walk(linear, 8)]
        assert (d_W - expected).norm() <= 1e-5 * expected.norm()
        assert (sum(parts) - expected).norm() <= 1e-5 * expected.norm()
        _, measured = flow.measure([linear], [d_W], 8)
        assert measured.remainder <= 1e-5 * measured.total_norm
        assert sum(measured.projections) == pytest.approx(1, abs=1e-4)
        assert measured.cumulative_share[-1] == pytest.approx(1)


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("reverse", [False, True])
def test_lags_equal_the_references_pairs(reader, loss, name: str, reverse: bool) -> None:
    model, batch = draw(reader, name, torch.float64, two=reverse, marks=True)
    passage = record(model, batch, loss).calls[int(reverse)]
    given = [None if w is None else (w.detach().numpy() if isinstance(w, torch.Tensor) else w) for w in passage.weights]
    initial = tuple(w.detach().numpy() for w in passage.weights.initial)
    kept = {"lengths": batch[2]["lengths"].numpy(), "resets": batch[2]["resets"].numpy(), "reverse": reverse}
    state = tuple(s.numpy() for s in passage.state)
    weights = LayerWeights(*given[:5], initial)
    _, _, tape = REFERENCE[name].forward(passage.x_TBI.numpy(), state, weights, **kept)
    pairs = REFERENCE[name].contributions(tape, passage.d_y_TBP.numpy())
    for k, step in enumerate(flow.walk(Linear(replay(passage)), 8)):
        at = [(t, t + k if reverse else t - k) for t in range(9) if 0 <= (t + k if reverse else t - k) < 9]
        expected = sum(pairs.hh[t, j] for t, j in at)
        torch.testing.assert_close(step.contribution, torch.from_numpy(expected), rtol=1e-9, atol=1e-9)
        size = [[sum((s[t, k] ** 2).sum(-1) for s in pairs.state) ** 0.5 for k in (j, t)] for t, j in at]
        ratios = sorted(float(n / s) for far, own in size for n, s in zip(far, own, strict=True) if n > 0)
        expected = torch.tensor(ratios, dtype=torch.float64)
        torch.testing.assert_close(step.ratios[step.ratios > 0].sort().values, expected, rtol=1e-8, atol=0)


@pytest.mark.parametrize("r", [0.5, 1.0, 1.5])
def test_a_scaled_rotation_keeps_r_to_the_k(r: float) -> None:
    torch.manual_seed(0)
    layer = elman.RNN(4, 16, nonlinearity="identity", init=f"orthogonal={r}")
    model = nn.Sequential()
    model.add_module("layer", layer)
    x = torch.randn(14, 3, 4)
    recorded = record(model, x, lambda m, b: (m.layer(b)[0] * torch.randn(14, 3, 16)).sum())
    linear = Linear(replay(recorded.calls[0]))
    result, _ = flow.measure([linear], [flow.backpropagate(linear)[0]], 13)
    for quantile in (result.p10, result.median, result.p90):
        assert [q / r**k for k, q in enumerate(quantile)] == pytest.approx([1.0] * 14, abs=1e-4)
    assert result.factor_per_lag == pytest.approx(r, abs=1e-4)
    assert result.half_life == (1 if r < 1 else None) and result.horizon == (7 if r < 1 else None)
    assert result.counts == tuple(3 * (14 - k) for k in range(14))


def test_the_walk_ends_where_nothing_is_left(reader, loss) -> None:
    model = reader(elman.RNN(3, 6, init="orthogonal=0.01"))
    recorded = record(model, (torch.randn(60, 2, 3), torch.randn(60, 2, 3)), loss)
    linear = Linear(replay(recorded.calls[0]))
    assert len(list(flow.walk(linear, 59))) < 10


def test_an_explosion_beyond_all_numbers_is_infinite(reader, loss) -> None:
    model = reader(elman.RNN(3, 6, nonlinearity="identity", init="orthogonal=1e10"))
    with torch.no_grad():
        model.layer.weight_ih_l0.mul_(1e-38)
        model.read.weight.mul_(1e-20)
    recorded = record(model, (torch.zeros(12, 2, 3), torch.ones(12, 2, 3)), loss)
    linear = Linear(replay(recorded.calls[0]))
    result, parts = flow.measure([linear], [flow.backpropagate(linear)[0]], 11)
    assert max(result.median) == float("inf")
    assert all(size == size for size in parts.norms)


class Mixing(Cell):
    """h' = tanh(gx + gh - mean over the units): a unit's derivative reaches all others."""

    gates = ("h",)

    def step(self, gx_BGH, gh_BGH, state):
        a = gx_BGH[:, 0] + gh_BGH[:, 0]
        return (torch.tanh(a - a.mean(1, keepdim=True)),)


def test_a_cell_that_mixes_units_is_measured_exactly_too(reader, loss) -> None:
    torch.manual_seed(1)
    model = reader(elman.Recurrent(Mixing(), 3, 6, 2, bidirectional=True))
    recorded = record(model, (torch.randn(7, 2, 3), torch.randn(7, 2, 3)), loss)
    linear = Linear(replay(recorded.calls[-1]))
    assert not linear.unitwise
    expected = recorded.gradients["layer.weight_hh_l1_reverse"]
    parts = [step.contribution for step in flow.walk(linear, 6)]
    assert (sum(parts) - expected).norm() <= 1e-5 * expected.norm()
    assert (flow.backpropagate(linear)[0] - expected).norm() <= 1e-5 * expected.norm()


def test_the_sequences_gradients_are_those_of_each_sequence_alone(reader, loss) -> None:
    model, (x, target, _) = draw(reader, "lstm", torch.float64)
    norms_B = flow.backpropagate(Linear(replay(record(model, (x, target), loss).calls[0])))[1]
    for b in range(4):
        alone = record(model, (x[:, b : b + 1], target[:, b : b + 1]), loss)
        assert float(norms_B[b]) == pytest.approx(float(alone.gradients["layer.weight_hh_l0"].norm()))


def test_two_calls_of_a_layer_and_a_state_handed_on_are_added_up() -> None:
    torch.manual_seed(0)
    layer = elman.GRU(3, 5).double()
    x = torch.randn(8, 2, 3, dtype=torch.float64)

    def loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        y, state = model(batch[:4])
        z, last = model(batch[4:], state)
        return (y**2).sum() + (z**3).sum() + last.sin().sum()

    recorded = record(layer, x, loss)
    linears = [Linear(replay(p)) for p in recorded.calls]
    totals = [flow.backpropagate(linear)[0] for linear in linears]
    torch.testing.assert_close(sum(totals), recorded.gradients["weight_hh_l0"])
    _, parts = flow.measure(linears, totals, 3)
    assert parts.remainder <= 1e-10 * parts.total_norm


def test_steps_beyond_a_reset_do_not_count() -> None:
    torch.manual_seed(0)
    layer = elman.RNN(3, 6, nonlinearity="identity", init="orthogonal")
    resets = torch.zeros(10, 2, dtype=torch.bool)
    resets[4, 0] = True  # one row is two sequences, of 4 and 6 steps
    recorded = record(layer, torch.randn(10, 2, 3), lambda m, b: (m(b, resets=resets)[0] * torch.randn(10, 2, 6)).sum())
    linear = Linear(replay(recorded.calls[0]))
    result, _ = flow.measure([linear], [flow.backpropagate(linear)[0]], 9)
    assert result.counts == tuple(max(4 - k, 0) + max(6 - k, 0) + 10 - k for k in range(10))
    assert result.p10 == pytest.approx([1.0] * 10, abs=1e-5)


def test_the_usable_memory_holds_95_percent(reader, loss) -> None:
    model, batch = draw(reader, "gru", torch.float64)
    linear = Linear(replay(record(model, batch, loss).calls[0]))
    _, parts = flow.measure([linear], [flow.backpropagate(linear)[0]], 8)
    shares = (torch.tensor(parts.norms).cumsum(0) / sum(parts.norms)).tolist()
    assert parts.cumulative_share == pytest.approx(shares)
    assert parts.usable_memory == next(k for k, share in enumerate(shares) if share >= 0.95)
    assert 0 < parts.usable_memory < 8


@pytest.mark.parametrize("name", CELLS)
def test_a_sample_of_all_error_steps_gives_the_medians_of_the_walk(reader, loss, name: str) -> None:
    model, batch = draw(reader, name, torch.float64, two=True, marks=True)
    for passage in record(model, batch, loss).calls:
        linear = Linear(replay(passage))
        whole, _ = flow.measure([linear], [flow.backpropagate(linear)[0]], 8)
        sampled = flow.decay([linear], 8, pairs=1000)
        known = len(sampled.median)
        assert sampled.median == pytest.approx(whole.median[:known]) and sampled.counts == whole.counts[:known]
        assert (sampled.horizon, sampled.half_life) == (whole.horizon, whole.half_life)
        linear.unitwise = False  # as for a cell of one's own
        assert flow.decay([linear], 8, pairs=1000).median == pytest.approx(sampled.median)
        few = flow.decay([linear], 8, pairs=3)
        assert few.counts[0] == 3


def test_directions_are_counted_by_their_participation() -> None:
    eye = torch.eye(5)
    assert flow.participation_ratio([eye[:3], -2 * eye[:0]]) == pytest.approx(3)
    assert flow.participation_ratio([1e-12 * eye[:2], 1e-12 * eye[2:]]) == pytest.approx(5)  # however small
    assert flow.participation_ratio([torch.tensor([[1.0, 2], [-2, -4], [0.5, 1]])]) == pytest.approx(1)
    assert flow.participation_ratio([torch.tensor([[3.0, 0], [0, 1]])]) == pytest.approx((9 + 1) ** 2 / (81 + 1))
    assert flow.participation_ratio([torch.zeros(2, 3), torch.zeros(0, 3)]) == 0


def test_the_directions_of_errors_narrow_as_the_matrix_says(reader) -> None:
    """With W = diag(1, r, 0), errors along the axes are (1, r^k, 0) long after k steps."""
    r = 0.5
    layer = elman.RNN(3, 3, nonlinearity="identity", bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(torch.diag(torch.tensor([1.0, r, 0.0])))
    x, axes = torch.randn(6, 3, 3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    (report,) = elman.diagnose(layer, [x[:, :2], x[:, 2:]], lambda m, b: (m(b)[1][0] * axes[: b.shape[1]]).sum()).layers
    (whole,) = elman.diagnose(layer, [x], lambda m, b: (m(b)[1][0] * axes).sum()).layers
    directions = whole.measurements.flow.participation_ratio
    expected = [(1 + r ** (2 * k)) ** 2 / (1 + r ** (4 * k)) for k in range(1, 6)]
    assert directions == pytest.approx([3, *expected])
    # Of two batches together: the axes 0, 1 and once more 0.
    assert report.measurements.flow.participation_ratio[0] == pytest.approx(9 / 5)
