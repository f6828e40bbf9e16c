"""Checked records: what is written is read back, and invalid JSON is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from elman.errors import BrokenRun
from elman.storage import records
from elman.storage.records import is_number, read_record


@dataclass(frozen=True)
class Size:
    height: int = field(metadata={"low": 1, "high": 9})
    width: int = 1


@dataclass(frozen=True)
class Picture:
    name: str
    mode: str = field(metadata={"choices": ("grey", "colour")})
    size: Size
    crop: tuple[int, int]
    brightness: list[float] = field(metadata={"low": None, "length": 3})
    turned: bool
    notes: dict[str, list[str]]
    title: str | None = None
    version: int = field(default=1, metadata={"later": True})

    def check(self) -> None:
        if self.crop[0] > self.size.height:
            raise ValueError("the crop is higher than the picture")


PICTURE = Picture("x", "grey", Size(3), (2, 0), [-0.5, 1], True, {"a": ["b"]})


def test_a_record_comes_back(tmp_path: Path) -> None:
    records.write(tmp_path / "x.json", PICTURE)
    assert records.read(tmp_path / "x.json", Picture, "a picture") == PICTURE


def test_a_field_of_a_later_version_may_be_missing() -> None:
    fields = json.loads(json.dumps(asdict(PICTURE)))
    del fields["version"]
    assert read_record(Picture, fields) == PICTURE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "name is '3'"),
        ({"name": None}, "name is 'None'"),
        ({"mode": "pink"}, "mode is 'pink', not one of grey, colour"),
        ({"mode": ["grey"]}, "mode is"),
        ({"size": {"height": 0, "width": 1}}, "height is '0'"),
        ({"size": {"height": 10, "width": 1}}, "height is '10'"),
        ({"size": {"height": 1.0, "width": 1}}, "height is '1.0'"),
        ({"size": {"height": 1}}, "a Size has the fields height, width"),
        ({"crop": [1, 2, 3]}, "crop is"),
        ({"crop": [1, -2]}, "crop is '-2'"),
        ({"crop": [4, 0]}, "higher than the picture"),
        ({"brightness": [1, 2, 3, 4]}, "brightness is"),
        ({"brightness": "1"}, "brightness is"),
        ({"turned": 1}, "turned is '1'"),
        ({"notes": {"a": "b"}}, "a is 'b'"),
        ({"notes": []}, "notes is"),
        ({"title": 1}, "title is '1'"),
        ({"more": 1}, "a Picture has the fields"),
    ],
)
def test_an_invalid_field_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "x.json").write_text(json.dumps({**asdict(PICTURE), **change}))
    with pytest.raises(BrokenRun, match=rf"x.json is broken\n.*a picture\n.*{message}"):
        records.read(tmp_path / "x.json", Picture, "a picture")


def test_a_missing_and_a_large_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenRun, match=r"x.json cannot be read"):
        records.read(tmp_path / "x.json", Picture, "a picture")
    records.write(tmp_path / "x.json", PICTURE)
    with pytest.raises(BrokenRun, match=r"x.json is too large\n.*at most 9 bytes"):
        records.read(tmp_path / "x.json", Picture, "a picture", largest=9)


def test_numbers() -> None:
    assert all(is_number(value) for value in (0, -1, 2.5, 2**63))
    assert not any(is_number(value) for value in (None, True, "1", float("nan"), float("inf"), 10**400, []))


def test_an_integer_is_read_as_a_float_where_one_is_due() -> None:
    picture = read_record(Picture, {**asdict(PICTURE), "crop": [2, 0], "brightness": [1, 10**30, -1]})
    assert [type(number) for number in picture.brightness] == [float] * 3
    assert type(picture.crop[0]) is int
