"""The recipe recommend: from a table to what comes next, against trivial predictors, in pieces, and from strangers."""

import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elman.data.sessions.dataset import open_part
from elman.errors import RunError
from elman.recipes import registry, use
from elman.recipes import run as runs
from elman.storage import tensors

Elman = Callable[..., Any]
RECIPE = registry.find("recommend")
TINY = [
    "--hidden",
    "24",
    "--set",
    "embedding=16",
    "--set",
    "at=1",
    "--set",
    "dropout=0",
    "--set",
    "embedding_dropout=0",
]


def rows_of(sessions: int, begin: int = 0) -> list[str]:
    """Return sessions whose next item is the one before the last plus one, so that the last alone says nothing."""
    chance = np.random.default_rng(begin)
    rows = []
    for n in range(begin, begin + sessions):
        items = chance.integers(0, 6, 2).tolist()
        while len(items) < 7:
            items.append((items[-2] + 1) % 6)
        rows += [f"u{n},{100 * n + t},p{item}" for t, item in enumerate(items)]
    return rows


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recommend") / "clicks.csv"
    path.write_text("\n".join(["user,time,item", *rows_of(300)]) + "\n")
    return path


@pytest.fixture(scope="module")
def run(table: Path) -> Path:
    from elman import cli

    out = table.with_name("run")
    options = [*TINY, "--set", "learning_rate=0.02", "--set", "evaluate_every=60"]
    assert cli.run(["train", "recommend", str(table), "--steps", "240", "--out", str(out), *options]) == 0
    return out


@pytest.fixture
def broken(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "broken"))


def test_it_sees_what_trivial_predictors_cannot(elman: Elman, run: Path) -> None:
    metrics = json.loads(elman("evaluate", run, "--json").out)
    assert metrics["judged_on"] == "test"
    assert metrics["events"] > 150
    assert metrics["recall_1"] > 0.8  # one event in six is the second of its session, which nobody can know
    assert set(metrics["baselines"]) == {"popularity", "item to item", "Markov", "Markov, last 20"}
    assert all(baseline["recall_1"] < 0.5 for baseline in metrics["baselines"].values())
    table = elman("evaluate", run).out
    assert "the model  popularity  item to item" in table
    assert "recall_1" in table


def test_what_was_found_is_said_before_training(elman: Elman, table: Path, tmp_path: Path) -> None:
    answer = elman("train", "recommend", table, "--steps", 1, "--out", tmp_path / "run", *TINY)
    assert "columns: user, item, time" in answer.err
    assert "order: by time; the file's among equal times, 0 of 1800 neighbouring events" in answer.err
    assert "items: 6 known of 6" in answer.err
    assert "sessions of one event: 0" in answer.err
    report = (tmp_path / "run" / "report.md").read_text()
    assert "Markov, last 20" in report
    assert " events a second" in report


def test_other_sessions_with_strange_items_and_bad_rows(elman: Elman, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text(
        "\n".join(["user,time,item", *rows_of(20, 900), "v,1,new", "v,2,p1", "v,3,new", "w,late,p1"]) + "\n"
    )
    answer = elman("evaluate", run, path)
    assert answer.code == 2
    assert "line 145: invalid time" in answer.err
    metrics = json.loads(elman("evaluate", run, path, "--skip-bad", "--json").out)
    assert (metrics["judged_on"], metrics["events"]) == ("DATA", 121)
    assert metrics["rows_left_out"] == 1
    assert metrics["left_out"] == [f"{path}, line 145: invalid time: 'late'"]
    assert (metrics["of_unknown_items"], metrics["without_history"]) == (1, 1)


def test_a_running_session(elman: Elman, run: Path) -> None:
    answer = elman("predict", run, "p1", "p4", "--set", "k=2")
    assert answer.code == 0
    assert answer.out.startswith("p2 ")
    fields = json.loads(elman("predict", run, "p1", "nothing", "p4", "--set", "k=3", "--json").out)["predictions"]
    assert len(fields) == 1
    assert fields[0]["items"][0] == "p2"
    assert fields[0]["unknown"] == ["nothing"]
    assert fields[0]["events"] == 2
    assert fields[0]["scores"] == sorted(fields[0]["scores"], reverse=True)
    seen = json.loads(elman("predict", run, "p2", "p1", "p4", "--set", "exclude_seen=yes", "--json").out)
    assert set(seen["predictions"][0]["items"]) == {"p0", "p3", "p5"}
    assert sum(seen["predictions"][0]["scores"]) == pytest.approx(1)
    nothing = elman("predict", run, "nothing", "--set", "k=1").out
    assert "(unknown: nothing)  (nothing known yet: the most popular)" in nothing


def read(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines) + "\n"))


