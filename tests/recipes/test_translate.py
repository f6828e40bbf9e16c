"""The recipe `translate`, on pairs so small that it learns them in seconds."""

import io
import json
import os
import random
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from elman import RNN
from elman.data import delimited
from elman.data.text import encoding
from elman.data.text.encoding import encode_line, symbols_of
from elman.data.translation.vocabularies import VocabularyPair
from elman.errors import DataError, SettingError
from elman.predictors.inputs import input_lines
from elman.predictors.options import TranslateOptions
from elman.recipes import run as runs
from elman.recipes import translate
from elman.recipes.translate import TranslateSettings
from elman.storage import tensors

Elman = Callable[..., Any]
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ZAHLEN = ["eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"]
TINY = ["--hidden", 32, "--set", "embedding=16", "--set", "vocabulary=words", "--set", "tokens=200", "--seed", 1]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbers in words, backwards: source and target differ in words and in order."""
    chance = random.Random(1)
    path = tmp_path_factory.mktemp("pairs") / "numbers.tsv"
    rows = [[chance.randrange(9) for _ in range(chance.randint(1, 4))] for _ in range(600)]
    lines = [f"{' '.join(NUMBERS[n] for n in row)}\t{' '.join(ZAHLEN[n] for n in row[::-1])}\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    from elman import cli

    out = data.with_name("run")
    words = ["train", "translate", data, "--steps", 240, "--out", out, "--set", "learning_rate=0.01", *TINY]
    assert cli.run([str(word) for word in words]) == 0
    return out


def test_it_learns_to_turn_words_round(elman: Elman, run: Path) -> None:
    metrics = json.loads(elman("evaluate", run, "--json").out)
    assert metrics["exact"] > 0.8
    assert metrics["bleu"] > 40
    assert metrics["baselines"]["a copy of the source"]["bleu"] < 5
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert metrics["nats_per_symbol"] == min(row["validation"]["nats_per_symbol"] for row in rows)
    assert "a copy of the source" in elman("evaluate", run).out


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
    trained = runs.load(run)
    [answer] = trained.predict(["one two"])
    source = torch.tensor(trained.languages.source.encode(" one two").astype(int))[:, None]
    target = torch.tensor(trained.languages.target.encode(" zwei eins").astype(int))[:, None]
    nats, _ = trained.model.nats(source, torch.tensor([2]), target)
    assert answer.fields["n_best"][0]["log_probability"] == pytest.approx(-nats.item(), abs=1e-4)


def test_unknown_words_are_copied_when_asked(elman: Elman, run: Path) -> None:
    trained = runs.load(run)
    with torch.no_grad():  # a model that writes <unk> and ends
        trained.model.output.bias[trained.languages.target.encode(" Zebra").astype(int)] += 100
    [answer] = trained.predict(["Zebra"], beam=1, copy_unknown=True)
    assert set(answer.fields["translation"].split()) == {"Zebra"}
    [answer] = trained.predict(["Zebra"], beam=1)
    assert set(answer.fields["translation"].split()) == {"<unk>"}


def test_a_run_that_was_stopped_ends_as_one_that_was_not(elman: Elman, data: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    common = [*TINY, "--set", "evaluate_every=4", "--set", "schedule=constant", "--set", "sampling=1"]
    assert elman("train", "translate", data, "--steps", 8, "--out", once, *common).code == 0
    assert elman("train", "translate", data, "--steps", 4, "--out", twice, *common).code == 0
    assert elman("train", "translate", "--out", twice, "--resume", "--steps", 8).code == 0
    weights = [tensors.read(path / "model.safetensors")[0] for path in (once, twice)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert (once / "metrics.jsonl").read_text() == (twice / "metrics.jsonl").read_text()


def test_it_learns_from_its_own_guesses_too(elman: Elman, data: Path, tmp_path: Path) -> None:
    losses = []
    for sampling in (0, 1):
        out = tmp_path / str(sampling)
        options = [*TINY, "--epochs", 0.6, "--set", f"sampling={sampling}", "--set", "learning_rate=0.01"]
        assert elman("train", "translate", data, "--out", out, *options).code == 0
        losses.append(json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["training_loss"])
    assert losses[0] != losses[1]


def test_a_stopped_prediction_goes_on_behind_what_it_wrote(elman: Elman, run: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("".join(f"{word}\n" for word in [*NUMBERS, "", "one two"]))
    whole = elman("predict", run, lines).out
    assert len(whole.splitlines()) == 11
    so_far = tmp_path / "so_far.txt"
    for count in (0, 4, 11):
        so_far.write_text("".join(whole.splitlines(keepends=True)[:count]))
        rest = elman("predict", run, lines, "--set", f"after={so_far}").out
        assert so_far.read_text() + rest == whole
    so_far.write_text(whole + whole)
    assert "more answers than lines" in elman("predict", run, lines, "--set", f"after={so_far}").err
    answer = elman("predict", run, lines, "--set", f"after={so_far}", "--set", "n_best=2")
    assert "after counts lines" in answer.err


def test_a_stopped_evaluation_goes_on_with_what_it_translated(elman: Elman, run: Path, tmp_path: Path) -> None:
    once = json.loads(elman("evaluate", run, "--json", "--out", tmp_path).out)
    assert once == json.loads(elman("evaluate", run, "--json").out)
    [file] = tmp_path.glob("translations-*.jsonl")
    rows = file.read_text().splitlines()
    assert len(rows) == len({json.loads(row)["input"] for row in rows}) <= once["pairs"]
    # Another answer in its place shows that what is kept is not translated again; what is not is added.
    file.write_text("".join(f"{json.dumps({**json.loads(row), 'answer': 'Hut'})}\n" for row in rows[:-2]))
    again = json.loads(elman("evaluate", run, "--json", "--out", tmp_path).out)
    assert again["exact"] < 0.2
    assert file.read_text().splitlines()[-2:] == rows[-2:]


def test_what_is_too_long_is_refused_with_its_place(elman: Elman, run: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("one two\n" + 30 * "one " + "\nthree\n")
    answer = elman("predict", run, lines, "--set", "longest=20")
    assert (answer.code, answer.out) == (2, "zwei eins\n")
    assert "lines.txt, line 2 is too long" in answer.err
    assert "--set longest=30" in answer.err
    assert len(elman("predict", run, lines, "--set", "longest=30").out.splitlines()) == 3
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("one\teins\n" + 1001 * "one " + "\teins\n")
    answer = elman("evaluate", run, pairs)
    assert (answer.code, answer.out) == (2, "")
    assert "pair 2 is too long" in answer.err
    metrics = json.loads(elman("evaluate", run, pairs, "--skip-bad", "--json").out)
    assert (metrics["pairs"], metrics["pairs_left_out"]) == (1, 1)
    assert metrics["left_out"][0].startswith("pair 2 is too long: 1001: 'one one")
    pairs.write_text(1001 * "one " + "\teins\n")
    assert "pair 1 is too long" in elman("evaluate", run, pairs, "--skip-bad").err
    # In training a long pair for validation is left out as one for training is.
    pairs.write_text("one\teins\n" * 8 + 30 * "one " + "\teins\none\teins\n")
    out = tmp_path / "run"
    options = ["--set", "longest=20", "--set", "validation=0.2", "--steps", 1]
    assert elman("train", "translate", pairs, "--out", out, *TINY, *options).code == 0
    described = json.loads((out / "config.json").read_text())["data"]
    assert (described["validation_pairs"], described["left_out_as_too_long"]) == (1, 1)
    assert described["too_long"] == [f"{pairs}, line 9: 30 symbols"]


def test_long_lines_are_translated_a_few_at_a_time(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = runs.load(run)
    lines = [" ".join(NUMBERS[: 1 + n % 3]) for n in range(10)] + [20 * "one "]
    before = [answer.line for answer in trained.predict(lines)]
    sizes = []
    encode = trained.model.encode
    monkeypatch.setattr(
        trained.model, "encode", lambda source, lengths: sizes.append(source.numel()) or encode(source, lengths)
    )
    monkeypatch.setattr("elman.predictors.translator.SYMBOLS", 20)
    monkeypatch.setattr("elman.predictors.translator.TOGETHER", 11)
    encoded = [trained._encoded(line, 1000) for line in input_lines(lines)]
    found = trained.translate(encoded, TranslateOptions())
    assert ["".join(symbols_of(trained.languages.target, each[0].token_ids)).strip() for each in found] == before
    assert max(sizes) == 20
    assert len(sizes) > 2


def test_the_coverage_penalty_is_that_of_the_attention(run: Path) -> None:
    trained = runs.load(run)
    [plain] = trained.predict(["one two three"], n_best=5)
    [covered] = trained.predict(["one two three"], n_best=5, coverage_penalty=0.5)
    source = encode_line(trained.languages.source, "one two three")
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


def test_other_pairs_than_the_run_began_with_are_refused(elman: Elman, run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "run")
    config = json.loads((out / "config.json").read_text())
    config["data"]["fingerprint"] = "another"
    (out / "config.json").write_text(json.dumps(config))
    refused = elman("train", "translate", "--out", out, "--resume", "--steps", 1000)
    assert (refused.code, refused.out) == (2, "")
    assert "the pairs in" in refused.err and "fingerprint another" in refused.err


def test_it_can_be_diagnosed(elman: Elman, run: Path, data: Path) -> None:
    report = json.loads(elman("diagnose", run, "--json").out)
    assert {layer["name"].split()[0] for layer in report["layers"]} >= {"encoder", "lower", "upper"}
    assert elman("diagnose", run, data, "--json").code == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["--set", "validation=0"], "too few pairs to keep a part"),
        (["--set", "longest=1", "--set", "vocabulary=characters"], "every pair is too long"),
        (["--hidden", "31"], "an even number of hidden units"),
        (["--set", "attention=x"], "unknown value of the setting attention"),
    ],
)
def test_what_training_refuses(elman: Elman, data: Path, tmp_path: Path, settings: list, message: str) -> None:
    answer = elman("train", "translate", data, "--steps", 1, "--out", tmp_path / "run", *settings)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module", params=["characters", "words", "bpe", "bytes"])
def of_symbols(request: pytest.FixtureRequest, data: Path) -> Path:
    """A run for each kind of symbol, hardly trained."""
    from elman import cli

    out = data.with_name(request.param)
    size = ["--set", "vocabulary_size=270"] if request.param == "bpe" else []
    words = ["train", "translate", data, "--steps", 1, "--out", out, *TINY[:4], "--set", f"vocabulary={request.param}"]
    assert cli.run([str(word) for word in [*words, *size]]) == 0
    return out


@pytest.mark.parametrize("piped", [False, True])
def test_every_line_has_its_answer_or_is_named(
    elman: Elman, of_symbols: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piped: bool
) -> None:
    lines = "one two\n\none \u2603\nfour four four four four four four\nthree\n"
    (tmp_path / "lines.txt").write_text(lines, encoding="utf-8")
    unknown, long = of_symbols.name == "characters", of_symbols.name in ("characters", "bytes")
    name, where = ("-", "standard input") if piped else (tmp_path / "lines.txt", str(tmp_path / "lines.txt"))
    reasons = [f"no answer: {where}, line 3: the vocabulary has no symbol for the character '\\u2603'"] * unknown
    reasons += [f"no answer: {where}, line 4 is too long (should be at most 30 symbols, is "] * long

    def answer(*options: object) -> Any:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
        return elman("predict", of_symbols, name, "--set", "longest=30", "--set", "beam=1", *options)

    left = answer("--skip-bad")
    assert left.code == 0
    assert [line[: len(start)] for line, start in zip(left.err.splitlines(), reasons, strict=True)] == reasons
    answers = left.out.split("\n")
    assert len(answers) == 6 and answers[1] == answers[5] == ""
    assert not (unknown and answers[2]) and not (long and answers[3])
    rows = json.loads(answer("--skip-bad", "--json").out)["predictions"]
    assert [row["translation"] for row in rows] == answers[:5]
    assert [n for n, row in enumerate(rows) if "error" in row] == [2] * unknown + [3] * long
    strict = answer()
    if piped:
        assert (strict.out, strict.err, strict.code) == (left.out, left.err, 2 if reasons else 0)
    else:
        whole = "".join(f"{line}\n" for line in answers[: 2 if unknown else 3 if long else 5])
        assert (strict.out, strict.code) == (whole, 2 if reasons else 0)
        assert not unknown or "'\\u2603' at character 5 of the text" in strict.err
        assert not reasons or reasons[0].removeprefix("no answer: ").partition(" (")[0] in strict.err


def test_a_pair_that_cannot_be_measured_on_is_named(elman: Elman, of_symbols: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("one\teins\none\tein\u2603\n", encoding="utf-8")
    strict, left = (elman("evaluate", of_symbols, pairs, *options) for options in ([], ["--skip-bad"]))
    assert left.code == 0
    if of_symbols.name == "characters":
        assert (strict.code, strict.out) == (2, "")
        assert "pair 2: the vocabulary has no symbol" in strict.err and "'\\u2603' at character 4" in strict.err
        assert left.err.startswith("left out: pair 2: ") and "pairs_left_out" in left.out
    else:
        assert (strict.code, left.err) == (0, "")


def test_a_misspelt_file_is_not_translated(elman: Elman, run: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("one\n")
    answer = elman("predict", run, "one two", tmp_path / "lnies.txt")
    assert (answer.code, answer.out) == (2, "")
    assert "lnies.txt does not exist" in answer.err and "lines.txt?" in answer.err
    assert elman("predict", run, " one/two").code == 0
    assert len(list(runs.load(run).predict([tmp_path / "lines.txt", "one"]))) == 2


def test_what_predict_refuses(elman: Elman, run: Path) -> None:
    assert "n_best is more than the beam finds" in elman("predict", run, "one", "--set", "n_best=9").err
    assert "unknown setting 'beem'" in elman("predict", run, "one", "--set", "beem=9").err
    assert "nothing to answer" in elman("predict", run).err
    with pytest.raises(SettingError, match="beam"):
        list(runs.load(run).predict(["one"], beam=0))


def test_a_strangers_run_is_refused_with_a_message(elman: Elman, run: Path, tmp_path: Path) -> None:
    import shutil

    for name in ("symbols/vocabulary.json", "validation.json", "model.safetensors"):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(run, copy)
        (copy / name).write_text("{")
        answer = elman("evaluate", copy)
        assert (answer.code, answer.out) == (2, "")
        assert "error: " in answer.err


def test_what_a_diagnosis_advises_reaches_every_layer(elman: Elman, data: Path, tmp_path: Path) -> None:
    words = [
        *TINY,
        "--cell",
        "rnn",
        "--set",
        "nonlinearity=relu",
        "--set",
        "init=identity",
        "--set",
        "learning_rate=1e-9",
    ]
    assert elman("train", "translate", data, "--steps", 1, "--out", tmp_path / "run", *words).code == 0
    layers = [module for module in runs.load(tmp_path / "run").model.modules() if isinstance(module, RNN)]
    assert len(layers) == 3 and {layer.nonlinearity for layer in layers} == {"relu"}
    for layer in layers:
        torch.testing.assert_close(layer.weight_hh_l0.detach(), torch.eye(layer.hidden_size), rtol=0, atol=1e-6)


@pytest.mark.parametrize("apart", [False, True])
def test_a_character_that_validation_alone_has_gets_a_symbol(elman: Elman, tmp_path: Path, apart: bool) -> None:
    pairs, judged, out = tmp_path / "pairs.tsv", tmp_path / "judged.tsv", tmp_path / "run"
    pairs.write_text("one two\teins zwei\n" * 40 + ("" if apart else "three\tdreißig\n" * 2), encoding="utf-8")
    judged.write_text("three\tdreißig\n", encoding="utf-8")
    words = [
        "--hidden",
        8,
        "--set",
        "vocabulary=characters",
        *(["--set", f"validation_data={judged}"] if apart else []),
    ]
    assert elman("train", "translate", pairs, "--steps", 1, "--out", out, *words).code == 0
    assert json.loads(elman("evaluate", out, "--json").out)["pairs"] == (1 if apart else 2)


def test_what_is_judged_in_training_is_encoded_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = runs.load(run)
    settings = TranslateSettings.parse(trained.run.config["settings"])
    evaluate = translate.task(settings, trained.run, trained.model).evaluate
    monkeypatch.setattr(VocabularyPair, "load", None)
    monkeypatch.setattr(VocabularyPair, "encode", None)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = min(row["validation"]["nats_per_symbol"] for row in rows)
    assert evaluate(trained.model)["nats_per_symbol"] == pytest.approx(best)


def numbered_lines(path: Path, count: int) -> Path:
    path.write_text("".join(f"{n % 97} and {n % 89} of them\t{n % 89} und {n % 97} davon\n" for n in range(count)))
    return path


def prepared(sources: list[Path], folder: Path, **settings: object) -> tuple[dict[str, Any], int]:
    """Prepare a run; return what is said of the data, and the most bytes that Python held on the way."""
    folder.mkdir()
    tracemalloc.start()
    try:
        told = translate.prepare(sources, TranslateSettings.parse({"vocabulary": "words", **settings}), folder)
        return told, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_preparing_holds_no_more_for_more_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (delimited, encoding):
        monkeypatch.setattr(module, "PIECE", 1000)
    _, once = prepared([numbered_lines(tmp_path / "few.tsv", 300)], tmp_path / "once")
    told, more = prepared([numbered_lines(tmp_path / "many.tsv", 6000)], tmp_path / "more")
    assert (told["training_pairs"], told["validation_pairs"]) == (5700, 300)
    # Eight bytes of where each side of each pair ends are held, in an array that grows by leaps.
    assert more < once + 6000 * 2 * 8 * 2
    assert {path.name for path in (tmp_path / "more").iterdir()} == {
        "symbols",
        "source.values.npy",
        "source.ends.npy",
        "target.values.npy",
        "target.ends.npy",
        "validation.json",
    }


def test_pairs_come_from_a_pipe_too(data: Path, tmp_path: Path) -> None:
    expected, _ = prepared([data], tmp_path / "file")
    ends = [os.pipe(), os.pipe()]
    rows = [line.split("\t") for line in data.read_text("utf-8").splitlines()]
    for (_, end), side in zip(ends, zip(*rows, strict=True), strict=True):
        os.write(end, "\n".join(side).encode())
        os.close(end)
    told, _ = prepared([Path(f"/dev/fd/{begin}") for begin, _ in ends], tmp_path / "pipe")
    for begin, _ in ends:
        os.close(begin)
    assert told["fingerprint"] == expected["fingerprint"]


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    endless = tmp_path / "endless.tsv"
    with endless.open("w") as file:
        file.write("one\teins\n")
        for _ in range(50):
            file.write(1_000_000 * "a")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"endless\.tsv, line 2 is too long\n.*at most 1048576 characters"):
            translate.prepare([endless], TranslateSettings(), tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
