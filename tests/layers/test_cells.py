"""Elman's cells as torch.nn's: values, gradients, errors and transforms, and the same numbers as the layers."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import elman
from elman.kernels.cpu import passes
from elman.kernels.dispatch import SlowPathError
from elman.testing import TOLERANCE

PAIRS = {
    "tanh": (elman.RNNCell, nn.RNNCell, {}),
    "relu": (elman.RNNCell, nn.RNNCell, {"nonlinearity": "relu"}),
    "gru": (elman.GRUCell, nn.GRUCell, {}),
    "lstm": (elman.LSTMCell, nn.LSTMCell, {}),
}
ALL = pytest.mark.parametrize("name", PAIRS)
# Of a plain network only a batch of two and a size from here on runs on the engine with gradients.
LARGE = {"tanh": 370, "relu": 370, "gru": 5, "lstm": 5}

pytestmark = pytest.mark.skipif(passes.missing is not None, reason="the engine is not built")


def pair(name: str, I: int, H: int, **options: Any) -> tuple[Any, Any]:
    ours, theirs, own = PAIRS[name]
    cells = []
    for build in (ours, theirs):
        torch.manual_seed(3)
        cells.append(build(I, H, **own, **options))
    return cells[0], cells[1]


def flat(state: Any) -> list[Tensor]:
    return [state] if isinstance(state, Tensor) else list(state)


def draw_state(name: str, *shape: int, **options: Any) -> Any:
    return tuple(torch.randn(shape, **options) for _ in range(2)) if name == "lstm" else torch.randn(shape, **options)


def close(a: Any, b: Any, dtype: torch.dtype = torch.float32) -> None:
    assert type(a) is type(b)
    for one, other in zip(flat(a), flat(b), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=TOLERANCE[dtype])


def loop(cell: Any, x_TBI: Tensor, hx: Any) -> tuple[Tensor, Any]:
    outputs = []
    for x_BI in x_TBI:
        hx = cell(x_BI, hx)
        outputs.append(flat(hx)[0])
    return torch.stack(outputs), hx


def runs_on(cell: Any, x: Tensor, hx: Any = None) -> str:
    return elman.explain(cell, x, hx).choices["step"].name


@ALL
@pytest.mark.parametrize("bias", [True, False])
def test_constructor_parameters_and_class_are_torchs(name: str, bias: bool) -> None:
    ours, theirs = pair(name, 3, 4, bias=bias)
    assert isinstance(ours, type(theirs)) and type(ours) == type(theirs)  # noqa: E721
    assert repr(ours) == repr(theirs)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert vars(ours).keys() == vars(theirs).keys()


@ALL
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
def test_a_loop_has_torchs_values_and_gradients(name: str, dtype: torch.dtype, bias: bool) -> None:
    H = LARGE[name]
    cells = [cell.to(dtype) for cell in pair(name, 3, H, bias=bias)]
    x, state = torch.randn(4, 2, 3, dtype=dtype), draw_state(name, 2, H, dtype=dtype)
    assert runs_on(cells[0], x[0], state) == "cpu"
    results = []
    for cell in cells:
        own_x, own_state = x.clone().requires_grad_(), [s.clone().requires_grad_() for s in flat(state)]
        y, last = loop(cell, own_x, tuple(own_state) if name == "lstm" else own_state[0])
        (y * torch.linspace(-1, 1, H, dtype=dtype)).sum().backward(retain_graph=True)
        sum(s.sin().sum() for s in flat(last)).backward()  # gradients add up over steps and calls
        gradients = [t.grad for t in (own_x, *own_state, *cell.parameters())]
        results.append((y, last, gradients))
    (y, last, gradients), (its_y, its_last, its_gradients) = results
    close(y, its_y, dtype)
    close(last, its_last, dtype)
    for one, other in zip(gradients, its_gradients, strict=True):
        torch.testing.assert_close(one / 10, other / 10, rtol=0, atol=TOLERANCE[dtype])


@ALL
def test_without_gradients_a_loop_is_the_layer_to_the_bit(name: str) -> None:
    cell, _ = pair(name, 6, 9)
    build = {"tanh": elman.RNN, "relu": elman.RNN, "gru": elman.GRU, "lstm": elman.LSTM}[name]
    layer = build(6, 9, **PAIRS[name][2])
    layer.load_state_dict({f"{key}_l0": value for key, value in cell.state_dict().items()})
    for shape in ((5, 2, 6), (5, 1, 6), (5, 6)):
        x = torch.randn(shape)
        state = draw_state(name, *shape[1:-1], 9)
        first = tuple(s[None] for s in state) if name == "lstm" else state[None]
        with torch.no_grad():
            y, last = loop(cell, x, state)
            expected, its_last = layer(x, first)
        assert torch.equal(y, expected)
        assert all(torch.equal(a, b[0]) for a, b in zip(flat(last), flat(its_last), strict=True))
        assert all(s._base is None for s in flat(last))


@ALL
@pytest.mark.parametrize("gradients", [True, False])
def test_unbatched_input_and_no_state(name: str, gradients: bool) -> None:
    ours, theirs = pair(name, 3, 5)
    with torch.set_grad_enabled(gradients):
        for shape in ((3,), (2, 3), (1, 3)):
            x, state = torch.randn(shape), draw_state(name, *shape[:-1], 5)
            for _ in range(2):
                close(ours(x), theirs(x))
                close(ours(x, state), theirs(x, state))
        wide = torch.randn(3, 4).t()[::2]  # no contiguous rows
        close(ours(wide), theirs(wide))
        learned = nn.Parameter(torch.randn(2, 5))
        hx = (learned, learned) if name == "lstm" else learned
        close(ours(wide, hx), theirs(wide, hx))
        close(ours(torch._neg_view(wide), hx), theirs(torch._neg_view(wide), hx))
        close(ours(torch.empty(0, 3)), theirs(torch.empty(0, 3)))
        if name == "lstm":
            assert type(ours(wide, list(hx))) is tuple


@ALL
def test_weights_that_change_are_seen(name: str) -> None:
    ours, theirs = pair(name, 3, 5)
    x, state = torch.randn(2, 3), draw_state(name, 2, 5)

    def check() -> None:
        with torch.no_grad():
            close(ours(x, state), theirs(x, state))
        close(ours(x, state), theirs(x, state))

    for change in (lambda w: w.add_(1), lambda w: w.data.mul_(2), lambda w: w.detach().copy_(w.flip(0))):
        check()
        for cell in (ours, theirs):
            with torch.no_grad():
                change(cell.weight_hh)
    check()
    for cell in (ours, theirs):
        cell.weight_ih = nn.Parameter(torch.ones_like(cell.weight_ih))
    check()
    for k, dtype in enumerate((torch.float64, torch.bfloat16)):
        ours, theirs = ours.to(dtype), theirs.to(dtype)
        x, state = x.to(dtype), tuple(s.to(dtype) for s in state) if name == "lstm" else state.to(dtype)
        check()
        assert k == 0 or runs_on(ours, x, state) == "torch"


@ALL
def test_gradients_of_gradients(name: str) -> None:
    H = 3 if LARGE[name] < 9 else LARGE[name]
    ours, theirs = (cell.double() for cell in pair(name, 2, H))
    x, state = torch.randn(2, 2).double().requires_grad_(), draw_state(name, 2, H, dtype=torch.float64)
    state = tuple(s.requires_grad_() for s in state) if name == "lstm" else state.requires_grad_()
    if H == 3:
        cell = copy.deepcopy(ours)

        def run(x: Tensor, *tensors: Tensor) -> Any:
            values = dict(zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), tensors, strict=False))
            hx = tensors[4:] if name == "lstm" else tensors[4]
            return torch.func.functional_call(cell, values, (x, hx))

        inputs = (x, *cell.parameters(), *flat(state))
        assert torch.autograd.gradcheck(run, inputs) and torch.autograd.gradgradcheck(run, inputs)
    results = []
    for cell in (ours, theirs):
        y = flat(loop(cell, x.expand(2, 2, 2), state)[1])[0]
        (d_x,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        every = (x, *flat(state), *cell.parameters())
        second = torch.autograd.grad(d_x.sin().sum(), every, retain_graph=True)
        (batched,) = torch.autograd.grad(y, x, torch.eye(2 * H).double().view(-1, 2, H)[:4], is_grads_batched=True)
        results.append([d_x, *second, batched])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_only_the_gradients_that_are_asked_for() -> None:
    ours, theirs = pair("lstm", 3, 5)
    x, state = torch.randn(2, 3, requires_grad=True), draw_state("lstm", 2, 5)
    for cell in (ours, theirs):
        cell.weight_hh.requires_grad_(False)
        cell.bias_ih.requires_grad_(False)
    ours_c, its_c = (cell(x, state)[1] for cell in (ours, theirs))  # the output itself has no gradient
    ours_c.sum().backward()
    (expected,) = torch.autograd.grad(its_c.sum(), x, retain_graph=True)
    close(x.grad, expected)
    its_c.sum().backward()
    assert ours.weight_hh.grad is None and ours.bias_ih.grad is None
    close(ours.weight_ih.grad, theirs.weight_ih.grad)
    h, _ = ours(x, state)
    h.mul_(2)  # the output may change in place, as torch's may
    h.sum().backward()
    frozen = ours.requires_grad_(False)
    assert not any(s.requires_grad for s in frozen(x.detach(), state))


@ALL
@pytest.mark.parametrize(
    "call",
    [
        lambda cell, x, hx: cell(x[None], hx),
        lambda cell, x, hx: cell(x[:, :2], hx),
        lambda cell, x, hx: cell(x[:1], hx),
        lambda cell, x, hx: cell(x, [s[:, :4] for s in hx] if isinstance(hx, tuple) else hx[:, :4]),
        lambda cell, x, hx: cell(x.double(), hx),
        lambda cell, x, hx: cell(x, hx[0]),
        lambda cell, x, hx: cell(x, (hx, hx, hx)),
        lambda cell, x, hx: cell(None),
        lambda cell, x, hx: cell(x, 3),
    ],
)
def test_errors_are_torchs(name: str, call: Any) -> None:
    ours, theirs = pair(name, 3, 5)
    x, state = torch.randn(2, 3), draw_state(name, 2, 5)
    for enabled in (True, False):
        with torch.set_grad_enabled(enabled):
            outcomes = []
            for cell in (ours, theirs):
                cell(x, state)
                try:
                    outcomes.append([s.shape for s in flat(call(cell, x, state))])
                except Exception as error:
                    outcomes.append([type(error), str(error).split("\n")[0]])
            assert outcomes[0] == outcomes[1]


@ALL
def test_autocast_goes_to_torchs_operator(name: str) -> None:
    ours, theirs = pair(name, 3, 5)
    x, state = torch.randn(2, 3), draw_state(name, 2, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert runs_on(ours, x, state) == "torch"
        for a, b in zip(flat(ours(x, state)), flat(theirs(x, state)), strict=True):
            assert a.dtype == b.dtype and torch.equal(a, b)


@ALL
@pytest.mark.filterwarnings("ignore:There is a performance drop", "ignore:.*torch.jit.* is deprecated")
def test_transforms_and_traces(name: str) -> None:
    ours, theirs = pair(name, 3, 5)
    x, state = torch.randn(2, 3), draw_state(name, 2, 5)
    if name != "lstm":  # torch has no rule for its cell
        close(torch.vmap(ours)(x, state), torch.vmap(theirs)(x, state))
    grads = [
        torch.func.grad(lambda p, cell=cell: flat(torch.func.functional_call(cell, p, (x, state)))[0].sum())(
            dict(cell.named_parameters())
        )["weight_hh"]
        for cell in (ours, theirs)
    ]
    close(*grads)
    close(torch.jit.trace(ours, (x, state), check_trace=False)(x, state), theirs(x, state))
    graph = torch.fx.symbolic_trace(nn.Sequential(ours))
    assert any(node.op == "call_module" and node.target == "0" for node in graph.graph.nodes)
    close(graph(x), theirs(x))
    compiled = torch.compile(ours, backend="eager", fullgraph=True)
    close(compiled(x, state), theirs(x, state))
    with pytest.warns(UserWarning, match="puts torch.nn's cell"):
        scripted = torch.jit.script(nn.Sequential(ours))
    close(scripted(x), theirs(x))


@ALL
@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
def test_copies(name: str, how: str) -> None:
    cell, theirs = pair(name, 3, 5)
    x, state = torch.randn(2, 3), draw_state(name, 2, 5)
    with torch.no_grad():
        cell(x, state)
    if how == "deepcopy":
        other = copy.deepcopy(cell)
    elif how == "pickle":
        other = pickle.loads(pickle.dumps(cell))
    else:
        file = io.BytesIO()
        torch.save(cell, file)
        file.seek(0)
        other = torch.load(file, weights_only=False)
    assert type(other) is type(cell)
    with torch.no_grad():
        cell.weight_hh.zero_()
        close(other(x, state), theirs(x, state))
    theirs.load_state_dict(cell.state_dict())
    other.load_state_dict(theirs.state_dict())
    close(other(x, state), theirs(x, state))


class Decoder(nn.Module):
    """A program's own loop, with a subclass, a list and a bound method."""

    class Gated(nn.GRUCell):
        def zeros(self, B: int) -> Tensor:
            return torch.zeros(B, self.hidden_size)

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.gru, self.listed = nn.LSTMCell(3, 4), self.Gated(4, 5), [nn.RNNCell(5, 4, nonlinearity="relu")]
        self.run = self.gru.forward

    def forward(self, x_TBI: Tensor) -> Tensor:
        state, h = None, self.gru.zeros(x_TBI.shape[1])
        for x_BI in x_TBI:
            state = self.lstm(x_BI, state)
            h = self.run(state[0], h)
        return self.listed[0](h)


