"""Files appear whole or not at all."""

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from elman.data.pairs.score_scale import ScoreScale
from elman.data.translation.dataset import read_validation_pairs
from elman.errors import BrokenRun, DataError, RunError
from elman.storage.files import (
    BESIDE,
    absence,
    exists,
    is_dir,
    is_file,
    is_link,
    read_checked,
    temporary_folder,
    write_bytes,
    write_json,
    written_beside,
)  # fmt: skip


def test_the_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with written_beside(path) as file:
        file.write(b"new")
        assert [entry.name for entry in tmp_path.iterdir()] == [f"file{BESIDE}"]
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("fails", [KeyboardInterrupt(), DataError("bad text"), OSError(errno.ENOSPC, "disk full")])
def test_what_was_there_survives_a_failure(tmp_path: Path, fails: BaseException) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises((KeyboardInterrupt, DataError, RunError)), written_beside(path) as file:
        file.write(b"half")
        raise fails
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


FAILURES = {
    errno.ENOSPC: r"the disk is full, .*file was not written\n.*room for .*\n.*No space left.*\n.*free some space",
    errno.EACCES: r"file cannot be written\n.*a writable folder\n.*Permission denied\n.*--out",
    errno.EIO: r"file cannot be written\n.*an existing folder on a working disk\n.*\n.*--out",
}


@pytest.mark.parametrize("number", sorted(FAILURES))
@pytest.mark.parametrize("fails", ["write", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, fails: str
) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def fail(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, fails, fail)
    with pytest.raises(RunError, match=FAILURES[number]):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_missing_folder_is_one_message(tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match=r"file cannot be written\n.*an existing folder.*\n.*No such file"),
        written_beside(tmp_path / "none" / "file"),
    ):
        pass


def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: original(handle, content[:2]))
    write_bytes(tmp_path / "file", b"abcdefg")
    assert (tmp_path / "file").read_bytes() == b"abcdefg"


@pytest.mark.skipif(os.name != "posix", reason="elsewhere folders cannot be forced to the disk")
def test_the_content_is_on_the_disk_before_the_name_and_then_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut after the rename must not find an empty file under the new name."""
    path, order = tmp_path / "file", []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(handle: int) -> None:
        state = os.fstat(handle)
        order.append("folder" if stat.S_ISDIR(state.st_mode) else f"{state.st_size} bytes")
        fsync(handle)

    def watched_replace(*arguments: Path) -> None:
        order.append("rename")
        replace(*arguments)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    write_bytes(path, b"content")
    with written_beside(path) as file:
        file.write(b"longer content")  # in the buffer of Python still
    assert order == ["7 bytes", "rename", "folder", "14 bytes", "rename", "folder"]


def test_what_a_kill_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / f"file{BESIDE}").write_bytes(b"left by a kill, and longer")
    with written_beside(tmp_path / "file") as file:
        file.write(b"new")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("file", b"new")]


def test_of_two_writers_at_once_the_last_to_begin_wins_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with (
        pytest.raises(RunError, match=r"another process is writing it\n(.*\n)*.*wait for"),
        written_beside(path) as one,
    ):
        one.write(b"one")
        with written_beside(path) as other:
            one.write(b"more of one")
            one.flush()
            other.write(b"other")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("file", b"other")]


def test_who_lost_its_name_leaves_the_file_of_the_other_alone(tmp_path: Path) -> None:
    beside = tmp_path / f"file{BESIDE}"
    with pytest.raises(KeyboardInterrupt), written_beside(tmp_path / "file"):
        beside.unlink()
        beside.write_bytes(b"the other's")
        raise KeyboardInterrupt
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [(beside.name, b"the other's")]


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="the system has no O_NOFOLLOW")
def test_a_link_that_lies_in_wait_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (tmp_path / f"file{BESIDE}").symlink_to(target)
    with pytest.raises(RunError):
        write_bytes(tmp_path / "file", b"new")
    assert target.read_bytes() == b"precious"


def test_json_has_no_numbers_that_json_does_not_know(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"ä": 1})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"ä": 1}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cannot be read(.|\n)*No such file"),
        (b"{", "is broken"),
        (b'{"n": NaN}', "is broken"),
        (b'"\\ud800"', "is broken"),
        (b"\xff", "is broken"),
        (b"[" * 100_000, "is broken"),
    ],
)
def test_untrusted_json_is_checked(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=rf"x\.json {message}") as caught:
        read_checked(path, "numbers")
    assert "try: " in str(caught.value)


def test_json_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(RunError, match=r"x\.json is too large"):
        read_checked(tmp_path / "x.json", "numbers")
    with pytest.raises(RunError, match=r"is too large"):
        read_validation_pairs(tmp_path / "x.json")
    (tmp_path / "x.json").rename(tmp_path / "scale.json")
    with pytest.raises(RunError, match=r"is too large"):
        ScoreScale.open(tmp_path)


def test_what_the_system_refuses_to_look_at_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for name in ("z" * 300, "a\0b", "a\ud800", tmp_path / "loop", tmp_path / "loop" / "x"):
        assert not any(ask(name) for ask in (exists, is_file, is_dir))
    assert is_link(tmp_path / "loop") and not is_link("z" * 300)
    assert exists(tmp_path) and is_dir(tmp_path) and not is_file(tmp_path)
    assert absence("z" * 300) == "File name too long"
    assert absence(tmp_path / "x") == "no file of this name"
    assert "null" in absence("a\0b")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may look everywhere")
def test_a_forbidden_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(0)
    assert not exists(tmp_path / "shut" / "x")
    assert absence(tmp_path / "shut" / "x") == "Permission denied"


def test_a_forbidden_name_cannot_be_written(tmp_path: Path) -> None:
    for name in ("a\0b", "a\ud800", "z" * 300):
        with pytest.raises(RunError, match="cannot be written"):
            write_bytes(tmp_path / name, b"")


def test_names_that_are_no_utf8_are_written_as_well_as_they_can_be(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"source": "Öl\udcff"})
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {"source": "Öl\ufffd"}


@pytest.mark.parametrize("error", [MemoryError(), IndexError(), KeyError("a"), OverflowError("b"), RuntimeError()])
def test_whatever_a_parser_raises_is_one_error(tmp_path: Path, error: Exception) -> None:
    def parse(content: bytes) -> None:
        raise error

    (tmp_path / "x").write_text("{}")
    with pytest.raises(BrokenRun, match=r"x is broken\n.*something\n  is:        \S"):
        read_checked(tmp_path / "x", "something", parse)


def test_a_temporary_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    with temporary_folder(tmp_path) as folder:
        assert folder.parent == tmp_path
    assert not folder.exists()
    with pytest.raises(RunError, match=r"no folder for temporary files(.|\n)*TMPDIR"), temporary_folder(tmp_path / "x"):
        pass
