"""What stays on the fast kernel, with every option combined, what does not and why; and that either is right."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import elman
from elman.errors import ShapeError
from elman.kernels import eager
from elman.kernels.cpu import passes
from elman.layers.lstm import LSTMEquations
from elman.testing import TOLERANCE

SIZES = st.sampled_from([1, 2, 3, 5, 8, 13, 17, 33])


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["tanh", "relu", "sigmoid", "identity", "GRU", "LSTM"]))
    return {
        "kind": kind,
        "T": draw(st.sampled_from([0, 1, 2, 7, 20])),
        "B": draw(st.sampled_from([1, 2, 9])),
        "I": draw(SIZES),
        "H": draw(SIZES),
        "layers": draw(st.integers(1, 3)),
        "bidirectional": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "bias": draw(st.booleans()),
        "learned": draw(st.booleans()),
        "given": draw(st.booleans()),
        "resets": draw(st.booleans()),
        "lengths": draw(st.sampled_from(["none", "lengths", "packed"])),
        "double": draw(st.booleans()),
        "grad": draw(st.booleans()),
        "seed": draw(st.integers(0, 99)),
    }


def make(case: dict[str, Any]) -> tuple[Any, Tensor, Any, dict[str, Any]]:
    """Return a layer, an input, a state and the options of the call."""
    torch.manual_seed(case["seed"])
    options: dict[str, Any] = {
        "num_layers": case["layers"],
        "bidirectional": case["bidirectional"],
        "batch_first": case["batch_first"],
        "bias": case["bias"],
        "learn_initial_state": case["learned"],
        "dtype": torch.float64 if case["double"] else torch.float32,
    }
    f = case["kind"]
    cls = getattr(elman, f, elman.RNN)
    layer = cls(case["I"], case["H"], **options, **({"nonlinearity": f} if cls is elman.RNN else {}))
    T, B = case["T"], case["B"]
    shape = (B, T) if case["batch_first"] else (T, B)
    x = torch.randn(*shape, case["I"], dtype=options["dtype"])
    rows = case["layers"] * (2 if case["bidirectional"] else 1)
    hx: Any = None
    if case["given"]:
        states = tuple(torch.randn(rows, B, case["H"], dtype=options["dtype"]) for _ in layer.cell.states)
        hx = states if len(states) > 1 else states[0]
    call: dict[str, Any] = {}
    packed = case["lengths"] == "packed" and T > 0
    if packed:
        lengths = torch.randint(1, T + 1, (B,))
        return layer, pack_padded_sequence(x, lengths, case["batch_first"], enforce_sorted=False), hx, call  # type: ignore[return-value]
    if case["lengths"] == "lengths":
        call["lengths"] = torch.randint(0, T + 1, (B,))
    if case["resets"]:
        call["resets"] = torch.rand(*shape) < 0.3
    return layer, x, hx, call


def results(layer: Any, x: Any, hx: Any, call: dict[str, Any], grad: bool) -> list[Tensor]:
    """Return output, states, and the gradients of whatever has one."""
    with torch.set_grad_enabled(grad):
        y, state = layer(x, hx, **call)
    if not isinstance(y, Tensor):
        y = pad_packed_sequence(y, layer.batch_first)[0]
    found = [y, *((state,) if isinstance(state, Tensor) else state)]
    if not grad:
        return found
    total = torch.stack([(t * torch.cos(torch.arange(t.numel(), dtype=t.dtype)).view_as(t)).sum() for t in found]).sum()
    leaves = list(layer.parameters())
    if not total.requires_grad:  # without a step the eager kernel's results have no past
        return found + [torch.zeros_like(leaf) for leaf in leaves]
    return found + list(torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True))


@settings(max_examples=120, deadline=None)
@given(cases())
def test_every_combination_runs_on_the_fast_kernel_and_is_right(case: dict[str, Any]) -> None:
    layer, x, hx, call = make(case)
    choices = elman.explain(layer, x, hx, **call).choices
    assert {c.name for c in choices.values()} == {"cpu"}
    assert all(c.refusals == {"triton": "the input is not on a GPU"} for c in choices.values())
    with elman.strict():
        found = results(layer, x, hx, call, case["grad"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("elman.kernels.dispatch.KERNELS", {"eager": eager})
        wanted = results(layer, x, hx, call, case["grad"])
    for f, w in zip(found, wanted, strict=True):
        assert f.shape == w.shape and f.dtype == w.dtype
        if f.numel():
            scale = max(1.0, w.abs().max().item())
            assert (f - w).abs().max().item() <= TOLERANCE[w.dtype] * scale


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_more_than_65535_steps(kind: str) -> None:
    """Against torch.nn, and as explain says on the fast kernel, with gradients."""
    torch.manual_seed(0)
    T = 70_001
    layer, theirs = (getattr(of, kind)(1, 3, dtype=torch.float64) for of in (elman, torch.nn))
    theirs.load_state_dict(layer.state_dict())
    x = torch.randn(T, 1, 1, dtype=torch.float64)
    assert {c.name for c in elman.explain(layer, x).choices.values()} == {"cpu"}
    y = layer(x)[0]
    y[-500:].sum().backward()
    with torch.no_grad():
        wanted = theirs(x)[0]
    assert (y - wanted).abs().max() <= TOLERANCE[torch.float64]
    # What reaches the last steps comes from the steps shortly before: the same gradient from the end alone.
    tail, before = x[-2000:], layer(x[:-2000])[1]
    before = tuple(b.detach() for b in before) if isinstance(before, tuple) else before.detach()
    theirs(tail, before)[0][-500:].sum().backward()
    for ours, their in zip(layer.parameters(), theirs.parameters(), strict=True):
        assert (ours.grad - their.grad).abs().max() <= 1e-9 * their.grad.abs().max()


class Doubling(LSTMEquations):
    """A cell of a user's own."""

    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: Any) -> Any:
        h, c = super().step(gx_BGH, gh_BGH, state)
        return h, 2 * c


