"""The driver: training, resuming, loading, evaluating and diagnosing a run, the same way for all recipes."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from elman.data.skipped import SkippedRows
from elman.errors import BrokenRun, ElmanError, RunError, SettingError
from elman.evaluation.result import Metrics
from elman.predictors.base import Predictor, non_finite_output
from elman.recipes.legacy import Legacy
from elman.recipes.registry import RECIPES, AnyRecipe, recipe_of
from elman.storage import tensors
from elman.storage.run_directory import RunDirectory
from elman.training.checkpoint import to_device
from elman.training.device import choose_device
from elman.training.loop import Outcome, Watch, train
from elman.training.non_finite import Autopsy
from elman.training.run_report import described, write_report
from elman.training.settings import TrainingSettings
from elman.training.task import Loss, Probe, Task

D = TypeVar("D")
MakeProbe = Callable[[Task], Probe]

RECENT_NORMS = 500  # of gradients, for a diagnosis
BUDGET = ("steps", "epochs", "minutes")


@dataclass(frozen=True)
class Trained:
    """A run after training.

    Attributes:
        run: the run directory.
        outcome: how the training ended.
        headline: the quality, in a few words.
    """

    run: RunDirectory
    outcome: Outcome
    headline: str


def start(
    recipe: type[AnyRecipe],
    sources: Sequence[Path],
    settings: Mapping[str, Any],
    out: Path,
    *,
    watch: Watch | None = None,
    probe: MakeProbe | None = None,
    autopsy: Autopsy | None = None,
    say: Callable[[str], None] | None = None,
) -> Trained:
    """Prepare the data, create the run directory `out`, and train.

    Args:
        recipe: the application.
        sources: DATA; none for the default data of the recipe.
        settings: those that differ from the default; the values may be text.
        out: the run directory; nothing, or an empty directory, may be there.
        watch: is called after every step and evaluation.
        probe: makes a measurement that is taken every so many steps.
        autopsy: names the sequences of a batch after which a number is not finite.
        say: is called with each line about the data, before the first step.

    Raises:
        ElmanError: data, settings or `out` are not as they should be. Nothing is left behind then.
    """
    parsed = recipe.Settings.parse(settings)
    choose_device(parsed.device)

    def fill(folder: Path) -> dict[str, Any]:
        new = recipe(parsed, folder)
        description = new.prepare(sources)
        build(new, device="meta")  # settings that do not fit the data are refused before there is a run
        return description if isinstance(new, Legacy) else {**description, **_counts(new)}

    run = RunDirectory.create(out, recipe.name, parsed.as_dict(), fill)
    if say:
        for line in described(run.config["data"]):
            say(line)
    return _train(recipe(parsed, run.path), run, resume=False, watch=watch, probe=probe, autopsy=autopsy)


def _counts(recipe: AnyRecipe) -> dict[str, Any]:
    """Return the fingerprint and the sizes of prepared data, whose batches are made once to see that they can be."""
    training, validation = recipe.dataset("training"), recipe.dataset("validation")
    recipe.batches(training)
    return {
        "fingerprint": training.fingerprint,
        f"training_{recipe.examples}": len(training),
        f"validation_{recipe.examples}": len(validation),
    }


def resume(
    recipe: type[AnyRecipe],
    settings: Mapping[str, Any],
    out: Path,
    *,
    watch: Watch | None = None,
    probe: MakeProbe | None = None,
    autopsy: Autopsy | None = None,
) -> Trained:
    """Resume the run at `out`, exactly where its last checkpoint is.

    Args:
        recipe: the application, which must be the run's.
        settings: those that change, for example the budget; the values may be text.
        out: the run directory.
        watch: is called after every step and evaluation.
        probe: makes a measurement that is taken every so many steps.
        autopsy: names the sequences of a batch after which a number is not finite.

    Raises:
        RunError: there is no such run, it is broken, or another process trains it.
        SettingError: a setting is invalid, or cannot change any more.
        In either case the run is left as it was.
    """
    run = RunDirectory.open(out)
    if run.config["recipe"] != recipe.name:
        raise RunError(
            f"{out} is not a run of {recipe.name}",
            should=recipe.name,
            found=run.config["recipe"],
            hint=f"elman train {run.config['recipe']} --out {out} --resume",
        )
    before = read_settings(recipe, run)
    asked = dict(settings)
    if any(name in asked for name in BUDGET):
        asked = {**dict.fromkeys(BUDGET), **asked}
    after = before.changed(asked)
    before.refuse_fixed_changes(after)
    run = run.with_settings(after.as_dict())
    choose_device(after.device)
    return _train(recipe(after, run.path), run, resume=True, watch=watch, probe=probe, autopsy=autopsy)


def _train(
    recipe: AnyRecipe,
    run: RunDirectory,
    *,
    resume: bool,
    watch: Watch | None,
    probe: MakeProbe | None,
    autopsy: Autopsy | None,
) -> Trained:
    settings: TrainingSettings = recipe.settings
    torch.manual_seed(settings.seed)
    model = build(recipe).to(choose_device(settings.device))
    task = task_of(recipe, run, model)
    outcome = train(
        task,
        settings,
        run,
        resume=resume,
        # Nothing is written that a refusal could leave behind: the run is ours by then, and its checkpoint is sound.
        begun=run.save_config if resume else None,
        watch=watch,
        probes=[probe(task)] if probe else [],
        autopsy=autopsy,
    )
    if isinstance(recipe, Legacy):
        baselines = recipe.run_baselines(run)
    else:
        baselines = recipe.baselines(recipe.dataset("validation"))
    headline = _checked(recipe.headline, run)
    write_report(
        run,
        outcome,
        parameters=sum(p.numel() for p in model.parameters()),
        model=repr(model),
        headline=headline,
        commands=commands(recipe),
        baselines=baselines,
    )
    return Trained(run, outcome, headline(outcome.best["validation"]) if outcome.best else "not evaluated yet")


def commands(recipe: AnyRecipe) -> list[tuple[str, str]]:
    """Return what can be done with a run, and the commands for it: those of the recipe, and those that all have."""
    if isinstance(recipe, Legacy):
        return recipe.usage("")
    path = shlex.quote(str(recipe.folder))
    return [
        *recipe.usage(path),
        (
            "Evaluate it on other data",
            f"elman evaluate {path} DATA{' --out FOLDER' if recipe.evaluation_files else ''}",
        ),
        ("See how its gradients flow", f"elman diagnose {path}"),
        ("Train it further", f"elman train {recipe.name} --out {path} --resume --minutes 30"),
    ]


def _checked(headline: Callable[[Metrics], str], run: RunDirectory) -> Callable[[Mapping[str, Any]], str]:
    """Return a headline that names metrics.jsonl where that holds other metrics than the recipe's."""

    def checked(metrics: Mapping[str, Any]) -> str:
        try:
            return headline(metrics)
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenRun(
                f"{run.path}/metrics.jsonl is broken",
                should=f"the metrics of {run.config['recipe']}",
                found=", ".join(metrics) or "none",
            ) from error

    return checked


