"""Errors for users, and their messages.

Every message answers three questions: what should be, what is, and what to try. A user's mistake is always an
`ElmanError`, which is a `ValueError`; the command line prints it without a traceback and exits with code 2.
Any other exception is a bug in elman.
"""

from __future__ import annotations

import difflib
import shlex
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self, TypeVar

Entry = TypeVar("Entry")

MOST_NAMES = 12
"""The most names that a message lists."""


class ElmanError(ValueError):
    """A mistake that the user can fix.

    Args:
        what: one sentence that names the mistake.
        should: the expected value.
        found: the actual value.
        hint: what to try.
    """

    def __init__(
        self, what: str, *, should: str | None = None, found: str | None = None, hint: str | None = None
    ) -> None:
        self.what = what = printable(what)
        should, found, hint = (part and printable(part) for part in (should, found, hint))
        self.should, self.found, self.hint = should, found, hint
        parts = {"  should be: ": should, "  is:        ": found, "  try:       ": hint}
        super().__init__("\n".join([what, *(f"{name}{part}" for name, part in parts.items() if part is not None)]))

    def amended(
        self, what: str | None = None, *, should: str | None = None, found: str | None = None, hint: str | None = None
    ) -> Self:
        """Return an error of the same class with the given parts replaced."""
        return type(self)(
            what or self.what, should=should or self.should, found=found or self.found, hint=hint or self.hint
        )


class ShapeError(ElmanError, RuntimeError):
    """A tensor or array has the wrong shape or type. It is a RuntimeError too, as torch raises it."""


class SettingError(ElmanError):
    """A setting has an unknown name or an invalid value."""


class DataError(ElmanError):
    """A data file is missing, broken, or not of the expected kind."""


class RunError(ElmanError):
    """A run directory is missing, untrusted, broken, occupied, or made by a newer version."""


class BrokenRun(RunError):  # noqa: N818 - the state of a run, beside RunError
    """A file of a run directory is missing, damaged, or contradicts another one."""

    def __init__(
        self, what: str, *, should: str | None = None, found: str | None = None,
        hint: str | None = "restore the run directory from a backup, or train again",
    ) -> None:  # fmt: skip
        super().__init__(what, should=should, found=found, hint=hint)


class NonFiniteError(ElmanError):
    """A loss, gradient or state became infinite or not a number."""


class ExportError(ElmanError):
    """A target cannot express a layer, model, run or call, or what it wrote differs from the original."""


class MissingExtraError(ElmanError):
    """An optional part is not installed; the hint names the command that installs it."""


def printable(text: str, allowed: str = "\n\t") -> str:
    """Return a text that cannot control a terminal or mislead its reader: U+FFFD stands for what could.

    That are the control characters but those `allowed`, lone surrogates, and format characters such as the marks that
    reverse the direction of a text. Joiners stay, because the writing of some languages needs them.
    """
    if text.isprintable():
        return text
    return "".join(c if c in allowed or c in _JOINERS or not _is_hidden(c) else "\ufffd" for c in text)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


_JOINERS = "\u200c\u200d"


def valid_unicode(text: str) -> str:
    """Return a text that UTF-8 can encode; bytes in the name of a file that are not UTF-8 become U+FFFD."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def shell_word(text: object) -> str:
    """Return a text, such as a path, as one word of a command line, which is printable and means the same bytes."""
    word = str(text)
    if word == printable(word, allowed=""):
        return shlex.quote(word)
    octets = "".join(chr(byte) for byte in word.encode("utf-8", "surrogateescape"))
    return (
        "$'"
        + "".join(c if c.isascii() and c.isprintable() and c not in "\\'" else f"\\x{ord(c):02x}" for c in octets)
        + "'"
    )


def first_line(error: BaseException) -> str:
    """Return the message of an exception in one line of at most 200 letters, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most similar to `name`, or None."""
    names = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return names[0] if names else None


def unknown_name(
    kind: str, name: str, known: Iterable[str], error: type[ElmanError] = SettingError, *, listed: str | None = None
) -> ElmanError:
    """Build the error for a name that is not in a registry, with "did you mean" for a similar one.

    Args:
        kind: the kind of thing, such as "setting".
        name: the unknown name.
        known: the names of the registry. Similar ones are listed first, and at most `MOST_NAMES`.
        error: the class of the error.
        listed: where all of the names are listed.
    """
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    names = [*near, *(name for name in known if name not in near)]
    if len(names) > MOST_NAMES:
        count = len(near) or MOST_NAMES
        names = [*names[:count], f"or {len(names) - count} others"]
    guess = nearest(str(name), known)
    hints = [f"did you mean {guess!r}?"] if guess else []
    return error(
        f"unknown {kind} {name!r}",
        should=f"one of {', '.join(names)}",
        found=repr(name),
        hint=" ".join([*hints, *([listed] if listed else [])]) or None,
    )


def look_up(kind: str, name: str, registry: Mapping[str, Entry]) -> Entry:
    """Return the entry of a registry, or raise the SettingError of `unknown_name`."""
    if name not in registry:
        raise unknown_name(kind, name, registry)
    return registry[name]


@contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """Check an import of an optional dependency, and name the extra that installs it.

    Use it as `with extra("sound", "reading sound"): import soundfile`.

    Args:
        name: the extra in pyproject.toml.
        what: what needs it, as the beginning of a sentence.

    Raises:
        MissingExtraError: the import failed.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(
            f"{what} needs the extra {name!r}",
            should=f"an installed {error.name or name}",
            found=str(error),
            hint=f"pip install 'elman[{name}]', or in a clone: pip install '.[{name}]'",
        ) from error
