"""Recurrent stack: rows are independent, padding has no effect, and poolings of both directions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import SettingError
from elman.modules.pooling import POOLINGS
from elman.modules.recurrent_stack import RecurrentStack, build_layers


@given(
    st.sampled_from(sorted(POOLINGS)),
    st.sampled_from(["rnn", "gru", "lstm"]),
    st.booleans(),
    st.lists(st.integers(0, 6), min_size=1, max_size=4),
)
def test_rows_are_independent(pooling: str, cell: str, bidirectional: bool, lengths: list[int]) -> None:
    torch.manual_seed(1)
    encoder = RecurrentStack(3, 5, cell=cell, bidirectional=bidirectional, layers=2, pooling=pooling).double().eval()
    T = max(lengths) + 2
    x_TBI = torch.full((T, len(lengths), 3), 1e6, dtype=torch.float64)
    alone = [torch.randn(n, 3, dtype=torch.float64) for n in lengths]
    for b, x_TI in enumerate(alone):
        x_TBI[: len(x_TI), b] = x_TI
    pooled_BF, y_TBF = encoder(x_TBI, torch.tensor(lengths))
    assert pooled_BF.shape == (len(lengths), encoder.output_size)
    assert torch.isfinite(pooled_BF).all()
    for b, x_TI in enumerate(alone):
        if len(x_TI):
            own_BF, own_TBF = encoder(x_TI[:, None])
            torch.testing.assert_close(own_BF[0], pooled_BF[b], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(own_TBF[:, 0], y_TBF[: len(x_TI), b], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("nonlinearity", ["relu", "nonsense"])
def test_gated_cells_have_no_nonlinearity_to_choose(nonlinearity: str) -> None:
    for cell in ("gru", "lstm"):
        with pytest.raises(SettingError, match=rf"the cell {cell} has no nonlinearity(.|\n)*should be: (.|\n)*try: "):
            build_layers(cell, 2, 3, nonlinearity=nonlinearity)
    with pytest.raises(SettingError, match="Unknown nonlinearity"):
        build_layers("rnn", 2, 3, nonlinearity="nonsense")


def test_poolings_of_both_directions() -> None:
    x_TBI, lengths_B = torch.randn(5, 2, 3), torch.tensor([5, 2])
    for bidirectional in (False, True):
        for pooling in ("last", "mean", "max"):
            encoder = RecurrentStack(3, 4, bidirectional=bidirectional, pooling=pooling).eval()
            pooled_BF, y_TBF = encoder(x_TBI, lengths_B)
            rows = [y_TBF[:length, b] for b, length in enumerate(lengths_B)]
            expected = {
                # The reverse direction ends at the first step.
                "last": [torch.cat([row[-1, :4], row[0, 4:]]) for row in rows],
                "mean": [row.mean(0) for row in rows],
                "max": [row.amax(0) for row in rows],
            }[pooling]
            torch.testing.assert_close(pooled_BF, torch.stack(expected))


def test_attention_pooling() -> None:
    encoder = RecurrentStack(3, 4, pooling="attention").eval()
    x_TBI, lengths_B = torch.randn(5, 2, 3), torch.tensor([5, 3])
    pooled_BF, y_TBF = encoder(x_TBI, lengths_B)
    pool = encoder.pooling
    for b, length in enumerate(lengths_B.tolist()):
        y_TF = y_TBF[:length, b]
        weights_T = torch.softmax(torch.tanh(y_TF @ pool.hidden.weight.T + pool.hidden.bias) @ pool.score.weight[0], 0)
        torch.testing.assert_close(pooled_BF[b], weights_T @ y_TF)


def test_unknown_names() -> None:
    with pytest.raises(SettingError, match="unknown pooling 'maxx'"):
        RecurrentStack(3, 4, pooling="maxx")
    with pytest.raises(SettingError, match="unknown cell 'gruu'"):
        RecurrentStack(3, 4, cell="gruu")
