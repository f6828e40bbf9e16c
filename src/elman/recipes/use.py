"""Use of a trained run, the same way for all recipes: loading, evaluation, and the sample of a diagnosis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from elman.data.skipped import SkippedRows
from elman.errors import ElmanError, NonFiniteError, RunError, SettingError
from elman.evaluation.progress import progress_lines
from elman.evaluation.result import Metrics
from elman.modules.recurrent_stack import frozen_weights
from elman.predictors.base import Predictor, non_finite_output, non_finite_weights
from elman.recipes import former_names
from elman.recipes.registry import RECIPES, AnyRecipe, recipe_of
from elman.settings import Settings
from elman.storage import tensors
from elman.storage.files import exists, temporary_folder
from elman.storage.run_directory import RunDirectory
from elman.training.settings import TrainingSettings

D = TypeVar("D")

RECENT_NORMS = 500  # of gradients, for a diagnosis


def opened(run: str | Path) -> tuple[AnyRecipe, RunDirectory]:
    """Open a run directory, and its recipe with the settings of the run.

    Raises:
        RunError: the directory is missing, not a run, broken, or made by a newer version.
    """
    directory = RunDirectory.open(Path(run))
    recipe = recipe_of(directory)
    return recipe(read_settings(recipe, directory), directory.path), directory


def read_settings(recipe: type[AnyRecipe], run: RunDirectory) -> TrainingSettings:
    """Return the settings of a run.

    Raises:
        RunError: config.json holds an invalid setting.
    """
    try:
        return recipe.Settings.parse(run.config["settings"])
    except SettingError as error:
        raise RunError(
            f"{run.path}/config.json is broken: {error.what}", should=error.should, found=error.found, hint=error.hint
        ) from error


def build(recipe: AnyRecipe, *, device: str = "cpu") -> nn.Module:
    """Build the untrained model of a run; on the device "meta" it has sizes and takes no memory.

    Raises:
        SettingError: sizes or names that do not fit together, or more than memory holds.
    """
    try:
        with torch.device(device):
            return recipe.build()
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, ElmanError):
            raise
        raise SettingError(
            "the model cannot be built", found=str(error).splitlines()[0], hint="a smaller --hidden or --layers"
        ) from error


def own_data(run: RunDirectory, open_part: Callable[[], D]) -> D:
    """Open a part of the data that a run keeps.

    Raises:
        RunError: the run came without it, or it is broken.
    """
    try:
        return open_part()
    except RunError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise RunError(
            f"{run.path} came without its data", found=error.what, hint="name data behind the run"
        ) from error


def trained_model(recipe: AnyRecipe, run: RunDirectory) -> nn.Module:
    """Return the model of a run with its best weights, on the CPU; raises as `load`."""
    if not exists(run.model):
        raise RunError(
            f"{run.path} has no weights yet",
            should="a run with at least one evaluation",
            found="no model.safetensors",
            hint=f"elman train {recipe.name} --out {run.path} --resume",
        )
    # The sizes are compared before the model takes memory: config.json is untrusted.
    expected = {name: tuple(t.shape) for name, t in build(recipe, device="meta").state_dict().items()}
    shapes, _ = tensors.header(run.model)
    tensors.refuse_other_shapes(run.model, expected, shapes)
    model = build(recipe)
    weights, _ = tensors.read(run.model)
    for name, weight in weights.items():
        if not bool(torch.isfinite(weight).all()):
            raise non_finite_weights(run.path, name)
    model.load_state_dict(weights)
    return model.eval()


def load(run: str | Path) -> Predictor:
    """Open a run directory and return the trained model, ready to answer, with its best weights, on the CPU.

    Loading never runs code from the directory.

    Raises:
        RunError: the directory is missing, not a run, broken, or made by a newer version, or there are no weights yet.
    """
    recipe, directory = opened(run)
    return recipe.predictor(trained_model(recipe, directory))


def predictor(run: str | Path, options: Mapping[str, Any]) -> tuple[Predictor, dict[str, Any]]:
    """Open a run that answers inputs.

    Args:
        run: the run directory.
        options: of `elman predict`; the values may be text.

    Returns:
        What `load` returns, and the options, checked, as its `predict` takes them by name.

    Raises:
        RunError: as `load`.
        SettingError: the recipe answers no single inputs, or has no such option.
    """
    recipe, directory = opened(run)
    if recipe.Options is None:
        raise SettingError(
            f"{run} cannot predict",
            should="a run of " + ", ".join(name for name, other in RECIPES.items() if other.Options),
            found=f"a run of {recipe.name}",
            hint=f"elman generate {run}" if recipe.name == "language-model" else None,
        )
    names = former_names.OPTIONS.get(recipe.name, {})
    parsed = recipe.Options.parse(former_names.with_current_names(options, names, recipe.Options))
    return recipe.predictor(trained_model(recipe, directory)), dict(vars(parsed))


def evaluate(
    run: str | Path,
    data: Sequence[Path] = (),
    *,
    out: Path | None = None,
    skip_bad: bool = False,
    options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Evaluate a trained run, beside trivial predictors.

    Args:
        run: the run directory.
        data: other data; none for the part that the run held out of its training.
        out: a folder for drawings or transcripts, if the recipe has any.
        skip_bad: skip broken rows and files of `data`, and count them.
        options: settings of the evaluation, which may be text; a recipe has its own, or none.
        say: is called with a line about the progress every ten seconds.

    Returns:
        The metrics by name, the number of examples, with `skip_bad` the number of "skipped_rows" and under "skipped"
        what they are, and under "baselines" the metrics of each trivial predictor; those that need
        training data which the run came without are omitted.

    Raises:
        DataError: the data cannot be read, or are not like those of the training.
        NonFiniteError: the model gives numbers that are not finite.
        RunError: as `load`, or the run came without its data.
        SettingError: the recipe has no use for `out` or `skip_bad`, or no such option, or `out` cannot be created.
    """
    recipe, directory = opened(run)
    recipe.evaluation = _evaluation_options(recipe, options or {})
    for flag, refused, hint in (
        ("--out", out and not recipe.evaluation_files, "omit it"),
        ("--skip-bad", skip_bad and not recipe.can_skip, "omit it: text has no rows to skip"),
    ):
        if refused:
            raise SettingError(f"{flag} is not for {run}", found=flag, hint=hint)
    model, skipped = trained_model(recipe, directory), SkippedRows()
    lines = progress_lines(say or (lambda line: None))
    with temporary_folder() if data else nullcontext(Path()) as folder, torch.no_grad(), frozen_weights(), lines:
        if data:
            part, skipped = recipe.read(data, folder, skip_bad=skip_bad, limit=None)
        else:
            part = own_data(directory, recipe.evaluation_data)
        metrics = dict(recipe.evaluate(model, part, out=_created(out)))
        if not _finite(metrics):
            raise non_finite_output(directory.path)
        baselines = {**metrics.pop("baselines", {}), **_baselines(recipe, part)}
        for name, values in baselines.items():
            if not _finite(values):
                raise NonFiniteError(f"the metrics of the baseline {name} are not finite", hint="check the data")
        return {
            **metrics,
            **({} if recipe.examples in metrics else {recipe.examples: len(part)}),
            **({"skipped_rows": skipped.count, "skipped": skipped.lines()} if skip_bad else {}),
            **({"baselines": baselines} if baselines else {}),
        }


