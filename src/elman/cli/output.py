"""Standard output and standard error of the command line."""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import Any


class ClosedOutput(Exception):  # noqa: N818 - not an error; typer would make a failure of a BrokenPipeError
    """The reader of standard output has closed it."""


def warn(line: str) -> None:
    """Print a line on standard error without control characters, as it may quote an untrusted file."""
    print(_printable(line, allowed=""), file=sys.stderr)  # noqa: T201


def print_json(content: Any) -> None:
    """Print one JSON object on standard output, in ASCII, whatever the terminal's encoding."""
    write_text(json.dumps(content, allow_nan=False) + "\n")


def write_text(text: str) -> None:
    """Write to standard output at once; what its encoding lacks becomes a question mark.

    A terminal gets no control characters but line ends and tabs: an untrusted text or model could move the cursor and
    overwrite the screen.

    Raises:
        ClosedOutput: the reader has closed standard output.
    """
    if sys.stdout.isatty():
        text = _printable(text, allowed="\n\t")
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        raise ClosedOutput from None


def _printable(text: str, allowed: str) -> str:
    return "".join(c if c in allowed or unicodedata.category(c) != "Cc" else "\ufffd" for c in text)
