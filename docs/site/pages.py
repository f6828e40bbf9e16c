"""Changes to the pages of the site: links to files outside of docs/, the modules of a room, room for tables of results.

A link to a module of elman.reference leads to the API reference; other links out of docs/ become plain text. The line
`::: elman.ROOM.*` stands for all public modules of a room, each with a heading.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[([^\]]+)\]\(([^)#:\s]+)(#[^)\s]*)?\)")
MODULES = re.compile(r"^::: ([\w.]+)\.\*$", re.MULTILINE)
REFERENCE = "src/elman/reference/"  # each of its modules has a heading in docs/api/reference.md


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite the links of a page that lead out of docs/, and list the modules of rooms.

    Raises:
        FileNotFoundError: such a link leads to no file of the project.
    """
    if page.file.src_uri.startswith("results/"):
        page.meta["hide"] = ["toc"]
    folder = PurePosixPath("docs", page.file.src_uri).parent

    def rewritten(link: re.Match[str]) -> str:
        text, target = link.group(1), normpath(str(folder / link.group(2)))
        if target == "docs" or target.startswith("docs/"):
            return link.group(0)
        if not (ROOT / target).exists():
            raise FileNotFoundError(f"{page.file.src_uri} links to {target}, which does not exist")
        if not target.startswith(REFERENCE):
            return text
        module = target.removeprefix("src/").removesuffix(".py").replace("/", ".")
        return f"[{text}]({relpath('docs/api/reference.md', folder)}#{module})"

    return MODULES.sub(lambda line: _modules(line.group(1)), LINK.sub(rewritten, markdown))


def _modules(room: str) -> str:
    stems = sorted(path.stem for path in (ROOT / "src" / room.replace(".", "/")).glob("[!_]*.py"))
    return "\n".join(
        f"## {stem.replace('_', ' ').capitalize()} {{ #{room}.{stem} }}\n\n::: {room}.{stem}\n" for stem in stems
    )
