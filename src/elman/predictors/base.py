"""The contract of a predictor: a trained model that answers inputs. It does not measure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from elman.errors import NonFiniteError
from elman.predictors.answer import Answer
from elman.settings import Settings
from elman.storage.run_directory import RunDirectory


class Predictor(ABC):
    """What `elman.load` returns.

    Args:
        model: the model; a run that was opened has its best weights, on the CPU, in evaluation mode.
        run: the run directory.

    Attributes:
        Options: what `predict` may be told, by name.
        model: as given.
        run: as given.
    """

    Options: ClassVar[type[Settings]]

    def __init__(self, model: nn.Module, run: Path) -> None:
        self.model, self.run = model, run

    @cached_property
    def metrics(self) -> Mapping[str, float | None]:
        """The validation metrics of the best weights.

        Raises:
            RunError: there are no weights, or they are broken.
        """
        return RunDirectory(self.run, {}).best_metrics()

    @abstractmethod
    def predict(self, inputs: Sequence[str | Path], **options: Any) -> Iterator[Answer]:
        """Yield the answers to inputs, in order, as they are made.

        Args:
            inputs: texts, the names of files, or "-" for standard input; which of them depends on the recipe.
            options: the fields of `Options`.

        Raises:
            DataError: an input is broken; what came before it is answered.
            NonFiniteError: the model gives numbers that are not finite.
            SettingError: an option has an unknown name or an invalid value.
        """


def non_finite_output(run: Path) -> NonFiniteError:
    """Return the error for a model whose output is infinite or not a number."""
    return NonFiniteError(
        f"the model in {run} gives numbers that are not finite",
        should="finite weights",
        found="an output that is infinite or not a number",
        hint="train again, with a smaller learning rate",
    )
