"""Training, evaluation and diagnosis from Python, with data in files or in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from torch import nn

from elman import inspection
from elman.data.in_memory import source_files, without_folder
from elman.errors import SettingError
from elman.number_format import decimal
from elman.predictors.base import Predictor
from elman.recipes import run as runs
from elman.recipes import use
from elman.recipes.registry import find
from elman.training.loop import TrainingProgress, Watch


def train(
    recipe: str,
    data: Any = None,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    diagnose: int = 0,
    watch: Watch | None = None,
    log: Callable[[str], Any] | None = None,
    **settings: Any,
) -> Predictor:
    """Train a model, and return it with its best weights, on the CPU.

        >>> reviews = elman.train("classify", frame, steps=500)  # a DataFrame with the columns text and label
        >>> reviews.metrics["accuracy"], reviews.run
        >>> list(reviews.predict(["what a film"]))

    Args:
        recipe: the application; `elman.recipes()` lists them.
        data: a path, several, or data in memory: a DataFrame with the columns of the files that the recipe reads, or
            rows, each a tuple in the order of `rows` of the recipe, a dictionary, an array or a text. None: the
            recipe's default data. In a list for a recipe of texts, strings are paths if all of them exist.
        out: the run directory; None: the first free one of runs/RECIPE-1, runs/RECIPE-2, ...
        resume: resume the run in `out`, with the given settings changed.
        diagnose: steps between two measurements of the gradient's horizon; 0: none.
        watch: is called after every step and evaluation.
        log: is called with lines about the data and each evaluation, such as `print`; None: nothing is printed.
        settings: those of the recipe that differ from their default; `elman recipes NAME` lists them.

    Raises:
        DataError: the data cannot be read, or the recipe does not take them.
        KeyboardInterrupt: Ctrl-C was pressed; everything is saved, and `resume` continues. Pressed twice, it stops at
            once, and training resumes from the last checkpoint.
        NonFiniteError: the loss or gradient is infinite or not a number; the last checkpoint is kept.
        RunError: `out` is occupied or, with `resume`, is not a run of the recipe.
        SettingError: a setting is unknown or invalid.
    """
    chosen = find(recipe)
    if resume and (out is None or data is not None):
        raise SettingError(
            "a resumed run has its own data" if out else "there is no run to resume",
            should="out, and no data, with resume",
            found="data" if out else "no out",
        )
    place = runs.free_directory(recipe) if out is None else Path(out)

    def show(progress: TrainingProgress) -> None:
        if watch:
            watch(progress)
        if log and progress.row:
            log(f"step {progress.step}: loss {decimal(progress.loss)}, {chosen.headline(progress.row['validation'])}")

    if resume:
        trained = runs.resume(chosen, settings, place, watch=show, diagnose=diagnose)
    else:
        with source_files(data, chosen.rows, recipe) as (sources, origin):
            options: dict[str, Any] = {"watch": show, "diagnose": diagnose, "say": log, "origin": origin}
            trained = runs.start(chosen, sources, settings, place, **options)
    if trained.outcome.ended == "interrupted":
        raise KeyboardInterrupt(f"{place} is saved at step {trained.outcome.step}; resume=True resumes it")
    return use.load(place)


def evaluate(
    run: str | Path | Predictor,
    data: Any = None,
    *,
    out: str | Path | None = None,
    skip_bad: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Evaluate a trained run on its validation part or on other data, beside trivial predictors.

    Args:
        run: the run directory, or the predictor of one.
        data: other data, in files or in memory as for `train`; None: what the run held out.
        out: a folder for what the recipe writes, such as drawings or transcripts.
        skip_bad: skip broken rows and files of `data`, and count them.
        options: settings of the evaluation; `elman recipes NAME` lists those of a recipe.

    Returns:
        The metrics by name, the number of examples, with `skip_bad` the number of "skipped_rows" and under "skipped"
        what they are, and under "baselines" the metrics of each trivial predictor.

    Raises:
        ElmanError: as `elman.recipes.use.evaluate`.
    """
    path = _directory(run)
    recipe, _ = use.opened(path)
    with source_files(data, recipe.rows, recipe.name) as (sources, origin):
        folder = None if out is None else Path(out)
        metrics = use.evaluate(path, sources, out=folder, skip_bad=skip_bad, options=options)
        return without_folder(metrics, str(sources[0].parent)) if origin else metrics


@overload
def diagnose(model: str | Path | Predictor, data: Any = None, *, memory: int | None = None) -> inspection.Report: ...


@overload
def diagnose(
    model: nn.Module,
    batches: Iterable[Any],
    loss: Callable[[nn.Module, Any], Any],
    *,
    lags: int | None = None,
    memory: int | None = None,
    window: int | None = None,
    settings: Mapping[str, Any] | None = None,
    norms: Sequence[float] = (),
    thresholds: inspection.Thresholds | None = None,
) -> inspection.Report: ...


def diagnose(model: Any, *arguments: Any, **options: Any) -> inspection.Report:
    """Diagnose the gradient flow of a trained run, or of any module: `elman.inspection.diagnose`.

    Args:
        model: a run directory, the predictor of one, or a module.
        arguments: for a run other data than its own, as for `train`; for a module its batches and loss.
        options: for a run `memory`, how many steps back the gradient should reach; for a module the options of
            `elman.inspection.diagnose`.

    Raises:
        ElmanError: the run has no weights yet or is broken, or the data cannot be read.
    """
    if isinstance(model, str | Path | Predictor):
        return _diagnose_run(_directory(model), *arguments, **options)
    return inspection.diagnose(model, *arguments, **options)


def _diagnose_run(run: Path, data: Any = None, *, memory: int | None = None) -> inspection.Report:
    recipe, _ = use.opened(run)
    with source_files(data, recipe.rows, recipe.name) as (sources, _):
        subject = use.diagnosable(run, sources)
    sample, settings = subject.sample, subject.settings.as_dict()
    options: dict[str, Any] = {"memory": memory, "window": sample.window, "settings": settings, "norms": subject.norms}
    return inspection.diagnose(subject.model, sample.batches, sample.loss, **options)


def _directory(run: str | Path | Predictor) -> Path:
    return run.run if isinstance(run, Predictor) else Path(run)
