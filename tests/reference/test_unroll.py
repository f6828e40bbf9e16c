"""The layers over whole sequences: torch.nn, central differences and untied copies of the weights as judges.

torch knows no resets and, without packing, no lengths. Its judgement is had by cutting: every row is cut by hand into
the pieces between its resets, and each piece is run by itself.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from elman.errors import ShapeError
from elman.reference import gru, lstm, rnn
from elman.reference.weights import LayerWeights

GATES = {"rnn": 1, "gru": 3, "lstm": 4}
MODULES = {"rnn": rnn, "gru": gru, "lstm": lstm}
TORCH = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
NAMES = {"ih": "weight_ih_l0", "hh": "weight_hh_l0", "b_ih": "bias_ih_l0", "b_hh": "bias_hh_l0", "hr": "weight_hr_l0"}


@dataclasses.dataclass
class Case:
    """One call of a layer, with the gradient of what it returns."""

    kind: str
    x: np.ndarray
    state: tuple[np.ndarray, ...]
    weights: LayerWeights
    d_y: np.ndarray
    d_state: tuple[np.ndarray, ...]
    options: dict[str, Any]  # of forward

    def forward(self, **changed):
        case = dataclasses.replace(self, **changed)
        return MODULES[self.kind].forward(case.x, case.state, case.weights, **case.options)

    def backward(self, tape):
        return MODULES[self.kind].backward(tape, self.d_y, self.d_state)


def make(kind, T=4, B=2, I=3, H=3, P=0, bias=True, initial=True, nonlinearity="tanh", seed=0, **options):
    rng = np.random.default_rng(seed)
    G, out = GATES[kind] * H, P or H
    widths = (out, H) if kind == "lstm" else (out,)
    weights = LayerWeights(
        rng.normal(size=(G, I)),
        rng.normal(size=(G, out)) / np.sqrt(out),
        rng.normal(size=G) if bias else None,
        rng.normal(size=G) if bias else None,
        rng.normal(size=(P, H)) if P else None,
        tuple(rng.normal(size=w) for w in widths) if initial else None,
    )
    if kind == "rnn":
        options["nonlinearity"] = nonlinearity

    def state():
        return tuple(rng.normal(size=(B, w)) for w in widths)

    return Case(kind, rng.normal(size=(T, B, I)), state(), weights, rng.normal(size=(T, B, out)), state(), options)


@st.composite
def cases(draw, nonlinearities=("tanh", "relu")):
    kind = draw(st.sampled_from(sorted(GATES)))
    T, B, H = draw(st.integers(0, 6)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    options = {"reverse": draw(st.booleans())}
    if draw(st.booleans()):
        options["lengths"] = np.array(draw(st.lists(st.integers(0, T), min_size=B, max_size=B)))
    if draw(st.booleans()):
        flags = draw(st.lists(st.booleans(), min_size=T * B, max_size=T * B))
        options["resets"] = np.array(flags, dtype=bool).reshape(T, B)
    return make(
        kind,
        T=T,
        B=B,
        I=draw(st.integers(1, 4)),
        H=H,
        P=draw(st.integers(0, H - 1)) if kind == "lstm" else 0,
        bias=draw(st.booleans()),
        initial=draw(st.booleans()),
        nonlinearity=draw(st.sampled_from(nonlinearities)),
        seed=draw(st.integers(0, 2**31)),
        **options,
    )


def torch_layer(case):
    """Return torch's layer with the weights of the case."""
    w = case.weights
    options = {"bias": w.b_ih is not None}
    if case.kind == "rnn":
        options["nonlinearity"] = case.options["nonlinearity"]
    if w.hr is not None:
        options["proj_size"] = len(w.hr)
    layer = TORCH[case.kind](w.ih.shape[1], len(w.ih) // GATES[case.kind], **options).double()
    with torch.no_grad():
        for field, name in NAMES.items():
            if getattr(w, field) is not None:
                getattr(layer, name).copy_(torch.tensor(getattr(w, field)))
    return layer


def pieces(steps, starts):
    """Cut a list of steps before each one in `starts`; tell of each piece whether it begins with a reset."""
    found = [(False, [])]
    for t in steps:
        if t in starts:
            found.append((True, []))
        found[-1][1].append(t)
    return [(fresh, piece) for fresh, piece in found if piece]


def run_in_torch(case):
    """Run every piece of every row by torch.nn; return outputs, last state, and the leaves to differentiate."""
    T, B, _ = case.x.shape
    layer = torch_layer(case)
    x = torch.tensor(case.x, requires_grad=True)
    state = tuple(torch.tensor(s, requires_grad=True) for s in case.state)
    initial = case.weights.initial or tuple(np.zeros(s.shape[1]) for s in case.state)
    initial = tuple(torch.tensor(i, requires_grad=True) for i in initial)
    lengths = case.options.get("lengths", np.full(B, T))
    resets = case.options.get("resets", np.zeros((T, B), dtype=bool))
    reverse = case.options.get("reverse", False)
    y, last = {}, []
    for b in range(B):
        steps = list(range(lengths[b]))[:: -1 if reverse else 1]
        starts = {int(t) - 1 if reverse else int(t) for t in np.flatnonzero(resets[: lengths[b], b])}
        now = tuple(s[b] for s in state)
        for fresh, piece in pieces(steps, starts):
            before = tuple(s[None, None] for s in (initial if fresh else now))
            out, after = layer(x[piece, b][:, None], before if case.kind == "lstm" else before[0])
            now = tuple(s[0, 0] for s in (after if case.kind == "lstm" else (after,)))
            y.update({(t, b): out[i, 0] for i, t in enumerate(piece)})
        last.append(now)
    nothing = torch.zeros(case.d_y.shape[2], dtype=torch.float64)
    y_TBH = [[y.get((t, b), nothing) for b in range(B)] for t in range(T)]
    last_state = tuple(torch.stack([now[i] for now in last]) for i in range(len(state)))
    return y_TBH, last_state, layer, x, state, initial


@settings(deadline=None, max_examples=250)
@given(case=cases())
def test_layers_equal_torch(case, close):
    y, state, tape = case.forward()
    grads = case.backward(tape)
    y_rows, last_state, layer, x, state_0, initial = run_in_torch(case)

    loss = sum((s * torch.tensor(d)).sum() for s, d in zip(last_state, case.d_state, strict=True))
    for t, row in enumerate(y_rows):
        for b, out in enumerate(row):
            close("same equations", y[t, b], out.detach())
            loss = loss + (out * torch.tensor(case.d_y[t, b])).sum()
    for got, want in zip(state, last_state, strict=True):
        close("same equations", got, want.detach())

    parameters = {f: getattr(layer, n) for f, n in NAMES.items() if getattr(case.weights, f) is not None}
    leaves = (x, *state_0, *initial, *parameters.values())
    wanted = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    n = len(state_0)
    close("same equations", grads.x_TBI, wanted[0])
    for got, want in zip(grads.state, wanted[1 : 1 + n], strict=True):
        close("same equations", got, want)
    if case.weights.initial is None:
        assert grads.weights.initial is None
    else:
        for got, want in zip(grads.weights.initial, wanted[1 + n : 1 + 2 * n], strict=True):
            close("same equations", got, want)
    for field, want in zip(parameters, wanted[1 + 2 * n :], strict=True):
        close("same equations", getattr(grads.weights, field), want)
    for field in NAMES.keys() - parameters.keys():
        assert getattr(grads.weights, field) is None


RAGGED = {"lengths": np.array([2, 4]), "resets": np.array([[0, 1], [1, 0], [0, 1], [1, 0]], dtype=bool)}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("rnn", {"nonlinearity": "tanh"}),
        ("rnn", {"nonlinearity": "sigmoid"}),
        ("rnn", {"nonlinearity": "identity"}),
        ("gru", {}),
        ("lstm", {}),
        ("lstm", {"P": 2}),
    ],
)
def test_backward_equals_central_differences(kind, size, reverse, close):
    case = make(kind, **size, reverse=reverse, **RAGGED)
    grads = case.backward(case.forward()[2])

    def loss(**changed):
        y, state, _ = case.forward(**changed)
        return (y * case.d_y).sum() + sum((s * d).sum() for s, d in zip(state, case.d_state, strict=True))

    def slope(array, put):
        want, step = np.zeros_like(array), 1e-5
        for i in np.ndindex(array.shape):
            up, down = array.copy(), array.copy()
            up[i] += step
            down[i] -= step
            want[i] = (loss(**put(up)) - loss(**put(down))) / (2 * step)
        return want

    def replaced(state, i, part):
        return (*state[:i], part, *state[i + 1 :])

    w = case.weights
    close("central difference", grads.x_TBI, slope(case.x, lambda x: {"x": x}))
    for i, part in enumerate(case.state):
        want = slope(part, lambda p, i=i: {"state": replaced(case.state, i, p)})
        close("central difference", grads.state[i], want)
        want = slope(w.initial[i], lambda p, i=i: {"weights": w._replace(initial=replaced(w.initial, i, p))})
        close("central difference", grads.weights.initial[i], want)
    for field in NAMES:
        if getattr(w, field) is not None:
            want = slope(getattr(w, field), lambda p, field=field: {"weights": w._replace(**{field: p})})
            close("central difference", getattr(grads.weights, field), want)


