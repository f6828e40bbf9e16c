"""The settings of every training: budget, optimiser, schedule, evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from elman.errors import SettingError
from elman.settings import Settings, setting


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """What every recipe's training can be told; a recipe adds the settings of its data and model."""

    steps: int | None = setting(None, "budget: optimiser steps in all", low=1)
    epochs: float | None = setting(None, "budget: passes over the training data", low=0)
    minutes: float | None = setting(None, "budget: minutes of training, counted across --resume", low=0)
    seed: int = setting(1, "seed of weights, dropout and the order of the data", low=0, high=2**63 - 1, fixed=True)
    device: str = setting("auto", "auto, cpu, cuda, cuda:1 ...; auto takes a GPU where there is one")
    optimiser: str = setting("adamw", "adamw or sgd", choices=("adamw", "sgd"), fixed=True)
    learning_rate: float = setting(0.003, "peak learning rate", low=0)
    schedule: str = setting("cosine", "constant, cosine or plateau", choices=("constant", "cosine", "plateau"))
    warmup: float = setting(0.02, "share of the budget in which the learning rate rises from 0", low=0, high=1)
    final_rate: float = setting(0.05, "cosine: share of the learning rate that is left at the end", low=0, high=1)
    plateau_factor: float = setting(0.5, "plateau: what the learning rate is multiplied by", low=0, high=1)
    plateau_patience: int = setting(2, "plateau: evaluations without a new best before that", low=1)
    beta1: float = setting(0.9, "AdamW: decay of the mean of gradients", low=0, high=0.9999999)
    beta2: float = setting(0.99, "AdamW: decay of the mean of squared gradients", low=0, high=0.9999999)
    momentum: float = setting(0.9, "SGD: momentum", low=0, high=0.9999999)
    weight_decay: float = setting(0.01, "decay of weight matrices, never of biases", low=0)
    clip: float = setting(1.0, "largest norm of the whole gradient; 0 clips nothing", low=0)
    evaluate_every: int = setting(0, "steps from one evaluation to the next; 0: about 20 over the run", low=0)
    checkpoint_every: int = setting(0, "steps between checkpoints beside those at evaluations; 0: none", low=0)
    patience: int = setting(0, "stop after so many evaluations without a new best; 0: never", low=0)

    def check(self) -> None:
        given = {
            name: getattr(self, name) for name in ("steps", "epochs", "minutes") if getattr(self, name) is not None
        }
        if len(given) > 1:
            raise SettingError(
                "the budget is given more than once",
                should="one of steps, epochs and minutes",
                found=", ".join(f"{name}={value}" for name, value in given.items()),
            )
        for name, value in given.items():
            if value <= 0:
                raise SettingError(f"the setting {name} is out of range", should="more than 0", found=repr(value))
        if self.learning_rate == 0:
            raise SettingError("the setting learning_rate is out of range", should="more than 0", found="0")
