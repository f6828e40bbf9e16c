"""Swapping the layers of a model that exists, and asking which kernel runs."""

from __future__ import annotations

import abc
import copy
import io
import pickle
from types import SimpleNamespace
from typing import Any

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
        self.head = nn.ModuleDict({"a": nn.RNN(8, 3, nonlinearity="relu"), "b": nn.LSTM(3, 2)})

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
    assert "head.b: now elman's LSTM(3, 2" in str(report)


def test_a_model_that_is_a_layer_itself_stays_the_same_object() -> None:
    layer = nn.LSTM(3, 4)
    report = elman.accelerate(layer)
    assert report.model is layer and isinstance(layer, elman.LSTM) and isinstance(layer, nn.LSTM)
    assert report.swapped == {"": layer}
    assert str(report) == "the model: now elman's LSTM(3, 4)"
    assert str(elman.accelerate(layer)) == "the model: left alone, it is elman's already"


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
    class Forward(nn.GRU):
        def forward(self, input, hx=None):  # type: ignore[no-untyped-def]
            return nn.GRU.forward(self, 2 * input, hx)

    class Called(nn.GRU):
        def __call__(self, *inputs):  # type: ignore[no-untyped-def]
            return super().__call__(*inputs)

    class Step(nn.GRU):
        def step(self) -> None:
            pass

    class Unknown(nn.RNNBase):
        pass

    class Final(nn.GRU):
        def __init_subclass__(cls) -> None:
            raise TypeError("no subclasses")

    attribute, patched = nn.LSTM(3, 3), nn.LSTM(3, 3)
    attribute.register_buffer("variational", torch.zeros(3))
    patched.forward = lambda x: x
    layers = {
        "a forward of its own": Forward(3, 3),
        "a __call__ of its own": Called(3, 3),
        "(step)": Step(3, 3),
        "(variational)": attribute,
        "its forward was replaced": patched,
        "none of torch.nn's": Unknown("GRU", 3, 3),
        "no subclasses": Final(3, 3),
        "parametrizations": nn.utils.parametrizations.weight_norm(nn.GRU(3, 3), "weight_hh_l0"),
        "projection": nn.LSTM(3, 4, proj_size=2),
        "torch.bfloat16": nn.RNN(3, 4, dtype=torch.bfloat16),
    }
    classes = [type(layer) for layer in layers.values()]
    report = elman.accelerate(nn.ModuleList(layers.values()))
    assert not report.swapped
    assert [type(layer) for layer in layers.values()] == classes
    for why, message in zip(layers, report.kept.values(), strict=True):
        assert why in message
    assert str(elman.accelerate(nn.Linear(3, 3))) == "nothing to do: this model has no recurrent layers"


class Named(nn.LSTM):
    """A class of a user's: an argument more, and a method."""

    def __init__(self, name: str, *sizes: int, **options: object) -> None:
        super().__init__(*sizes, **options)
        self.name = name

    def zeros(self, B: int) -> Tensor:
        return torch.zeros(self.num_layers, B, self.hidden_size)


class Abstract(abc.ABC, nn.RNNBase):
    pass


class Concrete(Abstract, nn.GRU):
    """Of a metaclass of its own."""


def dressed() -> nn.Module:
    layer = Named("encoder", 3, 4)
    layer._is_initialized = True
    layer.extra = nn.Linear(3, 3)
    layer.register_buffer("mean", torch.zeros(3))
    layer.register_forward_hook(lambda module, inputs, output: (output[0] + 1, output[1]))
    return layer


def test_a_layer_keeps_its_class_attributes_and_hooks() -> None:
    layer, x = dressed(), torch.randn(5, 2, 3)
    state, text, names = list(layer.state_dict()), repr(layer), set(vars(layer))
    before, _ = layer(x)
    assert list(elman.accelerate(layer).swapped) == [""]
    assert isinstance(layer, Named) and isinstance(layer, elman.LSTM)
    assert type(layer) == Named and type(layer) in {Named} and type(layer) is not Named  # noqa: E721
    assert (layer.name, layer._is_initialized, repr(layer), list(layer.state_dict())) == ("encoder", True, text, state)
    assert layer.zeros(2).shape == (1, 2, 4)
    with elman.strict():
        torch.testing.assert_close(layer(x)[0], before, rtol=0, atol=TOLERANCE[before.dtype])
    assert list(elman.decelerate(layer).swapped) == [""]
    assert type(layer) is Named and set(vars(layer)) == names
    assert torch.equal(layer(x)[0], before)


