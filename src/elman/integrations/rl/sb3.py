"""Policies for `sb3_contrib.RecurrentPPO` whose LSTM runs over a whole sequence in one call, resets included.

    from elman.integrations.rl.sb3 import MlpLstmPolicy

    model = RecurrentPPO(MlpLstmPolicy, env)

sb3-contrib's own policies call the LSTM once for every step as soon as an episode begins anywhere in a batch, which is
nearly always. These take its place: the same arguments, parameters, state dicts and results up to rounding.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from elman.errors import SettingError, extra
from elman.layers.accelerate import accelerate
from elman.layers.recurrent import Recurrent

with extra("rl", "a policy for RecurrentPPO"):
    from sb3_contrib.common.recurrent.policies import (
        RecurrentActorCriticCnnPolicy,
        RecurrentActorCriticPolicy,
        RecurrentMultiInputActorCriticPolicy,
    )

REFUSED = ("batch_first", "bidirectional", "proj_size")
"""Options of `torch.nn.LSTM` with which its states do not fit into the buffers of RecurrentPPO."""


class SequencePolicy(RecurrentActorCriticPolicy):
    """What the policies of this module add to sb3-contrib's: the LSTMs of actor and critic run by elman's kernels.

    Args:
        args: as for sb3-contrib's policy of the same name.
        options: likewise.

    Raises:
        SettingError: `lstm_kwargs` has an option with which RecurrentPPO cannot work.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in REFUSED:
            if self.lstm_kwargs.get(name):
                found = f"lstm_kwargs={self.lstm_kwargs!r}"
                raise SettingError(f"a policy has no {name}", should=f"lstm_kwargs without {name}", found=found)
        # The layers stay the same objects, so the optimiser has their parameters already.
        kept = accelerate(self).kept
        if kept:
            reasons = "; ".join(sorted(set(kept.values())))
            warnings.warn(f"{', '.join(kept)} stay torch's, which run step by step: {reasons}", stacklevel=2)

    @staticmethod
    def _process_sequence(
        features: Tensor, lstm_states: tuple[Tensor, Tensor], episode_starts: Tensor, lstm: nn.LSTM
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run an LSTM over sequences that may hold several episodes each.

        Args:
            features: (B * T, I), sequence after sequence; T is 1 while rollouts are collected.
            lstm_states: two of (L, B, H), before the first step.
            episode_starts: (B * T,), 1 where a step begins an episode: the state is zero before it.
            lstm: the layer.

        Returns:
            The outputs, (B * T, H), and the states after the last step.
        """
        if not isinstance(lstm, Recurrent):
            result: tuple[Tensor, tuple[Tensor, Tensor]] = RecurrentActorCriticPolicy._process_sequence(
                features, lstm_states, episode_starts, lstm
            )
            return result
        layer: Any = lstm
        B = lstm_states[0].shape[1]
        if len(features) == B and not torch.is_grad_enabled():
            if episode_starts.any():
                keep_B1 = 1.0 - episode_starts.view(B, 1)
                lstm_states = (lstm_states[0] * keep_B1, lstm_states[1] * keep_B1)
            stepped: tuple[Tensor, tuple[Tensor, Tensor]] = layer.step(features, lstm_states)
            return stepped
        x_TBI = features.reshape(B, -1, layer.input_size).transpose(0, 1)
        resets_TB = episode_starts.reshape(B, -1).t().bool()
        y_TBH, states = layer(x_TBI, lstm_states, resets=resets_TB)
        return y_TBH.transpose(0, 1).flatten(0, 1), states

    def _get_constructor_parameters(self) -> dict[str, Any]:
        """Return what `load` builds the policy from; sb3-contrib's own leave out the LSTM's."""
        parameters: dict[str, Any] = super()._get_constructor_parameters()
        return parameters | {
            "share_features_extractor": self.share_features_extractor,
            "lstm_hidden_size": self.lstm_output_dim,
            "n_lstm_layers": self.lstm_hidden_state_shape[0],
            "shared_lstm": self.shared_lstm,
            "enable_critic_lstm": self.enable_critic_lstm,
            "lstm_kwargs": self.lstm_kwargs,
        }


class MlpLstmPolicy(SequencePolicy):
    """The policy for vectors of observations, in the place of sb3-contrib's "MlpLstmPolicy"."""


class CnnLstmPolicy(SequencePolicy, RecurrentActorCriticCnnPolicy):
    """The policy for images, in the place of sb3-contrib's "CnnLstmPolicy"."""


class MultiInputLstmPolicy(SequencePolicy, RecurrentMultiInputActorCriticPolicy):
    """The policy for dictionaries of observations, in the place of sb3-contrib's "MultiInputLstmPolicy"."""
