"""`elman explore`: the learner's page, with or without a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elman.cli.options import source_paths
from elman.cli.output import warn


def explore(
    run: Annotated[
        Path | None, typer.Argument(help="A run directory; none: the lesson alone.", show_default=False)
    ] = None,
    data: Annotated[list[str] | None, typer.Argument(help="If omitted: data of the run.", show_default=False)] = None,
    out: Annotated[Path, typer.Option(help="Write the page here, as one HTML file.")] = Path("explore.html"),
    text: Annotated[str | None, typer.Option(help="What a language model reads.", show_default=False)] = None,
    sequence: Annotated[int, typer.Option(help="Which sequence of the data, from 0.")] = 0,
) -> None:
    """Write the learner's page: the network of the equations, on your own numbers, or a trained run from the inside."""
    from elman.explorer import api, document

    document.check_place(out, "--out")
    page = api.explore(run, data=source_paths(data), text=text, sequence=sequence)
    page.save(out)
    warn(f"the page is {out}")
