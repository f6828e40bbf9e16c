"""The recipe `translate`, on pairs so small that it learns them in seconds."""

import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import elman as elman_package
from elman import RNN
from elman.data import delimited
from elman.data.text import encoding
from elman.data.translation.vocabularies import VocabularyPair
from elman.errors import DataError
from elman.recipes import run as runs
from elman.recipes import use
from elman.recipes.translate import Translate, TranslateSettings
from elman.storage import tensors

Elman = Callable[..., Any]


@pytest.fixture
def data(translation_data: Path) -> Path:
    return translation_data


@pytest.fixture
def run(translation_run: Path) -> Path:
    return translation_run


def test_it_learns_to_turn_words_round(elman: Elman, run: Path) -> None:
    metrics = json.loads(elman("evaluate", run, "--json").out)
    assert metrics["exact"] > 0.8
    assert metrics["bleu"] > 40
    assert metrics["baselines"]["copy of the source"]["bleu"] < 5
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert metrics["nats_per_symbol"] == min(row["validation"]["nats_per_symbol"] for row in rows)
    assert "copy of the source" in elman("evaluate", run).out


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    elman: Elman, translation_options: list[str], data: Path, tmp_path: Path
) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    common = [
        *translation_options,
        "--set",
        "evaluate_every=4",
        "--set",
        "schedule=constant",
        "--set",
        "scheduled_sampling=1",
    ]
    assert elman("train", "translate", data, "--steps", 8, "--out", once, *common).code == 0
    assert elman("train", "translate", data, "--steps", 4, "--out", twice, *common).code == 0
    assert elman("train", "translate", "--out", twice, "--resume", "--steps", 8).code == 0
    weights = [tensors.read(path / "model.safetensors")[0] for path in (once, twice)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert (once / "metrics.jsonl").read_text() == (twice / "metrics.jsonl").read_text()


def test_it_learns_from_its_own_guesses_too(
    elman: Elman, translation_options: list[str], data: Path, tmp_path: Path
) -> None:
    losses = []
    for sampling in (0, 1):
        out = tmp_path / str(sampling)
        options = [
            *translation_options,
            "--epochs",
            0.6,
            "--set",
            f"scheduled_sampling={sampling}",
            "--set",
            "learning_rate=0.01",
        ]
        assert elman("train", "translate", data, "--out", out, *options).code == 0
        losses.append(json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["training_loss"])
    assert losses[0] != losses[1]


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


def test_what_is_too_long_is_refused_or_skipped(
    elman: Elman, translation_options: list[str], run: Path, tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("one\teins\n" + 1001 * "one " + "\teins\n")
    answer = elman("evaluate", run, pairs)
    assert (answer.code, answer.out) == (2, "")
    assert "pair 2 is too long" in answer.err
    metrics = json.loads(elman("evaluate", run, pairs, "--skip-bad", "--json").out)
    assert (metrics["pairs"], metrics["skipped_rows"]) == (1, 1)
    assert metrics["skipped"][0].startswith("pair 2 is too long: 1001: 'one one")
    pairs.write_text(1001 * "one " + "\teins\n")
    assert "pair 1 is too long" in elman("evaluate", run, pairs, "--skip-bad").err
    # In training a long pair for validation is left out as one for training is.
    pairs.write_text("one\teins\n" * 8 + 30 * "one " + "\teins\none\teins\n")
    out = tmp_path / "run"
    options = ["--set", "max_symbols=20", "--set", "validation=0.2", "--steps", 1]
    assert elman("train", "translate", pairs, "--out", out, *translation_options, *options).code == 0
    described = json.loads((out / "config.json").read_text())["data"]
    assert (described["validation_pairs"], described["skipped_rows"]) == (1, 1)
    assert described["skipped"] == [f"{pairs}, line 9: 30 symbols"]


def test_other_pairs_than_the_run_began_with_are_refused(elman: Elman, run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "run")
    config = json.loads((out / "config.json").read_text())
    config["data"]["fingerprint"] = "another"
    (out / "config.json").write_text(json.dumps(config))
    refused = elman("train", "translate", "--out", out, "--resume", "--steps", 1000)
    assert (refused.code, refused.out) == (2, "")
    assert "the data in" in refused.err and "fingerprint another" in refused.err


def test_it_can_be_diagnosed(elman: Elman, run: Path, data: Path) -> None:
    report = json.loads(elman("diagnose", run, "--json").out)
    assert {layer["name"].split()[0] for layer in report["layers"]} >= {"encoder", "lower", "upper"}
    assert elman("diagnose", run, data, "--json").code == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["--set", "validation=0"], "too few pairs for a validation part"),
        (["--set", "max_symbols=1", "--set", "vocabulary=characters"], "every pair is too long"),
        (["--hidden", "31"], "an even number of hidden units"),
        (["--set", "attention=x"], "unknown value of the setting attention"),
    ],
)
def test_what_training_refuses(elman: Elman, data: Path, tmp_path: Path, settings: list, message: str) -> None:
    answer = elman("train", "translate", data, "--steps", 1, "--out", tmp_path / "run", *settings)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert not (tmp_path / "run").exists()


