"""The captioner: an image encoder, and a recurrent decoder with attention over the regions of the image.

    m_s = features of region s of the image, plus a learned position embedding
    g   = mean over s of relu(A m_s)
    d_t = lower layer (embedding of y_{t-1}, d_{t-1}),  d_0 = tanh(B g)
    a_t = attention of d_t over m
    s_t = upper layers ([d_t, a_t], s_{t-1}),  s_0 like d_0
    p(y_t) = softmax(V tanh(R [s_t, a_t]))

Soft attention (Xu et al. 2015, https://arxiv.org/abs/1502.03044). The query comes from a lower layer that does not read
the attention, so that each layer runs over whole captions at once (as the two layers of Anderson et al. 2018,
https://arxiv.org/abs/1707.07998). Without attention only d_0 depends on the image, and there is no upper layer (Vinyals
et al. 2015, https://arxiv.org/abs/1411.4555).

An auxiliary bag-of-words loss predicts from the features which symbols the captions contain (Fang et al. 2015,
https://arxiv.org/abs/1411.4952); the captions alone train the language of the decoder long before its attention.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.modules.attention import attend, build_attention
from elman.modules.dropout import SequenceDropout
from elman.modules.recurrent_stack import build_layers, select_rows
from elman.modules.softmax import FullSoftmax
from elman.modules.teacher_forcing import teacher_forcing
from elman.modules.word_embedding import normal_embedding


@dataclass(frozen=True)
class CaptionerState:
    """The state of the decoder in N captions.

    Attributes:
        memory_NSM: the features of each caption's image, (N, S, M).
        keys_NSQ: the keys of the attention, (N, S, Q); None without attention.
        lower: the state of the lower layer.
        upper: the state of the upper layers; None without attention.
    """

    memory_NSM: Tensor
    keys_NSQ: Tensor | None
    lower: Any
    upper: Any

    def select(self, rows_M: Tensor) -> CaptionerState:
        """Return the state of these rows."""
        keys = None if self.keys_NSQ is None else self.keys_NSQ[rows_M]
        upper = None if self.upper is None else select_rows(self.upper, rows_M)
        return CaptionerState(self.memory_NSM[rows_M], keys, select_rows(self.lower, rows_M), upper)


class Captioner(nn.Module):
    """Image captioning network: images -> sequences of symbols.

    Args:
        encoder: images -> features (B, S, M), such as `elman.modules.image_encoder.PixelEncoder`; it has `output_size`,
            M, and `regions`, S.
        symbols: V, the size of the vocabulary; symbol V begins and ends each caption.
        embedding: E, size of the vector of a symbol.
        hidden: H, units of a decoder layer.
        layers: number of upper layers, or, without attention, of layers.
        cell: a name in `elman.layers.LAYERS`.
        nonlinearity: see `elman.modules.recurrent_stack.build_layers`.
        init: see `elman.modules.recurrent_stack.build_layers`.
        attention: a name in `elman.modules.attention.ATTENTIONS`, or "none".
        dropout: probability of dropping a feature of embeddings, image, between layers, and before the output.
        word_dropout: probability of masking a decoder input in training, so that the decoder uses the image.
        suppressed: symbols that are never predicted.

    Raises:
        SettingError: an unknown name or an invalid size.
    """

    def __init__(
        self, encoder: Any, symbols: int, *, embedding: int = 256, hidden: int = 512, layers: int = 1,
        cell: str = "lstm", nonlinearity: str = "tanh", init: str = "torch", attention: str = "multiplicative",
        dropout: float = 0.3, word_dropout: float = 0.0, suppressed: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        self.boundary, self.suppressed, self.word_dropout = symbols, list(suppressed), word_dropout
        # The names of the parts below are those of the weights file.
        self.seeing = encoder
        features: int = encoder.output_size
        self.place = nn.Parameter(0.1 * torch.randn(encoder.regions, features))
        self.glance = nn.Linear(features, features)
        self.bag = nn.Linear(features, symbols)
        if not self.bag.bias.is_meta:
            nn.init.constant_(self.bag.bias, -3.0)  # most symbols are in few captions
        # The weight is tied to the output: logits of unit variance.
        self.embedding = normal_embedding(symbols + 1, embedding, embedding**-0.5)
        self.drop = SequenceDropout(dropout)
        attends = attention != "none"
        options: dict[str, Any] = {"cell": cell, "nonlinearity": nonlinearity, "init": init, "dropout": dropout}
        self.lower = build_layers(input_size=embedding, hidden=hidden, layers=1 if attends else layers, **options)
        self.attention = build_attention(attention, hidden, features) if attends else None
        self.upper = (
            build_layers(input_size=hidden + features, hidden=hidden, layers=layers, **options) if attends else None
        )
        self.states = len(self.lower.cell.states)
        self.bridge = nn.Linear(features, hidden * self.states * (1 + layers if attends else layers))
        self.readout = nn.Linear(hidden + features if attends else hidden, embedding)
        self.output = FullSoftmax(embedding, symbols + 1, tied=self.embedding)

    def encode(self, image_B: Tensor, flips_B: Tensor | None = None) -> Tensor:
        """Return the features (B, S, M) of images, given as pixels (B, H, W, 3) or region features (B, S, F).

        `flips_B` says which images may be flipped horizontally in training; None stands for none of them.
        """
        memory_BSM: Tensor = self.seeing(image_B, flips_B)
        return memory_BSM

    def initial_state(self, memory_BSM: Tensor, image_N: Tensor | None = None) -> CaptionerState:
        """Return the state before the first symbol, for the features that `encode` returned.

        `image_N` is the index of each caption's image; None stands for one caption of each.
        """
        memory_BSM = self.drop(memory_BSM + self.place)
        initial_BX = torch.tanh(self.bridge(self.drop(functional.relu(self.glance(memory_BSM)).mean(1)[None])[0]))
        keys_BSQ = None if self.attention is None else self.attention.keys(memory_BSM)
        initial_LBH = initial_BX.view(len(initial_BX), -1, self.lower.hidden_size).transpose(0, 1)
        count = self.states * self.lower.num_layers
        lower = self._state(torch.split(initial_LBH[:count].contiguous(), self.lower.num_layers))
        upper = None
        if self.upper is not None:
            upper = self._state(torch.split(initial_LBH[count:].contiguous(), self.upper.num_layers))
        state = CaptionerState(memory_BSM, keys_BSQ, lower, upper)
        return state if image_N is None else state.select(image_N)

    def _state(self, parts: tuple[Tensor, ...]) -> Any:
        return parts if self.states > 1 else parts[0]

    def decode(self, input_TN: Tensor, state: CaptionerState) -> tuple[Tensor, Tensor | None, CaptionerState]:
        """Read symbols, (T, N), from the state before them.

        Returns:
            The readout after each symbol, (T, N, E), the attention weights, (N, T, S), None without attention, and the
            state after the last symbol.
        """
        e_TNE = self.drop(self.embedding(input_TN))
        if self.training and self.word_dropout:
            e_TNE = e_TNE * (torch.rand(input_TN.shape, device=e_TNE.device) >= self.word_dropout)[:, :, None]
        d_TNH, lower = self.lower(e_TNE, state.lower)
        if self.attention is None or self.upper is None or state.keys_NSQ is None:
            return self.drop(torch.tanh(self.readout(self.drop(d_TNH)))), None, replace(state, lower=lower)
        memory_NSM = state.memory_NSM
        regions_N = torch.full((len(memory_NSM),), memory_NSM.shape[1], device=memory_NSM.device)
        a_NTM, weights_NTS = attend(self.attention.scores(d_TNH.transpose(0, 1), state.keys_NSQ), memory_NSM, regions_N)
        a_TNM = a_NTM.transpose(0, 1)
        s_TNH, upper = self.upper(torch.cat((self.drop(d_TNH), a_TNM), 2), state.upper)
        r_TNE = self.drop(torch.tanh(self.readout(torch.cat((s_TNH, a_TNM), 2))))
        return r_TNE, weights_NTS, replace(state, lower=lower, upper=upper)

    def nats(
        self, memory_BSM: Tensor, target_TN: Tensor, image_N: Tensor | None = None, *, label_smoothing: float = 0.0
    ) -> tuple[Tensor, int]:
        """Return the cross-entropy of captions, summed, and the number of their symbols, the ends included.

        Args:
            memory_BSM: the features that `encode` returned.
            target_TN: the captions, -100 beyond their ends.
            image_N: (N,), the index of each caption's image; None: one caption of each.
            label_smoothing: probability that is distributed over all symbols (Szegedy et al. 2016).
        """
        input_TN, label_TN = teacher_forcing(target_TN, self.boundary)
        r_TNE, _, _ = self.decode(input_TN, self.initial_state(memory_BSM, image_N))
        counted_TN = label_TN >= 0
        s_XE, label_X = r_TNE[counted_TN], label_TN[counted_TN]
        return self.output.nats(s_XE, label_X, label_smoothing=label_smoothing), len(label_X)

    def bag_of_words_nats(self, memory_BSM: Tensor, symbol_X: Tensor, image_X: Tensor) -> Tensor:
        """Return the auxiliary bag-of-words loss: the binary cross-entropy per symbol of the captions, a scalar.

        The X symbols of all captions come with the index of their images.
        """
        target_BV = memory_BSM.new_zeros(len(memory_BSM), self.boundary)
        target_BV[image_X, symbol_X] = 1
        logits_BV = self.bag(self.drop(memory_BSM.mean(1)[None])[0])
        nats = functional.binary_cross_entropy_with_logits(logits_BV, target_BV, reduction="sum")
        return nats / max(1, len(symbol_X))

    @torch.no_grad()
    def step(self, ids_N: Tensor, state: CaptionerState) -> tuple[Tensor, CaptionerState]:
        """Return the logits of the next symbol, (N, V + 1), and the state after one more symbol of each row, (N,)."""
        r_TNE, _, state = self.decode(ids_N[None], state)
        logits_NV = self.output.logits(r_TNE[0])
        logits_NV[:, self.suppressed] = -1e9
        return logits_NV, state
