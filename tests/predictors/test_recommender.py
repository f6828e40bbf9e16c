"""A trained recommender: items that come next in a session, for items and for events on standard input."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elman.predictors.options import RecommendOptions
from elman.recipes import use

Elman = Callable[..., Any]


@pytest.fixture
def run(recommend_run: Path) -> Path:
    return recommend_run


def test_a_running_session(elman: Elman, run: Path) -> None:
    answer = elman("predict", run, "p1", "p4", "--set", "top_k=2")
    assert answer.code == 0
    assert answer.out.startswith("p2 ")
    fields = json.loads(elman("predict", run, "p1", "nothing", "p4", "--set", "top_k=3", "--json").out)["predictions"]
    assert len(fields) == 1
    assert fields[0]["items"][0] == "p2"
    assert fields[0]["unknown"] == ["nothing"]
    assert fields[0]["events"] == 2
    assert fields[0]["scores"] == sorted(fields[0]["scores"], reverse=True)
    seen = json.loads(elman("predict", run, "p2", "p1", "p4", "--set", "exclude_seen=yes", "--json").out)
    assert set(seen["predictions"][0]["items"]) == {"p0", "p3", "p5"}
    assert sum(seen["predictions"][0]["scores"]) == pytest.approx(1)
    nothing = elman("predict", run, "nothing", "--set", "top_k=1").out
    assert "(unknown: nothing)  (no known item yet: the most popular)" in nothing


def pipe(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines) + "\n"))


def test_events_on_standard_input(elman: Elman, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(
        monkeypatch,
        '"p1"',
        '{"session": "ann", "item": "p3"}',
        "",
        '{"session": 7, "items": ["p5", "p0"]}',
        '"p4"',
        '{"session": "ann", "item": "p0", "end": true}',
        '{"session": "ann", "item": "p0"}',
    )
    answers = json.loads(elman("predict", run, "-", "--set", "top_k=1", "--json").out)["predictions"]
    assert [(answer.get("session"), answer["events"]) for answer in answers] == [
        (None, 1),
        ("ann", 1),
        ("7", 2),
        (None, 2),
        ("ann", 2),
        ("ann", 1),
    ]
    assert [answers[n]["items"] for n in (2, 3, 4)] == [["p0"], ["p2"], ["p4"]]


def test_each_event_is_answered_before_the_next_is_read(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = []

    class Lines(io.BytesIO):
        def readline(self, size: int | None = -1) -> bytes:
            if len(numbers) == 3:
                return b""
            numbers.append(len(numbers))
            return b'"p%d"\n' % numbers[-1]

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Lines()))
    for n, answer in enumerate(use.load(run).predict(["-"], top_k=1)):
        assert numbers == list(range(n + 1))
        assert answer.fields["events"] == n + 1


def test_options_are_those_of_recommendation(run: Path) -> None:
    assert use.load(run).Options is RecommendOptions


def test_a_state_is_saved_and_restored(elman: Elman, run: Path, tmp_path: Path) -> None:
    state = tmp_path / "ann.safetensors"
    options = ["--json", "--set", f"state={state}", "--set", "exclude_seen=true", "--set", "top_k=9"]
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
def test_a_line_that_is_not_an_event(
    elman: Elman, run: Path, monkeypatch: pytest.MonkeyPatch, line: str, found: str
) -> None:
    pipe(monkeypatch, '"p1"', line)
    answer = elman("predict", run, "-")
    assert answer.code == 2
    assert "line 2 of standard input is not an event" in answer.err
    assert found in answer.err


def test_standard_input_that_is_not_text(elman: Elman, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'"\xff"\n'), encoding="utf-8"))
    assert "standard input, line 1 is not valid UTF-8" in elman("predict", run, "-").err


def test_what_predict_refuses(elman: Elman, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no session to answer" in elman("predict", run).err
    assert "the setting top_k is out of range" in elman("predict", run, "p1", "--set", "top_k=0").err
    pipe(monkeypatch, '{"session": "a", "item": "p1"}')
    answer = elman("predict", run, "-", "--set", f"state={tmp_path / 'state'}")
    assert "one file cannot hold the state of many sessions" in answer.err
