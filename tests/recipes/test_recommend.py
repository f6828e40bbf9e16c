"""The recipe recommend: it beats the baselines, resumes exactly, and refuses broken runs."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman.data.sessions.dataset import open_part
from elman.modules.ranking_loss import LOSSES
from elman.recipes import run as runs
from elman.recipes import use
from elman.recipes.recommend import Recommend, RecommendSettings
from elman.storage import tensors

Elman = Callable[..., Any]


@pytest.fixture
def table(recommend_data: Path) -> Path:
    return recommend_data


@pytest.fixture
def run(recommend_run: Path) -> Path:
    return recommend_run


@pytest.fixture
def tiny(recommend_options: list[str]) -> list[str]:
    return recommend_options


@pytest.fixture
def broken(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "broken"))


def test_it_beats_the_baselines(elman: Elman, run: Path) -> None:
    metrics = json.loads(elman("evaluate", run, "--json").out)
    data = json.loads((run / "config.json").read_text())["data"]
    assert metrics["events"] == data["test_events"] > 150
    assert metrics["sessions"] == data["test_sessions"]
    assert metrics["recall_1"] > 0.8  # one event in six is the second of its session, which cannot be predicted
    assert set(metrics["baselines"]) == {"popularity", "item to item", "Markov", "Markov, last 20"}
    assert all(baseline["recall_1"] < 0.5 for baseline in metrics["baselines"].values())
    table = elman("evaluate", run).out
    assert "the model  popularity  item to item" in table
    assert "recall_1" in table


def test_facts_about_the_data_are_printed_before_training(
    elman: Elman, table: Path, tmp_path: Path, tiny: list[str]
) -> None:
    answer = elman("train", "recommend", table, "--steps", 1, "--out", tmp_path / "run", *tiny)
    assert "columns: user, item, time" in answer.err
    assert "order: by time; the file's among equal times, 0 of 1800 neighbouring events" in answer.err
    assert "items: 6 known of 6" in answer.err
    assert "sessions of one event: 0" in answer.err
    report = (tmp_path / "run" / "report.md").read_text()
    assert "Markov, last 20" in report
    assert " events a second" in report


def test_other_sessions_with_unknown_items_and_broken_rows(
    elman: Elman, run: Path, tmp_path: Path, recommend_rows: Callable[..., list[str]]
) -> None:
    path = tmp_path / "other.csv"
    path.write_text(
        "\n".join(["user,time,item", *recommend_rows(20, 900), "v,1,new", "v,2,p1", "v,3,new", "w,late,p1"]) + "\n"
    )
    answer = elman("evaluate", run, path)
    assert answer.code == 2
    assert "line 145: invalid time" in answer.err
    metrics = json.loads(elman("evaluate", run, path, "--skip-bad", "--json").out)
    assert (metrics["sessions"], metrics["events"]) == (21, 121)
    assert metrics["skipped_rows"] == 1
    assert metrics["skipped"] == [f"{path}, line 145: invalid time: 'late'"]
    assert (metrics["of_unknown_items"], metrics["without_history"]) == (1, 1)


def press_at(step: int) -> Callable[[Any], None]:
    def watch(moment: Any) -> None:
        if moment.step == step and moment.row is None:
            os.kill(os.getpid(), signal.SIGINT)

    return watch


@pytest.mark.parametrize(
    "settings",
    [
        {"exclude_seen": True, "batch_size": 8},
        {"window": 3, "batch_size": 4, "loss": "bpr-max", "negatives": 3, "cell": "lstm", "item_dropout": 0.2},
    ],
    ids=["whole-sessions", "streams"],
)
def test_a_run_that_stopped_resumes_exactly(table: Path, tmp_path: Path, settings: dict) -> None:
    chosen = {"hidden": 6, "embedding": 4, "steps": 24, "evaluate_every": 5, "split": "last", **settings}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    runs.start(Recommend, [table], chosen, whole)
    assert runs.start(Recommend, [table], chosen, parts, watch=press_at(7)).outcome.ended == "interrupted"
    assert runs.resume(Recommend, {}, parts).outcome.ended == "budget"
    for name in ("metrics.jsonl", "model.safetensors", "config.json"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name


def test_every_loss_learns(table: Path, tmp_path: Path) -> None:
    for loss in ("bpr-max", "top1-max"):
        chosen = {"hidden": 24, "embedding": 16, "steps": 150, "top_k": 1, "loss": loss, "negatives": 4, "window": 5}
        more = {"dropout": 0, "embedding_dropout": 0, "learning_rate": 0.02, "tie_weights": False}
        trained = runs.start(Recommend, [table], {**chosen, **more}, tmp_path / loss)
        assert trained.outcome.best is not None
        assert trained.outcome.best["validation"]["recall_1"] > 0.6, loss


def test_many_items_are_compared_with_a_sample() -> None:
    assert [RecommendSettings().sampled(items) for items in (9_999, 10_000)] == [0, 2048]
    assert RecommendSettings(negatives=0).sampled(10**6) == 0
    assert RecommendSettings(negatives=5).sampled(10) == 5


def test_every_loss_is_a_choice() -> None:
    assert RecommendSettings.__dataclass_fields__["loss"].metadata["choices"] == tuple(LOSSES)


def test_a_run_without_a_test_part_is_evaluated_on_the_validation_part(
    elman: Elman, table: Path, tmp_path: Path, tiny: list[str]
) -> None:
    words = ["--steps", 1, "--out", tmp_path / "run", *tiny, "--set", "test=0"]
    assert elman("train", "recommend", table, *words).code == 0
    data = json.loads((tmp_path / "run" / "config.json").read_text())["data"]
    assert data["test_events"] == 0
    metrics = use.evaluate(tmp_path / "run")
    assert metrics["events"] + metrics["without_history"] == data["validation_events"]


def test_the_simulated_shop_has_the_best_possible_baseline(elman: Elman, tmp_path: Path) -> None:
    options = ["--steps", "1", "--hidden", "4", "--set", "embedding=4", "--set", "max_validation_events=100"]
    answer = elman("train", "recommend", "--out", tmp_path / "run", *options)
    assert "sources: a made-up shop (200 items, 6000 sessions)" in answer.err
    assert "| best possible | 0.8" in (tmp_path / "run" / "report.md").read_text()


def test_a_run_without_its_sessions_still_predicts(elman: Elman, broken: Path, table: Path) -> None:
    for path in broken.glob("*.npy"):
        path.unlink()
    assert elman("predict", broken, "p1", "p4", "--set", "top_k=1").out.startswith("p2 ")
    assert "baselines" not in json.loads(elman("evaluate", broken, table, "--json").out)
    for words, message in (
        (["evaluate", broken], "came without its data"),
        (["diagnose", broken], "came without its data"),
    ):
        answer = elman(*words)
        assert answer.code == 2
        assert message in answer.err


@pytest.mark.parametrize("name", ["items.json", "training.values.npy", "test.values.npy", "test.ends.npy"])
def test_a_broken_file_is_one_message(elman: Elman, broken: Path, name: str) -> None:
    path = broken / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    answer = elman("evaluate", broken)
    assert (answer.code, answer.out) == (2, "")
    assert f"{path} is broken" in answer.err


def test_changed_sessions_are_refused(elman: Elman, broken: Path) -> None:
    steps = np.load(broken / "training.values.npy")
    steps["item"][0] ^= 1
    np.save(broken / "training.values.npy", steps)
    assert "are not those that the run began with" in elman("evaluate", broken).err


def test_sessions_of_one_event_are_refused(elman: Elman, broken: Path) -> None:
    np.save(broken / "training.values.npy", np.load(broken / "training.values.npy")[:1])
    np.save(broken / "training.ends.npy", np.array([1]))
    config = json.loads((broken / "config.json").read_text())
    config["data"]["fingerprint"] = open_part(broken, "training", 6).fingerprint
    (broken / "config.json").write_text(json.dumps(config))
    for command in (["evaluate", broken], ["train", "recommend", "--out", broken, "--resume", "--steps", 300]):
        answer = elman(*command)
        assert answer.code == 2
        assert "training.values.npy is broken" in answer.err


def test_weights_that_are_not_finite_are_an_error(elman: Elman, broken: Path) -> None:
    weights, facts = tensors.read(broken / "model.safetensors")
    weights["bias"][0] = float("nan")
    tensors.write(broken / "model.safetensors", weights, facts)
    for command in (("evaluate", broken), ("predict", broken, "p1", "--json")):
        assert "has weights that are not finite" in elman(*command).err


@pytest.mark.parametrize("data", [False, True])
def test_a_diagnosis(elman: Elman, run: Path, table: Path, data: bool) -> None:
    answer = elman("diagnose", run, *([table] if data else []), "--json")
    assert answer.code == 0
    assert json.loads(answer.out)
