"""Swapping the layers of a model that exists, and asking which kernel runs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import elman
from elman.kernels import dispatch, eager
from elman.kernels.dispatch import SlowPathError
from elman.testing import TOLERANCE


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 5)
        self.encoder = nn.Sequential(nn.GRU(5, 4, 2, bidirectional=True, batch_first=True, dropout=0.5))
        self.head = nn.ModuleDict({"a": nn.RNN(8, 3, nonlinearity="relu"), "b": nn.LSTM(3, 4, proj_size=2)})

    def forward(self, tokens_BT: Tensor) -> Tensor:
        y, _ = self.encoder(self.embedding(tokens_BT))
        y, _ = self.head["a"](y)
        return self.head["b"](y)[0]


def test_the_swapped_model_computes_the_same_with_the_same_parameters() -> None:
    model = Tagger().double().eval()
    names = list(model.state_dict())
    parameters = dict(model.named_parameters())
    tokens = torch.randint(0, 7, (3, 6))
    before = model(tokens)
    random_state = torch.get_rng_state()
    report = elman.accelerate(model)
    assert torch.equal(random_state, torch.get_rng_state())
    assert report.model is model
    assert list(report.swapped) == ["encoder.0", "head.a", "head.b"]
    assert not report.kept
    assert isinstance(model.encoder[0], elman.GRU) and isinstance(model.head["b"], elman.LSTM)
    assert not any(module.training for module in model.modules())
    assert list(model.state_dict()) == names
    assert all(parameters[name] is parameter for name, parameter in model.named_parameters())
    torch.testing.assert_close(model(tokens), before, rtol=0, atol=1e-10)
    assert "head.b: now LSTM(3, 4, proj_size=2" in str(report)


def test_a_model_that_is_a_layer_itself_comes_back_as_another_object() -> None:
    report = elman.accelerate(nn.LSTM(3, 4))
    assert isinstance(report.model, elman.LSTM)
    assert report.swapped == {"": report.model}


def test_a_layer_that_is_used_twice_stays_one_layer() -> None:
    model = nn.ModuleList([nn.GRU(3, 3)])
    model.append(model[0])
    elman.accelerate(model)
    assert model[0] is model[1]
    assert isinstance(model[0], elman.GRU)


def test_a_weight_that_is_tied_inside_a_layer_stays_tied() -> None:
    layer = nn.LSTM(4, 4, 2)
    layer.weight_hh_l1 = layer.weight_hh_l0
    model, x = nn.ModuleDict({"layer": layer}), torch.randn(3, 2, 4)
    before, _ = layer(x)
    elman.accelerate(model)
    twin = model["layer"]
    assert isinstance(twin, elman.LSTM)
    assert twin.weight_hh_l1 is twin.weight_hh_l0 is layer.weight_hh_l0
    torch.testing.assert_close(twin(x)[0], before, rtol=0, atol=TOLERANCE[before.dtype])


def test_what_would_behave_differently_is_left_alone_and_told() -> None:
    class Own(nn.GRU):
        pass

    hooked = nn.GRU(3, 3)
    hooked.register_forward_hook(lambda *_: None)
    normed = nn.utils.parametrizations.weight_norm(nn.GRU(3, 3), "weight_hh_l0")
    model = nn.ModuleDict({"own": Own(3, 3), "hooked": hooked, "normed": normed, "plain": nn.Linear(3, 3)})
    report = elman.accelerate(model)
    assert not report.swapped
    assert "a class of its own" in report.kept["own"]
    assert "hooks" in report.kept["hooked"]
    assert "parametrizations" in report.kept["normed"]
    assert list(report.kept) == ["own", "hooked", "normed"]
    assert model["hooked"] is hooked
    assert str(elman.accelerate(nn.Linear(3, 3))) == "no recurrent layers of torch.nn in this model"


def test_a_layer_that_carries_more_is_left_alone_and_nothing_is_half_done() -> None:
    def plain() -> nn.LSTM:
        return nn.LSTM(3, 3)

    child, buffer, attribute, patched, hooked = (plain() for _ in range(5))
    child.extra = nn.Linear(3, 3)
    buffer.register_buffer("mean", torch.zeros(3))
    attribute.name = "encoder"
    patched.forward = lambda x: x
    hooked.register_state_dict_pre_hook(lambda *_: None)
    more = {"child": child, "buffer": buffer, "attribute": attribute, "patched": patched, "hooked": hooked}
    report = elman.accelerate(nn.ModuleDict({"first": plain(), **more}))
    assert list(report.swapped) == ["first"]
    assert list(report.kept) == list(more)
    assert all(report.model[name] is module for name, module in more.items())
    assert "(extra)" in report.kept["child"] and "(mean)" in report.kept["buffer"]
    assert "(name)" in report.kept["attribute"] and "(forward)" in report.kept["patched"]


class Refusing:
    """A kernel faster than all, that refuses long sequences."""

    @staticmethod
    def refusal(cell, x_TBI, state, weights, **options) -> str | None:  # type: ignore[no-untyped-def]
        return "more than 4 steps" if len(x_TBI) > 4 else None

    unroll = staticmethod(eager.unroll)


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "KERNELS", {"short": Refusing, "eager": eager})


@pytest.mark.usefixtures("refusing")
def test_explain_names_the_kernel_and_why_not_a_faster_one() -> None:
    layer = elman.GRU(3, 4, 2, bidirectional=True, batch_first=True)
    short = elman.explain(layer, torch.zeros(2, 4, 3))
    assert {k: c.name for k, c in short.choices.items()} == dict.fromkeys(
        ("l0", "l0_reverse", "l1", "l1_reverse"), "short"
    )
    long = elman.explain(layer, torch.zeros(2, 5, 3), lengths=[1, 2])
    assert long.choices["l1_reverse"].refusals == {"short": "more than 4 steps"}
    assert "l0: runs on the kernel 'eager'\n    not on 'short': more than 4 steps" in str(long)
    with pytest.raises(elman.ElmanError, match=r"torch.nn.modules.rnn.GRU\n.*elman.accelerate"):
        elman.explain(nn.GRU(3, 4), torch.zeros(2, 3, 3))


@pytest.mark.parametrize(
    ("option", "call"),
    [("lengths", {"lengths": [1, 2]}), ("resets", {"resets": torch.zeros(3, 2, dtype=torch.bool)}), ("reverse", {})],
)
def test_explain_asks_with_the_options_of_the_call(monkeypatch: pytest.MonkeyPatch, option: str, call: dict) -> None:  # type: ignore[type-arg]
    class Picky:
        @staticmethod
        def refusal(*arguments, **options) -> str | None:  # type: ignore[no-untyped-def]
            return f"no {option}" if options[option] is not None and options[option] is not False else None

        unroll = staticmethod(eager.unroll)

    monkeypatch.setattr(dispatch, "KERNELS", {"picky": Picky, "eager": eager})
    layer = elman.GRU(3, 4, bidirectional=option == "reverse")
    assert elman.explain(layer, torch.zeros(3, 2, 3)).choices["l0"].name == "picky"
    last = list(elman.explain(layer, torch.zeros(3, 2, 3), **call).choices.values())[-1]
    assert last.refusals == {"picky": f"no {option}"}


def test_explain_of_a_model_names_the_layers_inside() -> None:
    model = nn.ModuleDict({"encoder": elman.GRU(3, 4)})
    with pytest.raises(elman.ElmanError, match="one of the layers inside: encoder"):
        elman.explain(model, torch.zeros(2, 3, 3))


def test_single_step_cells_are_told() -> None:
    report = elman.accelerate(nn.ModuleDict({"cell": nn.LSTMCell(3, 4)}))
    assert "a single step" in report.kept["cell"]
    assert "as .model" in str(elman.accelerate(nn.GRU(3, 4)))


@pytest.mark.usefixtures("refusing")
def test_strict_raises_instead_of_going_slow() -> None:
    layer = elman.GRU(3, 4)
    with elman.strict():
        layer(torch.zeros(4, 2, 3))
        with pytest.raises(SlowPathError, match="short: more than 4 steps"):
            layer(torch.zeros(5, 2, 3))
        with elman.strict(False):
            layer(torch.zeros(5, 2, 3))
    layer(torch.zeros(5, 2, 3))
    elman.strict()
    try:
        with pytest.raises(SlowPathError, match="the kernel 'eager' would run"):
            layer(torch.zeros(5, 2, 3))
    finally:
        elman.strict(False)
