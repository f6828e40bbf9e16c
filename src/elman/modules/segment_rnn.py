"""Segment-wise recurrent forecaster (SegRNN): fewer recurrent steps, and the whole horizon at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from elman.modules.dropout import SequenceDropout
from elman.modules.recurrent_stack import build_layers


class Covariates(NamedTuple):
    """Covariates that are known for all steps, past and future.

    Attributes:
        calendar_SBK: smooth calendar features, (T + F, B, K).
        known_SBK: other covariates, (T + F, B, K).
    """

    calendar_SBK: Tensor
    known_SBK: Tensor

    def joined(self) -> Tensor:
        """Return both side by side, (T + F, B, K)."""
        return torch.cat([self.calendar_SBK, self.known_SBK], -1)


class SegmentRNN(nn.Module):
    """SegRNN (Lin et al. 2023, https://arxiv.org/abs/2308.11200) with the parallel decoding of the paper.

    Recurrent layers read the segments of the past. Each segment of the future is one step from their last state, whose
    input is a learned embedding of its position and one of its series. Covariates are added to the inputs; of the
    calendar features, those of a segment's first step are taken.

    Args:
        segment: W, steps in a segment.
        horizon: F, steps to forecast.
        outputs: P, outputs for each of them.
        series: number of series.
        calendar_features: number of calendar features.
        known_covariates: number of other covariates.
        hidden: H, units of each layer.
        dropout: probability of dropping a feature between layers and before the output.
        network: other arguments of `elman.modules.recurrent_stack.build_layers`.
    """

    def __init__(
        self, *, segment: int, horizon: int, outputs: int, series: int, calendar_features: int, known_covariates: int,
        hidden: int, dropout: float = 0.0, **network: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        self.segment, self.horizon, self.outputs = segment, horizon, outputs
        self.ahead = -(-horizon // segment)
        self.past = nn.Linear(segment * 2, hidden)
        covariates = calendar_features + segment * known_covariates
        self.covariates = nn.Linear(covariates, hidden, bias=False) if covariates else None
        self.recurrent = build_layers(network.pop("cell"), hidden, hidden, dropout=dropout, **network)
        self.place = nn.Parameter(torch.randn(self.ahead, hidden) * 0.1)
        self.identity = nn.Embedding(series, hidden)
        nn.init.normal_(self.identity.weight, std=0.1)
        self.dropout = SequenceDropout(dropout)
        self.head = nn.Linear(hidden, segment * outputs)

    def forward(self, x_TB: Tensor, observed_TB: Tensor, covariates: Covariates, series_B: Tensor) -> Tensor:
        """Return the outputs for each step of the horizon, (F, B, P); arguments as in `Forecaster`, normalised."""
        T, B = x_TB.shape
        lead = -T % self.segment
        past_NBW = _segments(x_TB * observed_TB, lead, self.segment)
        observed_NBW = _segments(observed_TB, lead, self.segment)
        e_NBH = self.past(torch.cat([past_NBW, observed_NBW], -1))
        e_MBH = self.place[:, None] + self.identity(series_B)
        if self.covariates is not None:
            covariates_NBH = self.covariates(self._segment_covariates(covariates, lead))
            e_NBH = e_NBH + covariates_NBH[: len(e_NBH)]
            e_MBH = e_MBH + covariates_NBH[len(e_NBH) :]
        _, state = self.recurrent(torch.relu(e_NBH))
        # Each segment of the future is a sequence of one step, all from the same state.
        states = state if isinstance(state, tuple) else (state,)
        repeated = tuple(s_LBH.repeat(1, self.ahead, 1) for s_LBH in states)
        start = repeated if isinstance(state, tuple) else repeated[0]
        s_1NH, _ = self.recurrent(torch.relu(e_MBH).reshape(1, self.ahead * B, -1), start)
        output_MBWP: Tensor = self.head(self.dropout(s_1NH)).view(self.ahead, B, self.segment, self.outputs)
        return output_MBWP.transpose(1, 2).reshape(-1, B, self.outputs)[: self.horizon]

    def _segment_covariates(self, covariates: Covariates, lead: int) -> Tensor:
        """Return the covariates of each segment, past and future, (N + M, B, ...)."""
        calendar_SBK, known_SBK = covariates
        T = len(calendar_SBK) - self.horizon
        starts = torch.arange(-lead, T + self.horizon, self.segment, device=known_SBK.device).clamp(min=0)
        parts = [calendar_SBK[starts]]
        if known_SBK.shape[-1]:
            tail = self.ahead * self.segment - self.horizon
            steps = torch.arange(-lead, T + self.horizon + tail, device=known_SBK.device)
            padded_SBK = known_SBK[steps.clamp(0, T + self.horizon - 1)]
            parts.append(padded_SBK.view(-1, self.segment, *padded_SBK.shape[1:]).transpose(1, 2).flatten(2))
        return torch.cat(parts, -1)


def _segments(x_TB: Tensor, lead: int, segment: int) -> Tensor:
    """Return windows split into segments, (N, B, W), with `lead` zeros before their beginning."""
    padded_TB = torch.cat([x_TB.new_zeros(lead, x_TB.shape[1]), x_TB])
    return padded_TB.view(-1, segment, x_TB.shape[1]).transpose(1, 2)
