"""Pictures with captions: Flickr8k's folder and files, and COCO's JSON.

A captions file is COCO's (`images` and `annotations`), or has a line for each caption: the name of the picture, with
or without `#` and the number of the caption, a tab (or, after the number, a blank), and the caption. Beside it there
may be lists of the names that are for training, validation and test: files whose names contain train, dev or val, and
test, and end in Images.txt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from elman.data.folders import is_hidden, visible_entries
from elman.data.text.lines import file_lines
from elman.errors import DataError
from elman.storage.files import absence, exists, is_dir, is_file

TRAINING, VALIDATION, TEST = "training", "validation", "test"
_PARTS = {TRAINING: ("train",), VALIDATION: ("dev", "val"), TEST: ("test",)}
_LIST = "Images.txt"
_FILES = ("*.token.txt", "captions*.json", "captions*.txt", "captions*.tsv", "*.json", "*.tsv")
_LINE = re.compile(r"(?P<name>[^\t]*?)#\d+(?P<numbered>(?:[\t ].*)?)|(?P<plain>[^\t]+)\t(?P<rest>.*)")
LARGEST_JSON = 1 << 30


class CaptionedPicture(NamedTuple):
    """A picture and its captions.

    Attributes:
        name: of the picture in the captions file.
        path: of the picture, which may be missing.
        captions: at least one.
    """

    name: str
    path: Path
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Album:
    """Captions of pictures, and the parts they are in.

    Attributes:
        file: the captions file.
        rows: all pictures that have captions, in the order of the file, by name.
        lists: the names of each part that has a list.
        only: a part, if the source named one alone.
    """

    file: Path
    rows: Mapping[str, CaptionedPicture]
    lists: Mapping[str, tuple[Path, Sequence[str]]]
    only: str | None = None

    def part(self, *parts: str) -> list[CaptionedPicture] | None:
        """Return the pictures of the first of these parts that has a list; None where none has.

        Raises:
            DataError: a name in the list has no captions.
        """
        for name in parts:
            if name in self.lists:
                path, names = self.lists[name]
                for number, picture in enumerate(names, 1):
                    if picture not in self.rows:
                        raise DataError(
                            f"{path}, line {number}: {picture} has no captions",
                            should=f"captions of it in {self.file}",
                            found="none",
                            hint="remove the line, or add captions",
                        )
                return [self.rows[picture] for picture in names]
        return None


def read_album(sources: Sequence[Path]) -> Album:
    """Read the captions of pictures.

    Args:
        sources: a folder with pictures, captions file and lists; or a captions file, or a list of names with a captions
            file beside it; and then, where the pictures are not beside it too, their folder or file.

    Raises:
        DataError: a file is missing, broken or empty, a caption is empty, a name cannot be told from its caption, or a
            listed picture has no captions; file and line are named.
    """
    if not 1 <= len(sources) <= 2:
        raise DataError(
            "captioned pictures come as one or two sources", should="CAPTIONS [PICTURES]", found=f"{len(sources)}"
        )
    source, pictures = sources[0], sources[1] if len(sources) == 2 else None
    if not exists(source):
        raise DataError(
            f"{source} does not exist", should="a folder or a captions file", found=absence(source, "nothing there")
        )
    home = source if is_dir(source) else source.parent
    lists = _lists(home)
    only = next((part for part, (path, _) in lists.items() if path == source), None)
    if is_dir(source) or only or _is_list(source):
        file = _captions_file(home, besides=source)
        if is_file(source) and only is None:
            lists, only = {TEST: (source, _names(source))}, TEST
    else:
        file, lists = source, {}
    captions = _coco(file) if file.suffix == ".json" else _lines(file)
    if pictures is not None and not exists(pictures):
        raise DataError(f"{pictures} does not exist", should="a folder of pictures, or features", found="nothing there")
    place = pictures or _pictures(home, list(captions))
    rows = {name: CaptionedPicture(name, place / name, tuple(texts)) for name, texts in captions.items()}
    return Album(file, rows, lists, only)


def _lists(home: Path) -> dict[str, tuple[Path, Sequence[str]]]:
    found: dict[str, tuple[Path, Sequence[str]]] = {}
    for path in (path for path in visible_entries(home) if path.name.endswith(_LIST)):
        name = path.name.lower()
        part = next((part for part, signs in _PARTS.items() if any(sign in name for sign in signs)), None)
        if part and part not in found:
            found[part] = (path, _names(path))
    return found


def _names(path: Path) -> list[str]:
    names = [line for line in file_lines(path) if line]
    if not names:
        raise DataError(f"{path} is empty", should="names of pictures, one on each line", found="none")
    return names


def _is_list(path: Path) -> bool:
    """Return whether the first line is a name alone."""
    if path.suffix == ".json":
        return False
    first = next(file_lines(path), "")
    return bool(first) and not re.search(r"[\s#]", first)


def _is_no_captions(path: Path) -> bool:
    return is_hidden(path.name) or path.name.endswith(_LIST)


def _captions_file(home: Path, besides: Path) -> Path:
    for pattern in _FILES:
        found = sorted(path for path in home.glob(pattern) if path != besides and not _is_no_captions(path))
        if len(found) > 1:
            raise DataError(
                f"{home} has several captions files",
                should="one",
                found=", ".join(path.name for path in found[:4]),
                hint="name the file instead of the folder",
            )
        if found:
            return found[0]
    raise DataError(
        f"{home} has no captions file", should=f"one of {', '.join(_FILES)}", found="none", hint="name the file"
    )


def _lines(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for number, line in enumerate(file_lines(path), 1):
        if not line:
            continue
        parts = _LINE.fullmatch(line)
        name = ((parts["name"] if parts["plain"] is None else parts["plain"]) or "").strip() if parts else ""
        if not parts or not name:
            raise DataError(
                f"{path}, line {number}: there is no picture with a caption",
                should="NAME#0, a tab or blank, and the caption; or NAME, a tab, and the caption",
                found=repr(line[:60]),
            )
        caption = " ".join((parts["numbered"] if parts["plain"] is None else parts["rest"]).split())
        if not any(map(str.isalnum, caption)):
            raise _empty(f"{path}, line {number}", name, caption)
        found.setdefault(name, []).append(caption)
    if not found:
        raise DataError(f"{path} has no captions", should="NAME#0, a tab, a caption on each line", found="none")
    return found


def _empty(where: str, name: str, caption: str) -> DataError:
    return DataError(
        f"{where}: the caption of {name} is empty",
        should="words",
        found=repr(caption[:40]) if caption else "nothing",
        hint="write one, or remove it",
    )


def _coco(path: Path) -> dict[str, list[str]]:
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"{path.stat().st_size} bytes, more than {LARGEST_JSON}")
        content: Any = json.loads(path.read_text(encoding="utf-8-sig"))
        names = {image["id"]: _text(image, "file_name").strip() for image in content["images"]}
        notes = content["annotations"]
        pairs = [(note.get("id"), names.get(note["image_id"]), _text(note, "caption"), note) for note in notes]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path} is not a COCO captions file",
            should='{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}',
            found=f"{type(error).__name__}: {error}"[:200],
        ) from error
    found: dict[str, list[str]] = {}
    for number, name, text, note in pairs:
        where, picture = f"{path}, annotation {number}", note["image_id"]
        if name is None:
            raise DataError(f"{where}: there is no image {picture}", should="its id among the images", found="none")
        if not name:
            raise DataError(f"{where}: image {picture} has no name", should="a file_name", found="nothing")
        caption = " ".join(text.split())
        if not any(map(str.isalnum, caption)):
            raise _empty(where, name, caption)
        found.setdefault(name, []).append(caption)
    if not found:
        raise DataError(f"{path} has no captions", should="annotations", found="none")
    return found


def _text(row: Mapping[str, Any], key: str) -> str:
    """Return a text of COCO's; a ValueError or TypeError says that there is none, or only half a character."""
    text = row[key]
    if not isinstance(text, str):
        raise TypeError(f"{key} {text!r} of {str(row)[:80]} is not a string")
    text.encode()
    return text


def _pictures(home: Path, names: Sequence[str]) -> Path:
    """Return the folder of the pictures: the captions' own, or the one in it that holds the most of a few of them."""
    few = names[:: max(1, len(names) // 20)]
    places = [home, *(path for path in visible_entries(home) if is_dir(path))]
    return max(places, key=lambda place: sum(may_exist(place / name) for name in few))


def may_exist(path: Path) -> bool:
    """Return whether there is something to read; what the system cannot look at, reading it will tell."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):  # too long a name, a zero character, a folder that is forbidden
        return True
    return True
