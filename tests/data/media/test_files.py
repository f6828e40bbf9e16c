"""Files and folders of pictures, sound and video."""

from pathlib import Path

import pytest

from elman.data.media.files import files_of
from elman.errors import DataError


def test_a_folder_stands_for_its_files_in_order(tmp_path: Path) -> None:
    for name in ("b.wav", "A.WAV", "c.txt", "d"):
        (tmp_path / name).touch()
    assert files_of(tmp_path, (".wav",), kind="sound") == [tmp_path / "A.WAV", tmp_path / "b.wav"]
    for file in (tmp_path / "c.txt", tmp_path / "gone.wav", Path("-"), Path(300 * "x")):
        assert files_of(file, (".wav",), kind="sound") == [file]
    with pytest.raises(DataError, match=r"has no video\n.*suffix \.mp4, \.avi\n.*none\n.*name the files"):
        files_of(tmp_path, (".mp4", ".avi"), kind="video")


def test_a_folder_that_is_forbidden_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", forbidden)
    with pytest.raises(DataError, match=r"cannot be read\n.*a readable folder\n.*Permission denied\n.*ls -ld"):
        files_of(tmp_path, (".wav",), kind="sound")
