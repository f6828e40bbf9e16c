import torch
from torch import nn

import elman
from elman.inspection import Probe, culprits, diagnose
from elman.inspection.record import Strand


def test_a_probe_measures_what_the_doctor_measures(reader, loss) -> None:
    torch.manual_seed(0)
    model = reader(elman.RNN(3, 8, 2, nonlinearity="identity", init="orthogonal=0.5", dropout=0.3)).train()
    batch = torch.randn(20, 2, 3), torch.randn(20, 2, 3)
    before, state = [p.clone() for p in model.parameters()], torch.get_rng_state()
    found = Probe(every=10, loss=lambda m, b, s: loss(m, b) * s)(model, batch, 2.0)
    assert found == {
        f"{name}, layer layer {k}": value for k in (0, 1) for name, value in (("horizon", 7.0), ("half-life", 1.0))
    }
    flow = diagnose(model, [batch], loss).layers[0].measured.flow
    assert (flow.horizon, flow.half_life) == (7, 1)
    assert torch.equal(torch.get_rng_state(), state) and model.training
    assert all(p.grad is None and torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))


def test_what_lies_beyond_the_lags_is_reported_as_the_lags(reader, loss) -> None:
    model = reader(elman.RNN(3, 8, nonlinearity="identity", init="orthogonal"))
    batch = torch.randn(20, 4, 3), torch.randn(20, 4, 3)
    found = Probe(every=10, loss=lambda m, b, s: loss(m, b))(model, batch)
    assert found["horizon, layer layer 0"] == 19


def test_the_sequences_with_broken_input_are_named(reader, loss) -> None:
    model = reader(nn.GRU(3, 4))
    x = torch.randn(6, 4, 3)
    x[2, 1, 0] = torch.nan
    x[5, 3, 1] = torch.inf
    assert culprits(model, (x, torch.zeros(6, 4, 3)), loss) == [(Strand("layer", 0, 0), "input", (1, 3))]


def test_the_sequences_that_overflow_are_named(reader, loss) -> None:
    model = reader(elman.RNN(3, 4, nonlinearity="identity", bias=False, init="orthogonal=1e10"))
    x = torch.zeros(8, 3, 3)
    x[0, 2] = 1.0
    assert culprits(model, (x, torch.zeros(8, 3, 3)), loss) == [(Strand("layer", 0, 0), "output", (2,))]


def test_the_sequences_with_a_broken_error_or_gradient_are_named() -> None:
    layer = elman.RNN(3, 4, nonlinearity="identity", bias=False, init="orthogonal=1e10")
    x = torch.zeros(8, 3, 3)
    weight = torch.zeros(8, 3, 1)
    weight[7, 1] = 1.0  # an error of ordinary size that grows by 1e10 with every step back
    (found,) = culprits(layer, x, lambda m, b: (m(b)[0] * weight).sum() * 1.0)
    assert found[1:] == ("gradient", (1,))
    calm = elman.RNN(3, 4, nonlinearity="identity", bias=False)
    weight[7, 1] = torch.inf
    (found,) = culprits(calm, x, lambda m, b: (m(b)[0] * weight).sum())
    assert found[1:] == ("error", (1,))
    assert culprits(calm, x, lambda m, b: m(b)[0].sum()) == []