def task_of(recipe: AnyRecipe, run: RunDirectory, model: nn.Module) -> Task:
    """Return what training needs.

    Raises:
        RunError: the data of the run are missing or broken, or are not those that it began with.
    """
    if isinstance(recipe, Legacy):
        return recipe.task(run, model)
    training, validation = (
        _own(run, lambda: recipe.dataset("training")),
        _own(run, lambda: recipe.dataset("validation")),
    )
    run.check_data(training.fingerprint, "data")
    if not run.checkpoint.exists():
        recipe.initialise(model, training)
    device = choose_device(recipe.settings.device)
    batches = recipe.batches(training)

    def objective(model: nn.Module, batch: Any, state: Any) -> Loss:
        return recipe.loss(model, _moved(batch, device), state, batches.progress)

    return Task(
        model,
        batches,
        objective,
        lambda model: recipe.measure(model, validation),
        metric=recipe.metric,
        lower_is_better=recipe.lower_is_better,
        default_minutes=recipe.default_minutes,
        unit=recipe.unit,
    )


def _moved(batch: Any, device: torch.device) -> Any:
    """Return a batch on a device; where it has a method `to`, that says what stays on the CPU."""
    return batch.to(device) if hasattr(batch, "to") else to_device(batch, device)


def _own(run: RunDirectory, open_part: Callable[[], D]) -> D:
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


