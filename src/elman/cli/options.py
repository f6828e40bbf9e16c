"""Arguments and options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from elman.errors import SettingError

Run = Annotated[Path, typer.Argument(help="A run directory.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, and nothing else there.")]
Pairs = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting; `elman recipes NAME` lists them.", show_default=False),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Skip broken rows and files, and count them.")]


def source_paths(data: list[str] | None) -> list[Path]:
    """Return DATA as paths.

    Raises:
        SettingError: one of them is empty, which a path would take for the current folder.
    """
    if data and not all(data):
        raise SettingError("DATA is empty", should="a file or a folder", found="''", hint="omit it, or name a file")
    return [Path(name) for name in data or []]


def gather(options: dict[str, Any], pairs: list[str] | None) -> dict[str, Any]:
    """Return the settings out of options and `--set key=value` pairs.

    Raises:
        SettingError: a pair without "=", or a setting given twice.
    """
    settings = {name: value for name, value in options.items() if value is not None}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise SettingError(f"--set {pair} cannot be read", should="--set key=value", found=pair)
        if name in settings:
            raise SettingError(f"the setting {name} is given twice", found=f"{settings[name]} and {value}")
        settings[name] = value
    return settings
