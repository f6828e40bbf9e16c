"""Files appear whole or not at all."""

import errno
from pathlib import Path

import pytest

from elman.data.files import written_beside
from elman.errors import DataError


def test_the_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with written_beside(path) as beside:
        beside.write_text("new")
        assert beside.parent == tmp_path
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("fails", [KeyboardInterrupt(), DataError("bad text"), OSError(errno.ENOSPC, "disk full")])
def test_what_was_there_survives_a_failure(tmp_path: Path, fails: BaseException) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises((KeyboardInterrupt, DataError)), written_beside(path) as beside:
        beside.write_text("half")
        raise fails
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_message(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"cannot write .*/file: No space left on device\n(.*\n)*.*free some space"),
        written_beside(tmp_path / "file"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_missing_folder_is_one_message(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"cannot write .*: No such file or directory\n.*a folder that exists"),
        written_beside(tmp_path / "none" / "file") as beside,
    ):
        beside.write_text("x")
