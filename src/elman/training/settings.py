"""The settings of every training: budget, optimiser, schedule, evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from elman.errors import SettingError
from elman.settings import Settings, setting


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """Settings of every training; a recipe adds those of its data and model."""

    steps: int | None = setting(None, "budget: total optimiser steps", low=1)
    epochs: float | None = setting(None, "budget: passes over the training data", low=0)
    minutes: float | None = setting(None, "budget: minutes of training, over all resumed parts", low=0)
    seed: int = setting(1, "seed of the weights, dropout and data order", low=0, high=2**63 - 1, fixed=True)
    device: str = setting("auto", "auto, cpu, cuda, cuda:1 ...; auto is a GPU if there is one")
    optimiser: str = setting("adamw", "adamw or sgd", choices=("adamw", "sgd"), fixed=True)
    learning_rate: float = setting(0.003, "peak learning rate", low=0)
    schedule: str = setting("cosine", "constant, cosine or plateau", choices=("constant", "cosine", "plateau"))
    warmup: float = setting(0.02, "share of the budget with a linear warm-up of the learning rate", low=0, high=1)
    final_rate: float = setting(0.05, "cosine: final share of the learning rate", low=0, high=1)
    plateau_factor: float = setting(0.5, "plateau: factor of the learning rate", low=0, high=1)
    plateau_patience: int = setting(2, "plateau: evaluations without a new best before the rate is reduced", low=1)
    beta1: float = setting(0.9, "AdamW: decay rate of the first moment", low=0, high=0.9999999)
    beta2: float = setting(0.99, "AdamW: decay rate of the second moment", low=0, high=0.9999999)
    momentum: float = setting(0.9, "SGD: momentum", low=0, high=0.9999999)
    weight_decay: float = setting(0.01, "weight decay of matrices, not of biases", low=0)
    clip: float = setting(1.0, "greatest global norm of the gradient; 0: no clipping", low=0)
    evaluate_every: int = setting(0, "steps between evaluations; 0: about 20 evaluations", low=0)
    checkpoint_every: int = setting(
        0, "steps between further checkpoints, besides those at evaluations; 0: none", low=0
    )
    patience: int = setting(0, "early stopping: evaluations without a new best; 0: never", low=0)

    def check(self) -> None:
        """Check that there is one budget, and that it is positive."""
        budgets = {"steps": self.steps, "epochs": self.epochs, "minutes": self.minutes}
        given = {name: value for name, value in budgets.items() if value is not None}
        if len(given) > 1:
            raise SettingError(
                "more than one training budget",
                should="one of steps, epochs and minutes",
                found=", ".join(f"{name}={value}" for name, value in given.items()),
            )
        for name, value in given.items():
            if value <= 0:
                raise SettingError(f"the setting {name} is out of range", should="more than 0", found=repr(value))
        if self.learning_rate == 0:
            raise SettingError("the setting learning_rate is out of range", should="more than 0", found="0")
