"""Magnitudes of numbers in data: models compute in float32, whose range is limited."""

from __future__ import annotations

LARGEST = 1e38
"""The largest magnitude of a number; the difference of two is still a float32."""

SMALLEST = 1e-37
"""The smallest magnitude that the largest number of a column may have; float32 has few digits below it."""
