"""The file of a figure."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from elman.errors import SettingError, first_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: Figure, path: Path, *, dpi: int) -> None:
    """Write a figure as an image, of the kind that the ending of its name says; a half one is removed.

    Raises:
        SettingError: the file cannot be written.
    """
    content = io.BytesIO()
    try:
        figure.savefig(content, dpi=dpi, format=path.suffix[1:] or "png")
        path.write_bytes(content.getvalue())
    except (OSError, ValueError) as error:
        if isinstance(error, OSError):
            with suppress(OSError):
                path.unlink()
        found = getattr(error, "strerror", None) or first_line(error)
        raise SettingError(f"{path} cannot be written", found=found, hint="another place") from error
