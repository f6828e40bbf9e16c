"""The captioner: a picture becomes a map of features, and a decoder writes what it sees, looking at places of the map.

    m_s = place s of the picture's features, with a learned mark of where it is
    g   = mean over s of relu(A m_s)
    d_t = lower layer (embedding of y_{t-1}, d_{t-1}),  d_0 = tanh(B g)
    a_t = attention of d_t over m
    s_t = upper layers ([d_t, a_t], s_{t-1}),  s_0 like d_0
    p(y_t) = softmax(V tanh(R [s_t, a_t]))

Soft attention as of Xu et al. 2015 (https://arxiv.org/abs/1502.03044), with the query from a lower layer that does not
see the attention, so that every layer runs over whole captions at once (Anderson et al. 2018 have two layers too,
https://arxiv.org/abs/1707.07998). Without attention the picture is in d_0 alone, and there is no upper layer (Vinyals
et al. 2015, https://arxiv.org/abs/1411.4555).

Beside the captions the features are trained to tell which symbols the captions have, in no order (Fang et al. 2015,
https://arxiv.org/abs/1411.4952): the decoder alone learns the language long before it looks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.modules.attention import attend, build_attention
from elman.modules.dropout import SequenceDropout
from elman.modules.recurrent_stack import build_layers
from elman.modules.softmax import FullSoftmax


@dataclass(frozen=True)
class CaptionerState:
    """Where the decoder is in N captions."""

    memory_NSM: Tensor  # the picture of each caption
    keys_NSQ: Tensor | None  # what attention compares with
    lower: Any  # state of the lower layer
    upper: Any  # state of the upper layers; None without attention

    def select(self, rows_M: Tensor) -> CaptionerState:
        """Return the state of these rows."""

        def of(state: Any) -> Any:
            if state is None:
                return None
            return state[:, rows_M] if isinstance(state, Tensor) else tuple(s[:, rows_M] for s in state)

        keys = None if self.keys_NSQ is None else self.keys_NSQ[rows_M]
        return CaptionerState(self.memory_NSM[rows_M], keys, of(self.lower), of(self.upper))


class Captioner(nn.Module):
    """Pictures to sequences.

    Args:
        seeing: makes (B, S, M) of the pictures; it has `output_size`, M, and `places`, S.
        symbols: V of the captions; one more begins and ends each: its number is `symbols`.
        embedding: E, size of the vector of a symbol.
        hidden: H, units of a decoder layer.
        layers: upper layers, or, without attention, layers.
        cell: a name in `elman.layers.LAYERS`.
        nonlinearity, init: see `elman.modules.recurrent_stack.build_layers`.
        attention: a name in `elman.modules.attention.ATTENTIONS`, or "none".
        dropout: of embeddings, features, between layers, and before the output.
        forgetting: probability that a symbol that was written is not read, in training: the decoder has to look.
        never: symbols that are never written.

    Raises:
        SettingError: an unknown name or an impossible size.
    """

    def __init__(
        self,
        seeing: Any,
        symbols: int,
        *,
        embedding: int = 256,
        hidden: int = 512,
        layers: int = 1,
        cell: str = "lstm",
        nonlinearity: str = "tanh",
        init: str = "torch",
        attention: str = "multiplicative",
        dropout: float = 0.3,
        forgetting: float = 0.0,
        never: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.mark, self.never, self.forgetting = symbols, list(never), forgetting
        self.seeing = seeing
        features: int = seeing.output_size
        self.place = nn.Parameter(0.1 * torch.randn(seeing.places, features))
        self.glance = nn.Linear(features, features)
        self.bag = nn.Linear(features, symbols)
        if not self.bag.bias.is_meta:
            nn.init.constant_(self.bag.bias, -3.0)  # most symbols are in few captions
        self.embedding = nn.Embedding(symbols + 1, embedding, _weight=torch.empty(symbols + 1, embedding))
        if not self.embedding.weight.is_meta:
            nn.init.normal_(self.embedding.weight, std=embedding**-0.5)  # tied to the output: logits of unit size
        self.drop = SequenceDropout(dropout)
        looks = attention != "none"
        options: dict[str, Any] = {"cell": cell, "nonlinearity": nonlinearity, "init": init, "dropout": dropout}
        self.lower = build_layers(input_size=embedding, hidden=hidden, layers=1 if looks else layers, **options)
        self.attention = build_attention(attention, hidden, features) if looks else None
        self.upper = (
            build_layers(input_size=hidden + features, hidden=hidden, layers=layers, **options) if looks else None
        )
        self.states = len(self.lower.cell.states)
        self.bridge = nn.Linear(features, hidden * self.states * (1 + layers if looks else layers))
        self.readout = nn.Linear(hidden + features if looks else hidden, embedding)
        self.output = FullSoftmax(embedding, symbols + 1, tied=self.embedding)

    def see(self, picture_B: Tensor, turns_B: Tensor | None = None) -> Tensor:
        """Return the features of pictures, (B, S, M).

        Args:
            picture_B: (B, H, W, 3) or features (B, S, F).
            turns_B: which may be mirrored; none if None.
        """
        memory_BSM: Tensor = self.seeing(picture_B, turns_B)
        return memory_BSM

    def begin(self, memory_BSM: Tensor, of_N: Tensor | None = None) -> CaptionerState:
        """Return the state before the first symbol.

        Args:
            memory_BSM: what `see` returned.
            of_N: which picture each caption is of; None for one of each.
        """
        memory_BSM = self.drop(memory_BSM + self.place)
        begin_BX = torch.tanh(self.bridge(self.drop(functional.relu(self.glance(memory_BSM)).mean(1)[None])[0]))
        keys_BSQ = None if self.attention is None else self.attention.keys(memory_BSM)
        begin_LBH = begin_BX.view(len(begin_BX), -1, self.lower.hidden_size).transpose(0, 1)
        count = self.states * self.lower.num_layers
        lower = self._state(torch.split(begin_LBH[:count].contiguous(), self.lower.num_layers))
        upper = None
        if self.upper is not None:
            upper = self._state(torch.split(begin_LBH[count:].contiguous(), self.upper.num_layers))
        at = CaptionerState(memory_BSM, keys_BSQ, lower, upper)
        return at if of_N is None else at.select(of_N)

    def _state(self, parts: tuple[Tensor, ...]) -> Any:
        return parts if self.states > 1 else parts[0]

    def write(self, target_TN: Tensor, at: CaptionerState) -> tuple[Tensor, Tensor | None, CaptionerState]:
        """Read symbols; return the readout after each, (T, N, E), where it looked, (N, T, S) or None, and the state."""
        e_TNE = self.drop(self.embedding(target_TN))
        if self.training and self.forgetting:
            e_TNE = e_TNE * (torch.rand(target_TN.shape, device=e_TNE.device) >= self.forgetting)[:, :, None]
        d_TNH, lower = self.lower(e_TNE, at.lower)
        if self.attention is None or self.upper is None or at.keys_NSQ is None:
            return self.drop(torch.tanh(self.readout(self.drop(d_TNH)))), None, replace(at, lower=lower)
        memory_NSM = at.memory_NSM
        places_N = torch.full((len(memory_NSM),), memory_NSM.shape[1], device=memory_NSM.device)
        a_NTM, weights_NTS = attend(self.attention.scores(d_TNH.transpose(0, 1), at.keys_NSQ), memory_NSM, places_N)
        a_TNM = a_NTM.transpose(0, 1)
        s_TNH, upper = self.upper(torch.cat((self.drop(d_TNH), a_TNM), 2), at.upper)
        r_TNE = self.drop(torch.tanh(self.readout(torch.cat((s_TNH, a_TNM), 2))))
        return r_TNE, weights_NTS, replace(at, lower=lower, upper=upper)

    def nats(
        self, memory_BSM: Tensor, target_TN: Tensor, of_N: Tensor | None = None, *, smoothing: float = 0.0
    ) -> tuple[Tensor, int]:
        """Return the cross-entropy of captions, summed, and over how many symbols, their ends included.

        Args:
            memory_BSM: what `see` returned.
            target_TN: the captions, -100 beyond their ends.
            of_N: which picture each is of; None for one of each.
            smoothing: share of each symbol's probability that is spread over all (Szegedy et al. 2016).
        """
        N = target_TN.shape[1]
        input_TN = torch.cat((target_TN.new_full((1, N), self.mark), target_TN.clamp(min=0)))
        following_TN = torch.cat((target_TN, target_TN.new_full((1, N), -100)))
        following_TN[(target_TN >= 0).sum(0), torch.arange(N)] = self.mark
        r_TNE, _, _ = self.write(input_TN, self.begin(memory_BSM, of_N))
        judged = following_TN >= 0
        logits_XV = self.output.logits(r_TNE[judged])
        wanted_X = following_TN[judged]
        return functional.cross_entropy(logits_XV, wanted_X, reduction="sum", label_smoothing=smoothing), len(wanted_X)

    def bag_nats(self, memory_BSM: Tensor, said_X: Tensor, of_X: Tensor) -> Tensor:
        """Return the cross-entropy of which symbols the captions of each picture have, per symbol that they have.

        Args:
            memory_BSM: what `see` returned.
            said_X: symbols.
            of_X: which picture has each in its captions.
        """
        has_BV = memory_BSM.new_zeros(len(memory_BSM), self.mark)
        has_BV[of_X, said_X] = 1
        logits_BV = self.bag(self.drop(memory_BSM.mean(1)[None])[0])
        return functional.binary_cross_entropy_with_logits(logits_BV, has_BV, reduction="sum") / max(1, len(said_X))

    @torch.no_grad()
    def step(self, ids_N: Tensor, at: CaptionerState) -> tuple[Tensor, CaptionerState]:
        """Return the logits of the next symbol of each row, (N, V), and the state after one more symbol."""
        r_TNE, _, at = self.write(ids_N[None], at)
        logits_NV = self.output.logits(r_TNE[0])
        logits_NV[:, self.never] = -1e9
        return logits_NV, at
