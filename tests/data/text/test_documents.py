"""Reading documents: the same text however it is cut, and one clear message for each kind of bad file."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.text import documents as text_module
from elman.data.text.documents import Document, read_text
from elman.errors import DataError, SettingError


def contents(path: Path, encoding: str = "utf-8") -> str:
    return "".join("".join(document.pieces()) for document in read_text(path, encoding=encoding))


@given(
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40),
    piece=st.integers(1, 9),
    encoding=st.sampled_from(["utf-8", "utf-16", "UTF8", "utf-32", "utf-8-sig"]),
)
def test_a_file_reads_the_same_in_pieces_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, text: str, piece: int, encoding: str
) -> None:
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_bytes(text.encode(encoding))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_module, "PIECE", piece)
        (document,) = read_text(path, encoding=encoding)
        assert "".join(document.pieces()) == text.removeprefix("\ufeff" if "8" in encoding else "")
        assert b"".join(document.chunks()) == path.read_bytes()
        assert max(map(len, document.chunks())) <= piece


def test_a_megabyte_is_read_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x" * (3 << 20))
    assert [len(piece) for piece in read_text(path)[0].pieces()] == [1 << 20] * 3


def test_line_ends_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\r\nb\rc\n")
    assert contents(tmp_path / "a.txt") == "a\r\nb\rc\n"


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfab")
    assert contents(tmp_path / "a.txt") == "ab"


def test_text_at_hand_is_a_document() -> None:
    document = Document("prompt", "aß😀")
    assert "".join(document.pieces()) == "aß😀"
    assert b"".join(document.chunks()) == "aß😀".encode()
    assert document.stamp() != Document("prompt", "aß😁").stamp()


def test_a_folder_gives_its_texts_in_order(tmp_path: Path) -> None:
    for name in ("b.txt", "a.md", "sub/c.TXT", "sub/.hidden.txt", ".git/x.txt", "picture.png", "a.txt.bak"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "empty.txt").touch()
    documents = read_text(tmp_path)
    assert [document.name for document in documents] == [str(tmp_path / n) for n in ("a.md", "b.txt", "sub/c.TXT")]
    assert [document.source for document in read_text([tmp_path / "picture.png", tmp_path / "sub"])] == [
        tmp_path / "picture.png",
        tmp_path / "sub/c.TXT",
    ]
    assert len(read_text(tmp_path, suffixes=(".png",))) == 1


def test_a_stamp_tells_a_change(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("abc")
    (document,) = read_text(path)
    before = document.stamp()
    assert read_text(str(path))[0].stamp() == before
    os.utime(path, ns=(1, 1))
    touched = document.stamp()
    path.write_text("abcd")
    os.utime(path, ns=(1, 1))
    grown = document.stamp()
    other = read_text(path, encoding="latin-1")[0].stamp()
    assert len({str(stamp) for stamp in (before, touched, grown, other)}) == 4


NOT_TEXT = {
    "binary": (b"ab\0c", r"is a binary file\n.*text\n.*a zero byte at byte offset 2\n.*vocabulary=bytes"),
    "latin-1": (
        b"caf\xe9 au lait",
        r"is not valid UTF-8\n.*\n.*byte 0xe9 at byte offset 3\n.*encoding=latin-1.*vocabulary=bytes",
    ),
    "cut": ("aé".encode()[:-1], r"is not valid UTF-8\n.*\n.*byte 0xc3 at byte offset 1\n"),
    "marked": (b"\xef\xbb\xbfa\xff", r"is not valid UTF-8\n.*\n.*byte 0xff at byte offset 4\n"),
    "no mark": (b"abcd\xff\xfeef", r"is not valid UTF-8\n.*\n.*byte 0xff at byte offset 4\n"),
    "utf-16": (
        "ab".encode("utf-16"),
        r"is not valid UTF-8\n.*\n.*the byte order mark of UTF-16\n.*--set encoding=utf-16",
    ),
    "utf-32": (
        "ab".encode("utf-32"),
        r"is not valid UTF-8\n.*\n.*the byte order mark of UTF-32\n.*--set encoding=utf-32",
    ),
}


@pytest.mark.parametrize("piece", [1 << 20, 4])
@pytest.mark.parametrize("case", sorted(NOT_TEXT))
def test_what_is_not_utf8_is_refused(case: str, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "PIECE", piece)
    content, message = NOT_TEXT[case]
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as refused:
        contents(path)
    assert str(refused.value).startswith(str(path))
    assert b"".join(read_text(path)[0].chunks()) == content, "bytes are read from any file"


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_the_offset_counts_bytes_across_pieces(cut: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "PIECE", cut)
    (tmp_path / "a.txt").write_bytes("é東😀".encode() + b"\xf0\x9f\x98x")
    with pytest.raises(DataError, match="byte 0xf0 at byte offset 9"):
        contents(tmp_path / "a.txt")


def test_a_file_of_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"abc")
    with pytest.raises(DataError, match=r"is not valid UTF-16\n.*a file in UTF-16\n.*\n.*encoding=utf-8.*=bytes"):
        contents(tmp_path / "a.txt", encoding="utf-16")


@pytest.mark.parametrize("encoding", ["utf-9", "zip", "hex", "a\0b"])
def test_an_unknown_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(SettingError, match=r"unknown encoding\n(.*\n)*.*--set encoding=utf-8"):
        read_text("a.txt", encoding=encoding)


def test_missing_empty_and_odd_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.txt does not exist\n.*a text file or a folder"):
        read_text(tmp_path / "nothing.txt")
    (tmp_path / "empty.txt").touch()
    with pytest.raises(DataError, match=r"empty\.txt is empty\n.*a text\n.*0 bytes"):
        read_text([tmp_path / "empty.txt"])
    with pytest.raises(DataError, match=r"the folder .* has no text\n.*the suffix \.txt, .*\n.*\n.*name the files"):
        read_text(tmp_path)
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(DataError, match=r"is not a file\n(.*\n)*.*cat .*pipe\.txt > "):
        read_text(tmp_path / "pipe.txt")
    with pytest.raises(DataError, match=r"no text was given\n.*\n.*nothing\n.*name a text file"):
        read_text([])
    with pytest.raises(DataError, match=r"the path of a text is empty\n(.*\n)*.*\. for the current folder"):
        read_text(["a.txt", ""])


def test_a_file_that_goes_away_is_one_message(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("abc")
    (document,) = read_text(path)
    path.unlink()
    for use in (document.stamp, lambda: list(document.pieces())):
        with pytest.raises(
            DataError, match=r"cannot read .*a\.txt: No such file.*\n.*a readable file or folder\n(.*\n)*.*try:"
        ):
            use()


@contextmanager
def unprivileged() -> Iterator[None]:
    """Nothing is forbidden to root, as which tests often run."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.skipif(os.name != "posix", reason="the rights are those of POSIX")
