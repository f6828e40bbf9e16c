"""Report of a diagnosis: text, charts, HTML and JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from elman.inspection.results import Diagnosis
from elman.inspection.verdict import VERDICTS

if TYPE_CHECKING:
    from rich.console import Console

    from elman.inspection.rendering.charts import Figure

FORMAT = "elman.diagnosis"
VERSION = 2


@dataclass(frozen=True)
class Report(Diagnosis):
    """A diagnosis that can be printed, plotted and written as HTML or JSON; `docs/guide/diagnose.md` is its guide."""

    @property
    def verdict(self) -> str:
        """The worst verdict of all layers."""
        order = [*VERDICTS, "healthy"]
        return min((layer.verdict for layer in self.layers), key=order.index)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON values; infinity and NaN become the strings "inf", "-inf" and "nan"."""
        content = {"format": FORMAT, "version": VERSION, "verdict": self.verdict, **dataclasses.asdict(self)}
        return {name: _plain(value) for name, value in content.items()}

    def to_json(self, indent: int | None = None) -> str:
        """Return the report as JSON; the schema is in `docs/guide/diagnose.md`."""
        return json.dumps(self.as_dict(), indent=indent, allow_nan=False)

    def to_html(self, title: str = "Gradient diagnosis", *, explorer: str | None = None) -> str:
        """Return one self-contained page, without scripts.

        Args:
            title: of the page.
            explorer: the address of the learner's page of the same run (`elman.explore`), which each layer's verdict
                then links into; None: no links.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from elman.inspection.rendering.html import page

        return page(self, title, explorer)

    def print(self, console: Console | None = None) -> None:
        """Print the report to a rich console; by default to standard output."""
        from elman.inspection.rendering.terminal import print_report

        print_report(self, console)

    def plot(self) -> Figure:
        """Return a matplotlib figure with one row of charts for each layer.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from elman.inspection.rendering.charts import overview

        return overview(self)


def _plain(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        return [_plain(value) for value in tree]
    if isinstance(tree, float) and not math.isfinite(tree):
        return str(tree)
    return tree