class Doubled(nn.GRU):
    """A class whose `forward` is its own, and calls the one of the class that it derives from."""

    def forward(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return super().forward(2 * input, hx)


class Packed(abc.ABC, nn.RNNBase):
    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        y, state = super().forward(nn.utils.rnn.pack_padded_sequence(x, lengths), hx=None)
        return nn.utils.rnn.pad_packed_sequence(y)[0], state


class PackedLSTM(Packed, nn.LSTM):
    pass


@pytest.mark.parametrize(("kind", "options"), [(Doubled, ()), (PackedLSTM, (torch.tensor([5, 2]),))])
def test_a_forward_that_calls_that_of_torch_calls_elmans(kind: type[nn.RNNBase], options: tuple[Tensor, ...]) -> None:
    layer, x = kind(3, 4), torch.randn(5, 2, 3)
    before, _ = layer(x, *options)
    assert list(elman.accelerate(layer).swapped) == [""]
    with elman.strict():
        torch.testing.assert_close(layer(x, *options)[0], before, rtol=0, atol=TOLERANCE[before.dtype])
    other = pickle.loads(pickle.dumps(layer))
    assert torch.equal(other(x, *options)[0], layer(x, *options)[0])
    assert list(elman.decelerate(layer).swapped) == [""] and type(layer) is kind
    assert torch.equal(layer(x, *options)[0], before)


def test_a_forward_of_its_own_is_scripted_and_never_run_twice() -> None:
    model, x = nn.Sequential(Doubled(3, 4)), torch.randn(5, 2, 3)
    before, _ = model(x)
    for _ in range(2):  # torch.fx cannot go through such a class, elman's no more than torch's
        with pytest.raises(torch.fx.proxy.TraceError):
            torch.fx.symbolic_trace(model)
        elman.accelerate(model)
    with pytest.warns(UserWarning, match="puts torch.nn's layer in the place"):
        layer = model[0].__prepare_scriptable__()
    assert type(layer) is Doubled and torch.equal(layer(x)[0], before)


def test_a_class_with_a_metaclass_of_its_own() -> None:
    layer, x = Concrete(3, 4), torch.randn(5, 2, 3)
    before, _ = layer(x)
    assert list(elman.accelerate(layer).swapped) == [""]
    assert isinstance(layer, Concrete) and isinstance(layer, Abstract)
    with elman.strict():
        torch.testing.assert_close(layer(x)[0], before, rtol=0, atol=TOLERANCE[before.dtype])


@pytest.mark.parametrize("build", [lambda: nn.GRU(3, 4, 2), lambda: Named("a", 3, 4, bidirectional=True)])
@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
def test_copies_are_accelerated_too(build, how: str) -> None:  # type: ignore[no-untyped-def]
    model, x = nn.ModuleDict({"layer": build()}), torch.randn(5, 2, 3)
    elman.accelerate(model)
    if how == "deepcopy":
        other = copy.deepcopy(model)
    elif how == "pickle":
        other = pickle.loads(pickle.dumps(model))
    else:
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        other = torch.load(file, weights_only=False)
    with elman.strict():
        assert torch.equal(other["layer"](x)[0], model["layer"](x)[0])
    assert type(other["layer"]) is type(model["layer"])
    other["layer"].weight_hh_l0.data.zero_()
    assert model["layer"].weight_hh_l0.any()
    elman.decelerate(other)
    assert not isinstance(other["layer"], elman.Recurrent)
    other["layer"](x)


class Keeper(nn.Module):
    """Layers outside the tree of modules, and a bound method."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 3)
        self.run = self.rnn.forward
        self.listed = [nn.GRU(3, 3), (nn.LSTM(3, 3),)]
        self.by_name = {"a": nn.Sequential(nn.RNN(3, 3)), "run": (self.rnn.forward,)}

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.run(x)
        for layer in (self.listed[0], self.listed[1][0], self.by_name["a"][0], self.by_name["run"][0]):
            x, _ = layer(x)
        return x


def test_layers_in_containers_and_bound_methods() -> None:
    model, x = Keeper(), torch.randn(5, 2, 3)
    before = model(x)
    report = elman.accelerate(model)
    assert "listed[0]" in report.swapped and "listed[1][0]" in report.swapped and "by_name['a'].0" in report.swapped
    assert "run (a method)" in report.swapped
    with elman.strict():
        torch.testing.assert_close(model(x), before, rtol=0, atol=TOLERANCE[before.dtype])
    assert model.run.__self__ is model.rnn and isinstance(model.by_name["a"][0], elman.RNN)
    elman.decelerate(model)
    assert torch.equal(model(x), before) and type(model.by_name["a"][0]) is nn.RNN


def test_decelerate_leaves_what_torch_does_not_have() -> None:
    class Own(elman.GRU):
        pass

    layers = [nn.GRU(3, 4), Own(3, 4), elman.GRU(3, 4, learn_initial_state=True), elman.RNN(3, 4, 1, "sigmoid")]
    report = elman.decelerate(nn.ModuleList([*layers, elman.LSTM(3, 4, 2)]))
    assert list(report.kept) == ["0", "1", "2", "3"] and type(report.model[4]) is nn.LSTM
    assert str(report).startswith("4: now torch's LSTM(3, 4, num_layers=2)\n0: left alone, it is torch's")
    report.model[4](torch.randn(5, 2, 3))


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
    long = elman.explain(layer, torch.zeros(2, 5, 3), lengths=[1, 0])
    assert long.choices["l1_reverse"].refusals == {"short": "more than 4 steps"}
    assert long.choices["l0"].refusals == {
        "short": "more than 4 steps",
        "torch": "torch.nn has no packed sequences without a step",
    }
    assert "l0: runs on the kernel 'eager'\n    not on 'short': more than 4 steps" in str(long)
    plain = elman.explain(layer, torch.zeros(2, 5, 3))
    assert {c.name for c in plain.choices.values()} == {"torch"}
    assert "l1: runs on torch's own operator\n    not on 'short': more than 4 steps" in str(plain)
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
    assert last.refusals["picky"] == f"no {option}"


def test_explain_of_a_model_names_the_layers_inside() -> None:
    model = nn.ModuleDict({"encoder": elman.GRU(3, 4)})
    with pytest.raises(elman.ElmanError, match="one of the layers inside: encoder"):
        elman.explain(model, torch.zeros(2, 3, 3))
    for value in (None, elman.GRU, [elman.GRU(3, 4)]):
        with pytest.raises(elman.ElmanError, match="explain is for elman's layers"):
            elman.explain(value, torch.zeros(2, 3, 3))  # type: ignore[arg-type]


@pytest.mark.parametrize("convert", [elman.accelerate, elman.decelerate])
@pytest.mark.parametrize(
    ("value", "found", "hint"),
    [
        (None, "NoneType", None),
        (nn.GRU, "the class GRU", "an instance: GRU(...)"),
        ([nn.GRU(3, 4)], "list", "each of its modules by itself"),
        (SimpleNamespace(name="a", network=nn.GRU(3, 4)), "SimpleNamespace", "its module inside: .network"),
    ],
)
def test_what_is_no_module_is_refused(convert: Any, value: Any, found: str, hint: str | None) -> None:
    with pytest.raises(elman.ElmanError, match="the model is no module") as error:
        convert(value)
    assert (error.value.found, error.value.hint) == (found, hint)


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
        with pytest.raises(SlowPathError, match="torch's own operator would run"):
            layer(torch.zeros(5, 2, 3))
        with pytest.raises(SlowPathError, match="the kernel 'eager' would run"):
            layer(torch.zeros(5, 2, 3), lengths=[1, 0])
    finally:
        elman.strict(False)


def test_containers_that_refuse_changes_or_hold_themselves() -> None:
    class Frozen(dict[str, Any]):
        def __setitem__(self, key: str, value: Any) -> None:
            raise TypeError("frozen")

    model = torch.nn.Module()
    model.layer = torch.nn.GRU(3, 4)
    model.options = Frozen(sizes=[3, 4])
    model.circle = [model.options]
    model.circle.append(model.circle)
    elman.accelerate(model)
    assert isinstance(model.layer, elman.GRU)
    assert model.options == {"sizes": [3, 4]} and model.circle[1] is model.circle
