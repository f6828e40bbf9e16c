"""`elman export`: a trained run in the form of another runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elman.cli.options import Json, Run, gather
from elman.cli.output import print_json, warn, write_table

RUN_TARGETS = ("onnx", "c", "web")
"""The targets that take a run; the list is here too so that the help imports no target."""


def export(
    run: Run,
    to: Annotated[str, typer.Option(help=f"The target: {', '.join(RUN_TARGETS)}.")] = "onnx",
    out: Annotated[
        Path | None, typer.Option(help="A new folder.", show_default="beside the run, as RUN-TARGET")
    ] = None,
    precision: Annotated[str, typer.Option(help="Of the weights, such as float32 or int8.")] = "float32",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="An option of the target: name, libm and compare of c; title, picture, example and javascript of web.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Export a trained run, and compare what the export computes with what the run does."""
    from elman.exporters.export import export, find_target

    find_target(to)  # before a path is made of it
    path = run.absolute().with_name(f"{run.absolute().name}-{to}") if out is None else out
    written = export(run, path, to, **gather({"precision": precision}, set_))
    if as_json:
        print_json({"path": str(written.path), "files": written.files, "parity": written.report.as_dict()})
        return
    write_table(written.report.table())
    warn(f"the export is {written.path}")
