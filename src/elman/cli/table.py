"""The metrics of a model as a table, beside those of baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elman.number_format import decimal


def result_table(metrics: Mapping[str, Any]) -> str:
    """Return a line for each metric, and a column for the model and for each of `metrics["baselines"]`.

    Metrics that are text are below; lists are omitted.
    """
    baselines: Mapping[str, Mapping[str, Any]] = metrics.get("baselines", {})
    names = [name for name, value in metrics.items() if not isinstance(value, Mapping | str | list)]
    columns = {"the model": metrics, **baselines} if baselines else {"": metrics}
    cells = [[title, *(shown(column, name) for name in names)] for title, column in columns.items()]
    widths = [max(map(len, column)) for column in cells]
    first = max(20, *map(len, names)) if names else 20
    lines = []
    for row, name in enumerate(["", *names]):
        line = f"{name:{first}} " + "  ".join(
            f"{column[row]:>{width}}" for column, width in zip(cells, widths, strict=True)
        )
        lines += [line.rstrip()] if row or baselines else []
    remarks = [f"{name:{first}} {value}" for name, value in metrics.items() if isinstance(value, str)]
    return "\n".join([*lines, *remarks]) + "\n"


def shown(metrics: Mapping[str, Any], name: str) -> str:
    """Return a metric as text; empty where a predictor has none of this name."""
    if name not in metrics:
        return ""
    value = metrics[name]
    return f"{value:,}" if isinstance(value, int) else decimal(value)
