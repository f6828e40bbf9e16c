"""What a system hides in a folder is no data, for every reader of folders."""

from pathlib import Path

import pytest

from elman.data.captions.image_features import picture_inputs
from elman.data.captions.readers import read_album
from elman.data.folders import is_hidden, visible_entries, visible_files
from elman.data.labelled.class_folders import accepts_class_folders, read_class_files, read_class_folders
from elman.data.labelled.example import ReaderOptions
from elman.data.labelled.readers import read_inputs
from elman.data.media.files import files_of
from elman.data.text.documents import read_text

HIDDEN = (".DS_Store", "._0.txt", ".0.txt", "Thumbs.db", "desktop.ini", "__MACOSX/0.txt", "__MACOSX/._0.txt")
HIDDEN_FOLDERS = (".git/description.txt", ".ipynb_checkpoints/0-checkpoint.txt", "$RECYCLE.BIN/0.txt")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A folder with two classes, of which each has hidden files and folders beside two texts, as has the folder."""
    for folder in (tmp_path, tmp_path / "red", tmp_path / "blue"):
        for name in (*HIDDEN, *HIDDEN_FOLDERS):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("hidden")
    for name in ("red/0.txt", "red/1.txt", "blue/0.txt", "blue/deep/1.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_hidden_names_are_those_of_systems() -> None:
    assert all(is_hidden(name.split("/")[0]) for name in (*HIDDEN, *HIDDEN_FOLDERS))
    assert not any(map(is_hidden, ("a.txt", "_a.txt", "macosx", "thumbs.png", "~a.txt", "desktop")))


def test_visible_files_come_in_the_order_of_their_paths(texts: Path) -> None:
    names = ["blue/0.txt", "blue/deep/1.txt", "red/0.txt", "red/1.txt"]
    assert [path.relative_to(texts).as_posix() for path in visible_files(texts)] == names
    assert visible_entries(texts) == [texts / "blue", texts / "red"]


def test_links_to_folders_are_not_followed_and_links_to_files_are(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.txt").write_text("text")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "b.txt").symlink_to(tmp_path / "a" / "0.txt")
    assert list(visible_files(tmp_path)) == [tmp_path / "a" / "0.txt", tmp_path / "b.txt"]


def test_class_folders_have_no_hidden_examples_or_classes(texts: Path) -> None:
    assert accepts_class_folders([texts])
    examples = list(read_class_folders([texts], ReaderOptions()))
    assert [(Path(example.name).name, example.label) for example in examples] == [
        ("0.txt", "blue"), ("1.txt", "blue"), ("0.txt", "red"), ("1.txt", "red"),
    ]  # fmt: skip


def test_texts_and_media_of_a_folder_are_the_visible_ones(texts: Path) -> None:
    assert len(read_text(texts)) == 4
    red = texts / "red"
    assert files_of(red, (".txt", ".db", ".ini"), kind="texts") == [red / "0.txt", red / "1.txt"]
    assert [example.label for example in read_class_files([red], ReaderOptions())] == ["0", "1"]


def test_inputs_of_a_folder_are_the_visible_ones(tmp_path: Path) -> None:
    for name in ("0.png", "._0.png", ".hidden.png", "__MACOSX"):
        (tmp_path / name).touch()
    assert [example.name for example in read_inputs([tmp_path], ReaderOptions(), "folders")] == [
        str(tmp_path / "0.png")
    ]
    assert [picture.path.name for picture in picture_inputs([tmp_path], (8, 8, 3))] == ["0.png"]


def test_captions_are_not_taken_from_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "images" / "0.png").touch()
    (tmp_path / "captions.txt").write_text("0.png\ta cat\n")
    for name in ("._captions.txt", ".captions.txt", "._trainImages.txt", "__MACOSX/0.png"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    album = read_album([tmp_path])
    assert album.file == tmp_path / "captions.txt" and not album.lists
    assert album.rows["0.png"].path == tmp_path / "images" / "0.png"