def test_what_the_system_refuses_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, rights in (("locked", 0o000), ("listed", 0o444), ("file", 0o755)):
        (tmp_path / "all" / name).mkdir(parents=True)
        (tmp_path / "all" / name / "b.txt").write_text("text")
        (tmp_path / "all" / name).chmod(rights)
    (tmp_path / "all/file/b.txt").chmod(0o000)
    (tmp_path / "all").chmod(0o755)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # the folders above are closed to others
    message = r"cannot read .*{}.*: Permission denied\n.*a readable file or folder\n.*\n.*ls -l"
    try:
        with unprivileged():
            for path, named in (
                ("all/locked/b.txt", "locked/b.txt"),
                ("all/locked", "locked"),
                ("all/listed", "listed/b.txt"),
                ("all", "all/"),
            ):
                with pytest.raises(DataError, match=message.format(named)):
                    read_text(path)
            (document,) = read_text("all/file/b.txt")
            with pytest.raises(DataError, match=message.format("b.txt")):
                list(document.chunks())
    finally:
        for name in ("locked", "listed"):
            (tmp_path / "all" / name).chmod(0o755)


@pytest.mark.parametrize("path", ["x" * 300, "a\0b"])
def test_a_path_that_no_system_takes_is_one_message(path: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read (.*\n)*.*try:"):
        read_text(tmp_path / path)


def test_a_folder_that_cannot_be_listed_is_not_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.txt", "sub/b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    original = os.scandir

    def scandir(path: str) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "sub":
            raise OSError(errno.EIO, "Input/output error", path)
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"cannot read .*sub: Input/output error"):
        read_text(tmp_path)


def test_links_are_followed_and_each_file_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("all/a.txt", "all/sub/c.txt", "elsewhere/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(name)
    folder = tmp_path / "all"
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "z.txt").symlink_to(folder / "a.txt")
    (folder / "sub/round").symlink_to(folder)
    names = ["a.txt", "linked/d.txt", "sub/c.txt"]
    assert [document.name for document in read_text(folder)] == [str(folder / name) for name in names]
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: [listed.append(path), scandir(path)][1])
    read_text(folder)
    assert len(listed) == 4, "the three folders, and the link that leads back, which goes no further"
    given = [folder / "sub/c.txt", folder, folder / "sub" / ".." / "a.txt"]
    names = ["sub/c.txt", "a.txt", "linked/d.txt"]
    assert [document.name for document in read_text(given)] == [str(folder / name) for name in names]
    (folder / "gone.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"cannot read .*gone\.txt: No such file"):
        read_text(folder)


@pytest.mark.parametrize(
    ("encoding", "content", "place"),
    [("utf-7", b"ab+2AA-", 3), ("unicode_escape", b"\\ud800", 1), ("utf-7", b"abcdefgh+2AA-", 9)],
)
def test_lone_surrogate_is_refused(
    encoding: str, content: bytes, place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_module, "PIECE", 6)
    (tmp_path / "a.txt").write_bytes(content)
    message = (
        rf"a\.txt has a lone surrogate\n.*characters of Unicode\n.*U\+D800 at character {place}\n.*--set encoding="
    )
    with pytest.raises(DataError, match=message):
        contents(tmp_path / "a.txt", encoding=encoding)


def test_lone_surrogate_in_memory_is_refused() -> None:
    document = Document("prompt", "ab\ud800")
    for use in (document.stamp, lambda: list(document.pieces()), lambda: list(document.chunks())):
        with pytest.raises(DataError, match=r"prompt has a lone surrogate\n.*\n.*U\+D800 at character 3"):
            use()


def test_pairs_of_halves_in_utf_7_are_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_bytes("a😀b😁".encode("utf-7"))
    for piece in range(1, 12):
        monkeypatch.setattr(text_module, "PIECE", piece)
        assert contents(tmp_path / "a.txt", encoding="utf-7") == "a😀b😁"
