"""The page as one HTML document: style, lesson, script and data in one file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from pathlib import Path
from typing import Any

from elman.errors import RunError, SettingError
from elman.explorer.bundle import asset, script
from elman.storage.files import is_dir, write_text

FRAME_HEIGHT = 900  # of the page in a notebook, in pixels


class ExplorerPage:
    """The learner's page; a notebook shows it where it is the value of a cell.

    Attributes:
        html: the whole page.
    """

    def __init__(self, html: str) -> None:
        self.html = html

    def __repr__(self) -> str:
        return f"<ExplorerPage of {len(self.html.encode()) // 1000} kB: save(path) writes it>"

    def save(self, path: str | Path) -> Path:
        """Write the page, and return its path.

        Raises:
            SettingError: the path is a directory, or in none.
            RunError: it cannot be written.
        """
        place = Path(path)
        check_place(place)
        try:
            write_text(place, self.html)
        except RunError as error:
            raise error.amended(hint="free some space, or choose another file") from error
        return place

    def _repr_html_(self) -> str:
        # A frame of its own: styles do not mix, and its script reaches neither the notebook nor its cookies.
        return (
            f'<iframe srcdoc="{escape(self.html)}" sandbox="allow-scripts" title="elman explorer" '
            f'style="width:100%;height:{FRAME_HEIGHT}px;border:0"></iframe>'
        )


def check_place(path: Path, name: str = "the page") -> None:
    """Check that a page can be written there.

    Raises:
        SettingError: the path is a directory, or in none.
    """
    if is_dir(path) or not is_dir(path.parent):
        obstacle = "a directory" if is_dir(path) else f"no directory {path.parent}"
        raise SettingError(
            f"{name} {path} cannot be written", should="a file in an existing directory", found=obstacle,
            hint="page.html",
        )  # fmt: skip


def document(title: str, data: dict[str, Any]) -> ExplorerPage:
    """Return the page of a title and its data, which are JSON values."""
    program = script("main")
    digest = base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()
    # Inside a script element only "<" can end it: as an escape in a JSON string it is the same character.
    content = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "title": escape(title), "hash": digest, "style": asset("style.css"), "lesson": asset("lesson.html"),
        "data": content, "script": program,
    }  # fmt: skip
    pieces = asset("page.html").split("{{")
    rest = [piece.partition("}}") for piece in pieces[1:]]  # in one pass: what is filled in is never a place itself
    return ExplorerPage(pieces[0] + "".join(parts[name] + tail for name, _, tail in rest))
