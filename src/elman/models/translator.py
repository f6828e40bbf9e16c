"""The translator: a bidirectional recurrent encoder, and a recurrent decoder with attention.

    m_s = both directions of recurrent layers over the source x
    d_t = lower layer (embedding of y_{t-1}, d_{t-1})
    a_t = attention of d_t over m
    s_t = upper layers ([d_t, a_t], s_{t-1})
    p(y_t) = softmax(V tanh(R [s_t, a_t]))

The query comes from a lower layer that does not read the attention, so that each layer runs over the whole target at
once (Wu et al. 2016, https://arxiv.org/abs/1609.08144). With input feeding the lower layer reads
tanh(R [s_{t-1}, a_{t-1}]) too (Luong et al. 2015, https://arxiv.org/abs/1508.04025), one step at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from elman.errors import SettingError
from elman.modules.attention import attend, build_attention
from elman.modules.dropout import SequenceDropout
from elman.modules.recurrent_stack import build_layers, select_rows
from elman.modules.softmax import FullSoftmax
from elman.modules.teacher_forcing import teacher_forcing
from elman.modules.word_embedding import embed, normal_embedding


@dataclass(frozen=True)
class DecoderState:
    """The state of the decoder in B translations.

    Attributes:
        memory_BSM: the encoded sources, (B, S, M).
        keys_BSQ: the keys of the attention, (B, S, Q).
        lengths_B: the lengths of the sources, (B,).
        lower: the state of the lower layer.
        upper: the state of the upper layers.
        fed_BE: the last readout, (B, E); None without input feeding.
        attended_BS: the sum of the attention weights of each source symbol so far, (B, S).
    """

    memory_BSM: Tensor
    keys_BSQ: Tensor
    lengths_B: Tensor
    lower: Any
    upper: Any
    fed_BE: Tensor | None
    attended_BS: Tensor

    def select(self, rows_N: Tensor) -> DecoderState:
        """Return the state of these rows."""
        return DecoderState(
            self.memory_BSM[rows_N],
            self.keys_BSQ[rows_N],
            self.lengths_B[rows_N],
            select_rows(self.lower, rows_N),
            select_rows(self.upper, rows_N),
            None if self.fed_BE is None else self.fed_BE[rows_N],
            self.attended_BS[rows_N],
        )


class Translator(nn.Module):
    """Sequence-to-sequence network with attention.

    Args:
        source_size: size of the source vocabulary.
        target_size: V, size of the target vocabulary; symbol V begins and ends each target.
        joint_vocabulary: whether source and target share one vocabulary and one embedding.
        embedding: E, size of the vector of a symbol, the same on both sides.
        hidden: H, units of a decoder layer; the encoder has H / 2 in each direction.
        layers: number of layers of the encoder, and of upper layers of the decoder.
        cell: a name in `elman.layers.LAYERS`.
        nonlinearity: see `elman.modules.recurrent_stack.build_layers`.
        init: see `elman.modules.recurrent_stack.build_layers`.
        attention: a name in `elman.modules.attention.ATTENTIONS`.
        input_feeding: see above; slower, as the layers then run step by step.
        dropout: probability of dropping a feature of embeddings, between layers, and before the output.

    Raises:
        SettingError: an unknown name, or sizes that do not match.
    """

    def __init__(
        self, source_size: int, target_size: int, *, joint_vocabulary: bool = False, embedding: int = 256,
        hidden: int = 512, layers: int = 1, cell: str = "gru", nonlinearity: str = "tanh", init: str = "torch",
        attention: str = "multiplicative", input_feeding: bool = False, dropout: float = 0.2,
    ) -> None:  # fmt: skip
        super().__init__()
        if hidden % 2 or (joint_vocabulary and source_size != target_size):
            raise SettingError(
                "the sizes of the translator do not match",
                should="an even number of hidden units, and vocabularies of one size if they are joint",
                found=f"hidden={hidden}, {source_size} and {target_size} symbols",
                hint=f"--hidden {hidden + hidden % 2}",
            )
        self.boundary, self.input_feeding = target_size, input_feeding
        self.source_size = source_size
        deviation = embedding**-0.5  # the weight is tied to the output: logits of unit variance
        self.target_embedding = normal_embedding(target_size + 1, embedding, deviation)
        self.source_embedding = None if joint_vocabulary else normal_embedding(source_size, embedding, deviation)
        self.drop = SequenceDropout(dropout)
        options: dict[str, Any] = {"cell": cell, "nonlinearity": nonlinearity, "init": init, "dropout": dropout}
        both: dict[str, Any] = {"layers": layers, "bidirectional": True, **options}
        self.encoder = build_layers(input_size=embedding, hidden=hidden // 2, **both)
        fed = embedding if input_feeding else 0
        self.lower = build_layers(input_size=embedding + fed, hidden=hidden, **options)
        self.upper = build_layers(input_size=2 * hidden, hidden=hidden, layers=layers, **options)
        self.attention = build_attention(attention, hidden, hidden)
        self.states = len(self.lower.cell.states)
        self.bridge = nn.Linear(hidden, hidden * self.states * (1 + layers))
        self.readout = nn.Linear(2 * hidden, embedding)
        self.output = FullSoftmax(embedding, target_size + 1, tied=self.target_embedding)

    def encode(self, source_SB: Tensor, lengths_B: Tensor) -> DecoderState:
        """Encode the sources, of at least one symbol, and return the decoder's state before the first symbol.

        Ids of unknown symbols are not below the size of the vocabulary; their vectors are zero.
        """
        e_SBE = self.drop(embed(self.source_embedding or self.target_embedding, source_SB, self.source_size))
        m_SBM, state = self.encoder(e_SBE, lengths=lengths_B)
        h_LBH = state if isinstance(state, Tensor) else state[0]
        initial_BN = torch.tanh(self.bridge(torch.cat((h_LBH[-2], h_LBH[-1]), 1)))
        initial_LBH = initial_BN.view(len(initial_BN), -1, self.lower.hidden_size).transpose(0, 1).contiguous()
        memory_BSM = self.drop(m_SBM).transpose(0, 1)
        count = self.upper.num_layers
        return DecoderState(
            memory_BSM,
            self.attention.keys(memory_BSM),
            lengths_B,
            self._state(torch.split(initial_LBH[: self.states], 1)),
            self._state(torch.split(initial_LBH[self.states :], count)),
            e_SBE.new_zeros(len(initial_BN), e_SBE.shape[2]) if self.input_feeding else None,
            memory_BSM.new_zeros(memory_BSM.shape[:2]),
        )

    def _state(self, parts: tuple[Tensor, ...]) -> Any:
        return parts if self.states > 1 else parts[0]

    def decode(self, input_TB: Tensor, state: DecoderState) -> tuple[Tensor, Tensor, DecoderState]:
        """Read target symbols, (T, B), from the state before them.

        Returns:
            The readout after each symbol, (T, B, E), the attention weights, (B, T, S), and the state after the last
            symbol.
        """
        e_TBE = self.drop(embed(self.target_embedding, input_TB, self.boundary + 1))
        if not self.input_feeding:
            return self._run(e_TBE, state)
        outputs, weights = [], []
        for e_BE in e_TBE:
            assert state.fed_BE is not None
            r_TBE, weights_BTS, state = self._run(torch.cat((e_BE, state.fed_BE), 1)[None], state)
            state = replace(state, fed_BE=r_TBE[0])
            outputs.append(r_TBE)
            weights.append(weights_BTS)
        return torch.cat(outputs), torch.cat(weights, 1), state

    def _run(self, e_TBE: Tensor, state: DecoderState) -> tuple[Tensor, Tensor, DecoderState]:
        d_TBH, lower = self.lower(e_TBE, state.lower)
        query_BTH = d_TBH.transpose(0, 1)
        a_BTM, weights_BTS = attend(self.attention.scores(query_BTH, state.keys_BSQ), state.memory_BSM, state.lengths_B)
        a_TBM = a_BTM.transpose(0, 1)
        s_TBH, upper = self.upper(torch.cat((self.drop(d_TBH), a_TBM), 2), state.upper)
        r_TBE = self.drop(torch.tanh(self.readout(torch.cat((s_TBH, a_TBM), 2))))
        attended_BS = state.attended_BS + weights_BTS.detach().sum(1)
        return r_TBE, weights_BTS, replace(state, lower=lower, upper=upper, attended_BS=attended_BS)

    def nats(
        self, source_SB: Tensor, lengths_B: Tensor, target_TB: Tensor, *,
        label_smoothing: float = 0.0, scheduled_sampling: float = 0.0,
    ) -> tuple[Tensor, int]:  # fmt: skip
        """Return the cross-entropy of the targets, summed, and the number of their symbols, the ends included.

        Args:
            source_SB: the sources, (S, B).
            lengths_B: the lengths of the sources, (B,).
            target_TB: the targets, -100 beyond their ends; the id V, of an unknown symbol, is read as zeros and not
                counted.
            label_smoothing: probability that is distributed over all symbols (Szegedy et al. 2016).
            scheduled_sampling: probability that a decoder input is a prediction instead of the target symbol (Bengio et
                al. 2015, https://arxiv.org/abs/1506.03099), made in parallel from the target (Duckworth et al. 2019,
                https://arxiv.org/abs/1906.04331).
        """
        input_TB, label_TB = teacher_forcing(target_TB, self.boundary)
        state = self.encode(source_SB, lengths_B)
        if scheduled_sampling:
            sampled_TB = torch.rand(input_TB.shape, device=input_TB.device) < scheduled_sampling
            input_TB = torch.where(sampled_TB, self._predictions(input_TB, state), input_TB)
        r_TBE, _, _ = self.decode(input_TB, state)
        counted_TB = label_TB >= 0
        s_NE, label_N = r_TBE[counted_TB], label_TB[counted_TB]
        return self.output.nats(s_NE, label_N, label_smoothing=label_smoothing), len(label_N)

    @torch.no_grad()
    def _predictions(self, input_TB: Tensor, state: DecoderState) -> Tensor:
        """Return the boundary symbol, and the most probable symbol after each input but the last, (T, B)."""
        r_TBE, _, _ = self.decode(input_TB[:-1], state)
        return torch.cat((input_TB[:1], self.output.logits(r_TBE).argmax(2)))

    @torch.no_grad()
    def step(self, ids_B: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Return the logits of the next symbol, (B, V + 1), and the state after one more symbol of each row, (B,)."""
        r_TBE, _, state = self.decode(ids_B[None], state)
        return self.output.logits(r_TBE[0]), state
