"""The recipe language-model: its options, data, metrics, diagnosis, and broken runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from elman.recipes.language_model import LanguageModelling
from elman.recipes.run import resume, start
from elman.recipes.use import diagnosable, evaluate
from elman.storage import tensors

Elman = Callable[..., Any]


@pytest.fixture
def text(language_text: Path) -> Path:
    return language_text


@pytest.fixture
def run(language_run: Path) -> Path:
    return language_run


@pytest.fixture
def tiny(language_settings: dict[str, int]) -> dict[str, int]:
    return language_settings


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.mark.parametrize(
    "settings",
    [
        {"cell": "rnn", "nonlinearity": "relu", "init": "identity"},
        {"cell": "gru", "layers": 2, "variational_dropout": True, "dropout": 0.2},
        {"vocabulary": "bytes", "optimiser": "sgd", "schedule": "plateau"},
        {"vocabulary": "words", "softmax": "adaptive", "cutoffs": "2,3"},
        {"vocabulary": "bpe", "vocabulary_size": 310, "vary_window": True},
        {"tie_weights": True, "embedding": 8, "learn_initial_state": True},
    ],
)
def test_settings_reach_the_model_and_the_run_is_of_use(
    elman: Elman, text: Path, tmp_path: Path, tiny: dict[str, int], settings: dict[str, Any]
) -> None:
    out = tmp_path / "r"
    start(LanguageModelling, [text], {**tiny, **settings, "steps": 6}, out)
    reported = json.loads((out / "metrics.jsonl").read_text())["validation"]
    metrics = evaluate(out)
    assert metrics.pop("baselines").keys() == {"unigram", "bigram"}
    assert metrics == reported
    assert elman("generate", out, "--length", 5).code == 0


def test_a_directory_several_files_and_other_validation_data(text: Path, tmp_path: Path, tiny: dict[str, int]) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in ("a.txt", "b.txt"):
        shutil.copy(text, folder / name)
    settings = {**tiny, "steps": 2, "validation_data": str(text)}
    data = start(LanguageModelling, [folder, text], settings, tmp_path / "r").run.config["data"]
    assert len(data["sources"]) == 3
    assert data["validation_symbols"] == len(text.read_text(encoding="utf-8"))
    assert data["validation_from"] == str(text)


def test_bytes_read_binary_files(tmp_path: Path, tiny: dict[str, int]) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(range(256)) * 4)
    start(LanguageModelling, [path], {**tiny, "steps": 2, "vocabulary": "bytes"}, tmp_path / "r")
    assert evaluate(tmp_path / "r")["symbols"] == 102


def test_a_resumed_run_ends_as_an_uninterrupted_one(text: Path, tmp_path: Path, tiny: dict[str, int]) -> None:
    settings = {**tiny, "evaluate_every": 7, "schedule": "constant", "vary_window": True, "dropout": 0.5}
    start(LanguageModelling, [text], {**settings, "steps": 21}, tmp_path / "whole")
    start(LanguageModelling, [text], {**settings, "steps": 7}, tmp_path / "parts")
    resume(LanguageModelling, {"steps": 21}, tmp_path / "parts")
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_an_evaluation_gives_the_metrics_of_training(elman: Elman, run: Path, text: Path) -> None:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = min((row["validation"] for row in rows), key=lambda metrics: metrics["nats_per_symbol"])
    metrics = json.loads(elman("evaluate", run, "--json").out)
    baselines = metrics.pop("baselines")
    assert metrics == best
    assert list(baselines) == ["unigram", "bigram"]
    for numbers in baselines.values():
        assert numbers.keys() == best.keys() and numbers["symbols"] == best["symbols"]
    table = elman("evaluate", run).out
    assert "unigram" in table.splitlines()[0]
    assert f"{best['bits_per_character']:.4f}" in table
    assert "| unigram |" in (run / "report.md").read_text()
    other = json.loads(elman("evaluate", run, text, "--json").out)
    assert other["symbols"] == len(text.read_text(encoding="utf-8")) - 1


def test_the_sample_is_text_as_it_stands_with_its_loss(run: Path) -> None:
    batches, loss, window = diagnosable(run).sample
    model = diagnosable(run).model
    assert window == 8 and batches[0].input_TB.shape[0] == 4 * window
    logits, _ = model(batches[0].input_TB)
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batches[0].target_TB.flatten())
    torch.testing.assert_close(loss(model, batches[0]), expected)


def test_weights_that_are_not_finite_are_refused(elman: Elman, copy: Path) -> None:
    weights, facts = tensors.read(copy / "model.safetensors")
    weights["output.bias"][0] = float("nan")
    tensors.write(copy / "model.safetensors", weights, facts)
    refused = elman("evaluate", copy, "--json")
    assert (refused.code, refused.out) == (2, "")
    assert "has weights that are not finite" in refused.err


def test_a_run_without_its_text_evaluates_another(elman: Elman, copy: Path, text: Path) -> None:
    (copy / "text.tokens").unlink()
    assert "came without its data" in elman("evaluate", copy).err
    answer = elman("evaluate", copy, text, "--json")
    assert answer.code == 0
    assert "baselines" not in json.loads(answer.out)


def test_no_predictions_no_drawings_and_no_skipped_rows(elman: Elman, run: Path, tmp_path: Path) -> None:
    refused = elman("predict", run, "ein")
    assert (refused.code, refused.out) == (2, "")
    assert f"{run} cannot predict" in refused.err
    assert f"elman generate {run}" in refused.err
    for option in (["--skip-bad"], ["--out", tmp_path / "plots"]):
        refused = elman("evaluate", run, *option)
        assert (refused.code, refused.out) == (2, "")
        assert f"{option[0]} is not for {run}" in refused.err
    assert not (tmp_path / "plots").exists()
    assert "text has no rows to skip" in elman("train", "language-model", "--skip-bad", "--out", tmp_path / "x").err


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, [], "does not exist"),
        (b"", [], "is empty"),
        (b"abc\0def" * 100, [], "is a binary file"),
        ("Größe ".encode("latin-1") * 100, [], "is not valid UTF-8"),
        (b"short", [], "too short"),
        (b"a" * 300, ["window=0"], "out of range"),
        (b"a" * 300, ["batch_size=1000"], "shorter than one window"),
        (b"a" * 300, ["validation=1"], "invalid value for the validation share"),
        (b"a" * 300, ["softmax=adaptive"], "needs symbols in the order of their frequency"),
        (b"a" * 300, ["validation_data=/nowhere.txt"], "does not exist"),
        (b"a" * 300, ["tie_weights=true"], "tied weights do not match"),
        (b"a" * 300, ["encoding=klingon"], "unknown encoding"),
        (b"a" * 300, ["vocabulary=runes"], "unknown value of the setting vocabulary"),
    ],
)
def test_bad_data_and_settings_leave_nothing(
    elman: Elman, tmp_path: Path, content: bytes | None, options: list[str], message: str
) -> None:
    path, out = tmp_path / "text.txt", tmp_path / "r"
    if content is not None:
        path.write_bytes(content)
    pairs = {**{"batch_size": "2", "window": "8"}, **dict(option.split("=", 1) for option in options)}
    words = [word for name, value in pairs.items() for word in ("--set", f"{name}={value}")]
    refused = elman("train", "language-model", path, "--steps", 2, "--out", out, *words)
    assert (refused.code, refused.out) == (2, "")
    assert "Traceback" not in refused.err
    assert message in refused.err
    assert not out.exists()


def test_an_unseen_character_is_counted_and_ends_nothing(
    elman: Elman, language_run: Path, language_text: Path, tmp_path: Path
) -> None:
    text = 2 * language_text.read_text("utf-8")
    plain, strange = tmp_path / "plain.txt", tmp_path / "strange.txt"
    plain.write_text(text[:400])
    strange.write_text(text[:200] + "\u2603" + text[200:400] + "\u2603")
    clean, counted = (json.loads(elman("evaluate", language_run, file, "--json").out) for file in (plain, strange))
    assert "unknown_symbols" not in clean
    assert counted["unknown_symbols"] == 2
    assert counted["unknown"].endswith("not in the vocabulary; they are read as zeros, and not predicted")
    predicted = round(
        counted["nats_per_symbol"] * counted["symbols"] / counted["bits_per_character"] / 0.6931471805599453
    )
    assert predicted == counted["symbols"] == clean["symbols"]
    assert set(counted["baselines"]["bigram"]) == set(clean["baselines"]["bigram"])
    assert counted["baselines"]["unigram"]["symbols"] == counted["symbols"]
    assert elman("diagnose", language_run, strange, "--json").code == 0
