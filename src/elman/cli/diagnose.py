"""`elman diagnose`: the gradient flow of a trained run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from elman.cli.options import Json, Run, source_paths
from elman.cli.output import print_json, warn
from elman.errors import RunError, SettingError
from elman.storage.files import is_dir, write_text


def diagnose(
    run: Run,
    data: Annotated[list[str] | None, typer.Argument(help="If omitted: data of the run.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(help="Write the page here, as one HTML file.", show_default=False)] = None,
    memory: Annotated[
        int | None,
        typer.Option(help="How many steps back the task needs.", show_default="see the guide"),
    ] = None,
    explorer: Annotated[
        Path | None,
        typer.Option("--explore", help="Write the learner's page here too; --out links into it.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Diagnose the gradient flow of a trained run: measurements, verdicts and remedies."""
    from elman import inspection
    from elman.explorer.api import explore
    from elman.explorer.document import check_place
    from elman.recipes import api

    if explorer is not None and out is None:
        raise SettingError("--explore without --out", should="--out with it, the page that has the links", found="none")
    if explorer is not None:
        check_place(explorer, "--explore")
    if out is not None:
        if is_dir(out) or not is_dir(out.parent):
            found = "a directory" if is_dir(out) else f"no directory {out.parent}"
            raise SettingError(f"--out {out} cannot be written", should="a file in an existing directory", found=found)
        inspection.require_matplotlib()  # now, not after the measurements
    report = api.diagnose(run, source_paths(data) or None, memory=memory)
    if out is not None:
        try:
            write_text(out, report.to_html(explorer=None if explorer is None else _address(explorer, out)))
        except RunError as error:
            raise error.amended(hint="free some space, or choose another --out") from error
    if explorer is not None:
        explore(run, data=source_paths(data)).save(explorer)
    if as_json:
        print_json(json.loads(report.to_json()))
        return
    from elman.cli.console import PrintedConsole

    report.print(PrintedConsole())
    if out is not None:
        warn(f"the page is {out}")


def _address(page: Path, out: Path) -> str:
    """Return the address of a page as a link in another one."""
    return quote(os.path.relpath(page, out.parent))
