"""Preparation of labelled sequences: classes, split, symbols and scales, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from elman.data.labelled.dataset import (
    EXAMPLES,
    HELD,
    LABELS,
    NO_RECENTRING,
    VALIDATION,
    LabelledFormat,
    LabelledPart,
    Recentring,
    whole_part,
)
from elman.data.labelled.example import Example, Values
from elman.data.labelled.labels import Labels, class_names, label_number, split_examples
from elman.data.labelled.text_encoder import TextEncoder
from elman.data.skipped import SkippedRows
from elman.errors import DataError
from elman.storage.files import written_beside
from elman.storage.ragged import RaggedArrays

Read = Callable[[], Iterator[Example]]
Encode = Callable[[str, Values, Any], tuple[NDArray[Any], NDArray[Any]]]
Result = TypeVar("Result")
StepForm = tuple[tuple[int, ...], str]
"""The shape and the type of a step of numbers."""

SHORT = 4.0  # words in a text, on average, up to which it is read by characters


def prepare_examples(
    read: Read,
    folder: Path,
    *,
    reader: str,
    target: str,
    vocabulary: str = "auto",
    vocabulary_size: int | None = None,
    validation: float = 0.1,
    validation_read: Read | None = None,
    seed: int = 1,
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Read examples, choose the classes and symbols by the training part, and write all into a folder.

    Args:
        read: begins reading the examples; called twice, and for text three times.
        folder: where they go.
        reader: the name of their reader.
        target: a name in `elman.data.labelled.labels.TARGETS`.
        vocabulary: a name in `elman.data.text.vocabularies.VOCABULARIES`, or auto: characters for short texts, else
            words.
        vocabulary_size: most symbols.
        validation: the share for validation.
        validation_read: begins reading separate examples for validation instead.
        seed: of the split.
        skip_bad: skip broken examples.

    Returns:
        What config.json says about the data.

    Raises:
        DataError: there are too few examples, one is broken, or they differ in kind.
    """
    valid, names, form, words, extremes = _survey(read, target, skip_bad)
    held_out = split_examples(names, target, 0.0 if validation_read else validation, seed)
    labels = Labels.of(target, [name for name, out in zip(names, held_out, strict=True) if not out])
    if not (held_out.any() or validation_read):
        raise DataError(
            "there are too few examples",
            should="some for training and some for validation",
            found=f"{len(held_out)} examples, of which {int(held_out.sum())} for validation",
            hint="more data, or another --set validation=SHARE",
        )
    training = {n for n, out in zip(valid, held_out, strict=True) if not out}
    encoder = None
    if form is None:

        def texts() -> Iterator[Values]:
            examples = valid_examples(read, lambda name, values, label: values, skip_bad, SkippedRows())
            return (values for n, values in examples if n in training)

        kind = vocabulary if vocabulary != "auto" else "characters" if words <= SHORT else "words"
        encoder = TextEncoder.build(texts, kind, vocabulary_size)
        encoder.vocabulary.save(folder)
    skipped = SkippedRows()
    recentring = Recentring.fit([extremes[n] for n in valid if n in training and n in extremes])
    encode = make_encoder(labels, encoder, form, recentring)
    part, places = write_examples(folder, EXAMPLES, read, encode, skip_bad, skipped)
    held_out = np.array([n not in training for n in places])
    if held_out.all() or not (held_out.any() or validation_read):
        raise DataError(
            "there are too few examples",
            should="some for training and some for validation",
            found=f"{len(held_out)} examples, of which {int(held_out.sum())} for validation; {skipped.count} skipped",
            hint="more data, or another --set validation=SHARE",
        )
    with written_beside(folder / HELD) as file:
        np.save(file, held_out, allow_pickle=False)
    shape = part.input.values.shape[1:]
    mean, deviation = ((0.0,), (1.0,)) if encoder else _moments(part.input, np.flatnonzero(~held_out))
    kind = "symbols" if encoder else "features" if len(shape) == 1 else "frames"
    content = "text" if encoder else _content(part.input.values.dtype, bool(extremes))
    spread = mean, deviation
    LabelledFormat(kind, shape, *spread, labels, reader, recentring.offset, recentring.unit, content).save(folder)
    if validation_read:
        write_examples(folder, VALIDATION, validation_read, encode, skip_bad, skipped)
    lines, lengths = skipped.lines(), part.input.lengths
    notes = [*labels.notes(), *_rounding_notes(mean, deviation)]
    counts = [f"{name} ({count})" for name, count in zip(labels.classes, labels.counts, strict=True)]
    return {
        "reader": reader,
        "a_step": f"one of {encoder.size} {encoder.vocabulary.kind}" if encoder else f"{kind} {shape}",
        "steps": f"{lengths.min()} to {lengths.max()}",
        "labels": counts or "numbers",
        "skipped_rows": skipped.count,
        **({"skipped": lines} if lines else {}),
        **({"notes": notes} if notes else {}),
    }


