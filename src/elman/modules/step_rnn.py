"""Step-wise recurrent forecasters: direct (the whole horizon at once) and recursive (step by step)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from elman.modules.dropout import SequenceDropout
from elman.modules.forecast_heads import DistributionHead, QuantileHead
from elman.modules.pooling import last_output
from elman.modules.recurrent_stack import build_layers
from elman.modules.segment_rnn import Covariates

IDENTITY = 8  # size of the embedding of a series


class DirectRNN(nn.Module):
    """Direct multi-horizon forecaster: a linear decoder maps the last state to the whole horizon.

    Wen et al. 2017, https://arxiv.org/abs/1711.11053.

    Args:
        horizon: F, steps to forecast.
        outputs: P, outputs for each of them.
        series: number of series.
        covariates: number of covariates.
        hidden: H, units of each layer.
        dropout: probability of dropping a feature between layers and before the output.
        network: other arguments of `elman.modules.recurrent_stack.build_layers`.
    """

    def __init__(
        self, *, horizon: int, outputs: int, series: int, covariates: int, hidden: int,
        dropout: float = 0.0, **network: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        self.horizon, self.outputs = horizon, outputs
        self.identity = nn.Embedding(series, IDENTITY)
        self.recurrent = build_layers(
            network.pop("cell"), 2 + covariates + IDENTITY, hidden, dropout=dropout, **network
        )
        self.dropout = SequenceDropout(dropout)
        self.head = nn.Linear(hidden, horizon * outputs)
        self.ahead = nn.Linear(covariates, outputs, bias=False) if covariates else None

    def forward(self, x_TB: Tensor, observed_TB: Tensor, covariates: Covariates, series_B: Tensor) -> Tensor:
        """Return the outputs for each step of the horizon, (F, B, P); arguments as in `Forecaster`, normalised."""
        T, B = x_TB.shape
        known_SBK = covariates.joined()
        e_TBE = self.identity(series_B).expand(T, B, IDENTITY)
        values_TB2 = torch.stack([x_TB, observed_TB], -1)
        _, state = self.recurrent(torch.cat([values_TB2, known_SBK[:T], e_TBE], -1))
        s_BH = self.dropout(last_output(state, 1)[None])[0]
        output_FBP: Tensor = self.head(s_BH).view(B, self.horizon, self.outputs).transpose(0, 1)
        return output_FBP if self.ahead is None else output_FBP + self.ahead(known_SBK[T:])


class RecursiveRNN(nn.Module):
    """Recursive (autoregressive) forecaster: one step ahead, whose point forecast is the next input.

    In training too it reads its own forecasts and not the true values, so that training and forecasting have the same
    inputs. A value is read with the covariates of the step after it. The horizon is not limited.

    Args:
        output: the forecast head; its point forecast is read.
        series: number of series.
        covariates: number of covariates.
        hidden: H, units of each layer.
        dropout: probability of dropping a feature between layers and before the output.
        network: other arguments of `elman.modules.recurrent_stack.build_layers`.
    """

    def __init__(
        self, *, output: QuantileHead | DistributionHead, series: int, covariates: int, hidden: int,
        dropout: float = 0.0, **network: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        self.output = output
        self.identity = nn.Embedding(series, IDENTITY)
        self.recurrent = build_layers(
            network.pop("cell"), 2 + covariates + IDENTITY, hidden, dropout=dropout, **network
        )
        self.dropout = SequenceDropout(dropout)
        self.head = nn.Linear(hidden, output.parameters_per_step)

    def forward(self, x_TB: Tensor, observed_TB: Tensor, covariates: Covariates, series_B: Tensor) -> Tensor:
        """Return the outputs for each step, (F, B, P), where F is the covariates' length minus T; see `DirectRNN`."""
        T, B = x_TB.shape
        known_SBK, e_BE = covariates.joined(), self.identity(series_B)
        values_TB2 = torch.stack([x_TB, observed_TB], -1)
        y_TBH, state = self.recurrent(torch.cat([values_TB2, known_SBK[1 : T + 1], e_BE.expand(T, B, IDENTITY)], -1))
        y_BH, outputs = y_TBH[-1], []
        for step in range(T, len(known_SBK)):
            raw_BP = self.head(self.dropout(y_BH[None])[0])
            outputs.append(raw_BP)
            if step + 1 < len(known_SBK):
                point_B = self.output.point(self.output(raw_BP))
                value_B2 = torch.stack([point_B, torch.ones_like(point_B)], -1)
                x_BI = torch.cat([value_B2, known_SBK[step + 1], e_BE], -1)
                (y_BH,), state = self.recurrent(x_BI[None], state)
        return torch.stack(outputs)
