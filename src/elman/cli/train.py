"""`elman train` and `elman recipes`: training, and what there is to train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli.options import Json, Pairs, SkipBad, gather, source_paths
from elman.cli.output import print_json, write_table
from elman.errors import SettingError

INTERRUPTED = 130
"""The exit code after Ctrl-C."""


def train(
    recipe: Annotated[str, typer.Argument(help="What to train; `elman recipes` lists them.", show_default=False)],
    data: Annotated[
        list[str] | None,
        typer.Argument(help="Files or folders; if omitted: the recipe's default data.", show_default=False),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run directory to make.", show_default="runs/RECIPE-N")] = None,
    cell: Annotated[str | None, typer.Option(help="rnn, gru or lstm.", show_default=False)] = None,
    hidden: Annotated[int | None, typer.Option(help="Units of a layer.", show_default=False)] = None,
    layers: Annotated[int | None, typer.Option(help="Recurrent layers.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(help="Budget: optimiser steps.", show_default=False)] = None,
    epochs: Annotated[float | None, typer.Option(help="Budget: passes over the data.", show_default=False)] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget: minutes.", show_default=False)] = None,
    set_: Pairs = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.", show_default=False)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in --out.")] = False,
    skip_bad: SkipBad = False,
    diagnose: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Measure the gradient's horizon every N steps.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> int:
    """Train a model on DATA and write a run directory, which all other commands take."""
    from elman.cli.progress import Progress
    from elman.recipes import registry
    from elman.recipes import run as runs

    chosen = registry.find(recipe)
    own = {"cell": cell, "hidden": hidden, "layers": layers, "steps": steps, "epochs": epochs, "minutes": minutes}
    settings = gather({**own, "seed": seed, "skip_bad": skip_bad or None}, set_)
    sources = source_paths(data)
    if skip_bad and not chosen.can_skip:
        raise SettingError(
            f"--skip-bad is not for {recipe}", found="--skip-bad", hint="omit it: text has no rows to skip"
        )
    if resume and out is None:
        raise SettingError("--resume needs a run", hint="--out DIR")
    if resume and sources:
        raise SettingError("--resume continues on the run's own data", found=str(sources[0]), hint="omit DATA")
    place = out or runs.free_directory(recipe)
    with Progress(chosen.headline, gradients=bool(diagnose)) as progress:
        options: dict[str, Any] = {"watch": progress.watch, "diagnose": diagnose or 0}
        if resume:
            progress.say(f"resuming {place}")
            trained = runs.resume(chosen, settings, place, **options)
        else:
            progress.say(f"{recipe}: {', '.join(map(str, sources)) if sources else chosen.default}")
            trained = runs.start(chosen, sources, settings, place, say=progress.say, **options)
    progress.finish(trained)
    if as_json:
        outcome = trained.outcome
        best = {"step": outcome.best_step, **(outcome.best or {}).get("validation", {})}
        print_json({"run": str(place), "ended": outcome.ended, "steps": outcome.step, "best": best})
    return INTERRUPTED if trained.outcome.ended == "interrupted" else 0


def list_recipes(
    name: Annotated[str | None, typer.Argument(help="One recipe, with its settings.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """List the recipes, with the data format and an example command of each."""
    from elman.recipes import registry

    shown = [registry.find(name)] if name else list(registry.RECIPES.values())
    descriptions = {recipe.name: describe(recipe, with_settings=name is not None) for recipe in shown}
    if as_json:
        print_json(descriptions)
        return
    for title, parts in descriptions.items():
        write_table(f"{title}\n  {parts['summary']}\n  DATA: {parts['data']}\n  example: {parts['example']}\n")
        headings = {"settings": ""} | {name: f"  and of `elman {name}`:\n" for name in ("predict", "evaluate")}
        for kind, heading in headings.items():
            write_table(heading if kind in parts else "")
            for key, (default, meaning) in parts.get(kind, {}).items():
                write_table(f"  --set {key}={default}\n      {meaning}\n")


def describe(recipe: Any, with_settings: bool) -> dict[str, Any]:
    """Return the description of a recipe, as `elman recipes --json` prints it."""
    data = f"{recipe.data}; if omitted: {recipe.default}"
    description: dict[str, Any] = {"summary": recipe.summary, "data": data, "example": recipe.example}
    if with_settings:
        description["settings"] = recipe.Settings.meanings()
        if recipe.Options is not None:
            description["predict"] = recipe.Options.meanings()
        if recipe.EvaluationOptions.meanings():
            description["evaluate"] = recipe.EvaluationOptions.meanings()
    return description
