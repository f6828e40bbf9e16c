"""The contract of a recipe: config, data, model, loss and metric of one application, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from elman.evaluation.result import Metrics
from elman.settings import Settings
from elman.storage.run_directory import RunDirectory
from elman.training.settings import TrainingSettings
from elman.training.task import Task


class Sample(NamedTuple):
    """Real batches for a diagnosis, and the loss that training descends on them."""

    batches: Sequence[Any]
    loss: Callable[[nn.Module, Any], Tensor]  # loss(model, batch)
    window: int | None  # steps between two cuts of the gradient in training; None where there are no cuts


@dataclass(frozen=True)
class Recipe:
    """One application. `S` below is the recipe's own settings class.

    Attributes:
        name: what the command line calls it.
        summary: what it does, in a line.
        data: what DATA may be, in a line.
        example: a command to paste.
        settings: S, a frozen dataclass.
        prepare: (sources, S, folder) -> description. Reads and checks DATA, puts what the run needs of it into the
            folder, and returns what config.json says about it, with the key "fingerprint".
        build: (S, folder) -> the untrained model, after what lies in the run's folder.
        task: (S, run, model) -> what training needs.
        sample: (S, run, sources) -> batches for a diagnosis, of DATA or of the run's own data.
        load: (S, run, model) -> what `elman.load` returns, with the model trained. It has `evaluate(data)`, which
            returns the metrics of the training and, under the key "baselines", what trivial predictors get by the same
            metrics: {name: metrics}. It may take `pictures=FOLDER`, where it draws, and `skip_bad=True`, and then says
            under "left_out" what that was, a list of lines. Where `predict` below is given it has
            `predict(inputs, **P)`, which yields an `Answer` to each input as it comes.
        headline: metrics -> a few words such as "1.52 bits per character".
        commands: folder -> pairs of what can be done next and the command for it.
        predict: P, what `predict` can be told; None for a recipe that does not answer single inputs.
        default: the data that is taken where DATA is left out, in a few words.
        baselines: (S, run) -> what trivial predictors get on the run's validation data, for report.md; None for none.
    """

    name: str
    summary: str
    data: str
    example: str
    settings: type[TrainingSettings]
    prepare: Callable[[Sequence[Path], Any, Path], dict[str, Any]]
    build: Callable[[Any, Path], nn.Module]
    task: Callable[[Any, RunDirectory, nn.Module], Task]
    sample: Callable[[Any, RunDirectory, Sequence[Path]], Sample]
    load: Callable[[Any, RunDirectory, nn.Module], Any]
    headline: Callable[[Metrics], str]
    commands: Callable[[Path], list[tuple[str, str]]]
    predict: type[Settings] | None = None
    default: str = "the recipe's own data"
    baselines: Callable[[Any, RunDirectory], Mapping[str, Metrics]] | None = None
