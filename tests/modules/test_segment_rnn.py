"""SegRNN: segment by segment in a loop, with torch's own cell."""

import torch
from torch import nn

from elman.modules.segment_rnn import Covariates, SegmentRNN

T, F, B = 11, 7, 3


def built() -> SegmentRNN:
    torch.manual_seed(1)
    sizes = {"horizon": F, "segment": 3, "series": 4, "calendar_features": 2, "known_covariates": 1}
    return SegmentRNN(outputs=2, hidden=6, cell="gru", **sizes).double().eval()


def batch() -> tuple[torch.Tensor, torch.Tensor, Covariates, torch.Tensor]:
    torch.manual_seed(2)
    covariates = Covariates(torch.randn(T + F, B, 2).double(), torch.randn(T + F, B, 1).double())
    return torch.randn(T, B).double(), torch.ones(T, B).double(), covariates, torch.tensor([3, 0, 1])


def test_segments_by_a_loop() -> None:
    """The same weights, one window and one segment at a time, with torch's own cell."""
    torch.manual_seed(1)
    net = SegmentRNN(
        segment=3, horizon=F, outputs=2, series=4, calendar_features=2, known_covariates=1, hidden=6, cell="gru"
    ).double()
    net.eval()
    judge = nn.GRUCell(6, 6).double()
    judge.load_state_dict({name.removesuffix("_l0"): w for name, w in net.recurrent.state_dict().items()})
    x_TB, observed_TB, (calendar_SBK, known_SBK), series_B = batch()
    observed_TB[2] = 0
    found_FBP = net(x_TB, observed_TB, Covariates(calendar_SBK, known_SBK), series_B)
    for b in range(B):

        def covariates(first: int, b: int = b) -> torch.Tensor:
            rows = [min(max(first + w, 0), T + F - 1) for w in range(3)]
            return torch.cat([calendar_SBK[max(first, 0), b], *(known_SBK[row, b] for row in rows)])

        state = torch.zeros(6, dtype=torch.float64)
        for first in range(-1, T, 3):  # eleven steps are four segments, the first with a step before the window
            inside = [first + w for w in range(3)]
            values = torch.stack(
                [x_TB[t, b] * observed_TB[t, b] if t >= 0 else torch.zeros(()).double() for t in inside]
            )
            seen = torch.stack([observed_TB[t, b] if t >= 0 else torch.zeros(()).double() for t in inside])
            e_H = net.past(torch.cat([values, seen])) + net.covariates(covariates(first))
            state = judge(torch.relu(e_H), state)
        said = []
        for place in range(3):
            e_H = net.place[place] + net.identity(series_B[b]) + net.covariates(covariates(T + 3 * place))
            said.append(net.head(judge(torch.relu(e_H), state)).view(3, 2))
        torch.testing.assert_close(torch.cat(said)[:F], found_FBP[:, b], rtol=1e-10, atol=1e-10)


def test_missing_values_are_not_read() -> None:
    net, (x_TB, observed_TB, covariates, series_B) = built(), batch()
    observed_TB[[0, 4]] = 0
    other_TB = torch.where(observed_TB > 0, x_TB, 1e3)
    output_FBP = net(x_TB, observed_TB, covariates, series_B)
    torch.testing.assert_close(net(other_TB, observed_TB, covariates, series_B), output_FBP)
    assert not torch.allclose(net(x_TB, torch.ones_like(x_TB), covariates, series_B), output_FBP)


def test_without_covariates() -> None:
    net = SegmentRNN(
        outputs=1, horizon=2, segment=4, series=1, calendar_features=0, known_covariates=0, hidden=3, cell="lstm"
    )
    nothing = Covariates(torch.zeros(7, 2, 0), torch.zeros(7, 2, 0))
    output_FBP = net(torch.randn(5, 2), torch.ones(5, 2), nothing, torch.zeros(2, dtype=torch.long))
    assert output_FBP.shape == (2, 2, 1)
    output_FBP.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())