@pytest.mark.parametrize("kind", GATES)
def test_each_bias_may_be_missing_alone(kind, close):
    case = make(kind)
    y, _, tape = case.forward()
    grads = case.backward(tape).weights
    for field in ("b_ih", "b_hh"):
        zero = case.weights._replace(**{field: np.zeros_like(case.weights.b_ih)})
        with_zeros = case.forward(weights=zero)
        without = case.forward(weights=case.weights._replace(**{field: None}))
        assert np.array_equal(with_zeros[0], without[0])
        assert not np.array_equal(y, without[0])
        assert getattr(case.backward(without[2]).weights, field) is None
    assert grads.b_ih is not None
    assert grads.b_hh is not None


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("reverse", [False, True])
def test_padding_changes_nothing_whatever_it_holds(kind, reverse):
    case = make(kind, lengths=np.array([1, 3]), reverse=reverse)
    poisoned_x, poisoned_d_y = case.x.copy(), case.d_y.copy()
    poisoned_x[1:, 0] = poisoned_x[3:, 1] = np.nan
    poisoned_d_y[1:, 0] = poisoned_d_y[3:, 1] = np.nan
    clean, dirty = case.forward(), case.forward(x=poisoned_x)
    assert np.array_equal(clean[0], dirty[0])
    assert not dirty[0][1:, 0].any()
    assert not dirty[0][3:, 1].any()
    grads, poisoned = case.backward(clean[2]), dataclasses.replace(case, d_y=poisoned_d_y).backward(dirty[2])
    assert np.array_equal(grads.x_TBI, poisoned.x_TBI)
    assert not poisoned.x_TBI[1:, 0].any()
    for got, want in zip(poisoned.weights[:4], grads.weights[:4], strict=True):
        assert np.array_equal(got, want)


