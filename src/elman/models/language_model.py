"""The language model: probabilities of the next symbol, given all symbols before.

    e_t = embedding of symbol t
    s_t = recurrent layers (e_t, s_{t-1})
    p(symbol t+1) = softmax(V s_t + c)

Mikolov et al. 2010, "Recurrent neural network based language model".
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from elman.errors import SettingError
from elman.modules.dropout import SequenceDropout
from elman.modules.recurrent_stack import build_layers
from elman.modules.softmax import AdaptiveSoftmax, FullSoftmax
from elman.modules.word_embedding import embed, normal_embedding


class LanguageModel(nn.Module):
    """Recurrent language model: embedding, recurrent layers and an output layer over the vocabulary.

    Args:
        vocabulary: V, number of symbols.
        cell: a name in `elman.layers.LAYERS`.
        embedding: size of the vector of a symbol.
        hidden: H, units of each layer.
        layers: L, number of layers.
        nonlinearity: see `elman.modules.recurrent_stack.build_layers`.
        init: see `elman.modules.recurrent_stack.build_layers`.
        tie_weights: whether the output layer uses the weight of the embedding; `embedding` must equal `hidden`.
        cutoffs: the cutoffs of the adaptive softmax; empty for the full softmax.
        embedding_dropout: probability of dropping a feature of the embedding.
        dropout: probability of dropping a feature between layers and before the output.
        variational_dropout: one dropout mask for all steps of a window.
        learn_initial_state: whether the state before the first symbol is learned.

    Raises:
        SettingError: an unknown name, or sizes that do not match.
    """

    def __init__(
        self, vocabulary: int, *, cell: str = "lstm", embedding: int = 128, hidden: int = 512, layers: int = 1,
        nonlinearity: str = "tanh", init: str = "torch", tie_weights: bool = False, cutoffs: tuple[int, ...] = (),
        embedding_dropout: float = 0.0, dropout: float = 0.0, variational_dropout: bool = False,
        learn_initial_state: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if tie_weights and (embedding != hidden or cutoffs):
            raise SettingError(
                "tied weights do not match",
                should="embedding equal to hidden, and the full softmax",
                found=f"embedding={embedding}, hidden={hidden}, cutoffs={','.join(map(str, cutoffs)) or 'none'}",
                hint=f"--set embedding={hidden} --set softmax=full, or --set tie_weights=false",
            )
        self.embedding = normal_embedding(vocabulary, embedding, embedding**-0.5 if tie_weights else 1.0)
        self.embedding_dropout = SequenceDropout(embedding_dropout, variational_dropout)
        self.recurrent = build_layers(
            cell, embedding, hidden, layers=layers, nonlinearity=nonlinearity, dropout=dropout,
            variational_dropout=variational_dropout, init=init, learn_initial_state=learn_initial_state,
        )  # fmt: skip
        self.dropout = SequenceDropout(dropout, variational_dropout)
        self.output: FullSoftmax | AdaptiveSoftmax
        if cutoffs:
            self.output = AdaptiveSoftmax(hidden, vocabulary, cutoffs)
        else:
            self.output = FullSoftmax(hidden, vocabulary, tied=self.embedding if tie_weights else None)

    def features(self, input_TB: Tensor, state: Any = None, *, resets: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return the features of the output layer, (T, B, H), and the state after the last step.

        Args:
            input_TB: symbols, (T, B); ids from V on are unknown ones, whose vector is zero.
            state: the state that an earlier call returned; None for the initial one.
            resets: (T, B), true where a text begins, which resets the state to the initial one.
        """
        if self._symbols_are_few() and (self.training or int(input_TB.max()) < self.embedding.num_embeddings):
            s_TBH, state = self.recurrent.over_symbols(input_TB, self.embedding.weight, state, resets=resets)
        else:
            e_TBE = self.embedding_dropout(embed(self.embedding, input_TB, self.embedding.num_embeddings))
            s_TBH, state = self.recurrent(e_TBE, state, resets=resets)
        return self.dropout(s_TBH), state

    def _symbols_are_few(self) -> bool:
        """Whether to train on the symbols themselves instead of their vectors, which is the same up to rounding.

        Not without gradients, where a text run step by step has the bits of the whole; not where somebody looks at what
        goes in and out of the parts.
        """
        if not torch.is_grad_enabled() or self.embedding.num_embeddings > self.embedding.embedding_dim:
            return False
        dropped = self.embedding_dropout.training and self.embedding_dropout.probability > 0
        hooked = _has_hooks(self.embedding) or _has_hooks(self.embedding_dropout)
        return not (dropped or hooked or self.recurrent.is_observed)

    def forward(self, input_TB: Tensor, state: Any = None, *, resets: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return the logits of the symbol after each step, (T, B, V), and the state; arguments as in `features`."""
        s_TBH, state = self.features(input_TB, state, resets=resets)
        logits_NV = self.output.logits(s_TBH.flatten(0, 1))
        return logits_NV.view(*s_TBH.shape[:2], -1), state

    def nats(
        self, input_TB: Tensor, target_TB: Tensor, state: Any = None, *, resets: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Return -log p of the targets (T, B), summed over those that are not -100, and the state."""
        s_TBH, state = self.features(input_TB, state, resets=resets)
        return self.output.nats(s_TBH.flatten(0, 1), target_TB.flatten()), state

    @torch.no_grad()
    def step(self, input_B: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the logits of the next symbol, (B, V), and the state after one more symbol of each row.

        The bits of a row do not depend on the others.
        """
        s_BH, state = self.recurrent.step(embed(self.embedding, input_B, self.embedding.num_embeddings), state)
        return self.output.logits_by_row(s_BH), state


def _has_hooks(module: nn.Module) -> bool:
    own = vars(module)
    return any(own[name] for name in own if name.startswith(("_forward", "_backward")))