def test_events_on_standard_input(elman: Elman, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(
        monkeypatch,
        '"p1"',
        '{"session": "ann", "item": "p3"}',
        "",
        '{"session": 7, "items": ["p5", "p0"]}',
        '"p4"',
        '{"session": "ann", "item": "p0", "end": true}',
        '{"session": "ann", "item": "p0"}',
    )
    answers = json.loads(elman("predict", run, "-", "--set", "k=1", "--json").out)["predictions"]
    assert [(answer.get("session"), answer["events"]) for answer in answers] == [
        (None, 1),
        ("ann", 1),
        ("7", 2),
        (None, 2),
        ("ann", 2),
        ("ann", 1),
    ]
    assert [answers[n]["items"] for n in (2, 3, 4)] == [["p0"], ["p2"], ["p4"]]


def test_answers_come_as_events_do(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def lines():  # type: ignore[no-untyped-def]
        for n in range(3):
            asked.append(n)
            yield f'"p{n}"\n'

    monkeypatch.setattr(sys, "stdin", lines())
    for n, answer in enumerate(use.load(run).predict(["-"], k=1)):
        assert asked == list(range(n + 1))
        assert answer.fields["events"] == n + 1


def test_a_state_is_saved_and_continued(elman: Elman, run: Path, tmp_path: Path) -> None:
    state = tmp_path / "ann.safetensors"
    options = ["--json", "--set", f"state={state}", "--set", "exclude_seen=true", "--set", "k=9"]
    elman("predict", run, "p1", "p4", "what", *options)
    size = state.stat().st_size
    continued = json.loads(elman("predict", run, "p2", *options).out)
    assert state.stat().st_size == size
    whole = json.loads(elman("predict", run, "p1", "p4", "p2", "--set", "exclude_seen=true", "--json").out)
    assert continued == whole
    again = elman("predict", run, *options)  # asks without a new event
    assert json.loads(again.out) == whole
    session = use.load(run).session(state)
    assert (session.events, session.unknown) == (3, 1)


def test_a_step_costs_a_step(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = use.load(run).session()
    read_items = []
    original = session.model.read
    monkeypatch.setattr(session.model, "read", lambda item, state: read_items.append(item) or original(item, state))
    for _ in range(50):
        session.push("p1")
        session.next(2)
    assert [len(item) for item in read_items] == [1] * 50


@pytest.mark.parametrize(
    ("facts", "held", "message"),
    [
        ({"weights": "0"}, {}, "is the state of a session of another model"),
        ({"events": -1}, {}, "is broken"),
        ({}, {"seen": torch.zeros(9, dtype=torch.uint8)}, "is broken"),
        ({}, {"state_0": torch.zeros(1, 1, 3)}, "is broken"),
        ({}, {"other": torch.zeros(1)}, "is broken"),
    ],
)
def test_a_foreign_state_is_refused(run: Path, tmp_path: Path, facts: dict, held: dict, message: str) -> None:
    trained, path = use.load(run), tmp_path / "state"
    session = trained.session()
    session.push("p1")
    session.save(path)
    kept, said = tensors.read(path)
    tensors.write(path, {**kept, **held}, {**said, **facts})
    with pytest.raises(RunError, match=message):
        trained.session(path)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("p1", "Expecting value"),
        ("[1]", "[1]"),
        ('{"thing": 1}', "thing"),
        ('{"item": null}', "null"),
        ("true", "true"),
    ],
)
def test_a_line_that_is_no_event(
    elman: Elman, run: Path, monkeypatch: pytest.MonkeyPatch, line: str, found: str
) -> None:
    read(monkeypatch, '"p1"', line)
    answer = elman("predict", run, "-")
    assert answer.code == 2
    assert "line 2 of standard input is no event" in answer.err
    assert found in answer.err


def test_standard_input_that_is_no_text(elman: Elman, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'"\xff"\n'), encoding="utf-8"))
    assert "line 1 of standard input is no text" in elman("predict", run, "-").err