@settings(deadline=None, max_examples=100)
@given(case=cases(nonlinearities=("tanh", "relu", "sigmoid", "identity")))
def test_contributions_sum_to_the_total(case, close):
    tape = case.forward()[2]
    total = MODULES[case.kind].backward(tape, case.d_y).weights
    pairs = MODULES[case.kind].contributions(tape, case.d_y)
    for got, want in ((pairs.ih, total.ih), (pairs.hh, total.hh)):
        close("same sum", got.sum(axis=(0, 1)), want, scale=np.abs(got).sum(axis=(0, 1)).max(initial=0.0))


def untied_steps(case):
    """Run torch's layer one step at a time, each step with its own copy of the weights."""
    T = len(case.x)
    layer, x = torch_layer(case), torch.tensor(case.x)
    resets = torch.tensor(case.options.get("resets", np.zeros(case.x.shape[:2], dtype=bool)))
    now = tuple(torch.tensor(s) for s in case.state)
    copies, after = [], []
    for t in range(T):
        fresh = resets[t][:, None]
        before = tuple(
            torch.where(fresh, torch.tensor(i), s)[None] for i, s in zip(case.weights.initial, now, strict=True)
        )
        copy = {n: p.detach().clone().requires_grad_() for n, p in layer.named_parameters()}
        hx = before if case.kind == "lstm" else before[0]
        _, hx = torch.func.functional_call(layer, copy, (x[t][None], hx))
        now = tuple(s[0] for s in (hx if case.kind == "lstm" else (hx,)))
        copies.append(copy)
        after.append(now)
    return copies, after


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize(("kind", "P"), [("rnn", 0), ("gru", 0), ("lstm", 0), ("lstm", 2)])
def test_each_contribution_equals_autograd_of_an_untied_copy(kind, P, resets, close):
    case = make(kind, P=P, **({"resets": RAGGED["resets"]} if resets else {}))
    pairs = MODULES[kind].contributions(case.forward()[2], case.d_y)
    copies, after = untied_steps(case)
    T = len(case.x)
    for t in range(T):
        E_t = (after[t][0] * torch.tensor(case.d_y[t])).sum()
        for k in range(T):
            leaves = (copies[k]["weight_ih_l0"], copies[k]["weight_hh_l0"], *after[k])
            d_ih, d_hh, *d_state = torch.autograd.grad(
                E_t, leaves, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            close("same equations", pairs.ih[t, k], d_ih)
            close("same equations", pairs.hh[t, k], d_hh)
            for got, want in zip(pairs.state, d_state, strict=True):
                close("same equations", got[t, k], want)


@pytest.mark.parametrize("kind", GATES)
def test_contributions_follow_the_order_of_the_run(kind):
    ahead = MODULES[kind].contributions(make(kind).forward()[2], make(kind).d_y)
    back = MODULES[kind].contributions(make(kind, reverse=True).forward()[2], make(kind).d_y)
    steps = np.arange(4)
    later = steps[None, :] > steps[:, None]
    assert not ahead.hh[later].any()
    assert (np.abs(ahead.hh[~later]).sum(axis=(1, 2)) > 0).all()
    assert not back.hh[later.T].any()
    assert (np.abs(back.hh[~later.T]).sum(axis=(1, 2)) > 0).all()


def test_wrong_shapes_are_refused():
    case = make("lstm", T=4, B=2, I=3, H=3, P=2)
    w = case.weights
    for changed, message in [
        ({"x": np.zeros((4, 2))}, "x has 2 dimensions"),
        ({"x": np.zeros((4, 2, 5))}, "weights.ih has a wrong size in I"),
        ({"state": case.state[:1]}, r"state does not fit the cell(.|\n)*h \(2, 2\), c \(2, 3\)(.|\n)*\(2, 2\)$"),
        ({"state": case.state[::-1]}, "state does not fit the cell"),
        ({"weights": w._replace(initial=case.state)}, "weights.initial does not fit the cell"),
        ({"weights": w._replace(ih=np.zeros((11, 3)))}, "weights.ih has a wrong size in G"),
        ({"weights": w._replace(hh=np.zeros((13, 2)))}, "weights.hh has a wrong size in G"),
        ({"weights": w._replace(hh=np.zeros((12, 3)))}, "weights.hh has a wrong size in P"),
        ({"weights": w._replace(hr=np.zeros((2, 4)))}, "weights.hr has a wrong size in H"),
        ({"weights": w._replace(b_ih=np.zeros(11))}, "weights.b_ih has a wrong size in G"),
        ({"weights": w._replace(b_hh=np.zeros(11))}, "weights.b_hh has a wrong size in G"),
        ({"options": {"lengths": [1, 2, 3]}}, "lengths has a wrong size in B"),
        ({"options": {"lengths": [1, 5]}}, r"a length does not fit the input(.|\n)*0 to 4(.|\n)*\[1, 5\]"),
        ({"options": {"lengths": [-1, 4]}}, "a length does not fit the input"),
        ({"options": {"resets": np.zeros((4, 3), dtype=bool)}}, "resets has a wrong size in B"),
    ]:
        with pytest.raises(ShapeError, match=message):
            case.forward(**changed)
    tape = case.forward()[2]
    with pytest.raises(ShapeError, match="d_y has a wrong size in P"):
        lstm.backward(tape, np.zeros((4, 2, 3)))
    with pytest.raises(ShapeError, match="d_state does not fit the cell"):
        lstm.backward(tape, case.d_y, case.d_state[::-1])