def _survey(
    read: Read, target: str, skip_bad: bool
) -> tuple[list[int], list[Any], StepForm | None, float, dict[int, NDArray[np.float64]]]:
    """Return the numbers of the valid examples, their labels, what most are made of, and the words of a text.

    Last are the least and the greatest value of each feature, (2, I), of those examples that are float64.

    An example whose steps are not like those of most is refused here, or skipped, whichever comes first in the file.
    """
    examples: list[tuple[int, str, Any, StepForm | None, int]] = []
    extremes: dict[int, NDArray[np.float64]] = {}

    def look(name: str, values: Values, label: Any) -> tuple[str, Any, StepForm | None, int, Any]:
        _ = label_number(label, name) if target == "number" else class_names(label, target, name)
        count = len(values.split()) if isinstance(values, str) else len(values)
        ends = None
        if isinstance(values, np.ndarray) and values.dtype == np.float64 and values.ndim == 2:
            ends = np.stack([values.min(0), values.max(0)])
        return name, label, form_of(values), count, ends

    skipped = SkippedRows()
    forms: Counter[StepForm | None] = Counter()
    for n, (name, label, form, count, ends) in valid_examples(read, look, skip_bad, skipped):
        forms[form] += 1
        if ends is not None:
            extremes[n] = ends
        examples.append((n, name if form not in forms or forms[form] == 1 else "", label, form, count))
    if not examples:
        raise no_examples_error(skipped)
    most = forms.most_common(1)[0][0]
    odd = next((example for example in examples if example[3] != most), None)
    if odd and not skip_bad:
        raise unlike_error(odd[1], most, odd[3])
    alike = [example for example in examples if example[3] == most]
    words = sum(count for *_, count in alike) / len(alike)
    return [n for n, *_ in alike], [label for _, _, label, *_ in alike], most, words, extremes


def _content(dtype: np.dtype[Any], from_float64: bool) -> str:
    """Return what the files of numbers hold: bytes are pixels, and of the rest the features of sound alone are float32.

    Args:
        dtype: of the steps as they are kept.
        from_float64: whether steps were float64 before.
    """
    return "pixels" if dtype == np.uint8 else "numbers" if from_float64 else "sound"


def form_of(values: Values) -> StepForm | None:
    """Return what the steps of an example are: the shape and type of numbers, as they are kept; None for text."""
    if isinstance(values, str | list):
        return None
    return values.shape[1:], "float32" if values.dtype == np.float64 else str(values.dtype)


def unlike_error(name: str, form: StepForm | None, other: StepForm | None) -> DataError:
    """Return the error for an example whose steps are not like those of the others.

    Args:
        name: of the example.
        form: of the others.
        other: its own.
    """
    if form is None or other is None:
        should, found = "all text, or all numbers", "text" if other is None else "numbers"
    else:
        should, found = f"steps of shape {form[0]} and type {form[1]}", f"{other[0]} and {other[1]}"
    hint = "one kind of data; --skip-bad skips what is not like most"
    return DataError(f"{name} is not like the others", should=should, found=found, hint=hint)


def valid_examples(
    read: Read, make: Callable[[str, Values, Any], Result], skip_bad: bool, skipped: SkippedRows
) -> Iterator[tuple[int, Result]]:
    """Yield what is made of the examples that are not broken, with their places among all.

    Args:
        read: begins reading.
        make: (name, values, label) -> anything. Raises DataError for an example that is broken.
        skip_bad: skip broken examples, and count them in `skipped`.
        skipped: grows.

    Raises:
        DataError: an example is broken, and `skip_bad` is not set.
    """
    for n, example in enumerate(read()):
        try:
            made = load_example(example, make)
        except DataError as error:
            if not skip_bad:
                raise
            skipped.add(error.what)
            continue
        yield n, made


