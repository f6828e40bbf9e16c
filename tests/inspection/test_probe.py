import torch

import elman
from elman.inspection import GradientProbe, diagnose


def test_a_probe_measures_what_the_doctor_measures(reader, loss) -> None:
    torch.manual_seed(0)
    model = reader(elman.RNN(3, 8, 2, nonlinearity="identity", init="orthogonal=0.5", dropout=0.3)).train()
    batch = torch.randn(20, 2, 3), torch.randn(20, 2, 3)
    before, state = [p.clone() for p in model.parameters()], torch.get_rng_state()
    result = GradientProbe(every=10, loss=lambda m, b, s: loss(m, b) * s)(model, batch, 2.0)
    assert result == {
        f"{name}, layer layer {k}": value for k in (0, 1) for name, value in (("horizon", 7.0), ("half-life", 1.0))
    }
    flow = diagnose(model, [batch], loss).layers[0].measurements.flow
    assert (flow.horizon, flow.half_life) == (7, 1)
    assert torch.equal(torch.get_rng_state(), state) and model.training
    assert all(p.grad is None and torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))


def test_what_lies_beyond_the_lags_is_reported_as_the_lags(reader, loss) -> None:
    model = reader(elman.RNN(3, 8, nonlinearity="identity", init="orthogonal"))
    batch = torch.randn(20, 4, 3), torch.randn(20, 4, 3)
    result = GradientProbe(every=10, loss=lambda m, b, s: loss(m, b))(model, batch)
    assert result["horizon, layer layer 0"] == 19
