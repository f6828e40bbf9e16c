"""File formats by suffix, and how a file becomes a sequence; for class folders, manifests and predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elman.data.compressed import read_errors
from elman.data.delimited import has_name, read_table
from elman.data.labelled import media_features as media_kinds
from elman.data.labelled.example import ReaderOptions, Values
from elman.data.labelled.ts_archive import parse_numbers
from elman.data.media.audio import SOUND_SUFFIXES
from elman.data.media.images import IMAGE_SUFFIXES
from elman.data.media.video import VIDEO_SUFFIXES
from elman.data.text.documents import Document
from elman.errors import DataError
from elman.storage.files import absence, is_file


@dataclass(frozen=True)
class FileFormat:
    """One kind of file.

    Attributes:
        suffixes: the endings of its names, in lower case.
        load: (path, reading) -> the values. Raises DataError where the file is broken.
    """

    suffixes: tuple[str, ...]
    load: Callable[[Path, ReaderOptions], Values]


def _load_text(path: Path, reading: ReaderOptions) -> Values:
    """Return the whole text of a file."""
    return "".join(Document(str(path), path, reading.encoding).pieces())


def _load_array(path: Path, reading: ReaderOptions) -> Values:
    """Return the numbers of a file of NumPy's: (T,) or (T, I); uint8 stays, all else becomes float64."""
    with read_errors(path, "an array of numbers"):
        # A mapped file is compared with the sizes in its header before memory is taken.
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(loaded, np.ndarray) or loaded.dtype.kind not in "uifb":
            raise ValueError("no array of numbers")
    if loaded.ndim < 1 or (loaded.dtype != np.uint8 and loaded.ndim > 2) or loaded.ndim > 4:
        raise DataError(f"{path} is not a sequence", should="(T,) or (T, I)", found=f"shape {loaded.shape}")
    steps = loaded[:, None] if loaded.ndim == 1 else loaded
    if steps.dtype == np.uint8:
        return np.array(steps)
    return parse_numbers(str(path), steps.reshape(-1)).reshape(steps.shape)


def _load_series(path: Path, reading: ReaderOptions) -> Values:
    """Return the numbers of a CSV file whose rows are steps, (T, I), without a header and unnamed columns."""
    table = read_table(path, encoding=reading.encoding)
    names = table.header
    numbered = names[:1] == [""] and names[1:] == [str(n) for n in range(len(names) - 1)]
    if all(map(_is_number, names)) and not (numbered and len(names) > 1):
        if len(names) > 1 and names == [str(n) for n in range(len(names))]:
            reading.notes.add("the first line of series, 0,1,..., is read as numbers, not as names", str(path))
        table, places = table.without_header(), list(range(len(names)))
    else:
        places = [place for place, name in enumerate(names) if has_name(name)]
        reading.notes.update((note for note in table.reading_notes(places) if note.startswith("unused")), str(path))
    rows = [cells for _, cells in table.parse(lambda cells: [cells[place] for place in places])]
    return parse_numbers(str(path), [cell for row in rows for cell in row]).reshape(-1, len(places))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return not cell.strip()
    return True


FILE_FORMATS: dict[str, FileFormat] = {
    "text": FileFormat((".txt", ".text", ".md"), _load_text),
    "array": FileFormat((".npy",), _load_array),
    "series": FileFormat((".csv",), _load_series),
    "image": FileFormat(IMAGE_SUFFIXES, media_kinds.image_sequence),
    "sound": FileFormat(SOUND_SUFFIXES, media_kinds.sound_features),
    "video": FileFormat(VIDEO_SUFFIXES, media_kinds.video_frames),
}


def known_suffixes() -> tuple[str, ...]:
    """Return the endings of all kinds."""
    return tuple(suffix for kind in FILE_FORMATS.values() for suffix in kind.suffixes)


def format_of(path: Path) -> FileFormat | None:
    """Return the kind of a file, None where it has none."""
    suffix = path.suffix.lower()
    return next((kind for kind in FILE_FORMATS.values() if suffix in kind.suffixes), None)


def load_file(path: Path, reading: ReaderOptions) -> Values:
    """Return the values of a file.

    Raises:
        DataError: it is missing, broken, or of no known kind.
    """
    kind = format_of(path)
    if kind is None:
        raise DataError(
            f"{path} is of no kind that can be read",
            should=f"a name that ends in {', '.join(known_suffixes())}",
            found=path.suffix or "no ending",
        )
    if not is_file(path):
        found = absence(path, "nothing there")
        what = "does not exist" if found == "nothing there" else "cannot be read"
        raise DataError(f"{path} {what}", should="a file", found=found)
    return kind.load(path, reading)


def check_one_format(paths: Sequence[Path]) -> None:
    """Check that files are of one kind.

    Raises:
        DataError: they are not.
    """
    kinds = {kind for kind in map(format_of, paths) if kind}
    if len(kinds) > 1:
        found = sorted(name for name, kind in FILE_FORMATS.items() if kind in kinds)
        raise DataError("the files are of several kinds", should="one kind", found=", ".join(found))
