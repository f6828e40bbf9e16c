"""Tables of transcribed files, and their split."""

from pathlib import Path

import pytest

from elman.data.speech.readers import MAX_PATH, MAX_TEXT, TranscribedFile, read_transcripts, split_rows
from elman.errors import DataError


def test_a_table_names_files_texts_and_speakers(tmp_path: Path) -> None:
    table = tmp_path / "x.tsv"
    table.write_text("text\twho\tfile\n  so   it is \tme\ta.wav\n\nno\tyou\t/b.wav\n")
    assert list(read_transcripts(table, columns=("file", "text", "who"))) == [
        TranscribedFile(tmp_path / "a.wav", "so it is", "me"),
        TranscribedFile(Path("/b.wav"), "no", "you"),
    ]
    with pytest.raises(DataError, match=r"no column 'speaker' for the speaker"):
        list(read_transcripts(table, columns=("path", "text", "speaker"))) if table.write_text(
            "path\ttext\na\tb\n"
        ) else None
    table.write_text("path\ttext\tspeaker\na.wav\tso\t\n")
    with pytest.raises(DataError, match="line 2: the speaker is empty"):
        list(read_transcripts(table, columns=("path", "text", "speaker")))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"a.wav\t{(MAX_TEXT + 1) * 'a'}\tme", r"line 3: the text is too long\n.*at most 65536 .*\n.*65537: 'aaa"),
        (f"{(MAX_PATH + 1) * 'a'}\tso\tme", "line 3: the path is too long"),
        (f"a.wav\tso\t{(MAX_PATH + 1) * 'a'}", "line 3: the speaker is too long"),
        ((1 << 20) * "a", r"x\.tsv, line 3: a cell is missing"),
    ],
)
def test_an_invalid_cell_is_refused_with_its_line(tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / "x.tsv").write_text(f"path\ttext\tspeaker\nb.wav\tso\tme\n{row}x\n")
    with pytest.raises(DataError, match=message):
        list(read_transcripts(tmp_path / "x.tsv", columns=("path", "text", "speaker")))


def test_parts_are_drawn_by_the_seed_and_keep_their_order() -> None:
    rows = [TranscribedFile(Path(str(n)), str(n)) for n in range(50)]
    training, judged = split_rows(rows, 0.2, seed=3)
    assert (len(training), len(judged)) == (40, 10)
    assert sorted(training + judged, key=lambda row: int(row.text)) == rows
    assert all(part == sorted(part, key=lambda row: int(row.text)) for part in (training, judged))
    assert split_rows(rows, 0.2, seed=3) == (training, judged)
    assert split_rows(rows, 0.2, seed=4) != (training, judged)
    for share in (0.0, 1.0):
        with pytest.raises(DataError, match=r"too few sentences(.*\n)*.*validation_data=TABLE"):
            split_rows(rows, share, seed=3)


@pytest.mark.parametrize("separator", ["\t", ",", ";", "|"])
def test_cells_are_taken_by_their_place(tmp_path: Path, separator: str) -> None:
    table = tmp_path / "x.tsv"
    table.write_text("\tpath\ttext\n0\ta.wav\tlow mid\n\tb.wav\thigh\n".replace("\t", separator))
    rows = list(read_transcripts(table))
    assert [(row.source, row.text) for row in rows] == [(tmp_path / "a.wav", "low mid"), (tmp_path / "b.wav", "high")]
