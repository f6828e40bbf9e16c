"""Output functions and errors: torch's losses and the definitions as judges, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from elman.errors import DataError, SettingError
from elman.reference.output import OUTPUT_LOSSES, check_targets, output_loss

OUTPUTS = {"softmax": lambda a: a.softmax(-1), "sigmoid": torch.sigmoid, "identity": lambda a: a}
ERRORS = {
    "cross-entropy": lambda a, o, y: functional.cross_entropy(a, y, reduction="sum"),
    "binary cross-entropy": lambda a, o, y: functional.binary_cross_entropy_with_logits(a, y, reduction="sum"),
    "squared error": lambda a, o, y: 0.5 * functional.mse_loss(o, y, reduction="sum"),
}


def some(V, n=4, scale=1.0):
    rng = np.random.default_rng(V)
    y = rng.random((n, V))
    return scale * rng.normal(size=(n, V)), y / y.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("V", [1, 2, 5])
@pytest.mark.parametrize(("g", "error"), OUTPUT_LOSSES)
def test_value_and_slope_equal_torch(g, error, V, close):
    a, y = some(V)
    chosen = output_loss(g, error)
    o = chosen.output(a)
    at = torch.tensor(a, requires_grad=True)
    ot = OUTPUTS[g](at)
    loss = ERRORS[error](at, ot, torch.tensor(y))
    (d_a,) = torch.autograd.grad(loss, at)
    close("same equations", o, ot.detach())
    close("same equations", chosen.error(a, o, y).sum(), loss.item())
    close("same equations", chosen.slope(o, y), d_a)


@pytest.mark.parametrize(("g", "error"), OUTPUT_LOSSES)
def test_value_is_the_formula_of_the_table(g, error, close):
    a, y = some(3)
    o = output_loss(g, error).output(a)
    formula = {
        "cross-entropy": lambda: -y * np.log(o),
        "binary cross-entropy": lambda: -y * np.log(o) - (1 - y) * np.log(1 - o),
        "squared error": lambda: 0.5 * (o - y) ** 2,
    }[error]()
    close("same equations", output_loss(g, error).error(a, o, y), formula.sum(axis=-1))


@pytest.mark.parametrize(("g", "error"), [p for p in OUTPUT_LOSSES if p[0] != "identity"])
def test_large_values_stay_finite(g, error):
    a, y = some(3, scale=1e4)
    o = output_loss(g, error).output(a)
    assert np.isfinite(o).all()
    assert np.isfinite(output_loss(g, error).error(a, o, y)).all()
    assert np.isfinite(output_loss(g, error).slope(o, y)).all()


@pytest.mark.parametrize(
    ("g", "error", "advice"),
    [
        ("identity", "cross-entropy", "error='squared error'"),
        ("identity", "binary cross-entropy", "error='squared error'"),
        ("sigmoid", "cross-entropy", "error='binary cross-entropy'"),
        ("softmax", "binary cross-entropy", "error='cross-entropy'"),
    ],
)
def test_a_senseless_pair_is_refused(g, error, advice):
    with pytest.raises(SettingError) as caught:
        output_loss(g, error)
    assert f"{error} does not fit the output function {g}" in str(caught.value)
    assert advice in str(caught.value)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(SettingError, match=r"unknown output function g 'softmx'(.|\n)*did you mean 'softmax'"):
        output_loss("softmx", "cross-entropy")
    with pytest.raises(SettingError, match=r"unknown error 'crossentropy'(.|\n)*did you mean 'cross-entropy'"):
        output_loss("softmax", "crossentropy")


def test_targets_that_are_no_probabilities_are_refused():
    for error in ("cross-entropy", "binary cross-entropy"):
        for bad in ([-0.5, 1.5], [0.0, 1.5], [-0.5, 1.0]):
            with pytest.raises(DataError, match=f"targets of a {error} must be probabilities"):
                check_targets(error, np.array([[bad]]))
    check_targets("squared error", np.array([[[-0.5, 1.5]]]))


def test_targets_that_are_no_distribution_are_refused():
    with pytest.raises(DataError, match="must be distributions") as caught:
        check_targets("cross-entropy", np.array([[[0.5, 0.25]]]))
    assert "sums between 0.75 and 0.75" in str(caught.value)
    check_targets("binary cross-entropy", np.array([[[0.5, 0.25]]]))