def opened(run: str | Path) -> tuple[AnyRecipe, RunDirectory]:
    """Open a run directory, and its recipe with the settings of the run.

    Raises:
        RunError: the directory is missing, not a run, broken, or made by a newer version.
    """
    directory = RunDirectory.open(Path(run))
    recipe = recipe_of(directory)
    return recipe(read_settings(recipe, directory), directory.path), directory


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
    parsed = recipe.Options.parse(options)
    return recipe.predictor(trained_model(recipe, directory)), dict(vars(parsed))


def evaluate(
    run: str | Path, data: Sequence[Path] = (), *, out: Path | None = None, skip_bad: bool = False
) -> dict[str, Any]:
    """Evaluate a trained run, beside trivial predictors.

    Args:
        run: the run directory.
        data: other data; none for what the run kept away from its training.
        out: a folder for drawings or transcripts, if the recipe has any.
        skip_bad: skip broken rows and files of `data`, and count them.

    Returns:
        The metrics by name, the number of examples, with `skip_bad` the number of "skipped_rows" and under "skipped"
        what they are, and under "baselines" the metrics of each trivial predictor.

    Raises:
        DataError: the data cannot be read, or are not like those of the training.
        NonFiniteError: the model gives numbers that are not finite.
        RunError: as `load`, or the run came without its data.
        SettingError: the recipe has no use for `out` or `skip_bad`, or `out` cannot be created.
    """
    recipe, directory = opened(run)
    if isinstance(recipe, Legacy):
        return recipe.evaluate_run(trained_model(recipe, directory), data, out, skip_bad)
    for flag, refused in (
        ("--out", out and not recipe.evaluation_files),
        ("--skip-bad", skip_bad and not recipe.can_skip),
    ):
        if refused:
            raise SettingError(f"{flag} is not for {run}", found=flag, hint="omit it")
    model, skipped = trained_model(recipe, directory), SkippedRows()
    with TemporaryDirectory() as folder, torch.no_grad():
        if data:
            part, skipped = recipe.read(data, Path(folder), skip_bad=skip_bad, limit=None)
        else:
            part = _own(directory, recipe.evaluation_data)
        metrics = dict(recipe.evaluate(model, part, out=_created(out)))
        if not all(math.isfinite(value) for value in metrics.values() if isinstance(value, float)):
            raise non_finite_output(directory.path)
        baselines = {**metrics.pop("baselines", {}), **recipe.baselines(part)}
        return {
            **metrics,
            **({} if recipe.examples in metrics else {recipe.examples: len(part)}),
            **({"skipped_rows": skipped.count, "skipped": skipped.lines()} if skip_bad else {}),
            **({"baselines": baselines} if baselines else {}),
        }


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
    if isinstance(recipe, Legacy):
        return Sample(*recipe.diagnosis_sample(run, sources))
    with TemporaryDirectory() as folder:
        if sources:
            data, _ = recipe.read(sources, Path(folder), skip_bad=False, limit=recipe.sample_size)
        else:
            data = _own(run, lambda: recipe.dataset("validation"))
        batches, window = recipe.sample(data)
    return Sample(batches, lambda model, batch: recipe.loss(model, batch, None, None).mean, window)


def trained_model(recipe: AnyRecipe, run: RunDirectory) -> nn.Module:
    """Return the model of a run with its best weights, on the CPU; raises as `load`."""
    if not run.model.exists():
        raise RunError(
            f"{run.path} has no weights yet",
            should="a run with at least one evaluation",
            found="no model.safetensors",
            hint=f"elman train {recipe.name} --out {run.path} --resume",
        )
    # The sizes are compared before the model takes memory: config.json is untrusted.
    expected = {name: tuple(t.shape) for name, t in build(recipe, device="meta").state_dict().items()}
    shapes, _ = tensors.header(run.model)
    wrong = sorted(name for name in expected.keys() | shapes.keys() if expected.get(name) != shapes.get(name))
    if wrong:
        raise BrokenRun(
            f"{run.model} does not fit config.json",
            should=f"{wrong[0]} of size {expected.get(wrong[0], 'none')}",
            found=f"size {shapes.get(wrong[0], 'none')}",
        )
    model = build(recipe)
    weights, _ = tensors.read(run.model)
    model.load_state_dict(weights)
    return model.eval()
