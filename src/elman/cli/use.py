"""`elman evaluate`, `elman predict` and `elman generate`: use of a trained run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli.options import Json, Pairs, Run, SkipBad, gather, source_paths
from elman.cli.output import print_json, warn, write_table, write_text
from elman.cli.table import result_table
from elman.errors import SettingError

MOST_REMARKS = 3
"""Remarks of a kind that are printed; of the others the number."""

UNANSWERED = 2
"""The exit code of `elman predict` where an input has no answer."""


def evaluate(
    run: Run,
    data: Annotated[
        list[str] | None,
        typer.Argument(
            help="If omitted: what the run held out from training (recommend: its test part, others: validation).",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for images or transcripts.", show_default=False)] = None,
    set_: Pairs = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Evaluate a trained run on DATA, by the metrics of its training, beside trivial predictors."""
    from elman.recipes import use

    metrics = use.evaluate(run, source_paths(data), out=out, skip_bad=skip_bad, options=gather({}, set_), say=warn)
    if as_json:
        print_json(metrics)
        return
    write_table(result_table(metrics))
    for line in metrics.get("skipped", ()):
        warn(f"skipped: {line}")


def predict(
    run: Run,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT", help="What to answer; - reads standard input, but no images.", show_default=False
        ),
    ] = None,
    set_: Pairs = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Report broken inputs, and answer the others.")] = False,
    as_json: Json = False,
) -> int:
    """Answer inputs with a trained run, one by one as the answers are made.

    The exit code is 2 if an input has no answer, but for --skip-bad. Of a stream of sound, --json prints JSON Lines: an
    object for each word, when it is final.
    """
    from elman.recipes import use

    predictor, options = use.predictor(run, gather({"skip_bad": skip_bad or None}, set_))
    fields, missing, remarks = [], False, Remarks()
    endless = predictor.is_endless(inputs or [])
    for answer in predictor.predict(inputs or [], **options):
        missing |= not answer.answered
        for note in answer.notes:
            remarks.add(note)
        if as_json and endless:
            print_json(answer.fields)
            continue
        if as_json:
            fields.append(answer.fields)
            continue
        if not answer.answered:
            warn(answer.line)
        line = answer.line if answer.answered else answer.instead
        if line is not None:
            write_text(f"{line}\n")
    if as_json and not endless:
        print_json({"predictions": fields})
    remarks.finish()
    return UNANSWERED if missing and not options.get("skip_bad") else 0


def generate(
    run: Run,
    prompt: Annotated[str, typer.Option(help="What the text begins with.")] = "",
    length: Annotated[int, typer.Option(help="Number of symbols; -1: without end.")] = 300,
    temperature: Annotated[float, typer.Option(help="Below 1 sharper, above 1 more random; 0: greedy.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Only the K most probable symbols.", show_default=False)] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Only the most probable symbols that together reach P.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same text.", show_default=False)] = None,
) -> None:
    """Write text with a trained language model, as it comes, on standard output."""
    from elman.recipes import use

    if length < -1:
        raise SettingError("invalid value for length", should="0 or more, or -1 for no end", found=str(length))
    predictor = use.load(run)
    if not hasattr(predictor, "generate"):
        raise SettingError(f"{run} cannot generate", should="a run of a recipe that generates text")
    pieces = predictor.generate(
        prompt,
        length=None if length == -1 else length,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
    )
    if hasattr(predictor, "remarks"):
        for remark in predictor.remarks(prompt):
            warn(remark)
    write_text(prompt)
    for piece in pieces:
        write_text(piece)
    write_text("\n")


class Remarks:
    """The notes of answers on standard error: the first of each kind, then the number of the others."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, note: Any) -> None:
        """Print a note, unless there were enough of its kind."""
        self._counts[note.kind] += 1
        if self._counts[note.kind] <= MOST_REMARKS:
            warn(f"note: {note.text}")

    def finish(self) -> None:
        """Print the number of the others."""
        for kind, count in self._counts.items():
            if count > MOST_REMARKS:
                warn(f"note: {count - MOST_REMARKS:,} more answers: {kind} (--json has each)")