def test_accelerate_swaps_cells_and_decelerate_undoes_it() -> None:
    model, x = Decoder(), torch.randn(3, 2, 3)
    before, names, classes = model(x), set(vars(model.gru)), [type(m) for m in model.modules()]
    report = elman.accelerate(model)
    assert list(report.swapped) == ["listed[0]", "run (a method)", "lstm", "gru"] and not report.kept
    assert isinstance(model.lstm, elman.LSTMCell) and isinstance(model.gru, Decoder.Gated)
    assert isinstance(model.gru, elman.GRUCell) and type(model.gru) == Decoder.Gated  # noqa: E721
    assert "lstm: now elman's LSTMCell(3, 4)" in str(report)
    with elman.strict():
        close(model(x), before)
        with torch.no_grad():
            close(model(x), before.detach())
    copied = pickle.loads(pickle.dumps(model.lstm))
    assert type(copied) is type(model.lstm)
    assert str(elman.accelerate(model.lstm)) == "the model: left alone, it is elman's already"
    assert "run (a method)" in elman.decelerate(model).swapped
    assert [type(m) for m in model.modules()] == classes and set(vars(model.gru)) == names
    assert torch.equal(model(x), before)


def test_cells_that_are_left_alone() -> None:
    class Forward(nn.GRUCell):
        def forward(self, input, hx=None):  # type: ignore[no-untyped-def]
            return super().forward(2 * input, hx)

    class Taken(nn.GRUCell):
        def steps(self) -> None:
            pass

    class Own(elman.GRUCell):
        pass

    patched = nn.GRUCell(3, 4)
    patched.forward = lambda x: x  # type: ignore[method-assign]
    cells = {
        "a forward of its own": Forward(3, 4),
        "(steps)": Taken(3, 4),
        "its forward was replaced": patched,
        "parametrizations": nn.utils.parametrizations.weight_norm(nn.LSTMCell(3, 4), "weight_hh"),
        "no engine runs it": nn.LSTMCell(3, 4, dtype=torch.bfloat16),
        "none of torch.nn's": nn.RNNCellBase(3, 4, True, 1),
    }
    classes = [type(cell) for cell in cells.values()]
    report = elman.accelerate(nn.ModuleList(cells.values()))
    assert not report.swapped and [type(cell) for cell in cells.values()] == classes
    for why, message in zip(cells, report.kept.values(), strict=True):
        assert why in message
    report = elman.decelerate(nn.ModuleList([Own(3, 4), nn.GRUCell(3, 4)]))
    assert ["a class that torch.nn does not have" in why for why in report.kept.values()] == [True, False]


