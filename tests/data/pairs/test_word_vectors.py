"""Word vectors from text files of every usual form."""

from pathlib import Path

import numpy as np
import pytest

from elman.data.pairs.word_vectors import read_vectors, unit_vectors
from elman.errors import DataError

GLOVE = "the 1 2\nCat 3 4\ncat 5 6\n. . 7 8\nDog 9 10\nrare 0 0\n"


@pytest.mark.parametrize("form", [GLOVE, "6 2\n" + GLOVE, GLOVE.replace("\n", " \n"), GLOVE.rstrip("\n")])
def test_known_words_are_read_in_every_form(tmp_path: Path, form: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(form)
    found = read_vectors(path, {"cat", "dog", "never"})
    assert {word: vector.tolist() for word, vector in found.items()} == {"cat": [5, 6], "dog": [9, 10]}


def test_the_first_words_can_be_kept_too(tmp_path: Path) -> None:
    path = tmp_path / "vectors.vec"
    path.write_text(GLOVE)
    assert set(read_vectors(path, {"dog"}, more=2)) == {"the", "cat", "dog"}


def test_stacked_vectors_have_length_one() -> None:
    rows = np.concatenate(list(unit_vectors({"a": np.array([3, 4], np.float32)}, ["b", "a"])))
    np.testing.assert_allclose(rows, [[0, 0], [0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the 1 2\ncat 1 x\n", r"line 2 is not a word vector\n.*a word and 2 numbers"),
        ("the 1 2\ncat 1 nan\n", "line 2 is not a word vector"),
        ("the 1 2\ncat 1\n", "line 2 is not a word vector"),
        ("the 1 2\nothers\n", "line 2 is not a word vector"),
        ("le 1 2\nchat 1 2\n", r"has a vector for no word of the data\n.*\n.*none"),
    ],
)
def test_what_is_no_vector_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_vectors(path, {"the", "cat"} if text.startswith("the") else {"cat"})
