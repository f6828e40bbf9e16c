"""A console of rich for texts that may quote untrusted files."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from elman.cli.output import PrintedStream
from elman.errors import printable


class PrintedConsole(Console):
    """A console of rich, which styles texts, that prints their letters as `printable` returns them."""

    def __init__(self, *, stderr: bool = False) -> None:
        stream = sys.stderr if stderr else sys.stdout
        # rich writes control sequences of its own, so that it needs the stream behind ours.
        file = stream.stream if isinstance(stream, PrintedStream) and stream.isatty() else stream
        super().__init__(file=cast(TextIO, file), highlight=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Return the parts of what is printed."""
        for part in super().render(renderable, options):
            yield part if part.control else part._replace(text=printable(part.text))