def _evaluation_options(recipe: AnyRecipe, options: Mapping[str, Any]) -> Settings:
    if options and not recipe.EvaluationOptions.meanings():
        raise SettingError(
            f"an evaluation of {recipe.name} has no settings",
            should="no --set",
            found=", ".join(f"{name}={value}" for name, value in options.items()),
            hint="omit it; settings of the training are in the run",
        )
    return recipe.EvaluationOptions.parse(options)


def _baselines(recipe: AnyRecipe, part: Any) -> dict[str, Metrics]:
    """Return the metrics of the baselines; none where they need training data that the run came without."""
    try:
        return recipe.baselines(part)
    except RunError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        return {}


def _finite(metrics: Mapping[str, Any]) -> bool:
    return all(math.isfinite(value) for value in metrics.values() if isinstance(value, float))


def _created(folder: Path | None) -> Path | None:
    """Create the folder for what an evaluation writes.

    Raises:
        SettingError: that fails.
    """
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"--out {folder} is not a folder", found=error.strerror, hint="another folder") from error
    return folder


class Sample(NamedTuple):
    """Batches for a diagnosis.

    Attributes:
        batches: a few batches of the data.
        loss: (model, batch) -> the loss that training descends.
        window: the truncation length of training (TBPTT), in steps; None where it is not truncated.
    """

    batches: Sequence[Any]
    loss: Callable[[nn.Module, Any], Tensor]
    window: int | None


@dataclass(frozen=True)
class Diagnosable:
    """A trained model with what a diagnosis needs.

    Attributes:
        model: with its best weights, on the CPU.
        sample: batches, and the loss on them.
        settings: of the run.
        norms: the gradient norms of recent steps, before clipping.
    """

    model: nn.Module
    sample: Sample
    settings: TrainingSettings
    norms: list[float]


def diagnosable(run: str | Path, sources: Sequence[Path] = ()) -> Diagnosable:
    """Open a trained run for a diagnosis, on DATA or on the run's own data.

    Raises:
        ElmanError: the run has no weights yet, is broken, or came without its data.
    """
    recipe, directory = opened(run)
    model = trained_model(recipe, directory)
    norms = [norm for row in directory.read_metrics() for norm in row.get("gradient_norms", [])][-RECENT_NORMS:]
    return Diagnosable(model, _sample(recipe, directory, sources), recipe.settings, norms)


def _sample(recipe: AnyRecipe, run: RunDirectory, sources: Sequence[Path]) -> Sample:
    with temporary_folder() if sources else nullcontext(Path()) as folder:
        if sources:
            data, _ = recipe.read(sources, folder, skip_bad=False, limit=recipe.sample_size)
        else:
            data = own_data(run, lambda: recipe.dataset("validation"))
        batches, window = recipe.sample(data)
    return Sample(batches, lambda model, batch: recipe.loss(model, batch, None, None).mean, window)
