"""What every recipe's runs have in common: starting, going on, loading."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from elman.errors import BrokenRun, ElmanError, RunError, SettingError
from elman.recipes.base import Recipe, Sample
from elman.storage import tensors
from elman.storage.run_directory import RunDirectory
from elman.training.device import choose_device
from elman.training.loop import Outcome, Watch, train
from elman.training.non_finite import Autopsy
from elman.training.run_report import described, write_report
from elman.training.settings import TrainingSettings
from elman.training.task import Probe, Task

__all__ = ["Trained", "TrainingProgress", "build", "load_run", "read_settings", "resume", "start"]

MakeProbe = Callable[[Task], Probe]
Headline = Callable[[Mapping[str, Any]], str]

RECENT_NORMS = 500  # that a diagnosis is given
BUDGET = ("steps", "epochs", "minutes")


@dataclass(frozen=True)
class Trained:
    """A run after training."""

    run: RunDirectory
    outcome: Outcome
    headline: str  # how well, in a few words


def start(
    recipe: Recipe,
    sources: Sequence[Path],
    settings: Mapping[str, Any],
    out: Path,
    *,
    watch: Watch | None = None,
    probe: MakeProbe | None = None,
    autopsy: Autopsy | None = None,
    say: Callable[[str], None] | None = None,
) -> Trained:
    """Prepare the data, make the run directory `out`, and train.

    Args:
        recipe: the application.
        sources: DATA; none for the recipe's default.
        settings: what differs from the default; the values may be text.
        out: where the run goes; nothing or an empty directory may be there.
        watch: is told of every step and evaluation.
        probe: makes a measurement that is taken every so many steps.
        autopsy: names the sequences of a batch after which a number is not finite.
        say: is told what was found in the data, a line each, before the first step.

    Raises:
        ElmanError: data, settings or `out` are not as they should be. Nothing is left behind then.
    """
    chosen = recipe.settings.parse(settings)
    choose_device(chosen.device)

    def fill(folder: Path) -> dict[str, Any]:
        description = recipe.prepare(sources, chosen, folder)
        build(recipe, chosen, folder, device="meta")  # impossible sizes are refused before there is a run
        return description

    run = RunDirectory.create(out, recipe.name, chosen.as_dict(), fill)
    if say:
        for line in described(run.config["data"]):
            say(line)
    return _train(recipe, chosen, run, resume=False, watch=watch, probe=probe, autopsy=autopsy)


def resume(
    recipe: Recipe,
    settings: Mapping[str, Any],
    out: Path,
    *,
    watch: Watch | None = None,
    probe: MakeProbe | None = None,
    autopsy: Autopsy | None = None,
) -> Trained:
    """Go on with the run at `out`, exactly where its last checkpoint is.

    Args:
        recipe: the application, which must be the run's.
        settings: what is to change, for example the budget; the values may be text.
        out: the run.
        watch: is told of every step and evaluation.
        probe: makes a measurement that is taken every so many steps.
        autopsy: names the sequences of a batch after which a number is not finite.

    Raises:
        RunError: there is no such run, it is broken, or another process trains it.
        SettingError: a setting is wrong, or cannot change any more.
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
    chosen = before.changed(asked)
    before.refuse_fixed_changes(chosen)
    run = run.with_settings(chosen.as_dict())
    choose_device(chosen.device)
    return _train(recipe, chosen, run, resume=True, watch=watch, probe=probe, autopsy=autopsy)


def _train(
    recipe: Recipe,
    settings: TrainingSettings,
    run: RunDirectory,
    *,
    resume: bool,
    watch: Watch | None,
    probe: MakeProbe | None,
    autopsy: Autopsy | None,
) -> Trained:
    torch.manual_seed(settings.seed)
    model = build(recipe, settings, run.path).to(choose_device(settings.device))
    task = recipe.task(settings, run, model)
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
    headline = _careful(recipe.headline, run)
    write_report(
        run,
        outcome,
        parameters=sum(p.numel() for p in model.parameters()),
        model=repr(model),
        headline=headline,
        commands=recipe.commands(run.path),
        baselines=recipe.baselines(settings, run) if recipe.baselines else {},
    )
    return Trained(run, outcome, headline(outcome.best["validation"]) if outcome.best else "not evaluated yet")


