"""The shortest period: of waves that are known, of noise, and of what never changes."""

import math

import pytest
import torch

import elman
from elman.inspection import diagnose


def period(*x: torch.Tensor, **options: torch.Tensor) -> float:
    layer = elman.RNN(x[0].shape[2], 6)
    return diagnose(layer, x, lambda m, b: m(b, **options)[0].sum(), memory=1).layers[0].measurements.shortest_period


def wave(steps: float, T: int = 60) -> torch.Tensor:
    return torch.sin(2 * math.pi * torch.arange(T) / steps)[:, None, None].expand(T, 2, 1)


@pytest.mark.parametrize("steps", [2.5, 6.0, 20.0, 60.0])
def test_a_wave_has_its_period(steps: float) -> None:
    assert period(wave(steps)) == pytest.approx(steps)
    assert period(3 + 1e-3 * wave(steps)) == pytest.approx(steps, rel=1e-3)  # the mean says nothing, nor does the size


def test_what_is_faster_counts_from_a_twentieth_of_the_power() -> None:
    assert period(wave(20.0) + math.sqrt(0.04) * wave(4.0)) == pytest.approx(20)
    assert period(wave(20.0) + math.sqrt(0.07) * wave(4.0)) == pytest.approx(4)


def test_noise_has_all_periods_and_what_never_changes_the_longest() -> None:
    torch.manual_seed(0)
    assert 2 <= period(torch.randn(200, 4, 3)) < 2.2
    assert period(torch.ones(30, 2, 3)) == 30
    assert period(torch.ones(2, 2, 3)) == 2


def test_batches_of_several_lengths_are_added_up() -> None:
    assert period(wave(20.0), 0.1 * wave(5.0, T=25)) == pytest.approx(20)
    assert period(0.1 * wave(20.0), wave(5.0, T=25)) == pytest.approx(5)


def test_padding_is_left_out() -> None:
    x, lengths = wave(20.0).clone(), torch.tensor([60, 40])
    x[40:, 1] = 1000.0
    assert period(x, lengths=lengths) == pytest.approx(20)
