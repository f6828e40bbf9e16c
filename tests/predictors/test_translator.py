"""A trained translator: translations, alignments and their plots."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import elman as elman_package
from elman.data.text.encoding import encode_line, symbols_of
from elman.errors import SettingError
from elman.predictors.inputs import input_lines
from elman.predictors.options import TranslateOptions

Elman = Callable[..., Any]
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.fixture
def data(translation_data: Path) -> Path:
    return translation_data


@pytest.fixture
def run(translation_run: Path) -> Path:
    return translation_run


def test_it_knows_its_run_and_its_options(run: Path) -> None:
    predictor = elman_package.load(run)
    assert predictor.run == run
    assert set(predictor.metrics) == {"nats_per_symbol"}
    assert predictor.Options is TranslateOptions
    assert predictor.translate_texts(["one two", "three"]) == [("zwei eins", ""), ("drei", "")]


def test_what_is_too_long_is_refused_with_its_place(elman: Elman, run: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("one two\n" + 30 * "one " + "\nthree\n")
    answer = elman("predict", run, lines, "--set", "max_symbols=20")
    assert (answer.code, answer.out) == (2, "zwei eins\n")
    assert "lines.txt, line 2 is too long" in answer.err
    assert "--set max_symbols=30" in answer.err
    assert len(elman("predict", run, lines, "--set", "max_symbols=30").out.splitlines()) == 3


def test_what_predict_answers(elman: Elman, run: Path, tmp_path: Path) -> None:
    assert elman("predict", run, "one two").out == "zwei eins\n"
    lines = tmp_path / "lines.txt"
    lines.write_text("three one\n\nfour\n")
    assert elman("predict", run, lines).out == "eins drei\n\nvier\n"
    answer = json.loads(elman("predict", run, "one two", "--json", "--set", "n_best=3").out)["predictions"][0]
    best = answer["n_best"]
    assert best[0]["translation"] == answer["translation"] == "zwei eins"
    assert best[0]["score"] >= best[1]["score"] >= best[2]["score"]
    aligned = elman("predict", run, "one two", "--set", "alignment=true").out
    assert [line.split() for line in aligned.splitlines()[1:]] == [["zwei", "<-", "two"], ["eins", "<-", "one"]]


def test_the_probability_of_a_translation_is_the_models(run: Path) -> None:
    trained = elman_package.load(run)
    [answer] = trained.predict(["one two"])
    source = torch.tensor(trained.vocabularies.source.encode(" one two").astype(int))[:, None]
    target = torch.tensor(trained.vocabularies.target.encode(" zwei eins").astype(int))[:, None]
    nats, _ = trained.model.nats(source, torch.tensor([2]), target)
    assert answer.fields["n_best"][0]["log_probability"] == pytest.approx(-nats.item(), abs=1e-4)


def test_unknown_words_are_copied_when_asked(elman: Elman, run: Path) -> None:
    trained = elman_package.load(run)
    with torch.no_grad():  # a model that writes <unk> and ends
        trained.model.output.bias[trained.vocabularies.target.encode(" Zebra").astype(int)] += 100
    [answer] = trained.predict(["Zebra"], beam_width=1, copy_unknown=True)
    assert set(answer.fields["translation"].split()) == {"Zebra"}
    [answer] = trained.predict(["Zebra"], beam_width=1)
    assert set(answer.fields["translation"].split()) == {"<unk>"}


def test_a_stopped_prediction_goes_on_behind_what_it_wrote(elman: Elman, run: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("".join(f"{word}\n" for word in [*NUMBERS, "", "one two"]))
    whole = elman("predict", run, lines).out
    assert len(whole.splitlines()) == 11
    so_far = tmp_path / "so_far.txt"
    for count in (0, 4, 11):
        so_far.write_text("".join(whole.splitlines(keepends=True)[:count]))
        rest = elman("predict", run, lines, "--set", f"resume_from={so_far}").out
        assert so_far.read_text() + rest == whole
    so_far.write_text(whole + whole)
    assert "more answers than lines" in elman("predict", run, lines, "--set", f"resume_from={so_far}").err
    answer = elman("predict", run, lines, "--set", f"resume_from={so_far}", "--set", "n_best=2")
    assert "resume_from counts lines" in answer.err


def test_long_lines_are_translated_a_few_at_a_time(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = elman_package.load(run)
    lines = [" ".join(NUMBERS[: 1 + n % 3]) for n in range(10)] + [20 * "one "]
    before = [answer.line for answer in trained.predict(lines)]
    sizes = []
    encode = trained.model.encode
    monkeypatch.setattr(
        trained.model, "encode", lambda source, lengths: sizes.append(source.numel()) or encode(source, lengths)
    )
    monkeypatch.setattr("elman.predictors.translator.BATCH_SYMBOLS", 20)
    monkeypatch.setattr("elman.predictors.translator.BATCH", 11)
    encoded = [trained._encoded(line, TranslateOptions())[0] for line in input_lines(lines)]
    found = trained.translate(encoded, TranslateOptions())
    assert ["".join(symbols_of(trained.vocabularies.target, each[0].token_ids)).strip() for each in found] == before
    assert max(sizes) == 20
    assert len(sizes) > 2


def test_the_coverage_penalty_is_that_of_the_attention(run: Path) -> None:
    trained = elman_package.load(run)
    [plain] = trained.predict(["one two three"], n_best=5)
    [covered] = trained.predict(["one two three"], n_best=5, coverage_penalty=0.5)
    source = encode_line(trained.vocabularies.source, "one two three")
    plain_score = {each["translation"]: each["score"] for each in plain.fields["n_best"]}
    found = trained.translate([source], TranslateOptions(coverage_penalty=0.5))[0]
    checked = 0
    for each, hypothesis in zip(covered.fields["n_best"], found, strict=True):
        attention = trained.attention("one two three", hypothesis)
        attended = attention[: len(hypothesis.token_ids) + hypothesis.ended].sum(0)
        if each["translation"] in plain_score:
            expected = plain_score[each["translation"]] + 0.5 * float(attended.clamp(max=1).log().sum())
            assert each["score"] == pytest.approx(expected, abs=1e-4)
            checked += 1
    assert checked >= 2


def test_the_attention_is_drawn(elman: Elman, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    answer = elman("predict", run, "one two", "three", "--json", "--set", f"pictures={folder}")
    names = [prediction["picture"] for prediction in json.loads(answer.out)["predictions"]]
    assert names == [str(folder / f"attention-{n}.png") for n in (1, 2)]
    assert all(Path(name).stat().st_size > 1000 for name in names)
    assert "is not a folder" in elman("predict", run, "one", "--set", f"pictures={names[0]}").err


@pytest.mark.parametrize("piped", [False, True])
def test_every_line_has_its_answer_or_is_named(
    elman: Elman, translation_run_of_symbols: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piped: bool
) -> None:
    lines = "one two\n\none \u2603\nfour four four four four four four\nthree\n"
    (tmp_path / "lines.txt").write_text(lines, encoding="utf-8")
    long = translation_run_of_symbols.name in ("characters", "bytes")
    unknown = translation_run_of_symbols.name in ("characters", "words")
    name, where = ("-", "standard input") if piped else (tmp_path / "lines.txt", str(tmp_path / "lines.txt"))
    reasons = [f"no answer: {where}, line 4 is too long (should be at most 30 symbols, is "] * long

    def answer(*options: object) -> Any:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
        return elman(
            "predict", translation_run_of_symbols, name, "--set", "max_symbols=30", "--set", "beam_width=1", *options
        )

    left = answer("--skip-bad")
    assert left.code == 0
    notes = [line for line in left.err.splitlines() if line.startswith("note: ")]
    errors = [line for line in left.err.splitlines() if line not in notes]
    assert [line[: len(start)] for line, start in zip(errors, reasons, strict=True)] == reasons
    assert any(f"{where}, line 3: 1 of " in note and note.endswith("vocabulary: \u2603") for note in notes) is unknown
    answers = left.out.split("\n")
    assert len(answers) == 6 and answers[1] == answers[5] == ""
    assert not (long and answers[3])
    rows = json.loads(answer("--skip-bad", "--json").out)["predictions"]
    assert [row["translation"] for row in rows] == answers[:5]
    assert [n for n, row in enumerate(rows) if "error" in row] == [3] * long
    printed = [note[6:] for note in notes if "more answers" not in note]
    assert {*printed} <= {note for row in rows for note in row.get("notes", ())}
    assert bool(printed) is any("notes" in row for row in rows)
    strict = answer()
    if piped:
        assert (strict.out, strict.err, strict.code) == (left.out, left.err, 2 if reasons else 0)
    else:
        whole = "".join(f"{line}\n" for line in answers[: 3 if long else 5])
        assert (strict.out, strict.code) == (whole, 2 if reasons else 0)
        assert not reasons or reasons[0].removeprefix("no answer: ").partition(" (")[0] in strict.err


def test_a_misspelt_file_is_not_translated(elman: Elman, run: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("one\n")
    answer = elman("predict", run, "one two", tmp_path / "lnies.txt")
    assert (answer.code, answer.out) == (2, "")
    assert "lnies.txt does not exist" in answer.err and "lines.txt?" in answer.err
    assert elman("predict", run, " one/two").code == 0
    assert len(list(elman_package.load(run).predict([tmp_path / "lines.txt", "one"]))) == 2


def test_what_predict_refuses(elman: Elman, run: Path) -> None:
    assert "n_best is greater than beam_width" in elman("predict", run, "one", "--set", "n_best=9").err
    assert "unknown setting 'beem'" in elman("predict", run, "one", "--set", "beem=9").err
    assert "nothing to answer" in elman("predict", run).err
    with pytest.raises(SettingError, match="beam_width"):
        list(elman_package.load(run).predict(["one"], beam_width=0))


def test_an_endless_repetition_is_stopped_and_said(elman: Elman, run: Path, tmp_path: Path) -> None:
    """A model that writes the same word for ever."""
    trained = elman_package.load(run)
    with torch.no_grad():
        trained.model.output.bias[trained.vocabularies.target.encode(" zwei").astype(int)] += 100
    [answer] = trained.predict(["one two"], beam_width=1)
    assert answer.fields["translation"].split()[:3] == ["zwei"] * 3
    assert len(answer.fields["translation"].split()) < 12
    [endless] = trained.predict(["one two"], beam_width=1, repetitions=True)
    assert endless.fields["translation"].split() == ["zwei"] * trained.limits.length(2)
    assert answer.notes[0].kind == "repetitions were stopped"
    assert endless.fields["notes"][0].startswith("the line: the translation was cut at")


def test_a_line_in_capitals_is_said(elman: Elman, run: Path) -> None:
    answer = elman("predict", run, "ONE TWO")
    assert "the line: 2 of 2 symbols are not in the vocabulary: ONE, TWO" in answer.err
    assert "the line is in capitals, which training hardly had; training with lowercase=true" in answer.err
    assert "capitals" not in elman("predict", run, "one two").err


def test_remarks_of_a_kind_are_few(elman: Elman, run: Path, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("".join(f"zebra{n}\n" for n in range(9)))
    lines = elman("predict", run, tmp_path / "lines.txt").err.splitlines()
    assert [line for line in lines if "unknown symbols" in line] == [
        "note: 6 more answers: unknown symbols (--json has each)"
    ]
    assert sum("not in the vocabulary" in line for line in lines) == 3
