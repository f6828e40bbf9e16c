"""Skipped rows."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST = 20
"""The most skipped rows that are listed."""


@dataclass
class SkippedRows:
    """Count of skipped rows, and descriptions of the first.

    Attributes:
        count: the number of rows.
        first: a line for each of the first `MOST` rows: which it is, and what is wrong with it.
    """

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, description: str) -> None:
        """Count a skipped row."""
        self.count += 1
        if self.count <= MOST:
            self.first.append(description)

    def clear(self) -> None:
        """Set the count to 0."""
        self.count, self.first = 0, []

    def lines(self) -> list[str]:
        """Return the descriptions, with one more line for the number of the others."""
        more = self.count - len(self.first)
        return [*self.first, *([f"and {more:,} more"] if more else [])]
