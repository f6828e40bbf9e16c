import pytest
import torch
from torch import nn

import elman
from elman.inspection import NonFiniteSource, explain_non_finite, non_finite_sources
from elman.inspection.capture.recorder import LayerDirection
from elman.inspection.nan_search import describe


def test_sequences_with_non_finite_input_are_named(reader, loss) -> None:
    model = reader(nn.GRU(3, 4))
    x = torch.randn(6, 4, 3)
    x[2, 1, 0] = torch.nan
    x[5, 3, 1] = torch.inf
    assert non_finite_sources(model, (x, torch.zeros(6, 4, 3)), loss) == [
        (LayerDirection("layer", 0, 0), "input", (1, 3))
    ]


def test_the_sequences_that_overflow_are_named(reader, loss) -> None:
    model = reader(elman.RNN(3, 4, nonlinearity="identity", bias=False, init="orthogonal=1e10"))
    x = torch.zeros(8, 3, 3)
    x[0, 2] = 1.0
    assert non_finite_sources(model, (x, torch.zeros(8, 3, 3)), loss) == [
        (LayerDirection("layer", 0, 0), "output", (2,))
    ]


def test_the_sequences_with_a_broken_error_or_gradient_are_named() -> None:
    layer = elman.RNN(3, 4, nonlinearity="identity", bias=False, init="orthogonal=1e10")
    x = torch.zeros(8, 3, 3)
    weight = torch.zeros(8, 3, 1)
    weight[7, 1] = 1.0  # an error of ordinary size that grows by 1e10 with every step back
    (result,) = non_finite_sources(layer, x, lambda m, b: (m(b)[0] * weight).sum() * 1.0)
    assert result[1:] == ("gradient", (1,))
    calm = elman.RNN(3, 4, nonlinearity="identity", bias=False)
    weight[7, 1] = torch.inf
    (result,) = non_finite_sources(calm, x, lambda m, b: (m(b)[0] * weight).sum())
    assert result[1:] == ("error", (1,))
    assert non_finite_sources(calm, x, lambda m, b: m(b)[0].sum()) == []


def test_dropout_is_on_where_it_is_asked_for() -> None:
    model = nn.Sequential(nn.Dropout(0.999), elman.RNN(3, 4, nonlinearity="identity", bias=False)).train()
    x = torch.ones(5, 2, 3)
    x[0, 1] = torch.inf  # which dropout turns into inf * 0, and evaluation leaves alone

    def loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return model[1](model[0](batch).nan_to_num(nan=0.0, posinf=0.0 if model.training else torch.inf))[0].sum()

    assert non_finite_sources(model, x, loss)[0].rows == (1,)
    assert non_finite_sources(model, x, loss, dropout=True) == []
    assert model.training


def test_an_autopsy_says_it_in_describe() -> None:
    layer = elman.RNN(3, 4, nonlinearity="identity", bias=False, init="orthogonal=1e10").train()
    x = torch.zeros(8, 3, 3)
    x[0, 2] = 1.0
    said = explain_non_finite(layer, lambda: layer(x)[0].sum())
    assert said == "sequence 2 of the batch (from 0), whose output of model layer 0 is not finite"
    assert explain_non_finite(layer, lambda: layer(x[:2])[0].sum()) is None
    assert explain_non_finite(nn.Linear(3, 3), lambda: torch.tensor(torch.inf)) is None  # nothing recurrent to look at


@pytest.mark.parametrize(
    ("what", "rows", "said"),
    [
        ("input", (1, 3), "the sequences 1 and 3 of the batch (from 0), whose input to a layer 1 reverse is"),
        ("error", (0,), "sequence 0 of the batch (from 0), whose error at a layer 1 reverse is"),
        (
            "gradient",
            tuple(range(11)),
            "the sequences 0, 1, 2, 3, 4, 5, 6, 7 and 3 more of the batch (from 0), whose gr",
        ),
    ],
)
def test_sources_are_described_in_words(what: str, rows: tuple[int, ...], said: str) -> None:
    assert describe(NonFiniteSource(LayerDirection("a", 1, 1), what, rows)).startswith(said)
