"""report.md: the data, metrics, settings and next commands of a run.

Names and labels in it come from files of strangers: they are escaped, so that no markup of theirs is shown.
"""

from __future__ import annotations

import html
import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from elman.errors import printable
from elman.number_format import decimal, percent
from elman.storage.run_directory import RunDirectory
from elman.training.loop import Outcome

_ENDS = {
    "budget": "training budget exhausted",
    "early": "early stopping: no improvement",
    "interrupted": "interrupted, can be resumed",
}
_SHOWN = 25

_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)")


def write_report(
    run: RunDirectory, outcome: Outcome, *, parameters: int, model: str,
    headline: Callable[[Mapping[str, float]], str], commands: Sequence[tuple[str, str]],
    baselines: Mapping[str, Mapping[str, float | None]] | None = None,
) -> None:  # fmt: skip
    """Write report.md.

    Args:
        run: the run.
        outcome: how the training ended.
        parameters: the number of trained parameters.
        model: the `repr` of the model.
        headline: formats metrics in a few words.
        commands: next steps, each with its command.
        baselines: metrics of the baselines on the same validation data, by their names.
    """
    config = run.config
    best = outcome.best
    speed = outcome.symbols / outcome.seconds if outcome.seconds else 0.0
    lines = [
        f"# {config['recipe']}: {escaped(headline(best['validation'])) if best else 'not evaluated yet'}",
        "",
        f"Trained for {outcome.step:,} steps in {duration(outcome.seconds)} ({_ENDS[outcome.ended]}).",
        *([f"The best weights, in model.safetensors, are from step {outcome.best_step:,}."] if best else []),
        "",
        "## Data",
        "",
        *[f"- {escaped(line)}" for line in described(config["data"])],
        "",
        "## Validation",
        "",
        *_table(run.read_metrics(), headline, outcome.best_step),
        "",
        *(_baseline_table(best["validation"], baselines) if best and baselines else []),
        "## Next steps",
        "",
        *[line for what, command in commands for line in (f"{what}:", "", f"    {command}", "")],
        "## Model",
        "",
        f"{parameters:,} parameters.",
        "",
        *[f"    {printable(line)}" for line in model.splitlines()],
        "",
        "## Settings",
        "",
        *[f"- {key} = {escaped(_shown(value))}" for key, value in config["settings"].items()],
        "",
        "## Machine",
        "",
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, "
        f"torch {escaped(config['torch'])}, elman {escaped(config['elman'])}; {speed:,.0f} {outcome.unit} a second, "
        "evaluations included.",
    ]
    run.write_text("report.md", "\n".join(lines) + "\n")


def described(data: Mapping[str, Any]) -> list[str]:
    """Return the facts about the data in config.json, a line each."""
    return [f"{key.replace('_', ' ')}: {_shown(value)}" for key, value in data.items()]


def escaped(text: str) -> str:
    """Return a text for Markdown that is shown as it is, in one line: without markup of HTML or Markdown."""
    plain = html.escape(" ".join(printable(text).split()), quote=False).replace("://", "&#58;//")
    return _MARKUP.sub(r"\\\g<0>", plain)


def _baseline_table(model: Mapping[str, Any], baselines: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """Return a table of the model and the baselines."""
    names = [name for name in model if any(name in metrics for metrics in baselines.values())]
    head = [
        f"| | {' | '.join(escaped(name.replace('_', ' ')) for name in names)} |",
        f"| --- |{' ---: |' * len(names)}",
    ]
    rows = [
        f"| {escaped(title)} | {' | '.join(_number(metrics.get(name)) for name in names)} |"
        for title, metrics in {"model": model, **baselines}.items()
    ]
    return ["The model and the baselines on the same data:", "", *head, *rows, ""]


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else decimal(value)


def duration(seconds: float) -> str:
    """Return a duration as text: 42 s, 3 min 5 s, 2 h 10 min."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60} min"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "not set" if value is None else str(value)


def _table(rows: list[dict[str, Any]], headline: Callable[[Mapping[str, float]], str], best: int | None) -> list[str]:
    """Return the evaluations as a table of at most about `_SHOWN` rows, with the best and the last."""
    if not rows:
        return ["No evaluation yet."]
    stride = -(-len(rows) // _SHOWN)
    shown = [row for i, row in enumerate(rows) if i % stride == 0 or row["step"] == best or row is rows[-1]]
    head = ["| step | epoch | training loss | validation | clipped |", "| ---: | ---: | ---: | --- | ---: |"]
    return head + [
        f"| {row['step']:,} | {row['epoch']:.2f} | {decimal(row['training_loss'])} | "
        f"{escaped(headline(row['validation']))}{' (best)' if row['step'] == best else ''} | "
        f"{percent(row['share_clipped'], 0)} |"
        for row in shown
    ]
