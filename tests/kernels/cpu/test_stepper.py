"""Steps of a stack of layers in one call: the bits of the whole run, states that stay, and the other ways."""

from __future__ import annotations

import copy
import gc
import pickle
import resource
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils import parametrizations

import elman
from elman.errors import ShapeError
from elman.layers import recurrent
from elman.layers.lstm import LSTMEquations

KINDS: dict[str, Callable[..., Any]] = {
    "tanh": elman.RNN,
    "relu": lambda *a, **k: elman.RNN(*a, nonlinearity="relu", **k),
    "gru": elman.GRU,
    "lstm": elman.LSTM,
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Callable[..., Any]:
    torch.manual_seed(0)
    return KINDS[request.param]


def states(hx: Any) -> tuple[Tensor, ...]:
    return (hx,) if isinstance(hx, Tensor) else tuple(hx)


def equal(a: tuple[Tensor, Any], b: tuple[Tensor, Any]) -> bool:
    pairs = zip((a[0], *states(a[1])), (b[0], *states(b[1])), strict=True)
    return all(torch.equal(p, q) for p, q in pairs)


def stream(layer: Any, x_TBI: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
    outputs = []
    for x in x_TBI:
        y, hx = layer.step(x, hx)
        outputs.append(y)
    return torch.stack(outputs), hx


@pytest.fixture
def no_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on a step that is not one call is an error."""

    def refuse(*_: Any) -> None:
        raise AssertionError("the step went the long way")

    monkeypatch.setattr(recurrent, "step", refuse)


def ready(layer: Any, x: Tensor) -> Any:
    """Return the state after a first step, after which the layer is prepared."""
    with torch.no_grad():
        return layer.step(x)[1]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [(1, 1, 1), (3, 5, 17), (40, 33, 20), (2, 64, 128)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_gives_the_bits_of_the_whole_run(
    kind: Any, size: tuple[int, int, int], threads: int, dtype: torch.dtype
) -> None:
    B, I, H = size
    torch.set_num_threads(threads)
    layer = kind(I, H, num_layers=3, bias=H != 17, dtype=dtype)
    x_TBI = torch.randn(6, B, I, dtype=dtype)
    with torch.no_grad():
        whole = layer(x_TBI)
        assert equal(stream(layer, x_TBI), whole)
        row = B // 2
        alone = stream(layer, x_TBI[:, row : row + 1])
        assert equal(alone, (whole[0][:, row : row + 1], tuple(s[:, row : row + 1] for s in states(whole[1]))))
        single = stream(layer, x_TBI[:, row])
        assert equal(single, (whole[0][:, row], tuple(s[:, row] for s in states(whole[1]))))


def test_it_is_one_call_after_the_first(kind: Any, monkeypatch: pytest.MonkeyPatch, request: Any) -> None:
    layer, x = kind(4, 6, num_layers=2), torch.randn(3, 4)
    hx = ready(layer, x)
    request.getfixturevalue("no_long_way")
    with torch.no_grad():
        layer.step(x, hx)
        layer.step(torch.randn(4, 3).t()[:, :4].contiguous(), hx)
        layer.step(torch.randn(3, 2, 4)[:, 1], hx)  # a step of a batch that lies sequence by sequence
        layer.step(x[0], tuple(s[:, 0].contiguous() for s in hx) if isinstance(hx, tuple) else hx[:, 0].contiguous())
    with torch.inference_mode():
        y, after = layer.step(x, hx)
        layer.step(x, after)
    assert not y.requires_grad


def test_states_stay_as_they_were_returned(kind: Any) -> None:
    layer, x_TBI = kind(4, 6, num_layers=2), torch.randn(8, 3, 4)
    hx, seen = None, []
    with torch.no_grad():
        for x in x_TBI:
            y, hx = layer.step(x, hx)
            tensors = (y, *states(hx))
            seen += [(t, t.clone()) for t in tensors]
    assert all(torch.equal(t, then) for t, then in seen)
    assert len({t.untyped_storage().data_ptr() for t, _ in seen}) == len(seen)
    before = [s.clone() for s in states(hx)]
    y.add_(1)  # the output is the caller's, to do with as he likes
    assert all(torch.equal(s, b) for s, b in zip(states(hx), before, strict=True))


def test_returned_tensors_are_ordinary() -> None:
    layer, x = elman.LSTM(4, 6), torch.randn(3, 4)
    hx = ready(layer, x)
    with torch.no_grad():
        y, after = layer.step(x, hx)
    assert type(y) is Tensor and type(after) is type(hx)
    assert y.is_contiguous() and not y.requires_grad and y.is_leaf
    h, c = after
    assert torch.equal(pickle.loads(pickle.dumps(c)), c)
    h.requires_grad_()
    (h * 2).sum().backward()
    assert torch.equal(h.grad, torch.full_like(h, 2))


CHANGES: dict[str, Callable[[Any], Any]] = {
    "in place": lambda layer: layer.weight_hh_l1.mul_(0.5),
    "through data": lambda layer: layer.weight_ih_l0.data.mul_(0.5),
    "new memory": lambda layer: setattr(layer.bias_hh_l1, "data", layer.bias_hh_l1 + 1),
    "new parameter": lambda layer: setattr(layer, "bias_ih_l0", nn.Parameter(layer.bias_ih_l0 + 1)),
    "deleted and put back": lambda layer: layer.register_parameter("bias_ih_l0", nn.Parameter(torch.ones(24))),
    "a state dict": lambda layer: layer.load_state_dict({k: v * 0.5 for k, v in layer.state_dict().items()}),
    "drawn anew": lambda layer: layer.reset_parameters(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_weights_are_seen(change: str) -> None:
    torch.manual_seed(0)
    layer, x = elman.LSTM(4, 6, num_layers=2), torch.randn(3, 4)
    hx = ready(layer, x)
    with torch.no_grad():
        before = layer.step(x, hx)
        CHANGES[change](layer)
        after = layer.step(x, hx)
        assert not equal(after, before)
        assert equal(after, copy.deepcopy(layer).step(x, hx))
        assert equal(layer.step(x, hx), after)


def test_another_type_of_number() -> None:
    layer, x = elman.GRU(4, 6), torch.randn(3, 4)
    hx = ready(layer, x)
    layer.double()
    with torch.no_grad():
        assert layer.step(x.double(), hx.double())[0].dtype == torch.float64
        with pytest.raises(ShapeError, match="RNN input dtype"):
            layer.step(x, hx)


def test_copies_begin_anew() -> None:
    layer, x = elman.GRU(4, 6), torch.randn(3, 4)
    hx = ready(layer, x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), copy.copy(layer)):
        with torch.no_grad():
            assert equal(twin.step(x, hx), layer.step(x, hx))


@pytest.mark.usefixtures("no_long_way")
def test_gradients_take_the_long_way() -> None:
    with pytest.raises(AssertionError, match="the long way"):
        elman.GRU(4, 6).step(torch.randn(3, 4), torch.zeros(1, 3, 6))


class Tagged(Tensor):
    """A subclass that does nothing."""


MODES: dict[str, Callable[[Any, Tensor, Any], Any]] = {
    "autocast": lambda layer, x, hx: _within(torch.autocast("cpu", torch.bfloat16), layer, x, hx),
    "forward mode": lambda layer, x, hx: _within(forward_ad.dual_level(), layer, x, hx),
    "a function mode": lambda layer, x, hx: _within(torch.device("cpu"), layer, x, hx),
    "a subclass": lambda layer, x, hx: layer.step(x.as_subclass(Tagged), hx),
    "a state by other strides": lambda layer, x, hx: layer.step(x, hx.transpose(1, 2).contiguous().transpose(1, 2)),
    "a transform": lambda layer, x, hx: torch.func.vmap(lambda row: layer.step(row, hx[:, 0]))(x),
    "no state": lambda layer, x, hx: layer.step(x),
    "learning": lambda layer, x, hx: torch.enable_grad()(layer.step)(x, hx),
}


def _within(mode: Any, layer: Any, x: Tensor, hx: Any) -> Any:
    with mode:
        return layer.step(x, hx)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.func's own, of torch.jit
@pytest.mark.parametrize("mode", MODES)
def test_whatever_else_goes_on_takes_the_long_way(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = elman.GRU(4, 6), torch.randn(3, 4)
    ready(layer, x)
    hx = torch.zeros(1, 3, 6)
    taken = []
    long_way = recurrent.step
    monkeypatch.setattr(recurrent, "step", lambda *a: (taken.append(1), long_way(*a))[1])
    with torch.no_grad():
        y, _ = MODES[mode](layer, x, hx)
        assert taken
        torch.testing.assert_close(y.float(), layer(x[None])[0][0], rtol=0.02, atol=0.02)  # bfloat16 under autocast


def test_a_step_compiles_whole() -> None:
    torch._dynamo.reset()
    layer, x, hx = elman.GRU(4, 6), torch.randn(3, 4), torch.zeros(1, 3, 6)
    ready(layer, x)
    compiled = torch.compile(layer.step, fullgraph=True, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x, hx)[0], layer.step(x, hx)[0])


def test_computed_weights_and_weights_without_versions() -> None:
    x = torch.randn(3, 4)
    layer = elman.GRU(4, 6)
    parametrizations.weight_norm(layer, "weight_hh_l0")
    with torch.inference_mode():
        unversioned = elman.GRU(4, 6)
    for one in (layer, unversioned):
        hx = ready(one, x)
        with torch.no_grad():
            assert equal(one.step(x, hx), (one(x[None], hx)[0][0], one(x[None], hx)[1]))
            for weight in one.parameters():
                with torch.inference_mode():
                    weight.mul_(0.5)
            assert equal(one.step(x, hx), (one(x[None], hx)[0][0], one(x[None], hx)[1]))


def test_a_cell_of_ones_own_and_a_projection() -> None:
    class Mine(LSTMEquations):
        def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: Any) -> Any:
            return tuple(2 * s for s in super().step(gx_BGH, gh_BGH, state))

    x = torch.randn(3, 4)
    for layer in (elman.Recurrent(Mine(), 4, 6), elman.LSTM(4, 6, proj_size=2)):
        hx = ready(layer, x)
        with torch.no_grad():
            y, _ = layer.step(x, hx)
            torch.testing.assert_close(y, layer(x[None], hx)[0][0])


def test_dropout_between_layers_is_drawn_while_training() -> None:
    layer, x = elman.GRU(4, 60, num_layers=2, dropout=0.5), torch.randn(3, 4)
    hx = ready(layer.eval(), x)
    with torch.no_grad():
        calm = layer.step(x, hx)
        layer.train()
        assert not equal(layer.step(x, hx), calm)
        assert equal(layer.eval().step(x, hx), calm)


@pytest.mark.parametrize(
    ("message", "bad"),
    [
        ("input", lambda x, hx: (x[:, :3], hx)),
        ("wrong shape", lambda x, hx: (x[None], hx)),
        ("RNN input dtype", lambda x, hx: (x.double(), hx)),
        (r"RNN hx \(h\) dtype", lambda x, hx: (x, tuple(s.double() for s in hx))),
        (r"Expected hidden\[0\] size", lambda x, hx: (x[:2], hx)),
        (r"Expected hidden\[1\] size", lambda x, hx: (x, (hx[0], hx[1][:, :, :5]))),
        ("not a state of this layer", lambda x, hx: (x, hx[0])),
        ("not a state of this layer", lambda x, hx: (x, (*hx, hx[0]))),
        ("not a state of this layer", lambda x, hx: (x, (hx[0], None))),
    ],
)
def test_mistakes_are_told_after_as_before(message: str, bad: Callable[..., Any]) -> None:
    layer, x = elman.LSTM(4, 6, num_layers=2), torch.randn(3, 4)
    hx = ready(layer, x)
    told = []
    for one in (layer, copy.deepcopy(layer)):
        with torch.no_grad(), pytest.raises(ShapeError, match=message) as error:
            one.step(*bad(x, hx))
        told.append(str(error.value))
    assert told[0] == told[1]


def test_an_empty_batch() -> None:
    layer = elman.LSTM(4, 6, num_layers=2)
    ready(layer, torch.randn(3, 4))
    with torch.no_grad():
        y, (h, c) = layer.step(torch.zeros(0, 4), (torch.zeros(2, 0, 6),) * 2)
    assert y.shape == (0, 6) and h.shape == c.shape == (2, 0, 6)


def test_a_layer_that_its_own_parameter_holds_goes_all_the_same() -> None:
    layer, x = elman.GRU(4, 6), torch.randn(3, 4)
    ready(layer, x)
    layer.weight_hh_l0.register_hook(lambda grad, layer=layer: grad)
    gone = weakref.ref(layer)
    del layer
    gc.collect()
    assert gone() is None


def test_from_several_threads_at_once() -> None:
    layer, x_TBI = elman.LSTM(8, 20, num_layers=2), torch.randn(200, 2, 8)

    def run(_: int) -> tuple[Tensor, Any]:
        with torch.no_grad():
            return stream(layer, x_TBI)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, range(8)))
    with torch.no_grad():
        whole = layer(x_TBI)
    assert all(equal(r, whole) for r in results)


def test_a_stream_takes_no_more_memory_the_longer_it_runs() -> None:
    """A step that kept a state of its own would keep 20 MB of these (benchmarks/speed/streaming.py: a million)."""
    layer, x_TBI = elman.LSTM(8, 64, num_layers=2), torch.randn(5000, 1, 8)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    with torch.no_grad():
        whole, last = layer(x_TBI)
        hx, before = ready(layer, x_TBI[0]), 0
        for round_ in range(5):
            y, hx = layer.step(x_TBI[0])
            for t, x in enumerate(x_TBI[1:], 1):
                y, hx = layer.step(x, hx)
                assert t % 500 or torch.equal(y, whole[t])
            before = resident() if round_ == 0 else before
        assert equal((y, hx), (whole[-1], last))
    assert resident() - before < 2e6
