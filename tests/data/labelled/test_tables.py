"""Tables of examples: text, numbers and files, one example on a row or one step."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from elman.data.labelled.example import ReaderOptions
from elman.data.labelled.readers import find_reader
from elman.data.labelled.tables import READER
from elman.errors import DataError


def rows(path: Path, text: str, **told: object) -> list:
    path.write_text(text, encoding="utf-8")
    return [(e.label, e.load()) for e in READER.read([path], ReaderOptions(**told))]


def test_text_and_label_by_their_usual_names(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    assert rows(path, 'id,label,text\n1,x,"one, two"\n\n2,y,three\n') == [("x", "one, two"), ("y", "three")]
    assert rows(path, "\ufefftext;class\nhello, you;x\n") == [("x", "hello, you")]
    assert rows(tmp_path / "a.tsv", 'sentence\tlabel\nsay "no\tx\n') == [("x", 'say "no')]
    assert rows(tmp_path / "b.tsv", "good\t1\nbad\t0\n", column_names=("text", "label")) == [
        ("1", "good"),
        ("0", "bad"),
    ]


def test_columns_that_are_named(tmp_path: Path) -> None:
    found = rows(tmp_path / "a.csv", "review,stars\nfine,4\n", text_column="review", label_column="stars")
    assert found == [("4", "fine")]


def test_numbers_in_columns_and_in_a_cell(tmp_path: Path) -> None:
    ((label, values),) = rows(tmp_path / "a.csv", "label,x1,x2,x3\ny,1,2,3\n", series_columns=("x*",))
    assert label == "y"
    np.testing.assert_array_equal(values, [[1], [2], [3]])
    ((_, values),) = rows(tmp_path / "a.csv", "label,series\ny,1 2.5 3\n")
    np.testing.assert_array_equal(values, [[1], [2.5], [3]])


def test_json_lines(tmp_path: Path) -> None:
    lines = [{"series": [[1, 2], [3, 4]], "label": "a"}, {"series": [[5, 6]], "label": ["b", "c"]}]
    found = rows(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines)))
    np.testing.assert_array_equal(found[0][1], [[1, 2], [3, 4]])
    assert found[1][0] == ["b", "c"]
    assert rows(tmp_path / "a.jsonl", '{"text": ["a", "b"], "label": 1}') == [(1, ["a", "b"])]


def test_rows_as_steps(tmp_path: Path) -> None:
    text = "run,x,y,label\nr1,1,2,a\nr1,3,4,a\nr2,5,6,b\n"
    (first, one), (second, two) = rows(tmp_path / "a.csv", text, group_column="run")
    assert (first, second) == (["a", "a"], ["b"])
    np.testing.assert_array_equal(one, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(two, [[5, 6]])
    words = rows(tmp_path / "a.tsv", "s\ttext\tlabel\n1\tthe\tD\n1\tcat\tN\n", group_column="s")
    assert words == [(["D", "N"], ["the", "cat"])]
    with pytest.raises(DataError, match=r"'r1' begins a second time.*(\n.*)*sort the table by run"):
        rows(tmp_path / "a.csv", text + "r1,1,2,a\n", group_column="run")
    with pytest.raises(DataError, match="no column 'runs'"):
        rows(tmp_path / "a.csv", text, group_column="runs")


def test_a_manifest_names_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    np.save(tmp_path / "sub" / "one.npy", np.arange(3.0))
    ((label, values),) = rows(tmp_path / "a.tsv", "path\tlabel\nsub/one.npy\tx\n")
    assert label == "x"
    np.testing.assert_array_equal(values, [[0], [1], [2]])
    with pytest.raises(DataError, match=r"two.npy does not exist"):
        rows(tmp_path / "a.tsv", "path\tlabel\nsub/two.npy\tx\n")


@pytest.mark.parametrize(
    ("text", "told", "message"),
    [
        ("txt,label\na,b\n", {}, r"no column for the text(\n.*)*txt, label(\n.*)*column_names=text,label"),
        ("text,lab\na,b\n", {}, r"no column for the label(\n.*)*label or class or target"),
        (
            "text,label\na,b\n",
            {"label_column": "lable"},
            r"no column 'lable' for the label(\n.*)*label_column=label",
        ),
        ("text,label\na,b\n", {"text_column": "words"}, "no column 'words'"),
        ("text,label\na,b\n", {"series_columns": ("x*",)}, r"no column 'x\*'"),
        ("text,label\n", {}, "has no rows"),
        ("text,label\na,b,c\n", {}, r"a.csv:2 is broken(\n.*)*3 cells"),
        ("text,label\na\n", {}, r"a.csv:2 is broken(\n.*)*1 cells"),
        ("series,label\n1 x,b\n", {}, r"a.csv:2 is not all numbers(\n.*)*'x' at place 2"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, told: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rows(tmp_path / "a.csv", text, **told)


def test_broken_json_is_named(tmp_path: Path) -> None:
    good = '{"text": "a", "label": "b"}\n'
    for line, message in (
        ("{nonsense\n", "a.jsonl:2 is broken"),
        ('{"text": "a"}\n', "no label"),
        ('{"series": [[1], [2, 3]], "text": null, "label": 1}\n', "is broken"),
    ):
        with pytest.raises(DataError, match=message):
            rows(tmp_path / "a.jsonl", good + line)
    with pytest.raises(DataError, match="the steps differ in size"):
        rows(tmp_path / "a.jsonl", '{"series": [[1], [2, 3]], "label": 1}')


def test_a_table_without_labels_can_be_predicted(tmp_path: Path) -> None:
    assert rows(tmp_path / "a.csv", "id,text\n1,a\n", labelled=False) == [(None, "a")]
    with pytest.raises(DataError, match="is not valid UTF-8"):
        (tmp_path / "a.csv").write_bytes(b"text,label\n\xff\xfe,b\n")
        list(READER.read([tmp_path / "a.csv"], ReaderOptions()))


def notes(path: Path, text: str, **told: object) -> list[str]:
    path.write_text(text, encoding="utf-8")
    options = ReaderOptions(**told)
    for example in READER.read([path], options):
        example.load()
    return sorted(re.sub(r"^1 file: (.*) \(.*\)$", r"\1", line) for line in options.notes.lines())


def test_what_is_guessed_and_not_used_is_named(tmp_path: Path) -> None:
    assert notes(tmp_path / "a.csv", ";id;label;text;note\n0;1;x;a;b\n") == [
        "separator: semicolon",
        "text_column=text, label_column=label",
        "unused columns: column 1, which has no name, id, note",
    ]
    assert notes(tmp_path / "a.csv", "text,label\na,b\n") == ["text_column=text, label_column=label"]
    lines = '{"text": "a", "label": "b", "id": 1}\n{"text": "a", "label": "b", "more": [1]}\n'
    assert notes(tmp_path / "a.jsonl", lines)[1] == "unused keys: id, more"


def test_row_numbers_are_no_feature(tmp_path: Path) -> None:
    for name in ("", "Unnamed: 0"):
        text = f"{name},run,x,y,label\n0,r1,1,2,a\n1,r1,3,4,a\n2,r2,5,6,b\n"
        (_, one), _ = rows(tmp_path / "a.csv", text, group_column="run")
        np.testing.assert_array_equal(one, [[1, 2], [3, 4]])
        assert any(note.startswith("unused columns:") for note in notes(tmp_path / "a.csv", text, group_column="run"))


def test_a_name_that_two_columns_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"several columns 'text'\n.*\n.*text, text, label"):
        rows(tmp_path / "a.csv", "text,text,label\na,b,c\n")
    assert rows(tmp_path / "a.csv", "id,id,text,label\n1,2,a,b\n") == [("b", "a")]


def test_a_broken_first_line_of_json_does_not_decide(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for line in ("{", '{"id": 1}', "[1]", "[" * 100_000, '{"text": "\\ud800", "label": "x"}'):
        path.write_text(line + '\n{"text": "a", "label": "b"}\n')
        first, second = READER.read([path], ReaderOptions())
        with pytest.raises(DataError, match=r"a\.jsonl:1 is broken"):
            first.load()
        assert second.load() == "a"
    path.write_text("{\n")
    with pytest.raises(DataError, match=r"a\.jsonl:1 is broken"):
        list(READER.read([path], ReaderOptions()))


def test_a_path_that_the_system_refuses_is_one_error(tmp_path: Path) -> None:
    for name in ("z" * 300 + ".npy", "sub/" * 3000 + "a.npy"):
        with pytest.raises(DataError, match=r"cannot be read\n.*\n.*File name too long"):
            rows(tmp_path / "a.tsv", f"path\tlabel\n{name}\tx\n")
    with pytest.raises(DataError, match="cannot be read"):
        find_reader([Path("z" * 300)])
