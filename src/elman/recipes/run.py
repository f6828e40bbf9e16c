"""The driver of training: a run is started or resumed the same way for all recipes; `use` does the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from elman.data.in_memory import without_folder
from elman.errors import BrokenRun, RunError, shell_word
from elman.evaluation.progress import progress_lines
from elman.evaluation.result import Metrics
from elman.recipes.former_names import setting_names, with_current_names
from elman.recipes.registry import AnyRecipe
from elman.recipes.use import build, own_data, read_settings
from elman.storage.files import exists
from elman.storage.run_directory import RunDirectory
from elman.training.checkpoint import to_device
from elman.training.device import choose_device
from elman.training.loop import Outcome, TrainingProgress, Watch, restored_random_states, train
from elman.training.run_report import described, write_report
from elman.training.settings import TrainingSettings
from elman.training.task import Loss, Task

__all__ = ["Trained", "TrainingProgress", "commands", "free_directory", "resume", "start", "task_of"]

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


def free_directory(recipe: str) -> Path:
    """Return the first name under runs/ that is free."""
    paths = (Path("runs") / f"{recipe}-{number}" for number in range(1, 1_000_000))
    return next(path for path in paths if not exists(path))


def start(
    recipe: type[AnyRecipe],
    sources: Sequence[Path],
    settings: Mapping[str, Any],
    out: Path,
    *,
    watch: Watch | None = None,
    diagnose: int = 0,
    say: Callable[[str], None] | None = None,
    origin: str = "",
) -> Trained:
    """Prepare the data, create the run directory `out`, and train.

    Args:
        recipe: the application.
        sources: DATA; none for the default data of the recipe.
        settings: those that differ from the default; the values may be text.
        out: the run directory; nothing, or an empty directory, may be there.
        watch: is called after every step and evaluation.
        diagnose: steps between two measurements of the gradient's horizon; 0: none.
        say: is called with each line about the data, before the first step.
        origin: the name of data in memory, which config.json has instead of their temporary file; empty: files.

    Raises:
        ElmanError: data, settings or `out` are not as they should be. Nothing is left behind then.
    """
    parsed = recipe.Settings.parse(with_current_names(settings, setting_names(recipe.name), recipe.Settings))
    choose_device(parsed.device)

    def fill(folder: Path) -> dict[str, Any]:
        new = recipe(parsed, folder)
        description = {"sources": [str(path) for path in sources] or [recipe.default], **new.prepare(sources)}
        if origin:
            description = without_folder({**description, "sources": [origin]}, str(sources[0].parent))
        build(new, device="meta")  # settings that do not fit the data are refused before there is a run
        return {**description, **_counts(new)}

    run = RunDirectory.create(out, recipe.name, parsed.as_dict(), fill)
    if say:
        for line in described(run.config["data"]):
            say(line)
    return _train(recipe(parsed, run.path), run, resume=False, watch=watch, diagnose=diagnose, say=say)


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
    diagnose: int = 0,
) -> Trained:
    """Resume the run at `out`, exactly where its last checkpoint is; after an error the run is unchanged.

    Args:
        recipe: the application, which must be the run's.
        settings: those that change, for example the budget; the values may be text.
        out: the run directory.
        watch: is called after every step and evaluation.
        diagnose: steps between two measurements of the gradient's horizon; 0: none.

    Raises:
        RunError: there is no such run, it is broken, or another process trains it.
        SettingError: a setting is invalid, or cannot change any more.
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
    asked = with_current_names(settings, setting_names(recipe.name), recipe.Settings)
    if any(name in asked for name in BUDGET):
        asked = {**dict.fromkeys(BUDGET), **asked}
    after = before.changed(asked)
    before.refuse_fixed_changes(after)
    run = run.with_settings(after.as_dict())
    choose_device(after.device)
    return _train(recipe(after, run.path), run, resume=True, watch=watch, diagnose=diagnose)


def _train(
    recipe: AnyRecipe,
    run: RunDirectory,
    *,
    resume: bool,
    watch: Watch | None,
    diagnose: int,
    say: Callable[[str], None] | None = None,
) -> Trained:
    settings: TrainingSettings = recipe.settings
    torch.manual_seed(settings.seed)
    model = build(recipe).to(choose_device(settings.device))
    task = task_of(recipe, run, model)
    # Before the training, so that a time budget ends when it says.
    with restored_random_states(), progress_lines(say or (lambda line: None)):
        baselines = recipe.baselines(recipe.dataset("validation"))
    outcome = train(
        task,
        settings,
        run,
        resume=resume,
        # Nothing is written that a refusal could leave behind: the run is ours by then, and its checkpoint is sound.
        begun=run.save_config if resume else None,
        watch=watch,
        probes=[_horizon_probe(task, diagnose)] if diagnose else [],
        autopsy=_explain_non_finite,
    )
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


def _horizon_probe(task: Task, steps: int) -> Any:
    from elman.inspection import GradientProbe  # only then: training does without it

    return GradientProbe(steps, lambda model, batch, state: task.objective(model, batch, state).mean)


def _explain_non_finite(model: nn.Module, again: Callable[[], Tensor]) -> str | None:
    from elman.inspection import explain_non_finite

    return explain_non_finite(model, again)


def commands(recipe: AnyRecipe) -> list[tuple[str, str]]:
    """Return what can be done with a run, and the commands for it: those of the recipe, and those that all have."""
    path = shell_word(recipe.folder)
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
        except (LookupError, StopIteration, TypeError, ValueError) as error:
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
    training, validation = (
        own_data(run, lambda: recipe.dataset("training")),
        own_data(run, lambda: recipe.dataset("validation")),
    )
    run.check_data(training.fingerprint, "data")
    if not exists(run.checkpoint):
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
        tie_metric=recipe.tie_metric,
    )


def _moved(batch: Any, device: torch.device) -> Any:
    """Return a batch on a device; where it has a method `to`, that says what stays on the CPU."""
    return batch.to(device) if hasattr(batch, "to") else to_device(batch, device)
