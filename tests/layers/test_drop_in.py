"""Elman's layers as torch.nn's: instances, types, errors, transforms, and torch's operator where no engine runs."""

from __future__ import annotations

import copy
import importlib
import io
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

import elman
from elman.errors import ElmanError, SettingError, ShapeError
from elman.kernels.dispatch import ExportError
from elman.layers import compilation
from elman.testing import TOLERANCE

PAIRS = {"RNN": (elman.RNN, nn.RNN), "GRU": (elman.GRU, nn.GRU), "LSTM": (elman.LSTM, nn.LSTM)}
ALL = pytest.mark.parametrize("name", PAIRS)


def pair(name: str, *sizes: int, **options: Any) -> tuple[Any, Any]:
    ours, theirs = (build(*sizes, **options) for build in PAIRS[name])
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def flat(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [t for part in value for t in flat(part)]


def close(a: Any, b: Any, dtype: torch.dtype = torch.float32) -> None:
    for one, other in zip(flat(a), flat(b), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=TOLERANCE[dtype])


@ALL
def test_a_layer_is_torchs_with_all_its_attributes(name: str) -> None:
    ours, theirs = pair(name, 3, 4, 2, bidirectional=True)
    assert isinstance(ours, PAIRS[name][1]) and type(ours) == PAIRS[name][1]  # noqa: E721
    assert type(ours) in {PAIRS[name][1]}
    assert type(ours) != nn.Linear and type(ours) != PAIRS["RNN" if name != "RNN" else "GRU"][0]  # noqa: E721
    for attribute in ("mode", "_flat_weights_names", "_all_weights", "__constants__", "proj_size", "bias"):
        assert getattr(ours, attribute) == getattr(theirs, attribute)
    for a, b in zip(ours._flat_weights, theirs._flat_weights, strict=True):
        assert isinstance(a, nn.Parameter) and torch.equal(a, b)
    x = torch.randn(5, 2, 3)
    assert ours.get_expected_hidden_size(x, None) == theirs.get_expected_hidden_size(x, None)
    hx = ours(x)[1]
    ours.check_forward_args(x, hx, None)
    close(ours.permute_hidden(hx, torch.tensor([1, 0])), theirs.permute_hidden(hx, torch.tensor([1, 0])))
    with pytest.raises(RuntimeError, match="Expected hidden"):
        ours.check_forward_args(x[:, :1], hx, None)
    ours.weight_hh_l0 = nn.Parameter(torch.zeros_like(ours.weight_hh_l0))
    assert ours._flat_weights[1] is ours.weight_hh_l0


@ALL
def test_a_subclass_stands_for_itself(name: str) -> None:
    own = type("Own", (PAIRS[name][0],), {})
    layer = own(3, 4)
    assert type(layer) != PAIRS[name][1] and type(layer) == own and hash(own) != hash(PAIRS[name][1])  # noqa: E721


@ALL
def test_the_flat_weights_follow_pruning_and_a_copy(name: str) -> None:
    layer, x = PAIRS[name][0](3, 4), torch.randn(5, 2, 3)
    prune.l1_unstructured(layer, "weight_hh_l0", 0.5)
    assert sum(isinstance(w, nn.Parameter) for w in layer._flat_weights) == 3
    layer(x)
    prune.remove(layer, "weight_hh_l0")
    assert all(isinstance(w, nn.Parameter) for w in copy.deepcopy(layer)._flat_weights)


def test_the_state_is_a_plain_tuple() -> None:
    layer = elman.LSTM(3, 4)
    _, state = layer(torch.randn(5, 2, 3))
    _, stepped = layer.step(torch.randn(2, 3), state)
    assert type(state) is tuple and type(stepped) is tuple
    state = type(state)(s.detach() for s in state)
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    close(torch.load(file, weights_only=True), state)


@pytest.mark.parametrize(
    ("kind", "message", "build"),
    [
        (TypeError, "bias should be of type bool, got: float", lambda C: C(3, 4, bias=0.5)),
        (TypeError, "batch_first should be of type bool, got: int", lambda C: C(3, 4, batch_first=1)),
        (TypeError, "hidden_size should be of type int, got: str", lambda C: C(3, "4")),
        (ValueError, "input_size must be greater than zero", lambda C: C(-1, 4)),
        (ValueError, "dropout should be a number in range", lambda C: C(3, 4, dropout=True)),
        (ValueError, "Unknown nonlinearity", lambda C: nonlinear(C)),
        (ValueError, "proj_size", lambda C: C(3, 4, proj_size=4)),
    ],
)
@ALL
def test_arguments_are_refused_as_torch_does(name: str, kind: type[Exception], message: str, build: Any) -> None:
    for layer in PAIRS[name]:
        with pytest.raises(kind, match=message) as error:
            build(layer)
    with pytest.raises(SettingError):
        build(PAIRS[name][0])
    assert isinstance(error.value, kind)


def nonlinear(layer: Any) -> None:
    if not issubclass(layer, nn.RNN):
        raise SettingError("Unknown nonlinearity")  # the other layers have none
    layer(3, 4, nonlinearity="garbage")


def test_dropout_in_the_place_of_bias() -> None:
    for layer in (elman.LSTM, nn.LSTM):
        with pytest.raises(TypeError, match="bias should be of type bool"):
            layer(10, 20, 2, 0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "call",
    [
        lambda layer, x: layer(x[..., :2]),
        lambda layer, x: layer(x[None]),
        lambda layer, x: layer(x.double()),
        lambda layer, x: layer(x, state(layer, 1, 3, 4)),
        lambda layer, x: layer(x, state(layer, 1, 2, 5)),
        lambda layer, x: layer(x, state(layer, 1, 4)),
        lambda layer, x: layer(x[:, 0], state(layer, 1, 1, 4)),
        lambda layer, x: layer(x[:, 0], state(layer, 4, 1)),
    ],
)
@ALL
def test_shapes_are_refused_in_torchs_words_and_classes(name: str, call: Callable[[Any, Tensor], Any]) -> None:
    ours, theirs = pair(name, 3, 4)
    x = torch.randn(5, 2, 3)
    with pytest.raises((ValueError, RuntimeError)) as expected:
        call(theirs, x)
    with pytest.raises(ShapeError) as actual:
        call(ours, x)
    assert isinstance(actual.value, RuntimeError) and isinstance(actual.value, ValueError)
    words = str(expected.value).replace("4D tensor instead", "4D instead")
    assert str(actual.value).splitlines()[0] == words


def state(layer: nn.Module, *shape: int) -> Any:
    return (torch.zeros(shape), torch.zeros(shape)) if isinstance(layer, nn.LSTM) else torch.zeros(shape)


@ALL
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_gives_torchs_numbers_and_types(name: str, dtype: torch.dtype) -> None:
    ours, theirs = pair(name, 3, 4, 2, bidirectional=True)
    x = torch.randn(5, 2, 3).to(dtype)
    packed = pack_sequence([x[:, 0], x[:3, 1]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for input in (x, packed):
            (y, state), (y_theirs, state_theirs) = ours(input), theirs(input)
            y, y_theirs = getattr(y, "data", y), getattr(y_theirs, "data", y_theirs)
            for a, b in zip(flat((y, state)), flat((y_theirs, state_theirs)), strict=True):
                assert a.dtype == b.dtype and torch.equal(a, b)
        assert {choice.name for choice in elman.explain(ours, packed).choices.values()} == {"torch"}
    assert "torch's own operator\n" in str(elman.explain(ours.bfloat16(), x.bfloat16()))
    with elman.strict(), pytest.raises(ElmanError, match="torch's own operator would run"):
        ours(x.bfloat16())


@ALL
@pytest.mark.parametrize("lengths", [[5, 2, 1], [1, 5, 2], [3, 3, 3]])
@pytest.mark.parametrize("batch_first", [False, True])
def test_lengths_run_on_torchs_packed_sequences_in_half_precision(
    name: str, lengths: list[int], batch_first: bool
) -> None:
    ours, theirs = pair(name, 3, 4, 2, bidirectional=True, batch_first=batch_first)
    x = torch.randn(5, 3, 3).transpose(0, 1) if batch_first else torch.randn(5, 3, 3)
    packed = pack_padded_sequence(x, torch.tensor(lengths), batch_first, enforce_sorted=False)
    for layer in (ours, elman.accelerate(copy.deepcopy(theirs)).model):
        for given in (lengths, torch.tensor(lengths, dtype=torch.int32)):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                y, state = layer(x, lengths=given)
                y_theirs, state_theirs = theirs(packed)
                assert {choice.name for choice in elman.explain(layer, x, lengths=given).choices.values()} == {"torch"}
            expected = pad_packed_sequence(y_theirs, batch_first, total_length=5)[0]
            for a, b in zip(flat((y, state)), flat((expected, state_theirs)), strict=True):
                assert a.dtype == b.dtype and torch.equal(a, b)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for wrong in ([6, 1, 1], [1, 1], [1, 1, -1], [1.0, 2.0, 3.0]):
            with pytest.raises(ShapeError, match="lengths"):
                ours(x, lengths=wrong)
        with pytest.raises(ShapeError, match="input_size"):
            ours(x[..., :2])
        assert not ours(x, lengths=[5, 0, 1])[0].select(0 if batch_first else 1, 1).any()


def test_half_precision_prepares_nothing_for_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = elman.LSTM(3, 4).bfloat16(), torch.randn(5, 2, 3).bfloat16()
    expected = layer(x)[0]
    monkeypatch.setattr(elman.LSTM, "prepare", None)
    assert torch.equal(layer(x)[0], expected)
    assert torch.equal(layer(pack_sequence([x[:, 0], x[:, 1]]))[0].data, expected.flatten(0, 1))


@ALL
def test_the_flat_weights_are_the_parameters(name: str) -> None:
    layer = PAIRS[name][0](3, 4)
    layer._flat_weights = [getattr(layer, weight) for weight in layer._flat_weights_names]
    with pytest.raises(SettingError, match="_flat_weights cannot be set"):
        layer._flat_weights = [weight.detach() * 2 for weight in layer._flat_weights]


class OwnCell(elman.Cell):
    gates = ("a",)

    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (torch.sin(gx_BGH[:, 0] + gh_BGH[:, 0]),)


@pytest.mark.parametrize(
    ("layer", "call", "reason"),
    [
        (elman.GRU(3, 4), {"resets": torch.zeros(5, 2, dtype=torch.bool)}, "no operator with resets="),
        (elman.LSTM(3, 4, proj_size=2), {}, "no operator with a projection"),
        (elman.Recurrent(OwnCell(), 3, 4), {}, "no operator of the cell OwnCell"),
    ],
)
def test_what_onnx_lacks_is_not_exported(
    layer: Any, call: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn(5, 2, 3)
    y, _ = layer.step(x[0])
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with pytest.raises(ExportError, match=f"cannot be exported to ONNX(.|\n)*{reason}"):
        layer(x, **call)
    if not layer.proj_size:
        close(layer.step(x[0])[0], y)  # a step has no length


@pytest.mark.parametrize("layer", [elman.RNN(3, 4, nonlinearity="sigmoid"), elman.GRU(3, 4, learn_initial_state=True)])
def test_what_torch_lacks_is_not_exported_by_torchscript(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    x = torch.randn(5, 2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated
        with pytest.raises(ExportError, match=r"torch.nn has no"):
            torch.jit.trace(layer, x)
        with pytest.raises(ExportError, match=r"torch.nn has no lengths="):
            torch.jit.trace(lambda x: elman.GRU(3, 4)(x, lengths=[5, 2]), x)


@pytest.mark.parametrize("layer", [elman.RNN(3, 4), elman.GRU(3, 4, bidirectional=True), elman.RNN(3, 4, 1, "sigmoid")])
def test_a_layer_is_exported_to_onnx_with_dynamic_time(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    program = torch.export.export(layer, (torch.randn(6, 5, 3),), dynamic_shapes=(free,))
    targets = [str(node.target) for node in program.graph.nodes]
    assert targets.count("onnx_symbolic._symbolic_multi_out.default") == layer.num_directions


def test_options_beyond_torchs_run_without_its_operator() -> None:
    x, options = torch.randn(5, 2, 3).bfloat16(), {"dtype": torch.bfloat16}
    resets = torch.zeros(5, 2, dtype=torch.bool)
    for layer, call in (
        (elman.GRU(3, 4, learn_initial_state=True, **options), {}),
        (elman.GRU(3, 4, 2, dropout=0.5, variational=True, **options), {}),
        (elman.RNN(3, 4, nonlinearity="sigmoid", **options), {}),
        (elman.GRU(3, 4, **options), {"lengths": [5, 0]}),
        (elman.GRU(3, 4, **options), {"resets": resets}),
    ):
        assert layer(x, **call)[0].shape == (5, 2, 4)
        choice = elman.explain(layer, x, **call).choices["l0"]
        assert choice.name == "eager" and "torch.nn has no" in choice.refusals["torch"]
    empty = elman.GRU(3, 4, **options)(x[:0])
    assert empty[0].shape == (0, 2, 4)


@ALL
def test_batched_gradients(name: str) -> None:
    ours, theirs = pair(name, 3, 4, dtype=torch.float64)
    x, v = torch.randn(4, 2, 3, dtype=torch.float64), torch.randn(3, 4, 2, 4, dtype=torch.float64)
    functional = torch.autograd.functional
    for compute in (
        lambda layer: functional.jacobian(lambda z: layer(z)[0][-1, 0], x, vectorize=True),
        lambda layer: functional.hessian(lambda z: layer(z)[0].pow(2).sum(), x, vectorize=True),
        lambda layer: torch.autograd.grad(layer(x)[0], list(layer.parameters()), v, is_grads_batched=True),
        lambda layer: torch.autograd.grad(
            flat(layer(x)[1])[-1], list(layer.parameters()), v[:, :1], is_grads_batched=True
        ),
    ):
        close(compute(ours), compute(theirs), torch.float64)


@ALL
def test_symbolic_traces_have_the_layer_as_a_leaf(name: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = PAIRS[name][0](3, 4)

        def forward(self, x: Tensor, resets: Tensor) -> Tensor:
            y, state = self.layer(x)
            return y + self.layer(x, state, resets=resets)[0]

    model, x, resets = Model(), torch.randn(5, 2, 3), torch.rand(5, 2) < 0.5
    traced = torch.fx.symbolic_trace(model)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["layer", "layer"]
    assert torch.equal(traced(x, resets), model(x, resets))


class Logged:
    """Not a tensor: it takes torch's functions into its own hands."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tensor, name)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        bare = [a.tensor if isinstance(a, cls) else a for a in args]
        return function(*bare, **(kwargs or {}))


@ALL
def test_objects_with_torch_functions_of_their_own(name: str) -> None:
    ours, theirs = pair(name, 3, 4)
    x = torch.randn(5, 2, 3)
    assert torch.equal(ours(Logged(x))[0], theirs(x)[0])


@ALL
def test_parameters_are_swapped_after_an_inference(name: str) -> None:
    layer, hx = PAIRS[name][0](3, 4), None
    with torch.no_grad():
        _, hx = layer(torch.randn(1, 1, 3))
        layer.step(torch.randn(1, 3), hx)
        layer.step(torch.randn(1, 3), hx)
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        layer.double()
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    x = torch.randn(1, 1, 3, dtype=torch.float64)
    with torch.no_grad():
        close(layer(x)[0], layer(x.expand(1, 20, 3))[0][:, :1], torch.float64)


@ALL
def test_jit_traces_and_scripts_run_torchs_operator(name: str) -> None:
    ours, theirs = pair(name, 3, 4, 2)
    x, other = torch.randn(5, 2, 3), torch.randn(7, 1, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated, and that torch's checks are not part of the trace
        traced = torch.jit.trace(ours, (x,))
        assert torch.equal(traced(other)[0], theirs(other)[0])
        model = nn.Sequential(ours)
        with pytest.warns(UserWarning, match=r"torch.nn's layer in the place of elman's"):
            scripted = torch.jit.script(model)
        assert torch.equal(scripted(other)[0], theirs(other)[0])
        assert model[0].weight_hh_l0 is ours.weight_hh_l0
        with pytest.raises(SettingError, match="learn_initial_state"):
            torch.jit.script(nn.Sequential(PAIRS[name][0](3, 4, learn_initial_state=True)))


@pytest.mark.parametrize("name", ["GRU", "LSTM"])
def test_dynamic_quantization_by_class(name: str) -> None:
    ours, theirs = pair(name, 3, 4)
    x = torch.randn(5, 2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = [
            torch.ao.quantization.quantize_dynamic(nn.Sequential(layer), {PAIRS[name][1]}) for layer in (ours, theirs)
        ]
        assert torch.equal(quantized[0](x)[0], quantized[1](x)[0])
        assert "Dynamic" in type(quantized[0][0]).__module__ or "dynamic" in type(quantized[0][0]).__module__
        with pytest.raises(AttributeError, match="mode"):  # torch has no layer that starts from a learned state
            learned = nn.Sequential(PAIRS[name][0](3, 4, learn_initial_state=True))
            torch.ao.quantization.quantize_dynamic(learned, {PAIRS[name][1]})


@pytest.mark.parametrize("name", ["RNN", "GRU"])
def test_per_sample_gradients(name: str) -> None:
    from torch.nn.utils._per_sample_grad import call_for_per_sample_grads

    ours, theirs = pair(name, 3, 4, batch_first=True)
    x = torch.randn(2, 5, 3)
    for layer in (ours, theirs):
        call_for_per_sample_grads(layer)(x)[0].sum().backward()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(a.grad_sample, b.grad_sample)


def test_hooks_run_once_for_a_packed_sequence() -> None:
    layer, calls = elman.GRU(3, 4), []
    layer.register_forward_hook(lambda *_: calls.append("after"))
    layer.register_forward_pre_hook(lambda *_: calls.append("before"))
    layer(pack_sequence([torch.randn(5, 3), torch.randn(2, 3)]))
    assert calls == ["before", "after"]


def test_the_compilers_setting_is_put_on() -> None:
    settings = ModuleType("settings")
    compilation._allow(settings)
    assert vars(settings)["allow_rnn"] and importlib.import_module(compilation.CONFIG).allow_rnn


@ALL
def test_gradients_of_gradients_over_a_carried_state(name: str) -> None:
    layers = [layer.double() for layer in pair(name, 3, 4)]
    x = torch.randn(2, 2, 3, dtype=torch.float64)
    results = []
    for layer in layers:
        weights = list(layer.parameters())
        y, _ = layer(x, layer(x)[1])
        first = torch.autograd.grad(y.sin().sum(), weights, create_graph=True)
        second = torch.autograd.grad(sum(g.sin().sum() for g in first), weights, retain_graph=True)
        y, _ = layer(x, layer(x)[1])
        batched = torch.autograd.grad(y, weights, torch.ones(3, *y.shape).double(), is_grads_batched=True)
        results.append([*first, *second, *batched])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_negative_views_are_read_with_their_sign(kind: str) -> None:
    torch.manual_seed(0)
    layer, x, h = getattr(elman, kind)(3, 4), torch.randn(5, 2, 3), torch.randn(1, 2, 4)
    minus_x, minus_h = torch._neg_view(x), torch._neg_view(h)  # what `z.conj().imag` is made of
    assert minus_x.is_neg() and minus_h.is_neg()
    state, minus = ((-h, -h), (minus_h, minus_h)) if kind == "LSTM" else (-h, minus_h)
    torch.testing.assert_close(layer(minus_x, minus)[0], layer(-x, state)[0])
    d_y = torch.ones(5, 2, 4)
    given, expected = (torch.autograd.grad(layer(x)[0], layer.weight_hh_l0, d)[0] for d in (torch._neg_view(d_y), -d_y))
    torch.testing.assert_close(given, expected)
    with torch.no_grad():
        layer.step(x[0], state)  # so that the next steps take the quick way
        torch.testing.assert_close(layer.step(minus_x[0], minus)[0], layer.step(-x[0], state)[0])
