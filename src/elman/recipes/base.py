"""The contract of a recipe: the data, model, loss and metrics of one application, and nothing else.

`elman.recipes.run` and `use` do the rest the same way for all: device, training, resuming, other data, skipped rows,
baselines, reports. Settings, help texts and data are read without torch: a recipe imports models and predictors inside
the methods that build them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar

from elman.data.in_memory import RowFormat
from elman.data.skipped import SkippedRows
from elman.evaluation.result import Metrics
from elman.settings import Settings
from elman.storage.run_directory import RunDirectory
from elman.training.settings import TrainingSettings
from elman.training.task import Batches, Loss

if TYPE_CHECKING:
    from torch import nn

    from elman.predictors.base import Predictor

Part = Literal["training", "validation"]


class Dataset(Protocol):
    """Examples that can be read again and again: a part of a run, or other data read into a folder."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the examples."""

    def __len__(self) -> int:
        """Return the number of examples; where they are read while they are evaluated, of those read so far."""


S = TypeVar("S", bound=TrainingSettings)
D = TypeVar("D", bound=Dataset)
OptionsClass = type[Settings]


class Recipe(ABC, Generic[S, D]):
    """One application on one run: S is the class of its settings, D that of its data set.

    Args:
        settings: as the user set them.
        folder: the run directory, or during `prepare` the folder that becomes one.

    Attributes:
        name: what the command line calls the recipe.
        summary: what it does, in a line.
        data: what DATA may be, in a line.
        default: the data that is taken if DATA is omitted, in a few words.
        example: a command to paste.
        Settings: S.
        Options: the options of `elman predict`; None for a recipe that answers no single inputs.
        EvaluationOptions: the settings of `elman evaluate`; `evaluation` holds those of the evaluation at hand.
        lower_is_better: whether a lower `metric` is better.
        tie_metric: the metric that decides between weights whose `metric` is equal, lower is better; empty: the first
            ones are kept.
        examples: what the length of a data set counts, in the plural; the evaluation has the number under this key.
        sample_size: the number of examples that a diagnosis looks at; None: it needs all.
        evaluation_files: what `elman evaluate --out FOLDER` writes, in a few words; empty: --out is refused.
        can_skip: whether an evaluation can skip broken rows and files.
        rows: what DATA in memory may be; None: only files are read.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    data: ClassVar[str]
    default: ClassVar[str]
    example: ClassVar[str]
    Settings: ClassVar[type[TrainingSettings]]
    Options: ClassVar[OptionsClass | None] = None
    EvaluationOptions: ClassVar[OptionsClass] = Settings
    lower_is_better: ClassVar[bool] = True
    tie_metric: ClassVar[str] = ""
    examples: ClassVar[str] = "examples"
    sample_size: ClassVar[int | None] = None
    evaluation_files: ClassVar[str] = ""
    can_skip: ClassVar[bool] = True
    rows: ClassVar[RowFormat | None] = None

    def __init__(self, settings: S, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.evaluation: Any = self.EvaluationOptions()

    @cached_property
    def run(self) -> RunDirectory:
        """The run, which is there once `prepare` is done: its config.json, and the metrics of its best weights."""
        return RunDirectory.open(self.folder)

    @property
    @abstractmethod
    def metric(self) -> str:
        """The name of the metric that decides which weights are best; a subclass writes `metric = "..."`."""

    @property
    def unit(self) -> str:
        """What `Loss.items` counts, in the plural."""
        return "sequences"

    @property
    def default_minutes(self) -> float:
        """The budget if the settings give none."""
        return 2.0

    @abstractmethod
    def prepare(self, sources: Sequence[Path]) -> dict[str, Any]:
        """Read DATA, or the default data without sources, into the folder, in bounded memory.

        Returns:
            What config.json says about the data. The driver adds the sources where they are missing, the fingerprint
            of the training part, and the number of examples in both parts.
        """

    @abstractmethod
    def build(self) -> nn.Module:
        """Build the untrained model from the settings and from what `prepare` wrote."""

    def initialise(self, model: Any, training: D) -> None:
        """Set weights or buffers from the training part or from files, once, before the first step."""

    @abstractmethod
    def dataset(self, part: Part) -> D:
        """Open a part of the run's own data."""

    def evaluation_data(self) -> D:
        """Open the part that an evaluation without DATA is on."""
        return self.dataset("validation")

    @abstractmethod
    def read(
        self, sources: Sequence[Path], folder: Path, *, skip_bad: bool, limit: int | None
    ) -> tuple[D, SkippedRows]:
        """Read other data into a folder, for an evaluation or a diagnosis.

        Args:
            sources: DATA, at least one.
            folder: a temporary folder, which lasts as long as the data set is used.
            skip_bad: skip broken rows and files; else the first of them is an error.
            limit: the number of examples that are needed, where more would cost time; None: all.

        Returns:
            The data set, and what was skipped, which may grow while the data set is read.
        """

    @abstractmethod
    def batches(self, training: D) -> Batches:
        """Return the training data in batches.

        A batch is a tree of tensors, or has a method `to(device)` where some of it stays on the CPU.
        """

    @abstractmethod
    def loss(self, model: Any, batch: Any, state: Any, progress: float | None) -> Loss:
        """Return the loss of a batch.

        Args:
            model: in training mode, except in a diagnosis.
            batch: on the device of the model.
            state: what `Loss.state` of the batch before was, without its gradient; None for the first one.
            progress: the epochs done so far; None in a diagnosis.
        """

    @abstractmethod
    def measure(self, model: Any, data: D) -> Metrics:
        """Return the metrics of a validation during training, `metric` among them; the model is in evaluation mode."""

    def evaluate(self, model: Any, data: D, *, out: Path | None) -> dict[str, Any]:
        """Return the metrics of `elman evaluate`, numbers and texts by name: those of training, or more.

        Baselines that need the model, or a library that training does without, may be under the key "baselines".

        Args:
            model: in evaluation mode, with the best weights, on the CPU.
            data: the evaluation part, or other data.
            out: an existing folder for `evaluation_files`; None: nothing is written.
        """
        return dict(self.measure(model, data))

    def baselines(self, data: D) -> dict[str, Metrics]:
        """Return the metrics of trivial predictors on the same data, by their names; report.md has them too."""
        return {}

    def sample(self, data: D) -> tuple[list[Any], int | None]:
        """Return a few batches for a diagnosis, and the truncation length of training (TBPTT), None for none."""
        return list(islice(iter(self.batches(data)), 2)), None

    @abstractmethod
    def predictor(self, model: Any) -> Predictor:
        """Return the trained model ready to answer inputs."""

    @staticmethod
    @abstractmethod
    def headline(metrics: Metrics) -> str:
        """Return the quality in a few words, such as "1.52 bits per character"."""

    @abstractmethod
    def usage(self, run: str) -> list[tuple[str, str]]:
        """Return what can be done with a run, and the commands for it; `run` is quoted for a shell.

        The driver adds the commands that all recipes have: evaluate, diagnose, resume.
        """


class SkippingTable(Protocol):
    """Rows that were read, with a count of those that were skipped."""

    @property
    def skipped(self) -> SkippedRows:
        """What was skipped."""


def skipped_rows(*tables: SkippingTable | None) -> dict[str, Any]:
    """Return what config.json says about the rows that were skipped in tables; None for a table that there is not."""
    skipped = [table.skipped for table in tables if table is not None]
    lines = [line for rows in skipped for line in rows.lines()]
    return {"skipped_rows": sum(rows.count for rows in skipped), **({"skipped": lines} if lines else {})}
