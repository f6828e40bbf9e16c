"""Readers of labelled sequences, by the kind of DATA."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from elman.data.folders import visible_entries
from elman.data.labelled import class_folders, idx, tables
from elman.data.labelled import ts_archive as ts
from elman.data.labelled.builtin import digits
from elman.data.labelled.example import Example, Reader, ReaderOptions
from elman.data.labelled.file_formats import format_of, known_suffixes, load_file
from elman.errors import DataError
from elman.storage.files import absence, exists, is_dir, is_file

READERS: dict[str, Reader] = {
    "idx": idx.READER,
    "ts": ts.READER,
    "table": tables.READER,
    "folders": class_folders.FOLDERS,
    "lines": class_folders.LINES,
}
"""By name; the first that takes the sources reads them."""


def find_reader(sources: Sequence[Path]) -> Reader:
    """Return the reader of these sources.

    Raises:
        DataError: one does not exist, or no reader takes them.
    """
    missing = [path for path in sources if not exists(path)]
    if missing:
        found = absence(missing[0], "nothing there")
        raise DataError(
            f"{missing[0]} {'does not exist' if found == 'nothing there' else 'cannot be read'}",
            should="a file or folder",
            found=found,
            hint="check the spelling",
        )
    chosen = next((reader for reader in READERS.values() if reader.takes(sources)), None)
    if chosen is None:
        raise DataError(
            f"{', '.join(map(str, sources))} cannot be read",
            should=", or ".join(reader.what for reader in READERS.values()),
            found="none of them" if len(sources) == 1 else "several sources, not all of one kind",
            hint="elman recipes classify",
        )
    return chosen


def reader_name(sources: Sequence[Path]) -> str:
    """Return the name of the reader of these sources, "digits" for none; raises as `find_reader`."""
    if not sources:
        return "digits"
    reader = find_reader(sources)
    return next(name for name, one in READERS.items() if one is reader)


def read_examples(sources: Sequence[Path], reading: ReaderOptions) -> Iterator[Example]:
    """Yield the examples of DATA one by one; none: the digits of the embedded default.

    Raises:
        DataError: the sources cannot be read; errors in one example are raised by its `load`.
    """
    return find_reader(sources).read(sources, reading) if sources else digits(reading.pixel_order)


def read_inputs(paths: Sequence[Path], reading: ReaderOptions, trained_on: str) -> Iterator[Example]:
    """Yield what is in files that may have no labels: data sets, or single files of one example each.

    Args:
        paths: files and folders.
        reading: as in training.
        trained_on: the name of the reader of the training data; where a name can be both, it tells a data set from a
            single example: a text file is one example where the classes were folders, and else one on each line.

    Raises:
        DataError: as `read_examples`.
    """
    for path in paths:
        reader = next((reader for reader in READERS.values() if reader.takes([path])), None)
        single = is_file(path) and format_of(path) is not None
        if single and (reader is None or trained_on == "folders"):
            yield Example(str(path), partial(load_file, path, reading), None)
        elif is_dir(path) and reader is None:
            files = [entry for entry in visible_entries(path) if format_of(entry) is not None]
            if not files:
                raise DataError(
                    f"{path} holds nothing to read", should=", ".join(known_suffixes()), found="no such file"
                )
            yield from read_inputs(files, reading, trained_on)
        else:
            yield from find_reader([path]).read([path], reading)
