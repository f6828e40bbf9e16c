"""The optimisers against their own equations, and clipping against the definition."""

import math

import pytest
import torch
from torch import nn

from elman.training.optimiser import OPTIMISERS, build_optimiser, clip_gradients
from elman.training.settings import TrainingSettings


def test_every_optimiser_can_be_chosen() -> None:
    for name in OPTIMISERS:
        assert TrainingSettings(optimiser=name).optimiser == name


def test_adamw_makes_the_step_of_the_paper_and_decays_matrices_only() -> None:
    model = nn.Linear(2, 2).double()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    settings = TrainingSettings(learning_rate=0.1, weight_decay=0.5, beta1=0.9, beta2=0.99)
    optimiser = build_optimiser(model, settings)
    for p in model.parameters():
        p.grad = torch.full_like(p, 3.0)
    optimiser.step()
    # The first step of Adam is the sign of the gradient, whatever its size.
    assert torch.allclose(model.weight, before["weight"] * (1 - 0.1 * 0.5) - 0.1)
    assert torch.allclose(model.bias, before["bias"] - 0.1)


def test_sgd_with_momentum() -> None:
    model = nn.Linear(1, 1, bias=False).double()
    start = model.weight.item()
    settings = TrainingSettings(optimiser="sgd", learning_rate=0.1, momentum=0.5, weight_decay=0.0)
    optimiser = build_optimiser(model, settings)
    velocity, place = 0.0, start
    for gradient in (1.0, 2.0, -1.0):
        model.weight.grad = torch.full_like(model.weight, gradient)
        optimiser.step()
        velocity = 0.5 * velocity + gradient
        place -= 0.1 * (gradient + 0.5 * velocity)
    assert model.weight.item() == pytest.approx(place)


@pytest.mark.parametrize("optimiser", list(OPTIMISERS))
def test_a_weight_that_gets_its_first_gradient_late(optimiser: str) -> None:
    """As the tail of an adaptive softmax: its first step is the one that it would make as the first of all."""
    early, late = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    settings = TrainingSettings(optimiser=optimiser, weight_decay=0.0)
    both = build_optimiser(nn.ModuleList([early, late]), settings)
    start = late.weight.item()
    early.weight.grad = torch.ones(1, 1)
    both.step()
    assert late.weight.item() == start
    late.weight.grad = torch.ones(1, 1)
    both.step()
    alone = nn.Linear(1, 1, bias=False)
    nn.init.constant_(alone.weight, start)
    only = build_optimiser(alone, settings)
    alone.weight.grad = torch.ones(1, 1)
    only.step()
    assert torch.equal(late.weight, alone.weight)
    assert late.weight.item() != start


@pytest.mark.parametrize(("largest", "after"), [(0.0, 5.0), (10.0, 5.0), (1.0, 1.0)])
def test_clipping_reports_both_norms_and_keeps_the_direction(largest: float, after: float) -> None:
    model = nn.Linear(1, 1)
    model.weight.grad, model.bias.grad = torch.tensor([[3.0]]), torch.tensor([4.0])
    norms = clip_gradients(model, largest)
    assert norms == pytest.approx((5.0, after))
    assert float(model.weight.grad) == pytest.approx(3.0 * after / 5.0)
    assert math.hypot(float(model.weight.grad), float(model.bias.grad)) == pytest.approx(after)
