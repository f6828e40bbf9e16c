"""TorchRL's modules with our backend: the results of TorchRL's own, and the states that trajectories must see."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("torchrl", reason="TorchRL is not installed: pip install 'elman[rl]'")

import torchrl.modules
from tensordict import TensorDict
from tensordict.nn import TensorDictModule, TensorDictSequential
from torchrl.modules import set_recurrent_mode

import elman
from elman.errors import SettingError, ShapeError
from elman.integrations.rl import torchrl as ours
from elman.integrations.rl.torchrl import GRUModule, LSTMModule
from elman.layers.recurrent import Recurrent

CELLS = ("LSTM", "GRU")
B, T, I, H = 3, 9, 4, 5


def keys(cell: str) -> tuple[list[Any], list[Any]]:
    states = ["h", "c"][: 2 if cell == "LSTM" else 1]
    return ["x", *states], ["y", *[("next", name) for name in states]]


def build(library: Any, cell: str, **options: Any) -> Any:
    torch.manual_seed(0)
    in_keys, out_keys = keys(cell)
    return getattr(library, f"{cell}Module")(I, H, in_keys=in_keys, out_keys=out_keys, **options)


def batch(
    cell: str, shape: tuple[int, ...] = (B, T), layers: int = 1, share: float = 0.3, scale: float = 1.0, seed: int = 0
) -> TensorDict:
    """Return a batch in which trajectories begin at a share of the steps, with states of a size before every step."""
    generator = torch.Generator().manual_seed(seed)
    values = {name: scale * torch.randn(*shape, layers, H, generator=generator) for name in keys(cell)[0][1:]}
    values["x"] = torch.randn(*shape, I, generator=generator)
    values["is_init"] = torch.rand(*shape, 1, generator=generator) < share
    return TensorDict(values, shape)


def results(module: Any, data: TensorDict, cell: str, *, recurrent: bool) -> dict[str, Tensor]:
    """Return outputs, states and all gradients of a call."""
    in_keys, out_keys = keys(cell)
    data = data.clone()
    leaves = {name: data[name].requires_grad_() for name in in_keys}
    module.zero_grad()
    with set_recurrent_mode(recurrent):
        module(data)
    sum((data[key] * torch.linspace(-1, 1, data[key].numel()).view_as(data[key])).sum() for key in out_keys).backward()
    named = {str(key): data[key].detach() for key in out_keys}
    named |= {f"d_{name}": leaf.grad for name, leaf in leaves.items()}
    return named | {f"d_{name}": p.grad for name, p in module.named_parameters()}


@pytest.mark.parametrize("recurrent", [True, False], ids=["recurrent", "sequential"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bias": False}], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_results_and_gradients_are_those_of_torchrl(cell: str, options: dict[str, Any], recurrent: bool) -> None:
    data = batch(cell, layers=options.get("num_layers", 1))
    right = results(build(torchrl.modules, cell, **options), data, cell, recurrent=recurrent)
    for name, value in results(build(ours, cell, **options), data, cell, recurrent=recurrent).items():
        torch.testing.assert_close(value, right[name], rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("shape", [(T,), (2, 3, T), (1, 1), (2, 1)], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_batches_have_any_number_of_dimensions(cell: str, shape: tuple[int, ...]) -> None:
    data = batch(cell, shape)
    right = results(build(torchrl.modules, cell), data, cell, recurrent=True)
    for name, value in results(build(ours, cell), data, cell, recurrent=True).items():
        torch.testing.assert_close(value, right[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_both_directions_end_with_the_trajectory(cell: str) -> None:
    data = batch(cell, layers=2)
    right = results(build(torchrl.modules, cell, bidirectional=True), data, cell, recurrent=True)
    for name, value in results(build(ours, cell, bidirectional=True), data, cell, recurrent=True).items():
        torch.testing.assert_close(value, right[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_groups_of_trajectories_change_nothing(cell: str, layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = batch(cell, (7, T), layers=layers)
    module = build(ours, cell, num_layers=layers)
    right = results(module, data, cell, recurrent=True)
    monkeypatch.setattr(ours, "FEW", 1)
    for name, value in results(module, data, cell, recurrent=True).items():
        torch.testing.assert_close(value, right[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1.0], ids=["from zeros", "from stored states"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_state_after_each_trajectory_is_there(cell: str, scale: float) -> None:
    """Also where a trajectory ends before the row does, or is shorter than others: none of them is zero."""
    module, data = build(ours, cell), batch(cell, scale=scale)
    in_keys, out_keys = keys(cell)
    with set_recurrent_mode(True), torch.no_grad():
        module(data)
        number = 0
        for b in range(B):
            cuts = [0, *(t for t in range(1, T) if data["is_init"][b, t]), T]
            for begin, end in pairwise(cuts):
                alone = data[b : b + 1, begin:end].select(*in_keys, "is_init").clone()
                alone["is_init"][:] = False
                module(alone)
                torch.testing.assert_close(data["y"][b, begin:end], alone["y"][0])
                for key in out_keys[1:]:
                    torch.testing.assert_close(data[key][b, end - 1], alone[key][0, -1])
                    assert data[key][b, end - 1].abs().min() > 0
                    assert not data[key][b, begin : end - 1].any()
                number += 1
    assert number > B


@pytest.mark.parametrize("cell", CELLS)
def test_a_row_that_begins_within_an_episode_begins_with_its_state(cell: str) -> None:
    """A slice of a replay buffer: the state at its first step counts, whatever `is_init` says of later ones."""
    module, whole = build(ours, cell), batch(cell, share=0.0, scale=0.0)
    in_keys, out_keys = keys(cell)
    with torch.no_grad():
        state = [whole[name][:, 0] for name in in_keys[1:]]
        for t in range(T):  # as a collector does, which feeds the state of each step to the next
            step = whole[:, t].clone()
            step.update(dict(zip(in_keys[1:], state, strict=True)))
            module(step)
            for name, s in zip(in_keys[1:], state, strict=True):
                whole[name][:, t] = s
            state = [step[key] for key in out_keys[1:]]
        with set_recurrent_mode(True):
            outputs, part = module(whole.clone()), module(whole[:, 4:].clone())
    torch.testing.assert_close(part["y"], outputs["y"][:, 4:])
    for key in out_keys[1:]:
        torch.testing.assert_close(part[key][:, -1], outputs[key][:, -1])
    for key, s in zip(out_keys[1:], state, strict=True):
        torch.testing.assert_close(outputs[key][:, -1], s)


@pytest.mark.parametrize("cell", CELLS)
def test_a_step_that_begins_an_episode_begins_with_zeros(cell: str) -> None:
    """And no other row of the batch loses its state."""
    module, data = build(ours, cell), batch(cell, (3,))
    data["is_init"] = torch.tensor([[False], [True], [False]])
    zeros = data.clone().update({name: torch.zeros_like(data[name]) for name in keys(cell)[0][1:]})
    given = data.clone()
    given["is_init"][:] = False
    with torch.no_grad():
        mixed, fresh, carried = (module(each)["y"] for each in (data, zeros, given))
    torch.testing.assert_close(mixed[1], fresh[1])
    torch.testing.assert_close(mixed[[0, 2]], carried[[0, 2]])
    assert not torch.allclose(mixed[1], carried[1], atol=1e-3)


@pytest.mark.parametrize("cell", CELLS)
def test_without_states_a_batch_begins_with_zeros(cell: str) -> None:
    for shape, recurrent in (((B, T), True), ((B,), False)):
        data = batch(cell, shape, scale=0.0)
        module = build(ours, cell)
        with torch.no_grad(), set_recurrent_mode(recurrent):
            torch.testing.assert_close(module(data.select("x", "is_init"))["y"], module(data)["y"])
    if cell == "LSTM":
        with pytest.raises(ShapeError, match="only some of the states"):
            module(batch(cell, (B,)).exclude("c"))
    with pytest.raises(KeyError):
        module(batch(cell, (B,)).exclude("x"))


def test_modes_keys_and_primers_are_torchrls() -> None:
    module = LSTMModule(I, H, in_key="x", out_key="y", default_recurrent_mode=True)
    assert isinstance(module, torchrl.modules.LSTMModule)
    assert module.recurrent_mode
    with set_recurrent_mode("sequential"):
        assert not module.recurrent_mode
    assert module.in_keys == ["x", "recurrent_state_h", "recurrent_state_c", "is_init"]
    primer = module.make_tensordict_primer()
    assert set(primer.primers.keys()) == {"recurrent_state_h", "recurrent_state_c"}
    head = TensorDictModule(nn.Linear(H, 2), in_keys=["y"], out_keys=["action"])
    policy = TensorDictSequential(module, head)
    data = TensorDict({"x": torch.ones(2, 3, I), "is_init": torch.zeros(2, 3, 1, dtype=torch.bool)}, (2, 3))
    assert policy(data)["action"].shape == (2, 3, 2)
    y, h, c = module(x=torch.ones(2, 3, I), is_init=torch.zeros(2, 3, 1, dtype=torch.bool))
    assert (y.shape, h.shape, c.shape) == ((2, 3, H), (2, 3, 1, H), (2, 3, 1, H))


@pytest.mark.parametrize("cell", CELLS)
def test_state_dicts_go_both_ways(cell: str) -> None:
    theirs, own = build(torchrl.modules, cell), build(ours, cell)
    theirs.load_state_dict(own.state_dict())
    own.load_state_dict(theirs.state_dict())
    assert isinstance(getattr(own, cell.lower()), Recurrent)


def test_torchrls_backends_are_left_alone() -> None:
    module = build(ours, "GRU", recurrent_backend="pad")
    assert type(module.gru) is nn.GRU and not isinstance(module.gru, Recurrent)
    assert module.recurrent_backend == "pad"


def test_a_layer_that_is_not_swapped_is_named() -> None:
    with pytest.warns(UserWarning, match="lstm runs by TorchRL's backend 'pad'"):
        module = build(ours, "LSTM", python_based=True)
    data = batch("LSTM")
    right = results(build(torchrl.modules, "LSTM"), data, "LSTM", recurrent=True)
    for name, value in results(module, data, "LSTM", recurrent=True).items():
        torch.testing.assert_close(value, right[name], rtol=1e-5, atol=1e-5)


def test_a_layer_of_the_users_may_be_given_but_no_learned_state() -> None:
    in_keys, out_keys = keys("GRU")
    module = GRUModule(gru=elman.GRU(I, H, batch_first=True), in_keys=in_keys, out_keys=out_keys)
    assert module(batch("GRU", (B,)))["y"].shape == (B, H)
    with pytest.raises(SettingError, match="TorchRL keeps states in its batches"):
        gru = elman.GRU(I, H, batch_first=True, learn_initial_state=True)
        GRUModule(gru=gru, in_keys=in_keys, out_keys=out_keys)
