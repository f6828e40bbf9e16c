"""A resumed language model ends, bit for bit, as an uninterrupted one; a refusal changes nothing."""

import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from elman.errors import ElmanError, RunError, SettingError
from elman.recipes import registry
from elman.recipes import run as runs
from elman.storage import tensors
from elman.storage.run_directory import RunDirectory

RECIPE = registry.find("language-model")
TINY = {"hidden": 6, "embedding": 4, "batch_size": 2, "window": 5, "steps": 24, "evaluate_every": 4, "validation": 0.1}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    rng = random.Random(1)
    path = tmp_path / "text.txt"
    path.write_text("".join(rng.choice("abc de\n") for _ in range(300)))
    return path


def press_at(step: int) -> Callable[[Any], None]:
    def watch(progress: Any) -> None:
        if progress.step == step and progress.row is None:
            os.kill(os.getpid(), signal.SIGINT)

    return watch


@pytest.mark.parametrize(
    "settings",
    [
        {"tie_weights": True, "embedding": 6, "learn_initial_state": True},
        {"softmax": "adaptive", "cutoffs": (2, 4), "vocabulary": "words"},
        {"softmax": "adaptive", "cutoffs": (2, 4), "vocabulary": "words", "optimiser": "sgd"},
        {"optimiser": "sgd", "momentum": 0.8, "learning_rate": 0.5},
        {"schedule": "cosine", "warmup": 0.3},
        {"schedule": "plateau", "plateau_patience": 1, "learning_rate": 0.5},
        {"layers": 2, "dropout": 0.4, "embedding_dropout": 0.2, "cell": "gru"},
        {"layers": 2, "dropout": 0.4, "variational_dropout": True, "cell": "rnn"},
        {"vary_window": True, "window": 9},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_an_interrupted_run_is_resumed_exactly(tmp_path: Path, text: Path, settings: dict) -> None:
    chosen = {**TINY, **settings}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert runs.start(RECIPE, [text], chosen, whole).outcome.ended == "budget"
    # Once on the way to an evaluation, once in a later epoch right after one.
    assert runs.start(RECIPE, [text], chosen, parts, watch=press_at(7)).outcome.ended == "interrupted"
    assert runs.resume(RECIPE, {}, parts, watch=press_at(20)).outcome.step == 20
    assert runs.resume(RECIPE, {}, parts).outcome.ended == "budget"
    for name in ("metrics.jsonl", "model.safetensors", "config.json"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    assert len((whole / "metrics.jsonl").read_text().splitlines()) == 6
    expected, _ = tensors.read(whole / "checkpoint/state.safetensors")
    resumed, _ = tensors.read(parts / "checkpoint/state.safetensors")
    assert expected.keys() == resumed.keys()
    different = [name for name in expected if expected[name].numpy().tobytes() != resumed[name].numpy().tobytes()]
    assert different == []


@pytest.fixture
def run(tmp_path: Path, text: Path) -> Path:
    runs.start(RECIPE, [text], {**TINY, "steps": 2}, tmp_path / "run")
    return tmp_path / "run"


def contents(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def broken_checkpoint(run: Path) -> None:
    path = run / "checkpoint/state.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("settings", "harm", "error"),
    [
        ({"device": "abacus"}, None, SettingError),
        ({"hidden": 7}, None, SettingError),
        ({"dropout": 3}, None, SettingError),
        ({"dropout": 0.5}, broken_checkpoint, RunError),
    ],
)
def test_a_refused_resume_leaves_the_run_as_it_was(run: Path, settings: dict, harm: Any, error: type) -> None:
    if harm:
        harm(run)
    before = contents(run)
    with pytest.raises(error):
        runs.resume(RECIPE, {"steps": 9, **settings}, run)
    assert contents(run) == before


def test_a_run_that_another_process_trains_keeps_its_settings(run: Path) -> None:
    before = contents(run)
    with RunDirectory.open(run).locked(), pytest.raises(RunError, match=r"another process is training(.|\n)*try: "):
        runs.resume(RECIPE, {"steps": 9, "dropout": 0.5}, run)
    assert contents(run) == before


def test_changed_settings_are_written_and_used(run: Path) -> None:
    trained = runs.resume(RECIPE, {"steps": 9, "dropout": 0.5}, run)
    assert trained.outcome.step == 9
    settings = RunDirectory.open(run).config["settings"]
    assert (settings["steps"], settings["dropout"], settings["hidden"]) == (9, 0.5, 6)
    assert "- dropout = 0.5" in (run / "report.md").read_text()


@pytest.mark.parametrize("change", [{"weight_decay": 3.0}, {"beta1": 0.1}, {"beta2": 0.1}])
def test_changed_settings_of_the_optimiser_change_the_weights(run: Path, tmp_path: Path, change: dict) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    runs.resume(RECIPE, {"steps": 6}, run)
    runs.resume(RECIPE, {"steps": 6, **change}, other)
    before, _ = tensors.read(run / "checkpoint/state.safetensors")
    after, _ = tensors.read(other / "checkpoint/state.safetensors")
    weights = [name for name in before if name.startswith("/model") and before[name].ndim >= 2]
    assert weights
    assert not any(torch.equal(before[name], after[name]) for name in weights)


def test_a_run_of_another_recipe_is_refused(run: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run of similarity(.|\n)*elman train language-model --out"):
        runs.resume(registry.find("similarity"), {}, run)


def test_metrics_of_another_recipe_are_refused(run: Path) -> None:
    path = run / "metrics.jsonl"
    path.write_text(path.read_text().replace("perplexity", "x").replace("bits_per_character", "y"))
    with pytest.raises(ElmanError, match=r"metrics\.jsonl is broken(.|\n)*should be: the metrics of language-model"):
        runs.resume(RECIPE, {"steps": 4}, run)
