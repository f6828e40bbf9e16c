"""`elman diagnose`, and `elman train --diagnose`."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elman.inspection import diagnose
from elman.recipes.use import diagnosable

Elman = Callable[..., Any]


def test_a_run_is_diagnosed_on_its_own_data_and_on_other(elman: Elman, run: Path, text: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    answer = elman("diagnose", run, "--out", page)
    assert answer.code == 0
    assert "recurrent layer 0  (lstm, 8 units):" in answer.out
    assert f"the page is {page}" in answer.err
    assert page.read_text().lstrip().startswith("<!doctype html>")
    found = json.loads(elman("diagnose", run, text, "--json").out)
    assert found["format"] == "elman.diagnosis"
    assert found["window"] == 8
    assert found["steps"] == 32


def test_a_page_links_into_the_learners_page(elman: Elman, run: Path, tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    page, explorer = tmp_path / "page.html", tmp_path / "a b" / "explore.html"
    assert elman("diagnose", run, "--out", page, "--explore", explorer).code == 0
    links = re.findall(r'href="(a%20b/explore\.html)#(run/recurrent%20layer%200/\d+|\w+)"', page.read_text())
    assert [target for target, _ in links] == ["a%20b/explore.html"] * 2
    assert f'id="{links[1][1]}"' in explorer.read_text()
    assert "explore.html" not in Path(elman("diagnose", run, "--out", page) and page).read_text()
    for arguments in (("--explore", explorer), ("--out", page, "--explore", tmp_path)):
        answer = elman("diagnose", run, *arguments)
        assert answer.code == 2
        assert "--explore" in answer.err


def test_the_command_is_the_function(elman: Elman, run: Path) -> None:
    patient = diagnosable(run)
    batches, loss, window = patient.sample
    report = diagnose(
        patient.model, batches, loss, window=window, settings=patient.settings.as_dict(), norms=patient.norms
    )
    assert json.loads(report.to_json()) == json.loads(elman("diagnose", run, "--json").out)


def test_what_a_diagnosis_refuses(elman: Elman, run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(run, alone)
    (alone / "text.tokens").unlink()
    cases = {
        "came without its data": ("diagnose", alone),
        "a file in an existing directory": ("diagnose", run, "--out", tmp_path / "no" / "page.html"),
        "nope": ("diagnose", run, tmp_path / "nope.txt"),
    }
    for message, arguments in cases.items():
        answer = elman(*arguments)
        assert answer.code == 2
        assert message in answer.err
        assert "Traceback" not in answer.err


def test_a_page_that_cannot_be_drawn_is_refused_first(
    elman: Elman, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: Any, **options: Any) -> None:
        raise AssertionError("nothing is measured first")

    monkeypatch.setattr("elman.recipes.use.diagnosable", never)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    answer = elman("diagnose", run, "--out", tmp_path / "page.html")
    assert answer.code == 2
    assert "elman[plot]" in answer.err
    assert not list(tmp_path.glob("page.html*"))


def test_a_page_that_fails_leaves_the_old_one(
    elman: Elman, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.html"
    page.write_text("old")
    write = os.write

    def half(handle: int, content: bytes) -> int:
        if len(content) < 100:
            return write(handle, content)
        write(handle, content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    answer = elman("diagnose", run, "--out", page)
    assert answer.code == 2
    assert "No space left" in answer.err
    assert page.read_text() == "old"
    assert list(tmp_path.glob("page*")) == [page]


def test_training_watches_the_horizon_and_trains_the_same(
    elman: Elman, text: Path, tiny: list[str], tmp_path: Path
) -> None:
    rows = {}
    for name, options in {"plain": [], "watched": ["--diagnose", 3]}.items():
        out = tmp_path / name
        settings = [*tiny, "--set", "evaluate_every=6", "--set", "dropout=0.5"]
        answer = elman("train", "language-model", text, "--steps", 12, "--out", out, *settings, *options)
        assert answer.code == 0
        rows[name] = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        assert ("horizon, recurrent layer 0:" in answer.err) == (name == "watched")
        assert ("  gradient 0." in answer.err) == (name == "watched")
    for plain, watched in zip(rows["plain"], rows["watched"], strict=True):
        assert watched.pop("horizon, recurrent layer 0") > 0
        assert watched.pop("half-life, recurrent layer 0") > 0
        assert watched == plain


def test_the_norm_is_shown_before_and_after_clipping(elman: Elman, text: Path, tiny: list[str], tmp_path: Path) -> None:
    options = ["--steps", 4, "--set", "clip=0.01", "--diagnose", 1, "--out", tmp_path / "run"]
    assert ", clipped to 0.01  horizon, " in elman("train", "language-model", text, *options, *tiny).err
    found = json.loads(elman("diagnose", tmp_path / "run", "--json").out)["gradient_norms"]
    assert found["steps"] == 4 and found["clip"] == 0.01 and found["clipped_share"] == 1.0 and found["median"] > 0.01


def test_the_memory_that_the_task_needs_can_be_given(elman: Elman, run: Path) -> None:
    assert json.loads(elman("diagnose", run, "--json").out)["memory"] == 1  # an eighth of the window
    assert json.loads(elman("diagnose", run, "--memory", 31, "--json").out)["memory"] == 31
    answer = elman("diagnose", run, "--memory", 0)
    assert answer.code == 2 and "memory is not a number of steps" in answer.err


def test_a_number_that_is_not_finite_names_step_layer_and_sequences(
    elman: Elman, text: Path, tiny: list[str], tmp_path: Path
) -> None:
    wild = ["--cell", "rnn", "--set", "nonlinearity=identity", "--set", "init=orthogonal=1e30"]
    answer = elman("train", "language-model", text, "--steps", 4, "--out", tmp_path / "run", *tiny, *wild)
    assert answer.code == 2
    assert "the loss became nan at step 1, first in recurrent (RNN)" in answer.err
    assert "because of the sequences 0 and 1 of the batch (from 0), whose output of recurrent layer 0" in answer.err
