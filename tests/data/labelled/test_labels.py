"""Labels of every kind as arrays, and the split by classes."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.labelled.labels import Labels, label_number, split_examples
from elman.errors import DataError
from elman.storage.records import read_record


def test_classes_are_sorted_and_counted() -> None:
    labels = Labels.of("class", ["10", "9", "b", 10, "a"])
    assert labels.classes == ("9", "10", "a", "b")
    assert labels.counts == (1, 2, 1, 1)
    assert labels.encode("b", "x", 5).tolist() == [3]
    assert labels.encode(["a", "a"], "x", 2).tolist() == [2]


def test_several_classes_tags_and_numbers() -> None:
    several = Labels.of("classes", ["a;b", ["c"], "b"])
    assert several.encode("c; a", "x", 4).tolist() == [[1, 0, 1]]
    for none in ("", " ", []):  # an empty cell of a table, and an empty list
        assert several.encode(none, "x", 4).tolist() == [[0, 0, 0]]
        assert Labels.of("classes", ["a;b", none]).examples == 2
    tags = Labels.of("tags", ["D N", ["V", "N"]])
    assert tags.encode("N V D", "x", 3).tolist() == [1, 2, 0]
    numbers = Labels.of("number", ["1", 3.0])
    assert (numbers.mean, numbers.deviation, numbers.outputs) == (2, 1, 1)
    assert numbers.encode("2.5", "x", 1).tolist() == [2.5]
    assert Labels.of("number", [2, 2]).deviation == 1


@pytest.mark.parametrize(
    ("target", "label", "message"),
    [
        ("class", "c", r"x has a label that is not in the training data\n.*one of a, b\n.*'c'"),
        ("class", None, "x has no label"),
        ("class", "", "x has no label"),
        ("classes", None, "x has no label"),
        ("class", ["a", "b"], r"x has several labels\n(.*\n)*.*target=classes"),
        ("tags", "a b", r"x has not as many tags as steps\n.*3 tags\n.*2"),
        ("tags", ["a", "", "b"], "a step without a tag"),
        ("number", "a", "x has a label that is not a number"),
        ("number", "nan", "x has a label that is not a number"),
    ],
)
def test_labels_that_do_not_fit_are_refused(target: str, label: object, message: str) -> None:
    labels = Labels.of(target, ["1", "2"] if target == "number" else ["a", "b"])
    with pytest.raises(DataError, match=message):
        labels.encode(label, "x", 3)


def test_a_single_class_is_refused() -> None:
    with pytest.raises(DataError, match=r"has a single class\n.*at least two classes\n.*'a' 3 times"):
        Labels.of("class", ["a"] * 3)


def test_labels_come_back_from_json_and_broken_ones_are_refused() -> None:
    labels = Labels.of("class", ["a", "b", "b"])
    fields = json.loads(json.dumps(asdict(labels)))
    assert read_record(Labels, fields) == labels
    for change in (
        {"target": "x"},
        {"classes": ["a", "a"]},
        {"counts": [1]},
        {"deviation": 0},
        {"mean": "1"},
        {"x": 1},
        {"classes": 3},
        {"examples": -1},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(change))} is|has the fields|classes|a deviation of 0"):
            read_record(Labels, {**fields, **change})
    with pytest.raises(ValueError, match="a Labels has the fields"):
        read_record(Labels, [])


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60), st.floats(0, 1), st.integers(0, 99))
def test_the_split_takes_a_share_of_each_class_and_never_all(labels: list, share: float, seed: int) -> None:
    held = split_examples(labels, "class", share, seed)
    np.testing.assert_array_equal(held, split_examples(labels, "class", share, seed))
    for name in set(labels):
        own = held[np.array(labels) == name]
        assert own.sum() == min(round(share * len(own)), len(own) - 1)


@given(st.lists(st.sampled_from(["a", "a;b", "c", "a;b;c;d"]), min_size=1, max_size=40), st.floats(0, 1))
def test_no_class_is_in_the_validation_part_alone(labels: list, share: float) -> None:
    held = split_examples(labels, "classes", share, 1)
    known = {name for label, out in zip(labels, held, strict=True) if not out for name in label.split(";")}
    assert known == {name for label in labels for name in label.split(";")}


def test_numbers_that_models_cannot_hold_are_refused() -> None:
    for label in (1e39, "-1e308", 10**400):
        with pytest.raises(DataError, match=r"too large|not a number"):
            label_number(label, "x")
    with pytest.raises(DataError, match=r"the labels are too small(\n.*)*larger unit"):
        Labels.of("number", [1e-40, 2e-40])
    assert Labels.of("number", [0.0, 1e38]).deviation == pytest.approx(5e37)
    assert Labels.of("number", [0, 0]).deviation == 1


def test_measurements_are_not_taken_for_classes() -> None:
    measured = [f"{n / 7:.3f}" for n in range(30)]
    with pytest.raises(DataError, match=r"numbers, not classes(\n.*)*30 different.*(\n.*)*--set target=number"):
        Labels.of("class", measured)
    assert len(Labels.of("class", measured * 3).classes) == 30, "each is there three times"
    assert len(Labels.of("class", [*measured, "none"]).classes) == 31
    assert len(Labels.of("class", [str(n) for n in range(30)]).classes) == 30