def names(layer: Any, x: Tensor) -> tuple[str, str]:
    """Return the kernel that explain names, and why not the fast one."""
    (choice,) = elman.explain(layer, x).choices.values()
    return choice.name, choice.refusals.get("cpu", "")


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # torch has no fast way either
def test_what_cannot_be_fast_is_torchs_or_eager_and_explained() -> None:
    x = torch.randn(5, 2, 3)
    own, projected = elman.Recurrent(Doubling(), 3, 4), elman.LSTM(3, 4, proj_size=2)
    assert names(own, x) == ("eager", calls_of("Doubling"))
    assert names(projected, x) == ("torch", "the LSTM has a projection (proj_size)")
    theirs = torch.nn.LSTM(3, 4, proj_size=2)
    theirs.load_state_dict(projected.state_dict())
    torch.testing.assert_close(projected(x)[0], theirs(x)[0])
    for layer, slower in ((own, "the kernel 'eager'"), (projected, "torch's own operator")):
        with elman.strict(), pytest.raises(elman.ElmanError, match=f"strict: {slower} would run"):
            layer(x)


def calls_of(name: str) -> str:
    return f"the cell {name} is not one of those it was written for: {', '.join(passes.KINDS)}"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of torch.jit
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_forward_mode_and_double_backward(kind: str) -> None:
    """Forward mode is refused and right; double backward runs forward on the fast kernel and twice back on eager."""
    torch.manual_seed(0)
    layer = getattr(elman, kind)(3, 4, dtype=torch.float64)
    x, v = torch.randn(2, 5, 2, 3, dtype=torch.float64)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, v)
        assert names(layer, dual) == ("eager", "forward-mode differentiation is asked for")
        tangent = forward_ad.unpack_dual(layer(dual)[0]).tangent
    step = 1e-6
    with torch.no_grad():
        assert names(layer, x)[0] == "cpu"
        slope = (layer(x + step * v)[0] - layer(x - step * v)[0]) / (2 * step)
    torch.testing.assert_close(tangent, slope, rtol=1e-6, atol=1e-8)
    x.requires_grad_()
    (first,) = torch.autograd.grad(layer(x)[0].square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad((first * v).sum(), x)

    def gradient(x: Tensor) -> Tensor:
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(layer(leaf)[0].square().sum(), leaf)[0]

    torch.testing.assert_close(
        second, (gradient(x + step * v) - gradient(x - step * v)) / (2 * step), rtol=1e-5, atol=1e-7
    )


def test_explain_of_a_packed_sequence_answers_for_its_padded_tensor() -> None:
    layer = elman.GRU(3, 4, 2, batch_first=True)
    packed = pack_padded_sequence(torch.randn(2, 5, 3), [5, 2], batch_first=True)
    assert {c.name for c in elman.explain(layer, packed).choices.values()} == {"cpu"}
    with pytest.raises(ShapeError, match="brings its own lengths"):
        elman.explain(layer, packed, lengths=[5, 2])
