"""Output layers: cross-entropy of their own logits, in chunks too, and the adaptive softmax as a distribution."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from elman.errors import SettingError
from elman.kernels import output_layer
from elman.modules.softmax import IGNORE_INDEX, AdaptiveSoftmax, FullSoftmax


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_the_full_softmax_is_torchs_cross_entropy(tied: bool, chunks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if chunks:
        monkeypatch.setattr(output_layer, "MAX_LOGITS", 16)
        monkeypatch.setattr(output_layer, "refusal", lambda *_: "torch's operators are tested")
    embedding = nn.Embedding(7, 5)
    layer = FullSoftmax(5, 7, tied=embedding if tied else None).double()
    embedding.double()
    nn.init.normal_(layer.bias)
    s_NH, target_N = torch.randn(9, 5).double(), torch.tensor([0, 6, 3, IGNORE_INDEX, 1, 1, 2, IGNORE_INDEX, 5])
    logits_NV = s_NH @ (embedding if tied else layer).weight.T + layer.bias
    expected = functional.cross_entropy(logits_NV, target_N, reduction="sum")
    with torch.set_grad_enabled(not chunks):
        torch.testing.assert_close(layer.nats(s_NH, target_N), expected)
    assert set(layer.state_dict()) == ({"bias"} if tied else {"weight", "bias"})


@pytest.mark.parametrize("cutoffs", [(3,), (2, 5, 9)])
def test_the_adaptive_softmax_is_a_distribution(cutoffs: tuple[int, ...]) -> None:
    layer = AdaptiveSoftmax(7, 11, cutoffs).double()
    s_NH, target_N = torch.randn(6, 7).double(), torch.tensor([0, 10, 3, IGNORE_INDEX, 5, 9])
    p_NV = layer.logits(s_NH).exp()
    torch.testing.assert_close(p_NV.sum(1), torch.ones(6).double())
    expected = -sum(p_NV[n, v].log() for n, v in enumerate(target_N) if v != IGNORE_INDEX)
    torch.testing.assert_close(layer.nats(s_NH, target_N), expected)


def test_no_targets_have_no_loss() -> None:
    layer = AdaptiveSoftmax(7, 11, (3,))
    assert float(layer.nats(torch.rand(2, 7), torch.full((2,), IGNORE_INDEX))) == 0.0


@pytest.mark.parametrize("cutoffs", [(), (0,), (5, 3), (3, 11)])
def test_invalid_cutoffs(cutoffs: tuple[int, ...]) -> None:
    with pytest.raises(SettingError, match=r"cutoffs of the adaptive softmax(.|\n)*from 1 to 10"):
        AdaptiveSoftmax(7, 11, cutoffs)
