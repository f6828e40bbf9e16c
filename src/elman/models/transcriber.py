"""The transcriber: features of sound or video -> symbol probabilities at each step, trained by CTC.

    z_t = relu(convolution over the last steps), every `stride` steps
    s_t = recurrent layers, of both directions or of one
    p(symbol or blank at t) = softmax(V s_t)

Connectionist temporal classification: Graves et al. 2006.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.errors import SettingError
from elman.modules.augmentation import FrequencyMasking, TimeMasking, frequency_warp, time_stretch
from elman.modules.causal_convolution import CausalConvolution
from elman.modules.dropout import SequenceDropout
from elman.modules.normalisation import GainControl
from elman.modules.pooling import steps_exist
from elman.modules.recurrent_stack import build_layers, select_rows

BLANK = 0
"""Index of the blank; symbol n of the vocabulary has index n + 1."""

EPSILON = 1e-4
"""Added to the variance of an utterance, so that constant features have a scale."""


class TranscriberState(NamedTuple):
    """The state of a streaming transcriber.

    Attributes:
        front: the state of the convolution, (K, B, I).
        recurrent: the state of the recurrent layers.
        level: the running level of the sound, (B,); None without gain control.
    """

    front: Tensor | None
    recurrent: Any
    level: Tensor | None = None


class Transcriber(nn.Module):
    """CTC network: causal convolution, recurrent layers and an output layer.

    Args:
        features: I, features of an input step.
        symbols: V, without the blank.
        mean: of each feature in the training data, (I,), after gain control.
        deviation: standard deviation of each feature in the training data, (I,), after gain control.
        streaming: whether to use one direction and nothing that needs future steps.
        utterance_norm: normalise each sequence by its own mean and standard deviation; not for streams.
        gain_control: subtract a running level from the features, which are log energies.
        max_level_error: greatest random error of the first level of a sequence in training, in nats.
        hidden: H, units of each layer and direction.
        layers: L, number of recurrent layers.
        cell: a name in `elman.layers.LAYERS`.
        nonlinearity: see `elman.modules.recurrent_stack.build_layers`.
        init: see `elman.modules.recurrent_stack.build_layers`.
        stride: input steps of one step of the recurrent layers.
        dropout: probability of dropping a feature, before each layer and before the output.
        mask_steps: greatest length of each of two runs of steps that are masked in training.
        mask_features: greatest width of each of two runs of features that are masked in training.
        max_time_stretch: greatest relative change of duration in training; 0.1 means 90 to 110 %.
        max_frequency_warp: greatest relative shift of the features along their axis in training, for each sequence.

    Raises:
        SettingError: an unknown name or an invalid size.
    """

    mean_I: Tensor
    deviation_I: Tensor

    def __init__(
        self, features: int, symbols: int, *, mean: Sequence[float], deviation: Sequence[float],
        streaming: bool = False, utterance_norm: bool = False, gain_control: bool = False,
        max_level_error: float = 0.0, hidden: int = 128, layers: int = 2, cell: str = "gru",
        nonlinearity: str = "tanh", init: str = "torch", stride: int = 2, dropout: float = 0.2, mask_steps: int = 0,
        mask_features: int = 0, max_time_stretch: float = 0.0, max_frequency_warp: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if len(mean) != features or len(deviation) != features:
            raise SettingError(
                "mean and deviation do not match the features", should=f"{features} numbers", found=f"{len(mean)}"
            )
        if streaming and utterance_norm:
            what, should = "a stream cannot be normalised by its own mean", "that of the training data, or gain control"
            raise SettingError(what, should=should, found="streaming, utterance_norm")
        if gain_control and utterance_norm:
            what = "gain control and the mean of an utterance are two normalisations"
            raise SettingError(what, should="one of them", found="gain_control, utterance_norm")
        self.gain_control = GainControl(max_level_error) if gain_control else None
        self.register_buffer("mean_I", torch.tensor(mean))
        self.register_buffer("deviation_I", torch.tensor(deviation))
        self.streaming, self.utterance_norm = streaming, utterance_norm
        self.max_time_stretch, self.max_frequency_warp = max_time_stretch, max_frequency_warp
        self.mask_steps, self.mask_features = TimeMasking(mask_steps, 2), FrequencyMasking(mask_features, 2)
        self.front = CausalConvolution(features, hidden, kernel=3 * stride, stride=stride)
        self.drop = SequenceDropout(dropout)
        self.recurrent = build_layers(
            cell, hidden, hidden, layers=layers, bidirectional=not streaming, nonlinearity=nonlinearity,
            dropout=dropout, init=init,
        )  # fmt: skip
        self.output = nn.Linear(self.recurrent.output_size, symbols + 1)

    @property
    def stride(self) -> int:
        """Input steps of one output step."""
        return self.front.stride

    def controlled(self, x_TBI: Tensor) -> Tensor:
        """Return features after gain control without random levels, if there is any, (T, B, I)."""
        return GainControl()(x_TBI)[0] if self.gain_control is not None else x_TBI

    def set_scale(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        """Set the mean and the deviation of the features in the training data; weights that are loaded replace them."""
        self.mean_I.copy_(torch.tensor(mean))
        self.deviation_I.copy_(torch.tensor(deviation))

    def forward(self, x_TBI: Tensor, lengths_B: Tensor, least_steps_B: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the logits of the blank and the symbols, (T', B, V + 1), and the output lengths, (B,).

        Values beyond a sequence's length have no effect. A batch in which a sequence would get fewer output steps than
        `least_steps_B` is not stretched in training.
        """
        if self.training and self.max_time_stretch:
            factor = 1 + self.max_time_stretch * (2 * float(torch.rand(())) - 1)
            y_TBI, stretched_B = time_stretch(x_TBI, lengths_B, factor)
            if least_steps_B is None or bool((stretched_B // self.stride >= least_steps_B).all()):
                x_TBI, lengths_B = y_TBI, stretched_B
        x_TBI = self._normalise(x_TBI, lengths_B)
        if self.training and self.max_frequency_warp:
            x_TBI = frequency_warp(x_TBI, 1 + self.max_frequency_warp * (2 * torch.rand(x_TBI.shape[1]) - 1))
        x_TBI = self.mask_features(self.mask_steps(x_TBI, lengths_B))
        z_TBC, _ = self.front(x_TBI)
        lengths_B = lengths_B // self.stride
        s_TBF, _ = self.recurrent(self.drop(functional.relu(z_TBC)), lengths=lengths_B)
        logits_TBV: Tensor = self.output(self.drop(s_TBF))
        return logits_TBV, lengths_B

    def _normalise(self, x_TBI: Tensor, lengths_B: Tensor) -> Tensor:
        exists_TB1 = steps_exist(x_TBI, lengths_B)[..., None]
        if not self.utterance_norm:
            return self._scaled(x_TBI)[0].masked_fill(~exists_TB1, 0.0)
        count_B1 = lengths_B.clamp(min=1).to(x_TBI)[:, None]
        mean_BI = x_TBI.masked_fill(~exists_TB1, 0.0).sum(0) / count_B1
        centred_TBI = (x_TBI - mean_BI).masked_fill(~exists_TB1, 0.0)
        return centred_TBI / (centred_TBI.square().sum(0) / count_B1 + EPSILON).sqrt()

    def _scaled(self, x_TBI: Tensor, level_B: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return features by the scale of the training data, and the running level after them."""
        if self.gain_control is not None:
            x_TBI, level_B = self.gain_control(x_TBI, level_B)
        return (x_TBI - self.mean_I) / self.deviation_I, level_B

    def loss(
        self, x_TBI: Tensor, lengths_B: Tensor, target_BS: Tensor, sizes_B: Tensor, *, flat_start: float = 0.0
    ) -> Tensor:
        """Return the CTC loss, -log p of the targets, summed; a target that is too long for its input has no loss.

        Args:
            x_TBI: as in `forward`.
            lengths_B: as in `forward`.
            target_BS: symbols of the vocabulary, (B, S), any beyond their sizes.
            sizes_B: the number of symbols of each target, (B,).
            flat_start: weight, 0 to 1, of `flat_start_loss`, which replaces that share of the CTC loss.
        """
        logits_TBV, steps_B = self(x_TBI, lengths_B, ctc_steps(target_BS, sizes_B))
        nats_TBV, symbols_BS = -logits_TBV.log_softmax(2), target_BS + 1
        nats: Tensor = functional.ctc_loss(
            -nats_TBV, symbols_BS, steps_B, sizes_B, blank=BLANK, reduction="sum", zero_infinity=True
        )
        if not flat_start:
            return nats
        return flat_start * flat_start_loss(nats_TBV, steps_B, symbols_BS, sizes_B) + (1 - flat_start) * nats

    @torch.no_grad()
    def forward_chunk(self, x_TBI: Tensor, state: TranscriberState | None = None) -> tuple[Tensor, TranscriberState]:
        """Return the logits of the next steps of a stream, (T', B, V + 1), and the state after them.

        Raises:
            SettingError: as `check_streaming`.
        """
        self.check_streaming()
        front, recurrent, level = state or TranscriberState(None, None)
        x_TBI, level = self._scaled(x_TBI, level)
        z_TBC, front = self.front(x_TBI, front)
        if not len(z_TBC):
            none_TBV = z_TBC.new_zeros(0, z_TBC.shape[1], self.output.out_features)
            return none_TBV, TranscriberState(front, recurrent, level)
        s_TBF, recurrent = self.recurrent(functional.relu(z_TBC), recurrent)
        return self.output(s_TBF), TranscriberState(front, recurrent, level)

    @torch.no_grad()
    def forward_chunks(
        self, chunks: Sequence[Tensor], states: Sequence[TranscriberState]
    ) -> list[tuple[Tensor, TranscriberState]]:
        """Return for each of several streams what `forward_chunk` returns, (T', V + 1) and the state, to the bit.

        Layers that are products of matrices, whose rounding depends on their number of rows, run stream by stream;
        the recurrent ones, whose bits do not depend on other sequences, run together.

        Args:
            chunks: the next steps of each stream, (T, I).
            states: of each stream.
        """
        fronts, logits = [], [self.output.weight.new_zeros(0, self.output.out_features)] * len(chunks)
        after = []
        scaled = self._scaled_chunks(chunks, [state.level for state in states])
        for (x_T1I, level), (front, recurrent, _) in zip(scaled, states, strict=True):
            z_T1C, front = self.front(x_T1I, front)
            fronts.append(functional.relu(z_T1C))
            after.append(TranscriberState(front, recurrent, level))
        for length in sorted({len(z) for z in fronts} - {0}):
            rows = [n for n, z in enumerate(fronts) if len(z) == length]
            begin = [after[n].recurrent for n in rows]
            initial = self.recurrent.initial_state(1)
            parts = [initial if s is None else (s,) if isinstance(s, Tensor) else s for s in begin]
            state = tuple(torch.cat(part, 1) for part in zip(*parts, strict=True))
            s_TBF, state = self.recurrent(
                torch.cat([fronts[n] for n in rows], 1), state if len(state) > 1 else state[0]
            )
            for place, n in enumerate(rows):
                logits[n] = self.output(s_TBF[:, place].contiguous())
                after[n] = after[n]._replace(recurrent=select_rows(state, torch.tensor([place])))
        return list(zip(logits, after, strict=True))

    def _scaled_chunks(
        self, chunks: Sequence[Tensor], levels: Sequence[Tensor | None]
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Return `_scaled` of each chunk, (T, 1, I), those of one length and kind together."""
        scaled: list[Any] = [None] * len(chunks)
        groups: dict[tuple[int, bool], list[int]] = {}
        for n, (chunk, level) in enumerate(zip(chunks, levels, strict=True)):
            groups.setdefault((len(chunk), level is None), []).append(n)
        for (_, begins), rows in groups.items():
            level_B = None if begins else torch.cat([level for n in rows if (level := levels[n]) is not None])
            x_TBI, level_B = self._scaled(torch.stack([chunks[n] for n in rows], 1), level_B)
            for place, n in enumerate(rows):
                level_1 = None if level_B is None else level_B[place : place + 1]
                scaled[n] = x_TBI[:, place : place + 1], level_1
        return scaled

    def check_streaming(self) -> None:
        """Check that the model can transcribe a stream.

        Raises:
            SettingError: it needs future steps.
        """
        if not self.streaming:
            raise SettingError(
                "this transcriber cannot stream",
                should="a run that was trained with streaming=true",
                found="a bidirectional one",
                hint="elman train transcribe ... --set streaming=true",
            )


def ctc_steps(target_BS: Tensor, sizes_B: Tensor) -> Tensor:
    """Return the fewest steps that hold the symbols of each target, (B,): CTC needs a blank between two alike."""
    repeated_BS = (target_BS[:, 1:] == target_BS[:, :-1]) & (
        torch.arange(1, target_BS.shape[1], device=sizes_B.device) < sizes_B[:, None]
    )
    return sizes_B + repeated_BS.sum(1)


def flat_start_loss(nats_TBV: Tensor, steps_B: Tensor, symbols_BS: Tensor, sizes_B: Tensor) -> Tensor:
    """Return the cross-entropy of a uniform alignment, in which each symbol takes an equal share of the steps.

    It is the flat start of hidden Markov models (Young et al. 2006, The HTK Book, section 3.2.2), and shortens the
    start of CTC, in which bidirectional layers first learn to emit all symbols at the two ends of a sequence.

    Args:
        nats_TBV: -log p of each symbol at each step, (T, B, V).
        steps_B: number of steps of each sequence, (B,).
        symbols_BS: symbols among the V, (B, S), any beyond their sizes.
        sizes_B: number of symbols of each sequence, (B,); an empty one has no loss.

    Returns:
        The loss in nats, a scalar: the mean over the steps times the number of symbols, summed over the sequences.
    """
    step_T1 = torch.arange(len(nats_TBV), device=nats_TBV.device)[:, None]
    index_TB = (step_T1 * sizes_B // steps_B.clamp(min=1)).minimum(sizes_B - 1)
    counted_TB = (step_T1 < steps_B) & (sizes_B > 0)
    padded_SB = functional.pad(symbols_BS, (0, 1)).T  # one more, for empty sequences
    symbol_TB = padded_SB.gather(0, index_TB.clamp(min=0)).where(counted_TB, BLANK)
    nats_TB = nats_TBV.gather(2, symbol_TB[..., None])[..., 0].where(counted_TB, 0.0)
    nats: Tensor = (nats_TB.sum(0) * sizes_B / steps_B.clamp(min=1)).sum()
    return nats
