"""The sequences that exports are compared on: models that forget, inputs that overflow, outputs of zeros."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import elman
from elman.errors import ExportError
from elman.exporters.chain import chain_of
from elman.exporters.chain_cases import comparable, layer_inputs
from elman.exporters.layer_cases import LayerCase, layer_cases, original_outputs, widened
from elman.exporters.parity import compare
from elman.exporters.stack import stack_of


class Forgetful(nn.Module):
    """A model whose layer begins anew at each step, which its layers do not show."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(3, 4), nn.Linear(4, 2)
        with torch.no_grad():
            self.out.weight *= scale
            self.out.bias *= scale

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(torch.cat([self.gru(step[None])[0] for step in x]))
        return y


@pytest.mark.parametrize("target", ["c", "rtneural"])
@pytest.mark.parametrize(("steps", "scale"), [(1, 1.0), (1, 1e-5), (30, 1e-5)])
def test_a_model_that_forgets_is_seen_by_any_example(target: str, steps: int, scale: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"compare": False} if target == "c" else {}
    with pytest.raises(ExportError, match="computes other numbers"):
        elman.export(Forgetful(scale), tmp_path / "out", to=target, inputs=(torch.ones(steps, 1, 3),), **options)


def test_a_model_of_one_length_alone_is_refused(tmp_path: Path) -> None:
    class Short(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 2:
                raise ValueError("at most two steps")
            y: Tensor = self.gru(x)[0]
            return y

    with pytest.raises(ExportError, match=r"does not run on random inputs, T = 20"):
        elman.export(Short(), tmp_path / "out", to="c", compare=False, inputs=(torch.ones(2, 1, 3),))


def test_what_overflows_at_once_is_not_compared_and_the_report_says_so(tmp_path: Path) -> None:
    layer = elman.RNN(3, 4, nonlinearity="relu")
    with torch.no_grad():
        layer.weight_ih_l0.fill_(2e36)
    cases, remarks = comparable(layer_inputs(layer, chain_of(layer)))
    assert remarks and all(case.y.size for case in cases)
    report = elman.export(layer, tmp_path / "out", to="c", compare=False).report
    assert report.remarks[-len(remarks) :] == remarks and all(row.numbers for row in report.rows)
    with torch.no_grad():
        layer.bias_ih_l0.fill_(3e38)
        layer.bias_hh_l0.fill_(3e38)
    for target, options in (("c", {"compare": False}), ("rtneural", {})):
        with pytest.raises(ExportError):
            elman.export(layer, tmp_path / target, to=target, **options)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_zeros_and_the_other_sign_pass_no_case(precision: str) -> None:
    torch.manual_seed(0)
    bound = {"float32": 1e-5, "float16": 5e-3, "int8": 0.1}[precision]
    layer = elman.LSTM(3, 16, proj_size=8)
    stack = stack_of(layer)

    def passes(case: LayerCase, factor: float) -> bool:
        y, _ = original_outputs(layer, stack, case)
        limit = widened(bound, case.rounding)
        return compare("y", case.title, y, factor * y, limit, least_size=case.least_size).passed

    for case in layer_cases(stack, precision=precision):
        assert [passes(case, factor) for factor in (1.0, 0.0, -1.0)] == [True, False, False], case.title


def test_a_bound_is_widened_to_a_tenth_at_most() -> None:
    np.testing.assert_allclose([widened(bound, 100.0) for bound in (1e-5, 5e-3, 0.1, 0.2)], [1e-3, 0.1, 0.1, 0.2])
