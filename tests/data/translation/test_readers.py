"""Aligned lines, encoded pairs, and the default dates."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.skipped import SkippedRows
from elman.data.text.encoding import symbols_of
from elman.data.translation import dataset as bitext
from elman.data.translation.batches import parallel_batch
from elman.data.translation.builtin import dates_in_words
from elman.data.translation.dataset import ParallelDataset, read_validation_pairs, write_validation_pairs
from elman.data.translation.readers import SentencePair, numbered_pairs, read_parallel
from elman.data.translation.spool import SpooledPairs
from elman.data.translation.vocabularies import VocabularyPair
from elman.errors import DataError, RunError

PAIRS = [
    SentencePair("ein Haus", "a house"),
    SentencePair("zwei Bäume", "two trees"),
    SentencePair("drei", "three of them"),
]


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    raw = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


def test_two_files_one_file_and_compressed(tmp_path: Path) -> None:
    de = written(tmp_path, "x.de", "\n".join(pair.source for pair in PAIRS) + "\n")
    en = written(tmp_path, "x.en.gz", "\n".join(pair.target for pair in PAIRS))
    tsv = written(tmp_path, "x.tsv", "\ufeff" + "\n\n".join("\t".join(pair) for pair in PAIRS))
    assert list(read_parallel([de, en])) == PAIRS
    assert list(read_parallel([tsv])) == PAIRS
    assert list(numbered_pairs([tsv])) == list(zip((1, 3, 5), PAIRS, strict=True))


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ("a\nb\n", "a\n", r"different numbers of lines\n.*y\.txt as in .*x\.txt\n.*y\.txt ends after line 1"),
        ("a\n", "a\nb\n", r"different numbers of lines\n.*x\.txt as in .*y\.txt\n.*x\.txt ends after line 1"),
        ("a\n\n", "a\nb\n", r"x\.txt, line 2: a line is empty"),
        ("a\nb\n", "a\n\n", r"y\.txt, line 2: a line is empty"),
        (b"a\n\xff\n", "a\nb\n", r"x\.txt, line 2 is not valid UTF-8\n.*\n.*0xff at offset 0\n.*iconv"),
        ("", "", "has no lines"),
        ("a\n", "", r"y\.txt is empty"),
        ("a" * (1 << 20) + "b", "a", r"x\.txt, line 1 is too long"),
    ],
)
def test_what_two_files_are_refused_for(tmp_path: Path, left: str | bytes, right: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(read_parallel([written(tmp_path, "x.txt", left), written(tmp_path, "y.txt", right)]))


def test_what_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: there is no tab"):
        list(read_parallel([written(tmp_path, "x.tsv", "a\tb\nc d\n")]))
    with pytest.raises(DataError, match=r"line 2: there is more than one tab(\n.*)*CC0"):
        list(read_parallel([written(tmp_path, "x.tsv", "a\tb\t\nc\td\tCC0\n")]))
    with pytest.raises(DataError, match="line 2: a line is empty"):
        list(read_parallel([written(tmp_path, "x.tsv", "a\tb\n\td\n")]))
    with pytest.raises(DataError, match="one file or two"):
        list(read_parallel([tmp_path] * 3))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_parallel([tmp_path / "nothing"]))
    broken = tmp_path / "x.gz"
    broken.write_bytes(gzip.compress(b"a\tb\n" * 1000)[:-20])
    with pytest.raises(DataError, match=r"x\.gz cannot be read"):
        list(read_parallel([broken]))


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("kind", ["bpe", "characters", "words"])
def test_pairs_come_back_from_the_folder(tmp_path: Path, joint: bool, kind: str) -> None:
    made = VocabularyPair.learn([PAIRS], tmp_path, kind=kind, size=None, joint=joint)
    languages = VocabularyPair.load(tmp_path)
    assert [v.fingerprint for v in languages] == [v.fingerprint for v in made]
    assert (languages.source.fingerprint == languages.target.fingerprint) == joint
    ParallelDataset.write(tmp_path, map(languages.encode, PAIRS))
    sizes = languages.source.size, languages.target.size
    found = ParallelDataset.open(tmp_path, sizes)
    assert found.fingerprint == ParallelDataset.of(PAIRS, languages).fingerprint
    for n, pair in enumerate(PAIRS):
        for vocabulary, part, line in zip(languages, (found.source, found.target), pair, strict=True):
            assert "".join(symbols_of(vocabulary, part[n])).strip() == line
    assert len(found) == len(PAIRS)
    batch = parallel_batch(found, np.array([2, 0]))
    assert batch.lengths_B.tolist() == [len(found.source[2]), len(found.source[0])]
    assert batch.target_TB[:, 1].tolist()[: len(found.target[0])] == found.target[0].tolist()
    assert found.steps[[2, 0]].max() == max(len(batch.source_SB), len(batch.target_TB) + 1)
    assert (batch.target_TB >= 0).sum(0).tolist() == [len(found.target[2]), len(found.target[0])]


def test_long_pairs_are_left_out_with_file_and_line(tmp_path: Path) -> None:
    languages = VocabularyPair.learn([PAIRS], tmp_path, kind="words", size=None, joint=True)
    rows = zip((3, 4, 7), PAIRS, strict=True)
    pairs = SpooledPairs.write(tmp_path / "pairs", ("x.de", "x.en"), rows)
    left_out = SkippedRows()
    kept = list(languages.encode_short(pairs, 2, left_out))
    assert [pair for pair, _ in kept] == PAIRS[:2]
    assert all(
        [list(ids) for ids in encoded] == [list(ids) for ids in languages.encode(pair)] for pair, encoded in kept
    )
    assert left_out.lines() == ["x.en, line 7: 3 symbols"]
    with pytest.raises(DataError, match="every pair is too long"):
        list(languages.encode_short(pairs, 1, left_out))
    assert left_out.count == 4 and left_out.lines()[1] == "x.de, line 3: 2 symbols"


def test_an_unknown_character_has_its_place_in_the_line(tmp_path: Path) -> None:
    languages = VocabularyPair.learn([PAIRS], tmp_path, kind="characters", size=None, joint=True)
    with pytest.raises(DataError, match=r"'\\u2603' at character 2 of the text"):
        ParallelDataset.of([*PAIRS, SentencePair("a\u2603", "a")], languages)


@given(st.lists(st.builds(SentencePair, st.text(max_size=5), st.text(max_size=5)), max_size=4))
def test_lines_are_written_as_json_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[SentencePair]
) -> None:
    path = tmp_path_factory.mktemp("lines") / "x.json"
    assert write_validation_pairs(path, iter(pairs)) == len(pairs)
    assert path.read_bytes().decode() == json.dumps(pairs, indent=2, ensure_ascii=False) + "\n"


def test_more_lines_than_can_be_read_again_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "validation.json"
    write_validation_pairs(path, PAIRS)
    monkeypatch.setattr(bitext, "MAX_BYTES", path.stat().st_size)
    write_validation_pairs(path, PAIRS)
    assert read_validation_pairs(path) == PAIRS
    message = r"too many pairs for validation.*\n.*at most \d+ bytes.*\n.*the first 4\n.*validation=0\.001"
    with pytest.raises(DataError, match=message):
        write_validation_pairs(path, [*PAIRS, SentencePair("a", "b")])
    assert read_validation_pairs(path) == PAIRS


def test_broken_folders_are_refused(tmp_path: Path) -> None:
    write_validation_pairs(tmp_path / "validation.json", PAIRS)
    assert read_validation_pairs(tmp_path / "validation.json") == PAIRS
    for content in ("[]", "[[1, 2]]", "[[]]", "{", "[" * 10**5, "3"):
        (tmp_path / "validation.json").write_text(content)
        with pytest.raises(RunError, match=r"validation\.json is broken"):
            read_validation_pairs(tmp_path / "validation.json")
    languages = VocabularyPair.learn([PAIRS], tmp_path, kind="words", size=None, joint=True)
    ParallelDataset.write(tmp_path, map(languages.encode, PAIRS))
    sizes = languages.source.size, languages.target.size
    ParallelDataset.open(tmp_path, sizes)
    for smaller in ((1, sizes[1]), (sizes[0], 1)):
        with pytest.raises(RunError, match=r"should be: .* of token ids below"):
            ParallelDataset.open(tmp_path, smaller)
    with pytest.raises(RunError, match=r"validation\.json is too large"):
        write_validation_pairs(tmp_path / "validation.json", [SentencePair("a" * (1 << 18), "b")])
        read_validation_pairs(tmp_path / "validation.json", 0)
    (tmp_path / "target.ends.npy").write_bytes((tmp_path / "source.ends.npy").read_bytes()[:-8])
    with pytest.raises(RunError):
        ParallelDataset.open(tmp_path, sizes)


def test_dates_are_what_a_calendar_says() -> None:
    pairs = list(dates_in_words(200, seed=1))
    assert list(dates_in_words(200, seed=1)) == pairs
    assert len({pair.source for pair in pairs}) == 200
    german = [pair for pair in pairs if pair.source.startswith("to German: ")]
    assert len(german) == 100
    months = [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ]
    for pair in german:
        weekday, _, rest = pair.target.rpartition(", ")
        day, month, year = rest.split()
        assert bool(weekday) == any(name in pair.source for name in ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))
        assert day[:-1] in pair.source
        assert month in months
        assert year in pair.source


def test_broken_pairs_are_skipped_and_counted(tmp_path: Path) -> None:
    tsv, skipped = written(tmp_path, "x.tsv", "a\tb\nc d\ne\t\nf\tg\n"), SkippedRows()
    assert list(numbered_pairs([tsv], skipped=skipped, skip_bad=True)) == [(1, ("a", "b")), (4, ("f", "g"))]
    assert skipped.count == 2
    assert skipped.first[0] == f"{tsv}, line 2: there is no tab: 'c d'"
    assert skipped.first[1].startswith(f"{tsv}, line 3: a line is empty and its partner is not")
    left, right = written(tmp_path, "x.en", "a\nb\n"), written(tmp_path, "x.de", "c\n\n")
    assert list(read_parallel([left, right], skip_bad=True)) == [("a", "c")]
    with pytest.raises(DataError, match=r"every pair of .*y\.tsv is broken"):
        list(read_parallel([written(tmp_path, "y.tsv", "a\nb\n")], skip_bad=True))
