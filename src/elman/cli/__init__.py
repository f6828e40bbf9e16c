"""The command line: each command is short and calls one function of a room."""

from __future__ import annotations

import json
import os
import sys
import traceback
import unicodedata
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli.table import result_table
from elman.errors import ElmanError, SettingError

app = typer.Typer(
    help="Recurrent neural networks: train, evaluate, predict, generate, diagnose.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

MISTAKE, FAILURE, INTERRUPTED = 2, 1, 130

Run = Annotated[Path, typer.Argument(help="A run directory.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, and nothing else there.")]
Pairs = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting; `elman recipes NAME` lists them.", show_default=False),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave broken files and rows out, and count them.")]


class ReaderGone(Exception):  # noqa: N818 - it is none
    """Nobody reads standard output any more; typer would make a failure of a BrokenPipeError."""


def main() -> None:
    """Run the command line: 0 for success, 2 for a mistake of the user's, 1 for a failure of ours, 130 for Ctrl-C."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code; what went wrong is told on standard error."""
    try:
        code = app(arguments, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except ElmanError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return MISTAKE
    except ReaderGone:
        # The reader has gone: point standard output at nothing, so that closing it does not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, typer.Abort):
        print("stopped", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, usage_error()):
            error.show()
            return MISTAKE
        traceback.print_exc()
        print("elman failed; this is a defect of elman, please report it", file=sys.stderr)  # noqa: T201
        return FAILURE


def usage_error() -> Any:
    """Return the exception that typer raises for a command line that it cannot read."""
    parents = typer.BadParameter.__mro__
    return next(parent for parent in reversed(parents) if hasattr(parent, "show"))


def warn(line: str) -> None:
    """Print a line on standard error; without control characters, as it may hold what stands in a stranger's file."""
    print("".join(c if unicodedata.category(c) != "Cc" else "\ufffd" for c in line), file=sys.stderr)  # noqa: T201


def print_json(content: Any) -> None:
    """Print one JSON object on standard output, in ASCII, whatever the terminal's encoding."""
    write_text(json.dumps(content, allow_nan=False) + "\n")


def sources_of(data: list[str] | None) -> list[Path]:
    """Return DATA as paths.

    Raises:
        SettingError: one of them is empty, which a path would take for the current folder.
    """
    if data and not all(data):
        raise SettingError(
            "DATA is empty", should="a file or a folder", found="''", hint="leave it out, or name a file"
        )
    return [Path(name) for name in data or []]


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    """Recurrent neural networks: train, evaluate, predict, generate, diagnose."""
    if show:
        from elman import __version__

        write_text(f"elman {__version__}\n")
        raise typer.Exit


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="What to train; `elman recipes` lists them.", show_default=False)],
    data: Annotated[
        list[str] | None, typer.Argument(help="Files or folders; left out: the recipe's own data.", show_default=False)
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
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    skip_bad: SkipBad = False,
    diagnose_: Annotated[
        int | None,
        typer.Option(
            "--diagnose", metavar="N", min=1, help="Measure the gradient's horizon every N steps.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Train a model on DATA and leave a run directory, which everything else takes."""
    from elman.recipes import registry
    from elman.recipes import run as runs

    chosen = registry.find(recipe)
    own = {"cell": cell, "hidden": hidden, "layers": layers, "steps": steps, "epochs": epochs, "minutes": minutes}
    settings = gather({**own, "seed": seed, "skip_bad": skip_bad or None}, set_ or [])
    sources = sources_of(data)
    if resume:
        if out is None:
            raise SettingError("--resume needs the run to go on with", hint="--out DIR")
        if sources:
            raise SettingError(
                "--resume goes on with the run's own data", found=str(sources[0]), hint="leave DATA out with --resume"
            )
    out = out or free_name(recipe)
    probe = horizon_every(diagnose_) if diagnose_ else None
    from elman.cli.progress import Progress

    with Progress(chosen.headline, gradients=bool(diagnose_)) as progress:
        if resume:
            progress.say(f"going on with {out}")
            trained = runs.resume(chosen, settings, out, watch=progress.watch, probe=probe, autopsy=autopsy)
        else:
            progress.say(f"{recipe}: {', '.join(map(str, sources)) if sources else chosen.default}")
            options: dict[str, Any] = {"watch": progress.watch, "probe": probe, "autopsy": autopsy}
            trained = runs.start(chosen, sources, settings, out, say=progress.say, **options)
    progress.finish(trained)
    if as_json:
        outcome = trained.outcome
        best = {"step": outcome.best_step, **(outcome.best or {}).get("validation", {})}
        print_json({"run": str(out), "ended": outcome.ended, "steps": outcome.step, "best": best})
    return INTERRUPTED if trained.outcome.ended == "interrupted" else 0


def autopsy(model: Any, again: Any) -> str | None:
    """Name the sequences of a batch after which a number is not finite."""
    from elman import inspection  # only then: training does without it

    return inspection.explain_non_finite(model, again)


def horizon_every(steps: int) -> Any:
    """Return what makes the probe of `elman train --diagnose`, for the task of a recipe."""
    from elman.inspection import GradientProbe

    def make(task: Any) -> Any:
        return GradientProbe(steps, lambda model, batch, state: task.objective(model, batch, state).mean)

    return make


def gather(options: dict[str, Any], pairs: list[str]) -> dict[str, Any]:
    """Return the settings out of options and `--set key=value` pairs.

    Raises:
        SettingError: a pair without "=", or a setting given twice.
    """
    settings = {name: value for name, value in options.items() if value is not None}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise SettingError(f"--set {pair} cannot be read", should="--set key=value", found=pair)
        if name in settings:
            raise SettingError(f"the setting {name} is given twice", found=f"{settings[name]} and {value}")
        settings[name] = value
    return settings


def free_name(recipe: str) -> Path:
    """Return the first name under runs/ that nothing has yet."""
    numbers = (Path("runs") / f"{recipe}-{n}" for n in range(1, 1_000_000))
    return next(path for path in numbers if not path.exists())


@app.command()
def evaluate(
    run: Run,
    data: Annotated[
        list[str] | None,
        typer.Argument(
            help="Left out: what the run kept away from its training (recommend: its test part, others: validation).",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A folder for pictures, or for what was heard.", show_default=False)
    ] = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Measure a trained run on DATA, by the metrics of its training, beside trivial predictors."""
    from elman.recipes import run as runs

    metrics = runs.evaluate(run, sources_of(data), out=out, skip_bad=skip_bad)
    if as_json:
        print_json(metrics)
        return
    write_text(result_table(metrics))
    for line in metrics.get("left_out", ()):
        warn(f"left out: {line}")
    for line in () if "left_out" in metrics else metrics.get("skipped", ()):
        warn(f"skipped: {line}")


@app.command()
def predict(
    run: Run,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT", help="What to answer; - reads standard input, but not pictures.", show_default=False
        ),
    ] = None,
    set_: Pairs = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Name broken inputs, and answer the others.")] = False,
    as_json: Json = False,
) -> int:
    """Answer inputs with a trained run, one by one as the answers are made.

    The exit code is 2 if an input has no answer and --skip-bad did not allow for that.
    """
    from elman.recipes import run as runs

    trained, settings = runs.predictor(run, gather({"skip_bad": skip_bad or None}, set_ or []))
    answers, missing = [], False
    for answer in trained.predict(inputs or [], **settings):
        missing |= not answer.answered
        if as_json:
            answers.append(answer.fields)
            continue
        if not answer.answered:
            warn(answer.line)
        line = answer.line if answer.answered else answer.instead
        if line is not None:
            write_text(f"{line}\n")
    if as_json:
        print_json({"predictions": answers})
    return MISTAKE if missing and not settings.get("skip_bad") else 0


@app.command()
def generate(
    run: Run,
    prompt: Annotated[str, typer.Option(help="What the text begins with.")] = "",
    length: Annotated[int, typer.Option(help="How many symbols; -1: without end.")] = 300,
    temperature: Annotated[float, typer.Option(help="Below 1 surer, above 1 wilder; 0: no chance.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Only the K most probable symbols.", show_default=False)] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Only the most probable symbols that together reach P.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same text.", show_default=False)] = None,
) -> None:
    """Write text with a trained language model, as it comes, on standard output."""
    from elman.recipes import run as runs

    if length < -1:
        raise SettingError("the length is impossible", should="0 or more, or -1 for no end", found=str(length))
    trained = runs.load(run)
    if not hasattr(trained, "generate"):
        raise SettingError(f"{run} cannot generate", should="a run of a recipe that writes text")
    pieces = trained.generate(
        prompt,
        length=None if length == -1 else length,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
    )
    write_text(prompt)
    for piece in pieces:
        write_text(piece)
    write_text("\n")


def write_text(text: str) -> None:
    """Write to standard output at once; what its encoding lacks becomes a question mark.

    A terminal gets no control characters but line ends and tabs: a text, or a model from a stranger, could move the
    cursor and rewrite what stands there.
    """
    if sys.stdout.isatty():
        text = "".join(c if c in "\n\t" or unicodedata.category(c) != "Cc" else "\ufffd" for c in text)
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGone from None


@app.command()
def diagnose(
    run: Run,
    data: Annotated[
        list[str] | None, typer.Argument(help="Left out: data that the run keeps.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the page here, as one HTML file.", show_default=False)] = None,
    memory: Annotated[
        int | None,
        typer.Option(help="How many steps back the task needs.", show_default="see the guide"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say how gradients flow through a trained run, what is wrong with them, and what to try."""
    from elman import inspection
    from elman.recipes import run as runs

    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        found = "a directory" if out.is_dir() else f"no directory {out.parent}"
        raise SettingError(f"--out {out} cannot be written", should="a file in a directory that exists", found=found)
    if out is not None:
        inspection.require_matplotlib()  # now, not when all is measured
    patient = runs.diagnosable(run, sources_of(data))
    model, sample = patient.model, patient.sample
    settings = patient.settings.as_dict()
    report = inspection.diagnose(
        model, sample.batches, sample.loss, memory=memory, window=sample.window, settings=settings, norms=patient.norms
    )
    if out is not None:
        beside = out.with_name(f"{out.name}.new")
        try:
            beside.write_text(report.to_html(), encoding="utf-8")
            beside.replace(out)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise SettingError(f"--out {out} cannot be written", found=error.strerror, hint="another place") from error
    if as_json:
        print_json(json.loads(report.to_json()))
        return
    from rich.console import Console

    report.print(Console(highlight=False))
    if out is not None:
        print(f"the page is {out}", file=sys.stderr)  # noqa: T201


@app.command("recipes")
def list_recipes(
    name: Annotated[str | None, typer.Argument(help="One recipe, with its settings.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Show what there is to train, with the data format and an example line of each."""
    from elman.recipes import registry

    shown = [registry.find(name)] if name else list(registry.RECIPES.values())
    described = {recipe.name: describe(recipe, with_settings=name is not None) for recipe in shown}
    if as_json:
        print_json(described)
        return
    for title, parts in described.items():
        write_text(f"{title}\n  {parts['summary']}\n  DATA: {parts['data']}\n  example: {parts['example']}\n")
        for kind, heading in (("settings", ""), ("predict", "  and of `elman predict`:\n")):
            write_text(heading if kind in parts else "")
            for key, (default, meaning) in parts.get(kind, {}).items():
                write_text(f"  --set {key}={default}\n      {meaning}\n")


def describe(recipe: Any, with_settings: bool) -> dict[str, Any]:
    """Return what there is to say about a recipe."""
    data = f"{recipe.data}; left out: {recipe.default}"
    said: dict[str, Any] = {"summary": recipe.summary, "data": data, "example": recipe.example}
    if with_settings:
        said["settings"] = recipe.Settings.meanings()
        if recipe.Options is not None:
            said["predict"] = recipe.Options.meanings()
    return said
