"""Files of the UEA and UCR archive, `.ts`: series of one or several dimensions, of any lengths, each with a label.

A line of data holds the dimensions of one series with colons between, numbers with commas between, and the label at
the end. (Bagnall et al. 2018, "The UEA multivariate time series classification archive", https://arxiv.org/abs/1811.00075.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.labelled.example import Example, Reader, ReaderOptions, Values
from elman.data.magnitudes import LARGEST
from elman.data.text.documents import Document
from elman.data.text.lines import document_lines
from elman.errors import DataError
from elman.storage.files import is_file


def _accepts(sources: Sequence[Path]) -> bool:
    """Return whether all sources are `.ts` files."""
    return bool(sources) and all(path.suffix == ".ts" and is_file(path) for path in sources)


def _read(sources: Sequence[Path], reading: ReaderOptions) -> Iterator[Example]:
    """Yield the series of `.ts` files."""
    for document in map(Document, map(str, sources), sources, repeat(reading.encoding)):
        yield from _examples(Path(document.name), enumerate(document_lines(document), 1), reading.labelled)


def _examples(path: Path, lines: Iterator[tuple[int, str]], labelled: bool) -> Iterator[Example]:
    facts = _header(path, lines)
    if facts.get("timestamps", "false") == "true":
        raise DataError(f"{path} has time stamps", should="@timeStamps false", found="@timeStamps true")
    kind = next((facts[name].split() for name in ("classlabel", "targetlabel") if name in facts), ["false"])
    has_label = kind[0].lower() == "true"
    if labelled and not has_label:
        raise DataError(f"{path} has no labels", should="@classLabel true, and the labels", found="none")
    for number, line in lines:
        if not line.strip() or line.startswith(("#", "%")):
            continue
        *dimensions, label = line.strip().split(":") if has_label else [*line.strip().split(":"), ""]
        name = f"{path.name}:{number}"
        yield Example(name, partial(_series, name, dimensions), label.strip() if has_label else None)


def _header(path: Path, lines: Iterator[tuple[int, str]]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for _, line in lines:
        word, _, rest = line.strip().partition(" ")
        if word.lower() == "@data":
            return facts
        if word.startswith("@"):
            facts[word[1:].lower()] = rest.strip()
        elif word and not word.startswith(("#", "%")):
            break
    raise DataError(
        f"{path} is not a .ts file", should="lines that begin with @, and @data before the series", found="none"
    )


def _series(name: str, dimensions: list[str]) -> Values:
    rows = [parse_numbers(name, text.split(",")) for text in dimensions]
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        found = " and ".join(map(str, sorted(lengths))) or "none"
        raise DataError(f"{name}: the dimensions differ in length", should="one length", found=found)
    return np.stack(rows, 1)


def parse_numbers(name: str, cells: Sequence[object] | NDArray[Any]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return numbers, (N,) float64, of the range of float32.

    Raises:
        DataError: one is missing, no number, or not finite.
    """
    try:
        array = np.array(cells, np.float64)
    except (ValueError, TypeError, OverflowError):
        array = np.empty(0)
    if array.shape == (len(cells),) and (np.abs(array) <= LARGEST).all():
        return array
    n, cell = next((n, cell) for n, cell in enumerate(cells) if not _is_finite(cell))
    raise DataError(
        f"{name} is not all numbers",
        should=f"finite numbers of magnitude {LARGEST:g} or less",
        found=f"{str(cell)[:40]!r} at place {n + 1}",
        hint="fill what is missing, or skip such examples with --skip-bad",
    )


def _is_finite(cell: object) -> bool:
    try:
        return bool(abs(np.float64(cell)) <= LARGEST)  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        return False


READER = Reader(".ts files", _accepts, _read)
