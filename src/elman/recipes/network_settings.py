"""Settings that recipes share: of recurrent layers, validation, broken rows and vocabularies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from elman.layers import LAYERS
from elman.settings import Settings, setting
from elman.training.settings import TrainingSettings


@dataclass(frozen=True, kw_only=True)
class CellSettings(TrainingSettings):
    """Settings of training, and of any recurrent layer: all that a diagnosis advises is here."""

    cell: str = setting("gru", "the recurrent layer", choices=tuple(LAYERS), fixed=True)
    nonlinearity: str = setting("tanh", "of the cell rnn", choices=("tanh", "relu", "sigmoid", "identity"), fixed=True)
    init: str = setting("torch", "initialisation of the recurrent weights", fixed=True)

    def layer(self) -> dict[str, Any]:
        """Return these three as a model takes them by name."""
        return {"cell": self.cell, "nonlinearity": self.nonlinearity, "init": self.init}


@dataclass(frozen=True, kw_only=True)
class NetworkSettings(CellSettings):
    """Settings of training, and of a stack of recurrent layers."""

    hidden: int = setting(128, "units of a layer and direction", low=1, high=65536, fixed=True)
    layers: int = setting(1, "recurrent layers", low=1, high=256, fixed=True)
    bidirectional: bool = setting(False, "a second set of weights reads from the end", fixed=True)
    learn_initial_state: bool = setting(False, "the state before the first step is learned", fixed=True)
    dropout: float = setting(0.1, "probability of dropping a feature between layers and after them", low=0, high=1)
    variational_dropout: bool = setting(False, "one dropout mask for all steps of a sequence", fixed=True)
    batch_size: int = setting(32, "sequences in a batch", low=1, high=65536, fixed=True)

    def network(self) -> dict[str, Any]:
        """Return the arguments of `elman.modules.recurrent_stack.build_layers`."""
        names = ("layers", "bidirectional", "learn_initial_state", "dropout")
        own = {name: getattr(self, name) for name in names}
        return {**self.layer(), **own, "variational_dropout": self.variational_dropout}


@dataclass(frozen=True, kw_only=True)
class ValidationSettings(Settings):
    """Settings of the validation part. A recipe lists such mixins before the class of its other settings."""

    validation: float = setting(0.1, "share of the data that is held out for validation", low=0, high=1, fixed=True)
    validation_data: tuple[str, ...] = setting((), "files or folders for validation instead", fixed=True)

    def validation_source(self, default: str) -> str:
        """Return where the validation part is from, for config.json."""
        return ", ".join(self.validation_data) or default


@dataclass(frozen=True, kw_only=True)
class SkipBadSettings(Settings):
    """The setting for data with errors."""

    skip_bad: bool = setting(False, "skip broken rows and files, and count them", fixed=True)


@dataclass(frozen=True, kw_only=True)
class VocabularySettings(Settings):
    """Settings of the symbols of a text; a recipe declares `vocabulary` again with its own default and choices."""

    vocabulary: str = setting("characters", "kind of symbols", fixed=True)
    vocabulary_size: int | None = setting(None, "maximum number of symbols, for words and bpe", low=1, fixed=True)