def load_example(example: Example, make: Callable[[str, Values, Any], Result]) -> Result:
    """Load an example and return what is made of it.

    Raises:
        DataError: it is broken; the message names it.
    """
    name, load, label = example
    try:
        values = load()
        if len(values) == 0:
            raise DataError(f"{name} is empty", should="at least one step", found="none")
        return make(name, values, label)
    except DataError as error:
        what = error.what if name in error.what else f"{name}: {error.what}"
        raise error.amended(what, hint=_with_skip_bad(error.hint)) from error


def _with_skip_bad(hint: str | None) -> str:
    if hint and "--skip-bad" in hint:
        return hint
    return "; ".join([*([hint] if hint else []), "--skip-bad skips broken examples"])


def no_examples_error(skipped: SkippedRows) -> DataError:
    """Return the error for data without a single sound example."""
    return DataError(
        "there are no examples" + (" left" if skipped.count else ""),
        should="at least one, and two of each class for training",
        found="; ".join([f"{skipped.count} skipped", *skipped.lines()[:3]]) if skipped.count else "none",
    )


def make_encoder(
    labels: Labels | None,
    encoder: TextEncoder | None,
    form: StepForm | None = None,
    recentring: Recentring = NO_RECENTRING,
) -> Encode:
    """Return what makes an example an array of steps and an array of its label, and refuses one unlike the others.

    Args:
        labels: what labels there are; None: they are not looked at.
        encoder: of text.
        form: what the steps of numbers must be; None: what those of the first example are.
        recentring: of numbers.
    """
    forms = [form] if form else []

    def encode(name: str, values: Values, label: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        found = form_of(values)
        if (found is None) != (encoder is not None):
            kinds = ("text", "numbers") if encoder else ("numbers", "text")
            raise DataError(f"{name} is not what the model reads", should=kinds[0], found=kinds[1])
        steps: NDArray[Any] = encoder.encode(values) if encoder else recentring.to_float32(name, np.asarray(values))
        if len(steps) == 0:
            raise DataError(f"{name} has no symbols", should="at least one", found=repr(values)[:40])
        target = np.zeros(1) if labels is None else labels.encode(label, name, len(steps))
        if found is not None:
            forms[:] = forms or [found]
            if found != forms[0]:
                raise unlike_error(name, forms[0], found)
        return steps, target

    return encode


def write_examples(
    folder: Path, name: str, read: Read, make: Encode, skip_bad: bool, skipped: SkippedRows
) -> tuple[LabelledPart, list[int]]:
    """Encode examples and write them, one by one; return them with their places among all that were read.

    Raises:
        DataError: an example is broken, has a label that the training part has not, or is not like the others.
    """
    targets: list[NDArray[Any]] = []
    places: list[int] = []

    def inputs() -> Iterator[NDArray[Any]]:
        for n, (steps, target) in valid_examples(read, make, skip_bad, skipped):
            targets.append(target)
            places.append(n)
            yield steps
        if not places:
            raise no_examples_error(skipped)

    written = RaggedArrays.write(folder, name, inputs())
    return whole_part(written, RaggedArrays.write(folder, name + LABELS, targets)), places


def _rounding_notes(mean: tuple[float, ...], deviation: tuple[float, ...]) -> list[str]:
    """Return a line for each feature whose changes float32 rounds off beside its mean."""
    return [
        f"feature {n + 1} stays near {m:.6g}, where float32 rounds small changes off: subtract that first"
        for n, (m, d) in enumerate(zip(mean, deviation, strict=True))
        if abs(m) > 1e5 * d and abs(m) > 1 << 24
    ][:5]


def _moments(input: RaggedArrays, chosen: NDArray[np.int64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation of each feature over the chosen sequences; of bytes, one for all.

    A feature that never changes has the deviation 1.
    """
    width = 1 if input.values.dtype == np.uint8 else -1

    def steps() -> Iterator[NDArray[np.float64]]:
        for n in chosen:
            sequence = input[int(n)]
            yield sequence.reshape(-1, 1 if width == 1 else sequence.shape[-1]).astype(np.float64)

    count = sum(map(len, steps()))
    mean = sum(part.sum(0) for part in steps()) / count
    deviation = np.sqrt(sum(((part - mean) ** 2).sum(0) for part in steps()) / count)
    deviation[deviation <= 1e-7 * np.abs(mean)] = 1.0
    return tuple(map(float, mean)), tuple(map(float, deviation))
