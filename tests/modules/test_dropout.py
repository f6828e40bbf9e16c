"""Dropout of sequences: the share and the scale of what is kept, and the two kinds of masks."""

import pytest
import torch

from elman.modules.dropout import SequenceDropout


def test_dropout_masks() -> None:
    torch.manual_seed(1)
    x_TBF = torch.ones(40, 3, 50)
    variational = SequenceDropout(0.25, variational=True)(x_TBF)
    assert bool((variational == variational[0]).all())
    assert sorted(set(variational.flatten().tolist())) == pytest.approx([0.0, 4 / 3])
    plain = SequenceDropout(0.25)(x_TBF)
    assert not bool((plain == plain[0]).all())
    assert float(plain.mean()) == pytest.approx(1.0, abs=0.05)
    assert torch.equal(SequenceDropout(0.25).eval()(x_TBF), x_TBF)
    assert not SequenceDropout(1.0, variational=True)(x_TBF).any()


def test_a_variational_mask_scales_the_gradient() -> None:
    torch.manual_seed(1)
    x_TBF = torch.randn(3, 2, 40, requires_grad=True)
    y_TBF = SequenceDropout(0.5, variational=True)(x_TBF)
    y_TBF.sum().backward()
    torch.testing.assert_close(x_TBF.grad * x_TBF, y_TBF)
    assert sorted(set(x_TBF.grad.flatten().tolist())) == [0.0, 2.0]
