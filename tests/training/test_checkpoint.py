"""A checkpoint gives back what an optimiser remembers, and one that does not fit is refused before it is used."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from elman.errors import RunError
from elman.training import checkpoint
from elman.training.optimiser import build_optimiser
from elman.training.settings import TrainingSettings


def step(model: nn.Module, optimiser: Any) -> None:
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimiser.step()


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Write a checkpoint of a small model whose optimiser's state of each parameter went through `change`."""

    def save(name: str, change: Callable[[dict], Any] = lambda state: None) -> Path:
        model = nn.Linear(2, 3)
        optimiser = build_optimiser(model, TrainingSettings(optimiser=name))
        step(model, optimiser)
        for remembered in optimiser.state.values():
            change(remembered)
        path = tmp_path / "checkpoint" / "state.safetensors"
        checkpoint.save(path, model=model, optimiser=optimiser, carried=None, state={})
        return path

    return save


def load(path: Path, **settings: Any) -> tuple[nn.Module, Any]:
    model = nn.Linear(2, 3)
    optimiser = build_optimiser(model, TrainingSettings(**settings))
    checkpoint.load(path, model=model, optimiser=optimiser)
    return model, optimiser


@pytest.mark.parametrize(
    ("optimiser", "change"),
    [
        ("adamw", lambda state: state.update(exp_avg=torch.zeros(3))),
        ("adamw", lambda state: state.update(exp_avg_sq=torch.zeros(1))),
        ("adamw", lambda state: state.update(exp_avg=state["exp_avg"].double())),
        ("adamw", lambda state: state.update(exp_avg=1.0)),
        ("adamw", lambda state: state.update(step=torch.zeros(2))),
        ("adamw", lambda state: state.update(step=torch.tensor(3))),
        ("adamw", lambda state: state.pop("exp_avg_sq")),
        ("adamw", lambda state: state.update(max_exp_avg_sq=torch.zeros(3))),
        ("sgd", lambda state: state.update(momentum_buffer=torch.zeros(1))),
    ],
)
def test_a_state_of_other_shape_or_type_is_refused(
    saved: Callable[..., Path], optimiser: str, change: Callable[[dict], Any]
) -> None:
    path = saved(optimiser, change)
    with pytest.raises(RunError, match=r"does not fit the run(.|\n)*parameter(.|\n)*try: "):
        load(path, optimiser=optimiser)


def test_a_parameter_that_is_not_there_is_refused(saved: Callable[..., Path]) -> None:
    path, model = saved("adamw"), nn.Linear(2, 3)
    model.bias.requires_grad_(False)
    optimiser = build_optimiser(model, TrainingSettings())
    with pytest.raises(RunError, match="the optimiser has no parameter 1"):
        checkpoint.load(path, model=model, optimiser=optimiser)


def test_changed_settings_of_the_optimiser_take_effect(saved: Callable[..., Path]) -> None:
    model, optimiser = load(saved("adamw"), weight_decay=0.5, beta1=0.7, beta2=0.8, learning_rate=0.1)
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.5, 0.0]
    assert [group["betas"] for group in optimiser.param_groups] == [(0.7, 0.8)] * 2
    # Two gradients of 1, the first met with the old decays; the equations of Adam with the new ones from there on.
    before, state = model.weight.detach().clone(), optimiser.state[model.weight]
    mean = 0.7 * state["exp_avg"] + 0.3
    square = 0.8 * state["exp_avg_sq"] + 0.2
    step(model, optimiser)
    change = 0.1 * (mean / (1 - 0.7**2)) / ((square / (1 - 0.8**2)).sqrt() + 1e-8)
    assert torch.allclose(model.weight, before * (1 - 0.1 * 0.5) - change)


@pytest.mark.parametrize("number_with", [0, 1])
def test_momentum_that_some_parameters_lack_begins_at_zero(saved: Callable[..., Path], number_with: int) -> None:
    shapes = [(3, 2), (3,)]
    path = saved("sgd")
    model = nn.Linear(2, 3)
    optimiser = build_optimiser(model, TrainingSettings(optimiser="sgd", weight_decay=0))
    step(model, optimiser)
    for number, p in enumerate(model.parameters()):
        if number != number_with:
            del optimiser.state[p]
    checkpoint.save(path, model=model, optimiser=optimiser, carried=None, state={})
    model, optimiser = load(path, optimiser="sgd", momentum=0.5, weight_decay=0)
    step(model, optimiser)
    for number, p in enumerate(model.parameters()):
        expected = 1.5 if number == number_with else 1.0
        assert torch.equal(optimiser.state[p]["momentum_buffer"], torch.full(shapes[number], expected))


def test_the_sizes_of_a_checkpoint_are_checked_before_it_is_read(
    saved: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved("adamw")
    load(path)
    monkeypatch.setattr(checkpoint, "LARGEST_REST", 0)
    with pytest.raises(RunError, match=r"state\.safetensors is too large"):
        load(path)
    model = nn.Linear(2, 4)
    with pytest.raises(RunError, match=r"does not fit config\.json\n.*/model/bias of size \(4,\)\n.*\(3,\)"):
        checkpoint.load(path, model=model, optimiser=build_optimiser(model, TrainingSettings()))
