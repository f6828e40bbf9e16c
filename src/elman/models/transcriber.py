"""The transcriber: features of sound or video -> the probability of each symbol, or none, at each step, for CTC.

    z_t = relu(convolution over the last steps), every `stride` steps
    s_t = recurrent layers, of both directions or of one
    p(symbol or blank at t) = softmax(V s_t)

Graves et al. 2006, "Connectionist temporal classification".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.errors import SettingError
from elman.modules.augmentation import MaskFeatures, MaskSteps
from elman.modules.causal_convolution import CausalConvolution
from elman.modules.dropout import SequenceDropout
from elman.modules.pooling import steps_exist
from elman.modules.recurrent_stack import build_layers

BLANK = 0
"""The number of the blank; symbol n of the vocabulary is number n + 1."""


class TranscriberState(NamedTuple):
    """Where a streaming transcriber is."""

    left_KBI: Tensor | None
    state: Any


class Transcriber(nn.Module):
    """Convolution, recurrent layers and an output for CTC.

    Args:
        features: I, of the input at each step.
        symbols: V, without the blank.
        mean, deviation: (I,), of the features in the training data.
        streaming: one direction, and nothing that needs the future.
        own_scale: each sequence is scaled by its own mean and deviation instead, which no stream knows.
        hidden: H.
        layers: L.
        cell: a name in `elman.layers.LAYERS`.
        nonlinearity, init: see `elman.modules.recurrent_stack.build_layers`.
        stride: steps of the input for one of the layers.
        dropout: of the input of each layer and of the output.
        mask_steps, mask_features: the longest run of steps and of features that is hidden in training, each twice.
        stretch: greatest change of speed in training: 0.1 stands for 90 to 110 %.
        warp: greatest change of pitch in training, of each sequence by itself, for features that lie on a scale of
            pitch: 0.1 moves what lies at feature i to 0.9 i to 1.1 i (Jaitly and Hinton 2013, "Vocal tract length
            perturbation improves speech recognition", along the mel scale).

    Raises:
        SettingError: an unknown name or an impossible size.
    """

    mean_I: Tensor
    deviation_I: Tensor

    def __init__(
        self,
        features: int,
        symbols: int,
        *,
        mean: Sequence[float],
        deviation: Sequence[float],
        streaming: bool = False,
        own_scale: bool = False,
        hidden: int = 128,
        layers: int = 2,
        cell: str = "gru",
        nonlinearity: str = "tanh",
        init: str = "torch",
        stride: int = 2,
        dropout: float = 0.2,
        mask_steps: int = 0,
        mask_features: int = 0,
        stretch: float = 0.0,
        warp: float = 0.0,
    ) -> None:
        super().__init__()
        if len(mean) != features or len(deviation) != features:
            raise SettingError(
                "the scale does not fit the features", should=f"{features} numbers", found=f"{len(mean)}"
            )
        if streaming and own_scale:
            raise SettingError(
                "a stream cannot be scaled by its own mean", should="the training data's", found="streaming, own_scale"
            )
        self.register_buffer("mean_I", torch.tensor(mean))
        self.register_buffer("deviation_I", torch.tensor(deviation))
        self.streaming, self.own_scale = streaming, own_scale
        self.stretch, self.warp = stretch, warp
        self.mask_steps, self.mask_features = MaskSteps(mask_steps, 2), MaskFeatures(mask_features, 2)
        self.front = CausalConvolution(features, hidden, kernel=3 * stride, stride=stride)
        self.drop = SequenceDropout(dropout)
        self.recurrent = build_layers(
            cell,
            hidden,
            hidden,
            layers=layers,
            bidirectional=not streaming,
            nonlinearity=nonlinearity,
            dropout=dropout,
            init=init,
        )
        self.output = nn.Linear(self.recurrent.output_size, symbols + 1)

    @property
    def stride(self) -> int:
        """Steps of the input for one of the output."""
        return self.front.stride

    def forward(self, x_TBI: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of the blank and the symbols, (T', B, V + 1), and how many steps of them each sequence has.

        Args:
            x_TBI: features; what stands beyond a sequence's length changes nothing.
            lengths_B: (B,).
        """
        if self.training and self.stretch:
            x_TBI, lengths_B = stretched(x_TBI, lengths_B, 1 + self.stretch * (2 * float(torch.rand(())) - 1))
        x_TBI = self._scaled(x_TBI, lengths_B)
        if self.training and self.warp:
            x_TBI = warped(x_TBI, 1 + self.warp * (2 * torch.rand(x_TBI.shape[1]) - 1))
        x_TBI = self.mask_features(self.mask_steps(x_TBI, lengths_B))
        z_TBC, _ = self.front(x_TBI)
        lengths_B = lengths_B // self.stride
        s_TBF, _ = self.recurrent(self.drop(functional.relu(z_TBC)), lengths=lengths_B)
        logits_TBV: Tensor = self.output(self.drop(s_TBF))
        return logits_TBV, lengths_B

    def _scaled(self, x_TBI: Tensor, lengths_B: Tensor) -> Tensor:
        exists_TB1 = steps_exist(x_TBI, lengths_B)[..., None]
        if not self.own_scale:
            return ((x_TBI - self.mean_I) / self.deviation_I).masked_fill(~exists_TB1, 0.0)
        count_B1 = lengths_B.clamp(min=1).to(x_TBI)[:, None]
        mean_BI = x_TBI.masked_fill(~exists_TB1, 0.0).sum(0) / count_B1
        centred_TBI = (x_TBI - mean_BI).masked_fill(~exists_TB1, 0.0)
        return centred_TBI / (centred_TBI.square().sum(0) / count_B1 + 1e-4).sqrt()

    def loss(
        self, x_TBI: Tensor, lengths_B: Tensor, target_BS: Tensor, sizes_B: Tensor, *, spread: float = 0.0
    ) -> Tensor:
        """Return the CTC loss, -log p of the targets, summed; a target that cannot fit counts nothing.

        Args:
            x_TBI, lengths_B: as in `forward`.
            target_BS: numbers of symbols of the vocabulary, anything beyond their sizes.
            sizes_B: (B,).
            spread: share of the loss, 0 to 1, that is `spread_nats` instead.
        """
        logits_TBV, steps_B = self(x_TBI, lengths_B)
        nats_TBV, symbols_BS = -logits_TBV.log_softmax(2), target_BS + 1
        nats: Tensor = functional.ctc_loss(
            -nats_TBV, symbols_BS, steps_B, sizes_B, blank=BLANK, reduction="sum", zero_infinity=True
        )
        if not spread:
            return nats
        return spread * spread_nats(nats_TBV, steps_B, symbols_BS, sizes_B) + (1 - spread) * nats

    @torch.no_grad()
    def hear(self, x_TBI: Tensor, hearing: TranscriberState | None = None) -> tuple[Tensor, TranscriberState]:
        """Return the logits of some more steps of a stream, (T', B, V + 1), and where it is then.

        Raises:
            SettingError: as `refuse_streams`.
        """
        self.refuse_streams()
        left, state = hearing or TranscriberState(None, None)
        z_TBC, left = self.front((x_TBI - self.mean_I) / self.deviation_I, left)
        if not len(z_TBC):
            return z_TBC.new_zeros(0, z_TBC.shape[1], self.output.out_features), TranscriberState(left, state)
        s_TBF, state = self.recurrent(functional.relu(z_TBC), state)
        return self.output(s_TBF), TranscriberState(left, state)

    def refuse_streams(self) -> None:
        """Refuse to hear a stream where the future is needed.

        Raises:
            SettingError: the model is not a streaming one.
        """
        if not self.streaming:
            raise SettingError(
                "this transcriber cannot hear a stream",
                should="a run that was trained with streaming=true",
                found="one that reads both directions",
                hint="elman train transcribe ... --set streaming=true",
            )


def spread_nats(nats_TBV: Tensor, steps_B: Tensor, symbols_BS: Tensor, sizes_B: Tensor) -> Tensor:
    """Return the cost of writing each symbol for its even share of the steps, summed over symbols, averaged over steps.

    Where nothing is known yet, this is the guess of hidden Markov models' flat start (Young et al. 2006, The HTK Book,
    section 3.2.2). CTC alone may learn a long way round from there: layers of both directions learn first to write all
    symbols where a sentence begins and ends.

    Args:
        nats_TBV: -log p of each symbol at each step.
        steps_B: how many steps each sequence has.
        symbols_BS: numbers of symbols among the V, anything beyond their sizes.
        sizes_B: how many symbols each sequence has; one without any costs nothing.

    Returns:
        The cost in nats, a scalar.
    """
    step_T1 = torch.arange(len(nats_TBV), device=nats_TBV.device)[:, None]
    place_TB = (step_T1 * sizes_B // steps_B.clamp(min=1)).minimum(sizes_B - 1)
    some_TB = (step_T1 < steps_B) & (sizes_B > 0)
    padded_SB = functional.pad(symbols_BS, (0, 1)).T  # one more, for sequences without any
    symbol_TB = padded_SB.gather(0, place_TB.clamp(min=0)).where(some_TB, BLANK)
    nats_TB = nats_TBV.gather(2, symbol_TB[..., None])[..., 0].where(some_TB, 0.0)
    nats: Tensor = (nats_TB.sum(0) * sizes_B / steps_B.clamp(min=1)).sum()
    return nats


def stretched(x_TBI: Tensor, lengths_B: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """Return sequences spoken more slowly (`factor` above 1) or faster, by linear interpolation, and their lengths.

    What stands beyond a sequence's length changes nothing: its last step is repeated there.
    """
    size = max(1, round(len(x_TBI) * factor))
    last_B = (lengths_B - 1).clamp(min=0).to(x_TBI.device)
    step_TB = torch.arange(len(x_TBI), device=x_TBI.device)[:, None].minimum(last_B)
    x_TBI = x_TBI.gather(0, step_TB[..., None].expand_as(x_TBI))
    y_BIT = functional.interpolate(x_TBI.permute(1, 2, 0), size=size, mode="linear", align_corners=False)
    return y_BIT.permute(2, 0, 1), (lengths_B * size // len(x_TBI)).clamp(max=size)


def warped(x_TBI: Tensor, factors_B: Tensor) -> Tensor:
    """Return sequences whose feature i is what was at i / factor, by linear interpolation; the last one is repeated."""
    T, B, size = x_TBI.shape
    place_BI = (torch.arange(size) / factors_B[:, None]).clamp(max=size - 1).to(x_TBI)
    below_BI = place_BI.long()
    above_BI, share_BI = (below_BI + 1).clamp(max=size - 1), place_BI - below_BI
    below_TBI, above_TBI = (x_TBI.gather(2, index_BI.expand(T, B, size)) for index_BI in (below_BI, above_BI))
    return below_TBI + share_BI * (above_TBI - below_TBI)
