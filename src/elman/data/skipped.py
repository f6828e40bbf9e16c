"""What was broken and left out."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST = 20  # that are told


@dataclass
class SkippedRows:
    """Counts what is left out, and remembers the first of it in words.

    Attributes:
        count: how much it is.
        first: what it is and what is wrong with it, a line each, `MOST` lines at most.
    """

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, words: str) -> None:
        """Take note of one thing."""
        self.count += 1
        if self.count <= MOST:
            self.first.append(words)

    def clear(self) -> None:
        """Begin anew."""
        self.count, self.first = 0, []

    def lines(self) -> list[str]:
        """Return a line for each, and of many one more that says how many they are."""
        more = self.count - len(self.first)
        return [*self.first, *([f"and {more:,} more"] if more else [])]