def test_computed_weights() -> None:
    cells = pair("gru", 3, 5)
    x, state = torch.randn(2, 3), draw_state("gru", 2, 5)
    for parametrize in (nn.utils.parametrizations.weight_norm, nn.utils.weight_norm):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours, theirs = (parametrize(copy.deepcopy(cell), "weight_hh") for cell in cells)
        for _ in range(2):
            with torch.no_grad():
                close(ours(x, state), theirs(x, state))
            for cell in (ours, theirs):
                cell(x, state).sum().backward()
                torch.optim.SGD(cell.parameters(), 1.0).step()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            close(a.detach(), b.detach())


def test_explain_and_strict_name_what_runs() -> None:
    small, large = elman.RNNCell(3, 4), elman.LSTMCell(520, 520)
    assert elman.explain(small, torch.zeros(2, 3)).choices["step"] == (
        "torch",
        {},
        "which is quicker here than any kernel",
    )
    assert "step: runs on torch's own operator, which is quicker" in str(elman.explain(small, torch.zeros(2, 3)))
    assert runs_on(large, torch.zeros(1, 520)) == "torch" and runs_on(large, torch.zeros(2, 520)) == "cpu"
    with torch.no_grad():
        assert runs_on(small, torch.zeros(2, 3)) == runs_on(large, torch.zeros(2, 520)) == "cpu"
        assert runs_on(large, torch.zeros(1, 520)) == "torch"  # the weights would be read twice
        with elman.frozen_weights():
            assert runs_on(large, torch.zeros(1, 520)) == "cpu"
    half = elman.GRUCell(3, 4, dtype=torch.bfloat16)
    with elman.strict():
        small(torch.zeros(2, 3))
        with pytest.raises(SlowPathError, match="not all float32"):
            half(torch.zeros(2, 3, dtype=torch.bfloat16))


def test_an_unknown_nonlinearity_is_torchs_error() -> None:
    cell = elman.RNNCell(3, 4, nonlinearity="gelu")
    for enabled in (True, False):
        with torch.set_grad_enabled(enabled), pytest.raises(RuntimeError, match="Unknown nonlinearity: gelu"):
            cell(torch.zeros(2, 3))
