"""From a reader's examples to the files of a run."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman.data.batching import IGNORED
from elman.data.labelled.batches import collate, evaluation_batches, training_batches
from elman.data.labelled.dataset import LabelledFormat, LabelledPart, open_parts
from elman.data.labelled.example import Example
from elman.data.labelled.preparation import prepare_examples
from elman.data.labelled.text_encoder import TextEncoder
from elman.data.text.vocabularies import load_vocabulary
from elman.errors import DataError, RunError


def reader(*pairs: tuple) -> Any:
    def load(values: Any) -> Any:
        if isinstance(values, Exception):
            raise values
        return values

    def read() -> Iterator[Example]:
        return (Example(f"e{n}", partial(load, values), label) for n, (values, label) in enumerate(pairs))

    return read


def series(seed: int, count: int = 20) -> list[tuple]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(3, 2, (rng.integers(1, 6), 2)).astype(np.float32), "ab"[n % 2]) for n in range(count)]


def prepare(folder: Path, *pairs: tuple, **options: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    return prepare_examples(reader(*pairs), folder, reader="test", **{"target": "class", "validation": 0.2, **options})


def opened(folder: Path) -> tuple[LabelledPart, LabelledPart]:
    text = (folder / "vocabulary.json").exists()
    return open_parts(folder, LabelledFormat.open(folder), TextEncoder(load_vocabulary(folder)).size if text else 0)


def test_numbers_are_scaled_by_the_training_part_alone(tmp_path: Path) -> None:
    pairs = series(1)
    prepare(tmp_path, *pairs)
    training, validation = opened(tmp_path)
    assert (len(training), len(validation)) == (16, 4)
    assert training.fingerprint == validation.fingerprint, "that of the whole files"
    assert sorted([*training.chosen, *validation.chosen]) == list(range(20))
    joined = np.concatenate([pairs[n][0] for n in training.chosen]).astype(float)
    form = LabelledFormat.open(tmp_path)
    np.testing.assert_allclose(form.mean, joined.mean(0))
    np.testing.assert_allclose(form.deviation, joined.std(0))
    assert (form.kind, form.shape, form.labels.classes, form.labels.counts) == ("features", (2,), ("a", "b"), (8, 8))
    for n, (values, label) in enumerate(pairs):
        np.testing.assert_array_equal(training.input[n], values)
        assert training.target[n].tolist() == ["ab".index(label)]


def test_separate_validation_data(tmp_path: Path) -> None:
    prepare(tmp_path, *series(1), validation_read=reader(*series(2, 6)))
    training, validation = opened(tmp_path)
    assert (len(training), len(validation)) == (20, 6)
    np.testing.assert_array_equal(validation.input[0], series(2, 6)[0][0])
    with pytest.raises(DataError, match=r"e0 has a label that is not in the training data"):
        prepare(tmp_path, *series(1), validation_read=reader((np.zeros((1, 2), np.float32), "c")))


def test_symbols_come_from_the_training_part_alone(tmp_path: Path) -> None:
    pairs = [(f"word{n} and more of it", "ab"[n % 2]) for n in range(20)]
    prepare(tmp_path, *pairs)
    training, validation = opened(tmp_path)
    unknown = max(int(training.input.values.max()), 0)
    assert all(training.input[n].max() < unknown for n in training.chosen)
    assert all(training.input[n].max() == unknown for n in validation.chosen)
    assert prepare(tmp_path / "a", *[("ab", "x"), ("ba", "y")] * 5)["a_step"] == "one of 3 characters"


def test_broken_examples_are_named_or_left_out(tmp_path: Path) -> None:
    bad = (DataError("no numbers"), "a")
    pairs = [
        bad,
        *series(1),
        (np.zeros((0, 2), np.float32), "a"),
        (np.zeros((3, 1), np.float32), "b"),
        (series(1)[0][0], None),
    ]
    with pytest.raises(DataError, match=r"e0: no numbers\n(.*\n)*.*--skip-bad"):
        prepare(tmp_path, *pairs)
    torn = (DataError("torn", hint="make it anew"), "a")
    with pytest.raises(DataError, match=r"e0: torn\n.*make it anew; --skip-bad skips broken examples"):
        prepare(tmp_path, torn, *series(1))
    described = prepare(tmp_path, *pairs, skip_bad=True)
    wrong = ["e0: no numbers", "e21 is empty", "e22 is not like the others", "e23 has no label"]
    assert (described["skipped_rows"], described["skipped"]) == (4, wrong)
    training, validation = opened(tmp_path)
    assert len(training.chosen) + len(validation.chosen) == 20
    np.testing.assert_array_equal(training.input[3], pairs[4][0])


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "there are no examples"),
        ([("", "a")], "e0 is empty"),
        ([("a", "x"), (np.zeros((1, 1)), "y")], r"e1 is not like the others\n.*all text, or all numbers"),
        ([("a", "x"), ("b", "y")], r"there are too few examples\n(.*\n)*.*validation=SHARE"),
        ([("a", "x")] * 20, "has a single class"),
        ([("a", "x"), ("b", "x")], "has a single class"),
        ([(np.zeros((2, 2)), "x"), (np.zeros((2, 3)), "y")] * 9, r"e1 is not like the others\n.*\(2,\)(.*\n)*.*\(3,\)"),
    ],
)
def test_data_that_cannot_be_learned_from_is_refused(tmp_path: Path, pairs: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare(tmp_path, *pairs)


def test_that_everything_is_broken_is_said(tmp_path: Path) -> None:
    pairs = [(DataError("no numbers"), "a"), ("", "b")]
    with pytest.raises(DataError, match=r"no examples left\n.*\n.*2 skipped; e0: no numbers; e1 is empty"):
        prepare(tmp_path, *pairs, skip_bad=True)
    with pytest.raises(DataError, match=r"no examples left\n.*\n.*1 skipped; e0 has a label"):
        prepare(tmp_path, *series(1), validation_read=reader((np.zeros((1, 2)), "c")), skip_bad=True)


def test_batches_hold_what_the_losses_take(tmp_path: Path) -> None:
    prepare(tmp_path, *series(1))
    training, _ = opened(tmp_path)
    labels = LabelledFormat.open(tmp_path).labels
    batch = collate(training, labels, np.arange(3))
    assert batch.lengths_B is not None
    for b in range(3):
        steps = training.input[int(training.chosen[b])]
        np.testing.assert_array_equal(batch.input[: len(steps), b], steps)
        assert int(batch.lengths_B[b]) == len(steps)
    assert sum(len(batch.target) for batch in training_batches(training, labels, batch_size=3, seed=1)) == 16
    assert sum(len(batch.target) for batch in evaluation_batches(training, labels, batch_size=5)) == 16


def test_tags_are_padded_with_what_no_loss_counts(tmp_path: Path) -> None:
    prepare(tmp_path, *[("a b", "X Y"), ("c", "Y")] * 9, target="tags", vocabulary="words")
    batch = next(evaluation_batches(opened(tmp_path)[0], LabelledFormat.open(tmp_path).labels))
    assert batch.target.shape == batch.input.shape
    assert (batch.target[1, 0].item(), batch.target[:, -1].tolist()) == (IGNORED, [0, 1])


def test_numbers_as_labels_are_standardised(tmp_path: Path) -> None:
    prepare(tmp_path, *[(values, n) for n, (values, _) in enumerate(series(1))], target="number")
    training, _ = opened(tmp_path)
    target = collate(training, LabelledFormat.open(tmp_path).labels, np.arange(16)).target
    assert target.mean().item() == pytest.approx(0, abs=1e-6)
    assert target.std(correction=0).item() == pytest.approx(1)


def test_a_broken_run_is_refused(tmp_path: Path) -> None:
    prepare(tmp_path, *series(1))
    text = (tmp_path / "examples.json").read_text()
    for change in (("features", "pictures"), ('"mean": [', '"mean": [NaN, '), ('"test"', "3"), ("{", "")):
        (tmp_path / "examples.json").write_text(text.replace(*change, 1))
        with pytest.raises(RunError, match=r"examples.json is broken"):
            LabelledFormat.open(tmp_path)
    (tmp_path / "examples.json").write_text(text)
    np.save(tmp_path / "held.npy", np.ones(20, bool))
    with pytest.raises(RunError, match=r"held.npy does not fit"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "options"),
    [
        ("examples", lambda a: a + 99, {"vocabulary": "words"}),
        ("examples", lambda a: a - 5, {"vocabulary": "words"}),
        ("examples", lambda a: a.astype("M8[s]"), {"vocabulary": "words"}),
        ("examples", lambda a: a.astype(">i4"), {"vocabulary": "words"}),
        ("examples", lambda a: a.astype("f4"), {"vocabulary": "words"}),
        ("examples", lambda a: a[:, None], {"vocabulary": "words"}),
        ("examples-labels", lambda a: a + 99, {}),
        ("examples-labels", lambda a: a - 1, {}),
        ("examples-labels", lambda a: a.astype("i8"), {}),
        ("examples-labels", lambda a: a + 2, {"target": "tags"}),
        ("examples-labels", lambda a: a * 3, {"target": "classes"}),
        ("examples-labels", lambda a: a * np.nan, {"target": "number"}),
    ],
)
def test_stored_numbers_are_checked_against_classes_and_symbols(
    tmp_path: Path, name: str, change: Any, options: dict
) -> None:
    label = {"number": 1, "tags": "x y"}
    kind = options.get("target", "class")
    pairs = [("a b", label.get(kind, "x")), ("c b", 2 if kind == "number" else "y x" if kind == "tags" else "y")]
    prepare(tmp_path, *pairs * 9, **{"vocabulary": "words", **options})
    opened(tmp_path)
    file = tmp_path / f"{name}.values.npy"
    np.save(file, change(np.load(file)))
    with pytest.raises(RunError, match=f"{name}.values.npy is broken"):
        opened(tmp_path)


def test_labels_that_do_not_fit_the_sequences_are_refused(tmp_path: Path) -> None:
    prepare(tmp_path, *series(1))
    file = tmp_path / "examples-labels.ends.npy"
    ends = np.load(file)
    ends[3] += 1
    np.save(file, ends)
    with pytest.raises(RunError, match=r"examples-labels\.values\.npy is broken"):
        opened(tmp_path)
        opened(tmp_path)


def precise(common: float, unit: float = 1.0) -> list[tuple]:
    return [(values.astype(np.float64) * unit + [common, 0.0], label) for values, label in series(1)]


@pytest.mark.parametrize(("common", "unit"), [(1.7e9, 1.0), (-3e12, 1.0), (0.0, 1e-42), (0.0, 1e34)])
def test_features_of_any_magnitude_are_told_apart(tmp_path: Path, common: float, unit: float) -> None:
    standardised = []
    for n, pairs in enumerate((precise(0.0), precise(common, unit))):
        prepare(tmp_path / str(n), *pairs)
        part, form = opened(tmp_path / str(n))[0], LabelledFormat.open(tmp_path / str(n))
        assert part.input.values.dtype == np.float32
        standardised.append((part.input.values - np.float32(form.mean)) / np.float32(form.deviation))
    np.testing.assert_allclose(standardised[1], standardised[0], rtol=2e-3, atol=2e-3)


def test_ordinary_features_are_stored_as_they_are(tmp_path: Path) -> None:
    pairs = precise(100.0, 0.1)
    prepare(tmp_path, *pairs)
    form, (part, _) = LabelledFormat.open(tmp_path), opened(tmp_path)
    assert (form.offset, form.unit) == ((), ())
    for n, (values, _) in enumerate(pairs):
        np.testing.assert_array_equal(part.input[n], values.astype(np.float32))


def test_a_feature_that_float32_cannot_carry_is_refused(tmp_path: Path) -> None:
    prepare(tmp_path, *precise(0.0, 1e-42))
    with pytest.raises(DataError, match=r"x has a number that is far from those of the training data\n.*\n.*1\.0"):
        LabelledFormat.open(tmp_path).recentring.to_float32("x", np.ones((2, 2)))


def test_numbers_to_predict_are_centred_before_they_are_rounded(tmp_path: Path) -> None:
    numbers = [1.7e9 + n % 4 / 4 for n in range(20)]
    prepare(tmp_path, *[("ab", number) for number in numbers], target="number")
    training, _ = opened(tmp_path)
    labels = LabelledFormat.open(tmp_path).labels
    target = collate(training, labels, np.arange(len(training))).target.double().numpy()
    np.testing.assert_allclose(target * labels.deviation + labels.mean, np.array(numbers)[training.chosen], atol=1e-6)


def test_the_majority_decides_what_the_steps_are(tmp_path: Path) -> None:
    odd = [(np.zeros((1, 1), np.float32), "a"), ("a text", "a"), (np.zeros((2, 2), np.uint8), "b")]
    for other in odd:
        description = prepare(tmp_path, other, *series(1), skip_bad=True)
        assert (description["skipped_rows"], len(opened(tmp_path)[0])) == (1, 16)
        with pytest.raises(DataError, match=r"e0 is not like the others(\n.*)*--skip-bad"):
            prepare(tmp_path, other, *series(1))
    texts = [(f"some text {n}", "ab"[n % 2]) for n in range(20)]
    assert prepare(tmp_path, series(1)[0], *texts, skip_bad=True)["skipped_rows"] == 1


@pytest.mark.parametrize("seed", range(6))
def test_parts_of_which_all_may_be_skipped_have_examples_or_are_refused(tmp_path: Path, seed: int) -> None:
    pairs = [(" ", "a"), ("w", "a"), (" ", "b"), ("w v", "b")]  # whether " " is for training depends on the seed
    options = {"skip_bad": True, "vocabulary": "words", "validation": 0.5, "seed": seed}
    try:
        prepare(tmp_path, *pairs, *([(" ", "a")] * 3), **options)
    except DataError as error:
        assert error.found
    else:
        assert all(len(part) for part in opened(tmp_path))


def test_numbers_far_from_0_are_not_rounded_to_one_another(tmp_path: Path) -> None:
    pairs = [(values, 1.7e9 + n % 3) for n, (values, _) in enumerate(series(1))]
    prepare(tmp_path, *pairs, target="number")
    training, _ = opened(tmp_path)
    labels = LabelledFormat.open(tmp_path).labels
    targets = collate(training, labels, np.arange(16)).target.numpy()
    expected = (np.array([pairs[n][1] for n in training.chosen]) - labels.mean) / labels.deviation
    np.testing.assert_allclose(targets, expected, atol=1e-5)
