import pytest
import torch

import elman
from elman.inspection.capture.recorder import record
from elman.inspection.capture.replay import Trace, replay
from elman.inspection.measures import state_drift as drift


def trace_of(r: float, T: int = 40) -> Trace:
    layer = elman.RNN(1, 2, nonlinearity="identity", bias=False)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(r * torch.eye(2))
        layer.weight_ih_l0.fill_(1.0)
    x = torch.ones(T, 3, 1) if r == 1 else torch.randn(T, 3, 1, generator=torch.Generator().manual_seed(0))
    return replay(record(layer, x, lambda m, b: m(b)[0].sum()).calls[0])


def test_a_counter_drifts_and_a_leaky_one_does_not() -> None:
    counter, leaky = drift.measure([trace_of(1.0)], 10), drift.measure([trace_of(0.5)], 10)
    assert [(p.start, p.stop) for p in counter.segments] == [(10, 17), (17, 25), (25, 32), (32, 40)]
    states = torch.arange(1.0, 41)
    size = float(states[:10].square().mean().sqrt())
    last = counter.segments[-1]
    assert counter.rms == pytest.approx(size)
    assert last.growth == pytest.approx(float(states[32:].square().mean().sqrt()) / size)
    expected = (float(states[32:].mean()) - 5.5) / float(states[:10].std(correction=0))
    assert last.shift == pytest.approx(expected, rel=1e-5)
    assert all(p.shift < 1.5 and p.growth < 2 for p in leaky.segments)


def test_growth_is_the_last_quarter_over_the_second() -> None:
    states = torch.arange(1.0, 41)
    expected = float((states[30:].square().mean() / states[10:20].square().mean()).sqrt())
    assert drift.growth([trace_of(1.0)]) == pytest.approx(expected)


def test_a_run_that_was_seen_whole_has_no_later_pieces() -> None:
    assert drift.measure([trace_of(0.5)], 40).segments == ()
