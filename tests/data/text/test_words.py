"""Words: what is theirs alone."""

from collections.abc import Iterator

import pytest

from elman.data.text import words
from elman.data.text.words import Words, split_words
from elman.errors import DataError, SettingError


def test_the_most_frequent_words_are_kept() -> None:
    vocabulary = Words.build([["c c c b b a a d"]], size=5)
    assert vocabulary.words == ["<unk>", "<eos>", "c", "a", "b"]
    assert vocabulary.encode("a b c d\n").tolist() == [3, 4, 2, 0, 1]


def test_all_words_are_kept_without_a_size() -> None:
    assert Words.build([["a b", " c"], ["d"]]).words == ["<unk>", "<eos>", "a", "b", "c", "d"]


def test_two_documents_do_not_grow_together() -> None:
    assert Words.build([["left"], ["right"]]).words == ["<unk>", "<eos>", "left", "right"]


def test_a_line_ends_a_sentence() -> None:
    """The count of WikiText: one token for each word and one for each line, empty lines included."""
    text = " \n = Title = \n \n One sentence . \n <unk> <eos>\n"
    vocabulary = Words.build([[text]])
    ids = vocabulary.encode(text)
    assert len(ids) == len(text.split()) + text.count("\n")
    assert vocabulary.words.count("<unk>") == vocabulary.words.count("<eos>") == 1
    assert ids[-3:].tolist() == [vocabulary.unknown, vocabulary.end_of_line, vocabulary.end_of_line]
    assert vocabulary.decode(ids) == "\n= Title =\n\nOne sentence .\n<unk>\n\n"


def test_spaces_stand_between_words_of_a_line_only() -> None:
    vocabulary = Words.build([["a b"]])
    decoder = vocabulary.decoder()
    assert [decoder.push(number) for number in vocabulary.encode("a b\nb\n\na")] == [
        "a",
        " b",
        "\n",
        "b",
        "\n",
        "\n",
        "a",
    ]


def test_invalid_sizes_are_refused() -> None:
    for size in (2, -1, 1 << 25):
        with pytest.raises(SettingError, match=rf"invalid value for vocabulary_size\n.*from 3 to .*\n.*{size}"):
            Words.build([["a"]], size=size)


def test_a_text_of_whitespace_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"the text has no words\n.*whitespace\n.*whitespace only\n.*vocabulary=characters"
    ):
        Words.build([[" \n <unk> \n"]])


def test_a_text_without_whitespace_is_refused() -> None:
    def endless() -> Iterator[str]:
        while True:
            yield "x" * 300_000

    with pytest.raises(DataError, match=r"does not consist of words\n.*every 1048576 .*\n.*1200000 (.*\n)*.*bytes"):
        list(split_words(endless()))


def test_counting_forgets_the_rarest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "MOST_COUNTED", 10)
    pieces = [f"often often often rare{number} " for number in range(100)]
    built = Words.build([pieces])
    assert built.words[2] == "often"
    assert len(built) <= 12
