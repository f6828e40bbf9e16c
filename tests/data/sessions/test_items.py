"""Items by falling frequency, in a file that a stranger may have written."""

from pathlib import Path

import numpy as np
import pytest

from elman.data.sessions.items import UNKNOWN, ItemCatalogue
from elman.errors import DataError, RunError


def test_the_most_frequent_is_first_and_rare_ones_are_unknown(tmp_path: Path) -> None:
    items, numbers = ItemCatalogue.of(["a", "b", "c", "never"], np.array([0, 1, 1, 2, 1, 2]), least=2)
    assert items.names == ["b", "c"]
    assert items.counts.tolist() == [3, 2]
    assert numbers.tolist() == [UNKNOWN, 0, 1, UNKNOWN]
    items.save(tmp_path)
    again = ItemCatalogue.load(tmp_path)
    assert (again.names, again.counts.tolist(), again.numbers) == (["b", "c"], [3, 2], {"b": 0, "c": 1})


def test_one_item_is_no_choice() -> None:
    with pytest.raises(DataError, match=r"nothing to choose among[\s\S]*1 of 2 items[\s\S]*a smaller min_item_count"):
        ItemCatalogue.of(["a", "b"], np.array([0, 0, 1]), least=2)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("[", "Expecting value"),
        ("[]", "has the fields items, counts"),
        ('{"items": ["a"], "counts": [1]}', "at least two different names"),
        ('{"items": ["a", 1], "counts": [1, 1]}', "items is '1'"),
        ('{"items": ["a", ""], "counts": [1, 1]}', "at least two different names"),
        ('{"items": ["a", "a"], "counts": [1, 1]}', "at least two different names"),
        ('{"items": ["a", "b"], "counts": [1]}', "1 counts for 2 items"),
        ('{"items": ["a", "b"], "counts": [1, 0]}', "counts is '0'"),
        ('{"items": ["a", "b"], "counts": [1, 2]}', "decreasing frequency"),
    ],
)
def test_a_broken_file_is_said(tmp_path: Path, content: str, found: str) -> None:
    (tmp_path / "items.json").write_text(content)
    with pytest.raises(RunError, match=rf"items.json is broken[\s\S]*{found}"):
        ItemCatalogue.load(tmp_path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"items.json cannot be read[\s\S]*No such file"):
        ItemCatalogue.load(tmp_path)
