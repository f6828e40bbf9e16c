"""The translator: an encoder that reads the source both ways, and a decoder that writes the target looking back at it.

    m_s = both directions of recurrent layers over the source x
    d_t = lower layer (embedding of y_{t-1}, d_{t-1})
    a_t = attention of d_t over m
    s_t = upper layers ([d_t, a_t], s_{t-1})
    p(y_t) = softmax(V tanh(R [s_t, a_t]))

The query comes from a lower layer that does not see the attention, as in Wu et al. 2016
(https://arxiv.org/abs/1609.08144): every layer then runs over the whole target at once. With `input_feeding` the lower
layer is fed tanh(R [s_{t-1}, a_{t-1}]) too (Luong et al. 2015, https://arxiv.org/abs/1508.04025), one step at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.errors import SettingError
from elman.modules.attention import attend, build_attention
from elman.modules.dropout import SequenceDropout
from elman.modules.recurrent_stack import build_layers
from elman.modules.softmax import FullSoftmax


@dataclass(frozen=True)
class DecoderState:
    """Where the decoder is in B translations."""

    memory_BSM: Tensor  # the source as the encoder read it
    keys_BSQ: Tensor  # what attention compares with
    lengths_B: Tensor  # of the sources
    lower: Any  # state of the lower layer
    upper: Any  # state of the upper layers
    fed_BE: Tensor | None  # the last readout, with input feeding
    attended_BS: Tensor  # the attention that each source symbol got so far

    def select(self, rows_N: Tensor) -> DecoderState:
        """Return the state of these rows."""

        def of(state: Any) -> Any:
            return state[:, rows_N] if isinstance(state, Tensor) else tuple(s[:, rows_N] for s in state)

        return DecoderState(
            self.memory_BSM[rows_N],
            self.keys_BSQ[rows_N],
            self.lengths_B[rows_N],
            of(self.lower),
            of(self.upper),
            None if self.fed_BE is None else self.fed_BE[rows_N],
            self.attended_BS[rows_N],
        )


class Translator(nn.Module):
    """Sequence to sequence with attention.

    Args:
        source_size, target_size: symbols of the two vocabularies; the decoder has one more, which begins and ends a
            target: its number is `target_size`.
        shared: source and target are of one vocabulary, and have one embedding.
        embedding: E, size of the vector of a symbol, the same on both sides.
        hidden: H, units of a decoder layer; the encoder has H / 2 in each direction.
        layers: layers of the encoder, and upper layers of the decoder.
        cell: a name in `elman.layers.LAYERS`.
        nonlinearity, init: see `elman.modules.recurrent_stack.build_layers`.
        attention: a name in `elman.modules.attention.ATTENTIONS`.
        input_feeding: see above; slower, as the layers then run step by step.
        dropout: of embeddings, between layers, and before the output.

    Raises:
        SettingError: an unknown name, or sizes that do not fit each other.
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        *,
        shared: bool = False,
        embedding: int = 256,
        hidden: int = 512,
        layers: int = 1,
        cell: str = "gru",
        nonlinearity: str = "tanh",
        init: str = "torch",
        attention: str = "multiplicative",
        input_feeding: bool = False,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if hidden % 2 or (shared and source_size != target_size):
            raise SettingError(
                "the sizes of the translator do not fit",
                should="an even number of hidden units, and with one shared vocabulary one size of both",
                found=f"hidden={hidden}, {source_size} and {target_size} symbols",
                hint=f"--hidden {hidden + hidden % 2}",
            )
        self.mark, self.input_feeding = target_size, input_feeding
        self.target_embedding = _embedding(target_size + 1, embedding)
        self.source_embedding = None if shared else _embedding(source_size, embedding)
        self.drop = SequenceDropout(dropout)
        options: dict[str, Any] = {"cell": cell, "nonlinearity": nonlinearity, "init": init, "dropout": dropout}
        self.encoder = build_layers(
            input_size=embedding, hidden=hidden // 2, layers=layers, bidirectional=True, **options
        )
        fed = embedding if input_feeding else 0
        self.lower = build_layers(input_size=embedding + fed, hidden=hidden, **options)
        self.upper = build_layers(input_size=2 * hidden, hidden=hidden, layers=layers, **options)
        self.attention = build_attention(attention, hidden, hidden)
        self.states = len(self.lower.cell.states)
        self.bridge = nn.Linear(hidden, hidden * self.states * (1 + layers))
        self.readout = nn.Linear(2 * hidden, embedding)
        self.output = FullSoftmax(embedding, target_size + 1, tied=self.target_embedding)

    def read(self, source_SB: Tensor, lengths_B: Tensor) -> DecoderState:
        """Read the sources, each of at least one symbol, and return the decoder's state before the first symbol."""
        e_SBE = self.drop((self.source_embedding or self.target_embedding)(source_SB))
        m_SBM, state = self.encoder(e_SBE, lengths=lengths_B)
        h_LBH = state if isinstance(state, Tensor) else state[0]
        begin_BN = torch.tanh(self.bridge(torch.cat((h_LBH[-2], h_LBH[-1]), 1)))
        begin_LBH = begin_BN.view(len(begin_BN), -1, self.lower.hidden_size).transpose(0, 1).contiguous()
        memory_BSM = self.drop(m_SBM).transpose(0, 1)
        count = self.upper.num_layers
        return DecoderState(
            memory_BSM,
            self.attention.keys(memory_BSM),
            lengths_B,
            self._state(torch.split(begin_LBH[: self.states], 1)),
            self._state(torch.split(begin_LBH[self.states :], count)),
            e_SBE.new_zeros(len(begin_BN), e_SBE.shape[2]) if self.input_feeding else None,
            memory_BSM.new_zeros(memory_BSM.shape[:2]),
        )

    def _state(self, parts: tuple[Tensor, ...]) -> Any:
        return parts if self.states > 1 else parts[0]

    def write(self, target_TB: Tensor, at: DecoderState) -> tuple[Tensor, Tensor, DecoderState]:
        """Read target symbols, and return the readout after each, (T, B, E), the attention (B, T, S), and the state."""
        e_TBE = self.drop(self.target_embedding(target_TB))
        if not self.input_feeding:
            return self._run(e_TBE, at)
        outputs, weights = [], []
        for e_BE in e_TBE:
            assert at.fed_BE is not None
            r_TBE, weights_BTS, at = self._run(torch.cat((e_BE, at.fed_BE), 1)[None], at)
            at = replace(at, fed_BE=r_TBE[0])
            outputs.append(r_TBE)
            weights.append(weights_BTS)
        return torch.cat(outputs), torch.cat(weights, 1), at

    def _run(self, e_TBE: Tensor, at: DecoderState) -> tuple[Tensor, Tensor, DecoderState]:
        d_TBH, lower = self.lower(e_TBE, at.lower)
        query_BTH = d_TBH.transpose(0, 1)
        a_BTM, weights_BTS = attend(self.attention.scores(query_BTH, at.keys_BSQ), at.memory_BSM, at.lengths_B)
        a_TBM = a_BTM.transpose(0, 1)
        s_TBH, upper = self.upper(torch.cat((self.drop(d_TBH), a_TBM), 2), at.upper)
        r_TBE = self.drop(torch.tanh(self.readout(torch.cat((s_TBH, a_TBM), 2))))
        attended_BS = at.attended_BS + weights_BTS.detach().sum(1)
        return r_TBE, weights_BTS, replace(at, lower=lower, upper=upper, attended_BS=attended_BS)

    def nats(
        self,
        source_SB: Tensor,
        lengths_B: Tensor,
        target_TB: Tensor,
        *,
        smoothing: float = 0.0,
        guesses: float = 0.0,
    ) -> tuple[Tensor, int]:
        """Return the cross-entropy of the targets, summed, and over how many symbols, their ends included.

        Args:
            source_SB, lengths_B: the sources and how many symbols each has.
            target_TB: the targets, -100 beyond their ends.
            smoothing: share of each target's probability that is spread over all symbols (Szegedy et al. 2016).
            guesses: share of the symbols that the decoder reads that are its own guesses instead of the target's
                (Bengio et al. 2015, https://arxiv.org/abs/1506.03099), made all at once from the target (Duckworth et
                al. 2019, https://arxiv.org/abs/1906.04331).
        """
        rows = target_TB.shape[1]
        mark_1B = target_TB.new_full((1, rows), self.mark)
        nothing_1B = target_TB.new_full((1, rows), -100)
        input_TB = torch.cat((mark_1B, target_TB.clamp(min=0)))
        following_TB = torch.cat((target_TB, nothing_1B))
        ends_B = (target_TB >= 0).sum(0)
        following_TB[ends_B, torch.arange(len(ends_B))] = self.mark
        at = self.read(source_SB, lengths_B)
        if guesses:
            guessed = torch.rand(input_TB.shape, device=input_TB.device) < guesses
            input_TB = torch.where(guessed, self._guesses(input_TB, at), input_TB)
        r_TBE, _, _ = self.write(input_TB, at)
        judged = following_TB >= 0
        logits_NV = self.output.logits(r_TBE[judged])
        wanted_N = following_TB[judged]
        return functional.cross_entropy(logits_NV, wanted_N, reduction="sum", label_smoothing=smoothing), len(wanted_N)

    @torch.no_grad()
    def _guesses(self, input_TB: Tensor, at: DecoderState) -> Tensor:
        """Return the mark, and what the decoder would have written after each symbol but the last, (T, B)."""
        r_TBE, _, _ = self.write(input_TB[:-1], at)
        return torch.cat((input_TB[:1], self.output.logits(r_TBE).argmax(2)))

    @torch.no_grad()
    def step(self, ids_B: Tensor, at: DecoderState) -> tuple[Tensor, DecoderState]:
        """Return the logits of the next symbol of each row, (B, V), and the state after one more symbol."""
        r_TBE, _, at = self.write(ids_B[None], at)
        return self.output.logits(r_TBE[0]), at


def _embedding(size: int, features: int) -> nn.Embedding:
    """Build an embedding whose weight, tied to the output, gives logits of unit size."""
    embedding = nn.Embedding(size, features, _weight=torch.empty(size, features))
    if not embedding.weight.is_meta:
        nn.init.normal_(embedding.weight, std=features**-0.5)
    return embedding
