"""Results of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping

Metrics = Mapping[str, float | None]
