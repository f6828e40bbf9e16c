import pytest
import torch
from torch import nn

from elman.inspection import diagnose
from elman.inspection.capture.recorder import LayerDirection, record
from elman.inspection.measures import truncation


def test_the_windows_are_around_the_runs_own() -> None:
    assert truncation.windows(8, 100) == (2, 4, 8, 16, 32)
    assert truncation.windows(8, 20) == (2, 4, 8, 16)
    assert truncation.windows(2, 20) == (1, 2, 4, 8)
    assert truncation.windows(None, 32) == (2, 4, 8, 16)
    assert truncation.windows(None, 2) == (1,)


def test_cosine_and_error_are_those_of_the_cut_gradient(reader, loss) -> None:
    torch.manual_seed(0)
    model = reader(nn.GRU(3, 5, 2))
    batches = [(torch.randn(12, 2, 3), torch.randn(12, 2, 3)) for _ in range(2)]
    report = diagnose(model, batches, loss, window=3)
    assert [row.window for row in report.layers[1].measurements.truncation] == [1, 3, 6]

    def gradient(window: int | None) -> torch.Tensor:
        names = ("layer.weight_ih_l1", "layer.weight_hh_l1")
        each = [record(model, batch, loss, window=window).gradients for batch in batches]
        return torch.cat([sum(g[name] for g in each).flatten() for name in names])

    full, cut = gradient(None), gradient(3)
    row = report.layers[1].measurements.truncation[1]
    assert row.cosine == pytest.approx(float(torch.cosine_similarity(full, cut, dim=0)), abs=1e-5)
    assert row.relative_error == pytest.approx(float((full - cut).norm() / full.norm()), rel=1e-4)


def test_the_gradients_of_a_strand_are_found_by_name() -> None:
    gradients = {name: torch.ones(1) for name in ("a.weight_ih_l1_reverse", "a.weight_hh_l1", "weight_hh_l0")}
    assert len(truncation.gradients_of(LayerDirection("a", 1, 1), gradients)) == 1
    assert len(truncation.gradients_of(LayerDirection("", 0, 0), gradients)) == 1
    assert truncation.gradients_of(LayerDirection("b", 0, 0), gradients) == []
