"""Notes on files: what was done to them and what may be wrong with them, counted, with the first few names."""

from __future__ import annotations

from collections.abc import Iterable

MOST_NOTES = 20
"""The most notes that are listed."""

MOST_NAMES = 3
"""The most files that are named with a note."""


class FileNotes:
    """Counts of notes, and the names of the files that have each.

    A data set of thousands of files has thousands of notes, so that each note stands once: "840 files: clipped (a.wav,
    b.wav, c.wav and 837 more)". A file that is read again is counted once.
    """

    def __init__(self) -> None:
        self._names: dict[str, dict[str, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._names)

    def add(self, note: str, name: str) -> bool:
        """Count a note on a file, and return whether the file is one of the first that have it."""
        names = self._names.setdefault(note, {})
        names.setdefault(name)
        return len(names) <= MOST_NAMES

    def update(self, notes: Iterable[str], name: str) -> None:
        """Count several notes on a file."""
        for note in notes:
            self.add(note, name)

    def lines(self) -> list[str]:
        """Return a line for each note, the most frequent first, and one for the number of the others."""
        ranked = sorted(self._names.items(), key=lambda item: -len(item[1]))
        lines = [f"{_files(len(names))}: {note} ({_listed(list(names))})" for note, names in ranked[:MOST_NOTES]]
        more = len(ranked) - MOST_NOTES
        return [*lines, *([f"and {more:,} more notes"] if more > 0 else [])]

    def clear(self) -> None:
        """Remove all notes."""
        self._names.clear()

    def others(self) -> list[str]:
        """Return a line for each note on more files than are named, with the number of the others."""
        counts = {note: len(names) - MOST_NAMES for note, names in self._names.items()}
        return [f"{_files(count)} more: {note}" for note, count in counts.items() if count > 0]


def _files(count: int) -> str:
    return f"{count:,} file{'s' if count != 1 else ''}"


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")
