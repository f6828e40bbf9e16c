"""The Elman network: autograd, central differences and untied copies of the weights as judges."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from elman.errors import DataError, SettingError, ShapeError
from elman.reference import network
from elman.reference.activations import ACTIVATIONS
from elman.reference.network import Network
from elman.reference.output import OUTPUT_LOSSES

F = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid, "identity": lambda a: a}
G = {"softmax": lambda a: a.softmax(-1), "sigmoid": torch.sigmoid, "identity": lambda a: a}
PARAMETERS = ("U_HI", "W_HH", "V_VH", "b_H", "c_V")


def torch_error(error, a, o, y):
    """E of one step or of all."""
    if error == "cross-entropy":
        return functional.cross_entropy(a.flatten(0, -2), y.flatten(0, -2), reduction="sum")
    if error == "binary cross-entropy":
        return functional.binary_cross_entropy_with_logits(a, y, reduction="sum")
    return 0.5 * functional.mse_loss(o, y, reduction="sum")


@dataclasses.dataclass
class Case:
    net: Network
    x: np.ndarray
    s0: np.ndarray
    y: np.ndarray


def make(T=4, B=2, I=3, H=4, V=3, f="tanh", pair=("softmax", "cross-entropy"), bias=True, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.random((T, B, V))
    net = Network(
        rng.normal(size=(H, I)),
        rng.normal(size=(H, H)) / np.sqrt(H),
        rng.normal(size=(V, H)),
        rng.normal(size=H) if bias else None,
        rng.normal(size=V) if bias else None,
        f,
        *pair,
    )
    return Case(net, rng.normal(size=(T, B, I)), rng.normal(size=(B, H)), y / y.sum(-1, keepdims=True))


@st.composite
def cases(draw):
    size = st.integers(1, 4)
    return make(
        T=draw(st.integers(0, 5)),
        B=draw(st.integers(1, 3)),
        I=draw(size),
        H=draw(size),
        V=draw(size),
        f=draw(st.sampled_from(sorted(ACTIVATIONS))),
        pair=draw(st.sampled_from(sorted(OUTPUT_LOSSES))),
        bias=draw(st.booleans()),
        seed=draw(st.integers(0, 2**31)),
    )


def leaf(array):
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def torch_steps(case, copies):
    """Run the network in torch with its own copy of the weights at every step; return each s_t and each E_t."""
    net = case.net
    V, c = leaf(net.V_VH), leaf(np.zeros(len(net.V_VH)) if net.c_V is None else net.c_V)
    s, x, y = leaf(case.s0), leaf(case.x), torch.tensor(case.y)
    states, steps = [s], []
    for t, (U, W, b) in enumerate(copies):
        s = F[net.f](functional.linear(x[t], U, b) + functional.linear(s, W))
        a = functional.linear(s, V, c)
        states.append(s)
        steps.append(torch_error(net.error, a, G[net.g](a), y[t]))
    return x, V, c, states, steps


def tied(case):
    net = case.net
    one = leaf(net.U_HI), leaf(net.W_HH), leaf(np.zeros(len(net.U_HI)) if net.b_H is None else net.b_H)
    return one, [one] * len(case.x)


@settings(deadline=None, max_examples=150)
@given(case=cases())
def test_bptt_equals_autograd(case, close):
    run = network.forward(case.net, case.x, case.s0)
    E_TB = network.errors(case.net, run, case.y)
    grads = network.bptt(case.net, run, case.y)

    (U, W, b), copies = tied(case)
    x, V, c, states, steps = torch_steps(case, copies)
    E = sum(steps, start=0.0 * sum(p.sum() for p in (U, W, b, x, V, c, states[0])))
    wanted = torch.autograd.grad(E, (U, W, V, b, c, x, states[0]))
    close("same equations", E_TB.sum(axis=1), [step.item() for step in steps])
    if len(case.x):
        close("same equations", run.s_TBH, torch.stack(states[1:]).detach())
    for name, got, want in zip(grads._fields, grads, wanted, strict=True):
        if getattr(case.net, name, 0) is None:
            assert got is None
        else:
            close("same equations", got, want)


@settings(deadline=None, max_examples=100)
@given(case=cases())
def test_contributions_sum_to_the_total(case, close):
    run = network.forward(case.net, case.x, case.s0)
    grads = network.bptt(case.net, run, case.y)
    pairs = network.contributions(case.net, run, case.y)
    for got, total in ((pairs.U_TTHI, grads.U_HI), (pairs.W_TTHH, grads.W_HH)):
        close("same sum", got.sum(axis=(0, 1)), total, scale=np.abs(got).sum(axis=(0, 1)).max(initial=0.0))


@pytest.mark.parametrize("pair", OUTPUT_LOSSES)
@pytest.mark.parametrize("f", ACTIVATIONS)
def test_each_contribution_equals_autograd_of_an_untied_copy(f, pair, close):
    case = make(f=f, pair=pair)
    T = len(case.x)
    copies = [tied(case)[0] for _ in range(T)]
    *_, steps = torch_steps(case, copies)
    run = network.forward(case.net, case.x, case.s0)
    pairs = network.contributions(case.net, run, case.y)
    for t in range(T):
        for k in range(T):
            if k > t:
                assert not pairs.U_TTHI[t, k].any()
                assert not pairs.W_TTHH[t, k].any()
                continue
            d_U, d_W = torch.autograd.grad(steps[t], copies[k][:2], retain_graph=True)
            close("same equations", pairs.U_TTHI[t, k], d_U)
            close("same equations", pairs.W_TTHH[t, k], d_W)


@pytest.mark.parametrize("f", ACTIVATIONS)
def test_jacobians_equal_autograd(f, close):
    case = make(f=f)
    run = network.forward(case.net, case.x, case.s0)
    J = network.jacobians(case.net, run)
    U, W, b = (torch.tensor(p) for p in (case.net.U_HI, case.net.W_HH, case.net.b_H))
    for t in range(len(case.x)):
        for i in range(case.x.shape[1]):
            x = torch.tensor(case.x[t, i])
            want = torch.autograd.functional.jacobian(
                lambda s, x=x: F[f](U @ x + W @ s + b), torch.tensor(run.past_TBH[t, i])
            )
            close("same equations", J[t, i], want)


@pytest.mark.parametrize("pair", OUTPUT_LOSSES)
@pytest.mark.parametrize("f", ["tanh", "sigmoid", "identity"])
def test_bptt_equals_central_differences(f, pair, close):
    case = make(T=3, H=3, f=f, pair=pair)
    grads = network.bptt(case.net, network.forward(case.net, case.x, case.s0), case.y)

    def E(**changed):
        net = dataclasses.replace(case.net, **{k: v for k, v in changed.items() if k in PARAMETERS})
        run = network.forward(net, changed.get("x_TBI", case.x), changed.get("s0_BH", case.s0))
        return network.errors(net, run, case.y).sum()

    for name, got in grads._asdict().items():
        start = {"x_TBI": case.x, "s0_BH": case.s0}.get(name, getattr(case.net, name, None))
        want, step = np.zeros_like(start), 1e-5
        for i in np.ndindex(start.shape):
            up, down = start.copy(), start.copy()
            up[i] += step
            down[i] -= step
            want[i] = (E(**{name: up}) - E(**{name: down})) / (2 * step)
        close("central difference", got, want)


def test_the_error_is_a_sum_over_steps_and_sequences(close):
    case = make(T=3, B=2)
    run = network.forward(case.net, case.x, case.s0)
    E_TB = network.errors(case.net, run, case.y)
    grads = network.bptt(case.net, run, case.y)
    parts = []
    for i in range(2):
        one = network.forward(case.net, case.x[:, i : i + 1], case.s0[i : i + 1])
        close("same sum", network.errors(case.net, one, case.y[:, i : i + 1])[:, 0], E_TB[:, i])
        parts.append(network.bptt(case.net, one, case.y[:, i : i + 1]))
    close("same sum", parts[0].W_HH + parts[1].W_HH, grads.W_HH)
    close("same sum", np.concatenate([p.s0_BH for p in parts]), grads.s0_BH)


def test_state_left_out_is_zero(close):
    case = make()
    left_out, zeros = network.forward(case.net, case.x), network.forward(case.net, case.x, np.zeros_like(case.s0))
    assert np.array_equal(left_out.o_TBV, zeros.o_TBV)


def test_wrong_shapes_are_refused():
    case = make(T=2, B=2, I=3, H=4, V=3)
    good = dataclasses.asdict(case.net)
    for name, bad, message in [
        ("U_HI", np.zeros(3), "U has 1 dimensions"),
        ("W_HH", np.zeros((4, 5)), "W has a wrong size"),
        ("V_VH", np.zeros((3, 5)), "V has a wrong size in H"),
        ("b_H", np.zeros(5), "b has a wrong size in H"),
        ("c_V", np.zeros(5), "c has a wrong size in V"),
    ]:
        with pytest.raises(ShapeError, match=message):
            Network(**{**good, name: bad})
    with pytest.raises(ShapeError, match="x has a wrong size in I"):
        network.forward(case.net, np.zeros((2, 2, 5)))
    with pytest.raises(ShapeError, match="s_0 has a wrong size in B"):
        network.forward(case.net, case.x, np.zeros((3, 4)))
    run = network.forward(case.net, case.x)
    for function in (network.errors, network.bptt, network.contributions):
        with pytest.raises(ShapeError, match="y has a wrong size in T"):
            function(case.net, run, np.zeros((3, 2, 3)))
        with pytest.raises(DataError, match="must be distributions"):
            function(case.net, run, np.zeros((2, 2, 3)))


def test_wrong_functions_are_refused_when_the_network_is_made():
    net = make().net
    for change in ({"f": "softplus"}, {"g": "tanh"}, {"error": "hinge"}, {"g": "identity"}):
        with pytest.raises(SettingError):
            dataclasses.replace(net, **change)
