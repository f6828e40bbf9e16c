"""Bundle of plain JavaScript modules in one script, each after those that it imports."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w.-]+)\.js";$', re.MULTILINE)
EXPORT = re.compile(r"^export ((?:async )?(?:function|const|class) (\w+))", re.MULTILINE)


@cache
def asset(name: str) -> str:
    """Return the text of a file of the page."""
    return (files("elman.explorer") / "page" / name).read_text(encoding="utf-8")


def script(*entries: str) -> str:
    """Return one script of modules and all that they import; what the modules in `entries` export has its name there.

    Each module becomes a function that returns its exports, so that its other names are its own. An import has the form
    `import { a, b } from "./module.js";`, an export stands before its definition.
    """
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order:
            for _, imported in IMPORT.findall(asset(f"{name}.js")):
                visit(imported)
            order.append(name)

    for entry in entries:
        visit(entry)
    names = (f"const {{ {', '.join(_exports(name))} }} = ${name};" for name in entries)
    return "\n".join([*map(_function, order), *names])


def _exports(name: str) -> list[str]:
    return [exported for _, exported in EXPORT.findall(asset(f"{name}.js"))]


def _function(name: str) -> str:
    body = EXPORT.sub(r"\1", IMPORT.sub(r"const {\1} = $\2;", asset(f"{name}.js")))
    return f"const ${name} = (() => {{\n{body}return {{ {', '.join(_exports(name))} }};\n}})();"