def test_what_predict_refuses(elman: Elman, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no session to answer to" in elman("predict", run).err
    assert "the setting k is out of range" in elman("predict", run, "p1", "--set", "k=0").err
    read(monkeypatch, '{"session": "a", "item": "p1"}')
    answer = elman("predict", run, "-", "--set", f"state={tmp_path / 'state'}")
    assert "one file cannot hold the state of many sessions" in answer.err


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
def test_a_run_that_stopped_goes_on_exactly(table: Path, tmp_path: Path, settings: dict) -> None:
    chosen = {"hidden": 6, "embedding": 4, "steps": 24, "evaluate_every": 5, "split": "last", **settings}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    runs.start(RECIPE, [table], chosen, whole)
    assert runs.start(RECIPE, [table], chosen, parts, watch=press_at(7)).outcome.ended == "interrupted"
    assert runs.resume(RECIPE, {}, parts).outcome.ended == "budget"
    for name in ("metrics.jsonl", "model.safetensors", "config.json"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name


def test_every_loss_learns(table: Path, tmp_path: Path) -> None:
    for loss in ("bpr-max", "top1-max"):
        chosen = {"hidden": 24, "embedding": 16, "steps": 150, "at": 1, "loss": loss, "negatives": 4, "window": 5}
        more = {"dropout": 0, "embedding_dropout": 0, "learning_rate": 0.02, "tied": False}
        trained = runs.start(RECIPE, [table], {**chosen, **more}, tmp_path / loss)
        assert trained.outcome.best is not None
        assert trained.outcome.best["validation"]["recall_1"] > 0.6, loss


def test_many_items_are_compared_with_a_sample() -> None:
    settings = RECIPE.settings
    assert [settings().drawn(items) for items in (9_999, 10_000)] == [0, 2048]  # type: ignore[attr-defined]
    assert settings(negatives=0).drawn(10**6) == 0  # type: ignore[attr-defined,call-arg]
    assert settings(negatives=5).drawn(10) == 5  # type: ignore[attr-defined,call-arg]


def test_the_made_up_shop_shows_the_best_possible(elman: Elman, tmp_path: Path) -> None:
    options = ["--steps", "1", "--hidden", "4", "--set", "embedding=4", "--set", "judged=100"]
    answer = elman("train", "recommend", "--out", tmp_path / "run", *options)
    assert "sources: a made-up shop (200 items, 6000 sessions)" in answer.err
    assert "| best possible | 0.8" in (tmp_path / "run" / "report.md").read_text()


def test_without_its_sessions_a_run_predicts_and_says_what_it_cannot(elman: Elman, broken: Path) -> None:
    for path in broken.glob("*.npy"):
        path.unlink()
    assert elman("predict", broken, "p1", "p4", "--set", "k=1").out.startswith("p2 ")
    answer = elman("evaluate", broken)
    assert answer.code == 2
    assert "came without its training sessions" in answer.err
    assert elman("diagnose", broken).code == 2


@pytest.mark.parametrize("name", ["items.json", "training.values.npy", "test.values.npy", "test.ends.npy"])
def test_a_broken_file_is_one_message(elman: Elman, broken: Path, name: str) -> None:
    path = broken / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    answer = elman("evaluate", broken)
    assert (answer.code, answer.out) == (2, "")
    assert f"{path} is broken" in answer.err


def test_other_sessions_in_the_run_are_noticed(elman: Elman, broken: Path) -> None:
    steps = np.load(broken / "training.values.npy")
    steps["item"][0] ^= 1
    np.save(broken / "training.values.npy", steps)
    assert "are not those that the run began with" in elman("evaluate", broken).err


def test_sessions_of_one_event_from_a_stranger_are_noticed(elman: Elman, broken: Path) -> None:
    np.save(broken / "training.values.npy", np.load(broken / "training.values.npy")[:1])
    np.save(broken / "training.ends.npy", np.array([1]))
    config = json.loads((broken / "config.json").read_text())
    config["data"]["fingerprint"] = open_part(broken, "training", 6).fingerprint
    (broken / "config.json").write_text(json.dumps(config))
    for command in (["evaluate", broken], ["train", "recommend", "--out", broken, "--resume", "--steps", 300]):
        answer = elman(*command)
        assert answer.code == 2
        assert "are not those that the run began with" in answer.err


def test_weights_that_are_no_numbers_are_said(elman: Elman, broken: Path) -> None:
    weights, facts = tensors.read(broken / "model.safetensors")
    weights["bias"][0] = float("nan")
    tensors.write(broken / "model.safetensors", weights, facts)
    assert "the model predicts no numbers" in elman("evaluate", broken).err
    assert "the model predicts no numbers" in elman("predict", broken, "p1", "--json").err


@pytest.mark.parametrize("data", [False, True])
def test_a_diagnosis(elman: Elman, run: Path, table: Path, data: bool) -> None:
    answer = elman("diagnose", run, *([table] if data else []), "--json")
    assert answer.code == 0
    assert json.loads(answer.out)
