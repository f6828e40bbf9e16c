"""The mathematics of the page, in a browser, against elman.reference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from elman.explorer import bundle
from elman.reference import network as reference
from elman.reference import unroll
from elman.reference.gru import GRUStep
from elman.reference.lstm import LSTMStep
from elman.reference.output import OUTPUT_LOSSES, output_loss
from elman.reference.weights import LayerWeights

Arrays = dict[str, Any]

NETWORKS = 200
PLAIN = ["rnn_tanh", "rnn_relu", "rnn_sigmoid", "rnn_identity"]
CELLS = [*PLAIN, "gru", "lstm"]
KINDS = [(cell, g, error) for cell in CELLS for g, error in OUTPUT_LOSSES]

RELATIVE = 1e-6
"""Of each number; one that is a difference of nearly equal ones is compared on the scale of its array too."""

COMPUTED = """
(cases) => cases.map((given) => {
  const vector = (numbers) => Float64Array.from(numbers.flat(2));
  const network = {
    ...given, initial: given.initial.map(vector),
    parameters: Object.fromEntries(Object.entries(given.parameters).map(([name, p]) => [name, vector(p)])),
  };
  const x = given.x.map(vector), y = given.y.map(vector), T = x.length;
  const tape = forward(network, x), back = backward(network, tape, y), pairs = contributions(network, tape, y);
  const parts = (name) => pairs.map((row, t) => row.map((_, k) => [...contribution(network, tape, pairs, t, k, name)]));
  return {
    states: tape.steps.map((step) => step.state.map((part) => [...part])),
    outputs: tape.steps.map((step) => [...step.o]),
    errors: [...errors(network, tape, y)],
    gradients: Object.fromEntries(Object.entries(back.parameters).map(([name, d]) => [name, [...d]])),
    d_x: back.x.map((d) => [...d]),
    d_initial: back.initial.map((d) => [...d]),
    U: parts("U"), W: parts("W"),
    norms: pairs.map((row, t) => row.map((_, k) => contributionNorm(tape, pairs, t, k, "W"))),
    pair_states: pairs.map((row) => row.map((pair) => pair.state.map((d) => [...d]))),
    jacobians: tape.steps.map((step) => [...jacobian(network, step)]),
    lags: [...byLag(network, tape, pairs).added], left: [...byLag(network, tape, pairs).left],
  };
})
"""


@dataclass(frozen=True)
class Case:
    """A network with its input and targets, as the page takes them."""

    cell: str
    g: str
    error: str
    sizes: dict[str, int]
    parameters: Arrays
    initial: list[Any]
    x: Any
    y: Any

    def as_json(self) -> Arrays:
        arrays = {"x": self.x, "y": self.y}
        return {
            "cell": self.cell, "g": self.g, "error": self.error, "sizes": self.sizes,
            "parameters": {name: p.tolist() for name, p in self.parameters.items()},
            "initial": [part.tolist() for part in self.initial],
            **{name: array.tolist() for name, array in arrays.items()},
        }  # fmt: skip


def random_case(rng: np.random.Generator, cell: str, g: str, error: str) -> Case:
    I, H, V, T = (int(n) for n in rng.integers(1, 6, size=4))
    G = {"gru": 3, "lstm": 4}.get(cell, 1) * H
    scale = float(rng.choice([0.3, 1.0]))
    shapes = {"U": (G, I), "W": (G, H), "b": (G,), "V": (V, H), "c": (V,)}
    parameters = {name: rng.normal(size=shape) * scale / shape[-1] ** 0.5 for name, shape in shapes.items()}
    if cell == "gru":
        parameters["bh"] = rng.normal(size=G)
    y = rng.random((T, V))
    if error == "cross-entropy":
        y = np.eye(V)[rng.integers(V, size=T)] if rng.random() < 0.5 else y / y.sum(axis=1, keepdims=True)
    initial = [rng.normal(size=H) for _ in range(2 if cell == "lstm" else 1)]
    return Case(cell, g, error, {"I": I, "H": H, "V": V}, parameters, initial, rng.normal(size=(T, I)), y)


def expected_plain(case: Case) -> Arrays:
    p = case.parameters
    network = reference.Network(p["U"], p["W"], p["V"], p["b"], p["c"], case.cell[4:], case.g, case.error)
    x, y, s_0 = case.x[:, None], case.y[:, None], case.initial[0][None]
    tape = reference.forward(network, x, s_0)
    d, pairs = reference.bptt(network, tape, y), reference.contributions(network, tape, y)
    return {
        "states": tape.s_TBH, "outputs": tape.o_TBV[:, 0], "errors": reference.errors(network, tape, y)[:, 0],
        "gradients": {"U": d.U_HI, "W": d.W_HH, "V": d.V_VH, "b": d.b_H, "c": d.c_V},
        "d_x": d.x_TBI[:, 0], "d_initial": d.s0_BH, "U": pairs.U_TTHI, "W": pairs.W_TTHH,
        "jacobians": reference.jacobians(network, tape)[:, 0],
    }  # fmt: skip


def expected_gated(case: Case) -> Arrays:
    p, cell = case.parameters, GRUStep() if case.cell == "gru" else LSTMStep()
    weights = LayerWeights(p["U"], p["W"], p["b"], p.get("bh"))
    initial = tuple(part[None] for part in case.initial)
    h_TBH, _, tape = unroll.forward(cell, case.x[:, None], initial, weights)
    loss, y = output_loss(case.g, case.error), case.y[:, None]
    a = h_TBH @ p["V"].T + p["c"]
    o = loss.output(a)
    d_a = loss.slope(o, y)
    d, pairs = unroll.backward(tape, d_a @ p["V"]), unroll.contributions(tape, d_a @ p["V"])
    gradients = {"U": d.weights.ih, "W": d.weights.hh, "b": d.weights.b_ih}
    gradients |= {"V": np.einsum("tbv,tbh->vh", d_a, h_TBH), "c": d_a.sum(axis=(0, 1))}
    if "bh" in p:
        gradients["bh"] = d.weights.b_hh
    return {
        "states": h_TBH, "outputs": o[:, 0], "errors": loss.error(a, o, y)[:, 0], "gradients": gradients,
        "d_x": d.x_TBI[:, 0], "d_initial": np.concatenate(d.state), "U": pairs.ih, "W": pairs.hh,
        "pair_states": np.stack([s[:, :, 0] for s in pairs.state], axis=2),
    }  # fmt: skip


def square(rows: list[list[Any]]) -> Any:
    """Fill the pairs above the diagonal, which the page leaves out, with zeros."""
    zeros = np.zeros_like(np.asarray(rows[0][0], dtype=float))
    return np.array([[*row, *[zeros] * (len(rows) - len(row))] for row in rows])


def assert_close(found: Any, right: Any, name: str) -> None:
    found, right = np.asarray(found, dtype=float), np.asarray(right)
    scale = float(np.abs(right).max(initial=0.0))
    np.testing.assert_allclose(found.reshape(right.shape), right, rtol=RELATIVE, atol=1e-11 * scale, err_msg=name)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    rng = np.random.default_rng(0)
    return [random_case(rng, *KINDS[n % len(KINDS)]) for n in range(NETWORKS)]


@pytest.fixture(scope="module")
def computed(browser: Any, cases: list[Case]) -> list[Arrays]:
    page = browser.new_page()
    source = f"(cases) => {{\n{bundle.script('network')}\nreturn ({COMPUTED})(cases);\n}}"
    numbers: list[Arrays] = page.evaluate(source, [case.as_json() for case in cases])
    page.close()
    return numbers


def test_the_numbers_of_the_page_are_those_of_the_reference(cases: list[Case], computed: list[Arrays]) -> None:
    assert len(computed) == NETWORKS
    for case, numbers in zip(cases, computed, strict=True):
        right = expected_plain(case) if case.cell in PLAIN else expected_gated(case)
        where = f"{case.cell}, {case.g}, {case.error}, {case.sizes}"
        assert numbers["gradients"].keys() == right["gradients"].keys()
        for name, gradient in right["gradients"].items():
            assert_close(numbers["gradients"][name], gradient, f"dE/d{name} of {where}")
        assert_close([step[0] for step in numbers["states"]], right["states"][:, 0], f"states of {where}")
        for name in ("outputs", "errors", "d_x", "d_initial"):
            assert_close(numbers[name], right[name], f"{name} of {where}")
        for name in ("U", "W"):
            assert_close(square(numbers[name]), right[name], f"pairs of {name} of {where}")
        if "jacobians" in right:
            assert_close(numbers["jacobians"], right["jacobians"], f"Jacobians of {where}")
        if "pair_states" in right:
            assert_close(square(numbers["pair_states"]), right["pair_states"], f"dE_t/ds_k of {where}")


def test_the_pairs_add_up_to_the_gradient(cases: list[Case], computed: list[Arrays]) -> None:
    for case, numbers in zip(cases, computed, strict=True):
        for name in ("U", "W"):
            assert_close(square(numbers[name]).sum(axis=(0, 1)), np.ravel(numbers["gradients"][name]), case.cell)


def test_norms_and_lags_are_those_of_the_pairs(cases: list[Case], computed: list[Arrays]) -> None:
    for case, numbers in zip(cases, computed, strict=True):
        pairs = square(numbers["W"])
        assert_close(square(numbers["norms"]), np.linalg.norm(pairs, axis=-1), case.cell)
        T = len(pairs)
        sums = [sum(pairs[t, t - lag] for t in range(lag, T)) for lag in range(T)]
        assert_close(numbers["lags"], np.linalg.norm(sums, axis=-1), case.cell)
        states = [[np.linalg.norm(np.concatenate(pair)) for pair in row] for row in numbers["pair_states"]]
        for lag in range(T):
            ratios = sorted(states[t][t - lag] / states[t][t] for t in range(lag, T) if states[t][t] > 0)
            middle = math.floor((len(ratios) - 1) / 2 + 0.5)
            assert numbers["left"][lag] == pytest.approx(ratios[middle] if ratios else 0.0, rel=RELATIVE)


def test_jacobians_of_gated_cells_are_those_of_differences(cases: list[Case], computed: list[Arrays]) -> None:
    """The reference has none: each column is a central difference of the reference's forward pass over one step."""
    gated = [pair for pair in zip(cases, computed, strict=True) if pair[0].cell not in PLAIN]
    for case, numbers in gated[:20]:
        p, cell = case.parameters, GRUStep() if case.cell == "gru" else LSTMStep()
        weights = LayerWeights(p["U"], p["W"], p["b"], p.get("bh"))
        start, columns = np.concatenate(case.initial), []
        for column in np.eye(len(start)) * 1e-6:
            ends = []
            for sign in (1, -1):
                state = tuple(part[None] for part in np.split(start + sign * column, len(case.initial)))
                ends.append(np.concatenate(unroll.forward(cell, case.x[:1, None], state, weights)[1], axis=1)[0])
            columns.append((ends[0] - ends[1]) / 2e-6)
        J = np.reshape(numbers["jacobians"][0], (len(start), len(start)))
        np.testing.assert_allclose(J, np.transpose(columns), rtol=1e-5, atol=1e-8)