def _careful(headline: Headline, run: RunDirectory) -> Headline:
    """Return a headline that tells of metrics.jsonl where that holds other metrics than the recipe's."""

    def careful(metrics: Mapping[str, Any]) -> str:
        try:
            return headline(metrics)
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenRun(
                f"{run.path}/metrics.jsonl is broken",
                should=f"the metrics of {run.config['recipe']}",
                found=", ".join(metrics) or "none",
            ) from error

    return careful


def build(recipe: Recipe, settings: TrainingSettings, folder: Path, *, device: str = "cpu") -> nn.Module:
    """Build the model of a run; on the device "meta" it has sizes and takes no memory.

    Raises:
        SettingError: sizes or names that do not go together, or more than memory holds.
    """
    try:
        with torch.device(device):
            return recipe.build(settings, folder)
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, ElmanError):
            raise
        raise SettingError(
            "the model cannot be built", found=str(error).splitlines()[0], hint="a smaller --hidden or --layers"
        ) from error


def read_settings(recipe: Recipe, run: RunDirectory) -> TrainingSettings:
    """Return the settings of a run.

    Raises:
        RunError: config.json holds something that is no setting.
    """
    try:
        return recipe.settings.parse(run.config["settings"])
    except SettingError as error:
        raise RunError(
            f"{run.path}/config.json is broken: {error.what}", should=error.should, found=error.found, hint=error.hint
        ) from error


@dataclass(frozen=True)
class Diagnosable:
    """A trained model with what a diagnosis asks for."""

    model: nn.Module
    sample: Sample
    settings: TrainingSettings
    norms: list[float]  # gradient norms of recent steps, before clipping


def diagnosable(recipe: Recipe, run: RunDirectory, sources: Sequence[Path]) -> Diagnosable:
    """Return a trained run ready for a diagnosis, on DATA or on the run's own data.

    Raises:
        ElmanError: the run has no weights yet, is broken, or came without its data.
    """
    settings = read_settings(recipe, run)
    model = trained_model(recipe, settings, run)
    norms = [norm for row in run.read_metrics() for norm in row.get("gradient_norms", [])][-RECENT_NORMS:]
    return Diagnosable(model, recipe.sample(settings, run, sources), settings, norms)


def load_run(recipe: Recipe, run: RunDirectory) -> Any:
    """Return a trained run, ready to use, with the best weights, on the CPU.

    Raises:
        RunError: there are no weights yet, or they are broken or of another model.
    """
    settings = read_settings(recipe, run)
    return recipe.load(settings, run, trained_model(recipe, settings, run))


def trained_model(recipe: Recipe, settings: TrainingSettings, run: RunDirectory) -> nn.Module:
    """Return the model of a run with its best weights, on the CPU; raises as `load_run`."""
    if not run.model.exists():
        raise RunError(
            f"{run.path} has no weights yet",
            should="a run with at least one evaluation",
            found="no model.safetensors",
            hint=f"elman train {recipe.name} --out {run.path} --resume",
        )
    # The sizes are compared before the model takes memory: config.json may be made by a stranger.
    expected = {
        name: tuple(t.shape) for name, t in build(recipe, settings, run.path, device="meta").state_dict().items()
    }
    found, _ = tensors.header(run.model)
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        raise BrokenRun(
            f"{run.model} does not fit config.json",
            should=f"{wrong[0]} of size {expected.get(wrong[0], 'none')}",
            found=f"size {found.get(wrong[0], 'none')}",
        )
    model = build(recipe, settings, run.path)
    weights, _ = tensors.read(run.model)
    model.load_state_dict(weights)
    return model.eval()
