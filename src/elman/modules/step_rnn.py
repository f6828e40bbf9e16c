"""Recurrent over the steps of a series: all of the future out of the last state, or step by step out of itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from elman.modules.dropout import SequenceDropout
from elman.modules.forecast_heads import Quantiles, Spread
from elman.modules.pooling import last_output
from elman.modules.recurrent_stack import build_layers
from elman.modules.segment_rnn import Covariates

IDENTITY = 8  # size of the vector of a series


class DirectNetwork(nn.Module):
    """Recurrent layers read the past step by step; their last state says the whole future.

    (The multi-horizon forecaster of Wen et al. 2017, https://arxiv.org/abs/1711.11053, with a linear decoder.)

    Args:
        horizon: F, steps to forecast.
        outputs: P, numbers for each of them.
        series: how many series there are.
        covariates: how many there are in all.
        hidden: H.
        dropout: before the output and between layers.
        network: of the recurrent layers, see `elman.modules.recurrent_stack.build_layers`.
    """

    def __init__(
        self,
        *,
        horizon: int,
        outputs: int,
        series: int,
        covariates: int,
        hidden: int,
        dropout: float = 0.0,
        **network: Any,
    ) -> None:
        super().__init__()
        self.horizon, self.outputs = horizon, outputs
        self.identity = nn.Embedding(series, IDENTITY)
        self.recurrent = build_layers(
            network.pop("cell"), 2 + covariates + IDENTITY, hidden, dropout=dropout, **network
        )
        self.dropout = SequenceDropout(dropout)
        self.head = nn.Linear(hidden, horizon * outputs)
        self.ahead = nn.Linear(covariates, outputs, bias=False) if covariates else None

    def forward(self, x_TB: Tensor, seen_TB: Tensor, covariates: Covariates, series_B: Tensor) -> Tensor:
        """Return what is said of each step to come, (F, B, P), for normalised windows."""
        T, B = x_TB.shape
        known_SBK = covariates.joined()
        e_TBE = self.identity(series_B).expand(T, B, IDENTITY)
        values_TB2 = torch.stack([x_TB, seen_TB], -1)
        _, state = self.recurrent(torch.cat([values_TB2, known_SBK[:T], e_TBE], -1))
        s_BH = self.dropout(last_output(state, 1)[None])[0]
        said_FBP: Tensor = self.head(s_BH).view(B, self.horizon, self.outputs).transpose(0, 1)
        return said_FBP if self.ahead is None else said_FBP + self.ahead(known_SBK[T:])


class RecursiveNetwork(nn.Module):
    """Recurrent layers read the past step by step, say one step, and read what they said; as far as one likes.

    In training too the network reads its own forecast of the horizon, not the truth, so that what it says of a far
    step is trained on what it will have there. Beside a value stand the covariates of the step that comes after it.

    Args:
        output: what is said of a step; its point is what is read.
        series, covariates, hidden, dropout, network: as of `DirectNetwork`.
    """

    def __init__(
        self,
        *,
        output: Quantiles | Spread,
        series: int,
        covariates: int,
        hidden: int,
        dropout: float = 0.0,
        **network: Any,
    ) -> None:
        super().__init__()
        self.output = output
        self.identity = nn.Embedding(series, IDENTITY)
        self.recurrent = build_layers(
            network.pop("cell"), 2 + covariates + IDENTITY, hidden, dropout=dropout, **network
        )
        self.dropout = SequenceDropout(dropout)
        self.head = nn.Linear(hidden, output.parameters_of_a_step)

    def forward(self, x_TB: Tensor, seen_TB: Tensor, covariates: Covariates, series_B: Tensor) -> Tensor:
        """Return what is said of each step to come, (F, B, P), as many as the covariates have behind the past."""
        T, B = x_TB.shape
        known_SBK, e_BE = covariates.joined(), self.identity(series_B)
        values_TB2 = torch.stack([x_TB, seen_TB], -1)
        y_TBH, state = self.recurrent(torch.cat([values_TB2, known_SBK[1 : T + 1], e_BE.expand(T, B, IDENTITY)], -1))
        y_BH, said = y_TBH[-1], []
        for step in range(T, len(known_SBK)):
            raw_BP = self.head(self.dropout(y_BH[None])[0])
            said.append(raw_BP)
            if step + 1 < len(known_SBK):
                point_B = self.output.point(self.output(raw_BP))
                value_B2 = torch.stack([point_B, torch.ones_like(point_B)], -1)
                y_BH, state = self._read(torch.cat([value_B2, known_SBK[step + 1], e_BE], -1), state)
        return torch.stack(said)

    def _read(self, x_BI: Tensor, state: Any) -> tuple[Tensor, Any]:
        y_1BH, state = self.recurrent(x_BI[None], state)
        return y_1BH[0], state
