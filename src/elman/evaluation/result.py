"""Type of evaluation results."""

from __future__ import annotations

from collections.abc import Mapping

Metrics = Mapping[str, float | None]
"""Metrics by name; None where a metric is undefined."""
