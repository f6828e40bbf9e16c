"""`elman diagnose`: the gradient flow of a trained run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from elman.cli.options import Json, Run, source_paths
from elman.cli.output import print_json, warn
from elman.errors import SettingError


def diagnose(
    run: Run,
    data: Annotated[list[str] | None, typer.Argument(help="If omitted: data of the run.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(help="Write the page here, as one HTML file.", show_default=False)] = None,
    memory: Annotated[
        int | None,
        typer.Option(help="How many steps back the task needs.", show_default="see the guide"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Diagnose the gradient flow of a trained run: measurements, verdicts and remedies."""
    from elman import inspection
    from elman.recipes import api

    if out is not None:
        if out.is_dir() or not out.parent.is_dir():
            found = "a directory" if out.is_dir() else f"no directory {out.parent}"
            raise SettingError(f"--out {out} cannot be written", should="a file in an existing directory", found=found)
        inspection.require_matplotlib()  # now, not after the measurements
    report = api.diagnose(run, source_paths(data) or None, memory=memory)
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
        warn(f"the page is {out}")
