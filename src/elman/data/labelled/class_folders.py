"""Folders as labels: one sub-folder per class with a file for each example, or one text file per class with lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from elman.data.folders import visible_entries, visible_files
from elman.data.labelled.example import Example, Reader, ReaderOptions
from elman.data.labelled.file_formats import check_one_format, format_of, known_suffixes, load_file
from elman.data.text.documents import TEXT_SUFFIXES, read_text
from elman.data.text.lines import document_lines
from elman.errors import DataError
from elman.storage.files import is_dir


def accepts_class_folders(sources: Sequence[Path]) -> bool:
    """Return whether the source is one folder with folders in it."""
    return len(sources) == 1 and is_dir(sources[0]) and bool(_folders(sources[0]))


def read_class_folders(sources: Sequence[Path], reading: ReaderOptions) -> Iterator[Example]:
    """Yield the files of each sub-folder, whose name is their label; files in folders below it belong to it.

    Hidden files and folders are passed over.

    Raises:
        DataError: a sub-folder holds no file that can be read, or the files are of several kinds.
    """
    (folder,) = sources
    found = {
        sub: sorted(path for path in visible_files(sub) if format_of(path) is not None) for sub in _folders(folder)
    }
    empty = [sub.name for sub, paths in found.items() if not paths]
    if empty:
        raise DataError(
            f"{folder} has empty classes",
            should=f"a file in every sub-folder, whose name ends in {', '.join(known_suffixes())}",
            found=f"none in {', '.join(empty[:5])}",
            hint="take the folder away, or fill it",
        )
    check_one_format([path for paths in found.values() for path in paths])
    for sub, paths in found.items():
        for path in paths:
            yield Example(str(path), partial(load_file, path, reading), sub.name)


def _folders(folder: Path) -> list[Path]:
    return [path for path in visible_entries(folder) if is_dir(path)]


def accepts_class_files(sources: Sequence[Path]) -> bool:
    """Return whether the sources are text files, or one folder of some."""
    if len(sources) == 1 and is_dir(sources[0]):
        return any(path.suffix.lower() in TEXT_SUFFIXES for path in visible_entries(sources[0]))
    return bool(sources) and all(path.suffix.lower() in TEXT_SUFFIXES for path in sources)


def read_class_files(sources: Sequence[Path], reading: ReaderOptions) -> Iterator[Example]:
    """Yield the lines of text files that are not empty; the name of a file, without its ending, is their label.

    Raises:
        DataError: a file cannot be read.
    """
    for document in read_text(sources, encoding=reading.encoding):
        path = Path(document.name)
        for number, line in enumerate(document_lines(document), 1):
            if text := line.strip():
                yield Example(f"{path.name}:{number}", partial(str, text), path.stem)


FOLDERS = Reader("one folder per class", accepts_class_folders, read_class_folders)
LINES = Reader("one text file per class", accepts_class_files, read_class_files)
