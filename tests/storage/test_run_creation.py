"""Where a new run may go: one process at a time, an empty directory stays, and a full disk gets fitting advice."""

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from elman.errors import RunError
from elman.storage.run_creation import folder_lock
from elman.storage.run_directory import RunDirectory


def make(path: Path, fill: Any = lambda folder: {"fingerprint": "0"}) -> RunDirectory:
    return RunDirectory.create(path, "example", {}, fill)


@pytest.mark.parametrize("existing", [False, True])
def test_a_second_process_at_the_same_place_is_refused(tmp_path: Path, existing: bool) -> None:
    out = tmp_path / "run"
    if existing:
        out.mkdir()

    def fill(folder: Path) -> Any:
        (folder / "text").write_text("mine")
        with pytest.raises(RunError, match=r"another process is creating a run at(.|\n)*should(.|\n)*is: (.|\n)*try: "):
            make(out)
        assert (folder / "text").read_text() == "mine"
        return {}

    make(out, fill)
    assert sorted(entry.name for entry in out.iterdir()) == ["config.json", "text"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_a_run_that_appeared_meanwhile_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process makes the whole run between our look at the place and our lock."""
    from elman.storage import run_creation as place

    out, original = tmp_path / "run", place.folder_lock

    def late(folder: Path) -> Any:
        monkeypatch.setattr(place, "folder_lock", original)
        make(out, lambda folder: {"fingerprint": "theirs"})
        return original(folder)

    monkeypatch.setattr(place, "folder_lock", late)
    with pytest.raises(RunError, match="holds a run already"):
        make(out)
    assert RunDirectory.open(out).config["data"] == {"fingerprint": "theirs"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_the_directory_one_stands_in_is_filled_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "here"
    out.mkdir()
    before = out.stat().st_ino
    monkeypatch.chdir(out)

    def fill(folder: Path) -> Any:
        (folder / "a").write_text("a")
        (folder / "z").mkdir()
        return {}

    run = make(Path(), fill)
    assert out.stat().st_ino == before
    assert Path.cwd() == out
    assert sorted(entry.name for entry in Path().iterdir()) == ["a", "config.json", "z"]
    assert RunDirectory.open(Path()).config == run.config


def test_config_is_the_last_that_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, original = [], Path.rename

    def rename(self: Path, target: Path) -> Path:
        names.append(self.name)
        return original(self, target)

    def fill(folder: Path) -> Any:
        for name in ("a", "d"):
            (folder / name).write_text(name)
        return {}

    monkeypatch.setattr(Path, "rename", rename)
    make(tmp_path, fill)
    assert names == ["a", "d", "config.json"]


def test_what_fails_leaves_an_empty_directory_empty(tmp_path: Path) -> None:
    def fill(folder: Path) -> Any:
        (folder / "half").write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        make(tmp_path, fill)
    assert list(tmp_path.iterdir()) == []


def test_a_leftover_in_an_empty_directory_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".unfinished" / "deep").mkdir(parents=True)
    (tmp_path / ".unfinished" / "deep" / "half").write_text("half")
    make(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.json"]


def test_a_link_to_an_empty_directory_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to("real")
    make(link)
    assert link.is_symlink()
    assert (tmp_path / "real" / "config.json").exists()
    with RunDirectory.open(link).locked():
        pass
    link.unlink()
    link.symlink_to("nothing")
    with pytest.raises(RunError, match=r"is a link to nothing(.|\n)*try: "):
        make(link)


def test_something_else_of_the_name_of_the_unfinished_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "letter").write_text("dear")
    (tmp_path / ".run.unfinished").symlink_to("elsewhere")
    with pytest.raises(RunError, match="cannot be written"):
        make(tmp_path / "run")
    assert (tmp_path / "elsewhere" / "letter").read_text() == "dear"


def test_a_disk_that_is_full_at_first_speaks_of_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(handle: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(RunError, match=r"the disk is full(.|\n)*free some space, or choose another") as error:
        make(tmp_path / "run")
    assert "--resume" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_has_no_lock(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "gone") as ours:
        assert ours is None
    with folder_lock(tmp_path) as ours, folder_lock(tmp_path) as second:
        assert (ours, second) == (True, False)


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGKILL"])
def test_a_signal_in_the_preparation_leaves_nothing_half(tmp_path: Path, name: str) -> None:
    number, staging = getattr(signal, name), tmp_path / ".run.unfinished"
    child = os.fork()
    if child == 0:
        try:
            if name != "SIGKILL":
                signal.signal(number, signal.SIG_DFL)  # which nohup ignores
            make(tmp_path / "run", lambda folder: os.kill(os.getpid(), number))
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -number
    assert list(tmp_path.iterdir()) == ([staging] if name == "SIGKILL" else [])
    if name == "SIGKILL":
        with pytest.raises(RunError, match=r"\.run\.unfinished, the remains(.|\n)*repeat the command"):
            RunDirectory.open(tmp_path / "run")
        make(tmp_path / "run")
        assert list(tmp_path.iterdir()) == [tmp_path / "run"]


def test_handlers_of_signals_are_given_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    make(tmp_path / "run")
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("name", ["z" * 300, "a\0b", "a\ud800", "loop", "loop/x"])
def test_a_place_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(RunError):
        make(tmp_path / name)
    with pytest.raises(RunError):
        RunDirectory.open(tmp_path / name)