def test_unknown_symbols_of_an_evaluation_are_counted(
    elman: Elman, translation_run_of_symbols: Path, tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("one\teins\none\tein\u2603\n", encoding="utf-8")
    metrics = json.loads(elman("evaluate", translation_run_of_symbols, pairs, "--json").out)
    has_unknown = translation_run_of_symbols.name in ("characters", "words")
    assert metrics.get("unknown_in_references") == (1 if has_unknown else None)
    assert "unknown_in_sources" not in metrics and metrics["pairs"] == 2
    expected = {"characters": "read as zeros, and not counted", "words": "read as <unk>"}
    assert expected.get(translation_run_of_symbols.name, "") in metrics.get("unknown", "")
    # What an unknown character stands before does not depend on which one it is.
    pairs.write_text("one\teins\none\tein\u2602\n", encoding="utf-8")
    again = json.loads(elman("evaluate", translation_run_of_symbols, pairs, "--json").out)
    if has_unknown:
        assert again["nats_per_symbol"] == metrics["nats_per_symbol"]


def test_a_strangers_run_is_refused_with_a_message(elman: Elman, run: Path, tmp_path: Path) -> None:
    import shutil

    for name in ("symbols/vocabulary.json", "validation.json", "model.safetensors"):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(run, copy)
        (copy / name).write_text("{")
        answer = elman("evaluate", copy)
        assert (answer.code, answer.out) == (2, "")
        assert "error: " in answer.err


def test_what_a_diagnosis_advises_reaches_every_layer(
    elman: Elman, translation_options: list[str], data: Path, tmp_path: Path
) -> None:
    words = [
        *translation_options,
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
    layers = [module for module in use.load(tmp_path / "run").model.modules() if isinstance(module, RNN)]
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
    recipe, directory = use.opened(run)
    model = use.trained_model(recipe, directory)
    evaluate = runs.task_of(recipe, directory, model).evaluate
    monkeypatch.setattr(VocabularyPair, "load", None)
    monkeypatch.setattr(VocabularyPair, "encode", None)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = min(row["validation"]["nats_per_symbol"] for row in rows)
    with torch.no_grad():
        assert evaluate(model)["nats_per_symbol"] == pytest.approx(best)


def numbered_lines(path: Path, count: int) -> Path:
    path.write_text("".join(f"{n % 97} and {n % 89} of them\t{n % 89} und {n % 97} davon\n" for n in range(count)))
    return path


def prepared(sources: list[Path], folder: Path) -> tuple[Translate, int]:
    """Prepare a run; return the recipe on it, and the most bytes that Python held on the way."""
    folder.mkdir()
    recipe = Translate(TranslateSettings(vocabulary="words"), folder)
    tracemalloc.start()
    try:
        recipe.prepare(sources)
        return recipe, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_preparing_holds_no_more_for_more_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (delimited, encoding):
        monkeypatch.setattr(module, "PIECE", 1000)
    prepared([numbered_lines(tmp_path / "first.tsv", 6000)], tmp_path / "first")  # what is imported late is there then
    _, once = prepared([numbered_lines(tmp_path / "few.tsv", 300)], tmp_path / "once")
    recipe, more = prepared([numbered_lines(tmp_path / "many.tsv", 6000)], tmp_path / "more")
    assert (len(recipe.dataset("training")), len(recipe.dataset("validation"))) == (5700, 300)
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
    recipe, _ = prepared([Path(f"/dev/fd/{begin}") for begin, _ in ends], tmp_path / "pipe")
    for begin, _ in ends:
        os.close(begin)
    assert recipe.dataset("training").fingerprint == expected.dataset("training").fingerprint


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    endless = tmp_path / "endless.tsv"
    with endless.open("w") as file:
        file.write("one\teins\n")
        for _ in range(50):
            file.write(1_000_000 * "a")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"endless\.tsv, line 2 is too long\n.*at most 1048576 characters"):
            Translate(TranslateSettings(), tmp_path).prepare([endless])
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_the_tokens_of_bleu_are_a_setting_of_the_evaluation(elman: Elman, run: Path) -> None:
    metrics = json.loads(elman("evaluate", run, "--json").out)
    assert metrics["bleu_tokenize"] == "13a (automatic: the references have spaces between words)"
    assert "tok:13a" in metrics["signatures"]
    char = json.loads(elman("evaluate", run, "--json", "--set", "bleu_tokenize=char").out)
    assert (char["bleu_tokenize"], "tok:char" in char["signatures"]) == ("char", True)
    assert char["bleu"] != metrics["bleu"] and char["exact"] == metrics["exact"]
    assert elman_package.evaluate(run, bleu_tokenize="char") == char
    greedy = json.loads(elman("evaluate", run, "--json", "--set", "beam_width=1").out)
    assert greedy["nats_per_symbol"] == metrics["nats_per_symbol"]
    misspelt = elman("evaluate", run, "--set", "bleu_tokenise=char")
    assert (misspelt.code, misspelt.out) == (2, "") and "did you mean 'bleu_tokenize'?" in misspelt.err
    wrong = elman("evaluate", run, "--set", "bleu_tokenize=kar")
    assert wrong.code == 2 and "should be: one of char, 13a, auto," in wrong.err


def test_settings_are_refused_where_an_evaluation_has_none(elman: Elman, language_run: Path) -> None:
    refused = elman("evaluate", language_run, "--set", "bleu_tokenize=char")
    assert (refused.code, refused.out) == (2, "")
    assert "an evaluation of language-model has no settings" in refused.err


def test_sources_in_lower_case(elman: Elman, data: Path, translation_options: list[str], tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text(
        "".join(f"{line.title() if n % 2 else line}\n" for n, line in enumerate(data.read_text().split("\n")[:40]))
    )
    out = tmp_path / "run"
    options = [*translation_options, "--steps", 1, "--set", "lowercase=true"]
    assert elman("train", "translate", pairs, "--out", out, *options).code == 0
    words = json.loads((out / "symbols" / "vocabulary.json").read_text())["symbols"]
    assert "one" in words and "One" not in words and "Eins" in words
    lower, upper = elman("predict", out, "one two"), elman("predict", out, "ONE TWO")
    assert (lower.out, lower.err) == (upper.out, upper.err)
    again = "\n".join(
        line.upper().split("\t")[0] + "\t" + line.split("\t")[1] for line in pairs.read_text().splitlines()[:5]
    )
    (tmp_path / "upper.tsv").write_text(again)
    (tmp_path / "same.tsv").write_text("\n".join(pairs.read_text().splitlines()[:5]))
    upper, same = (
        json.loads(elman("evaluate", out, tmp_path / f"{name}.tsv", "--json").out) for name in ("upper", "same")
    )
    assert upper == same


def test_limits_that_are_no_limits_are_refused(elman: Elman, run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "run")
    config = json.loads((out / "config.json").read_text())
    assert config["data"]["limits"]["repetitions"]
    config["data"]["limits"] = {"ratio": -1.0}
    (out / "config.json").write_text(json.dumps(config))
    refused = elman("predict", out, "one")
    assert (refused.code, refused.out) == (2, "") and "config.json is broken" in refused.err
    del config["data"]["limits"]  # as earlier versions wrote it
    (out / "config.json").write_text(json.dumps(config))
    assert elman("predict", out, "one two").out == elman("predict", run, "one two").out
