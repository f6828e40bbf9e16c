"""`elman train`: what it leaves, what it says, and what bad input gets."""

import errno
import json
import os
import pickle
import shutil
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Elman = Callable[..., Any]


def test_it_leaves_a_run(run: Path) -> None:
    names = sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())
    assert names == [
        "checkpoint/state.safetensors",
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
        "report.md",
        "text.tokens",
        "vocabulary.json",
    ]
    report = (run / "report.md").read_text()
    for part in ("bits per character", "text.txt", f"elman generate {run}", "hidden = 8", "parameters"):
        assert part in report


def test_nothing_in_a_run_is_a_pickle(run: Path) -> None:
    for path in run.rglob("*"):
        if path.is_file():
            assert not zipfile.is_zipfile(path)
            with pytest.raises((pickle.UnpicklingError, ValueError, KeyError, IndexError, EOFError)):
                pickle.loads(path.read_bytes())


def test_json_and_nothing_else_on_standard_output(elman: Elman, text: Path, tmp_path: Path, tiny: list) -> None:
    answer = elman("train", "language-model", text, "--steps", 4, "--out", tmp_path / "r", "--json", *tiny)
    assert answer.code == 0
    said = json.loads(answer.out)
    assert said["steps"] == 4
    assert said["best"]["step"] == 4
    assert "validation" in answer.err
    assert "bits per character" in answer.err


def test_without_data_and_without_out(
    elman: Elman, tmp_path: Path, tiny: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    limit = ["--set", "validation_symbols=500"]
    for n in (1, 2):
        assert elman("train", "language-model", "--steps", 2, *tiny, *limit).code == 0
        assert (tmp_path / "runs" / f"language-model-{n}" / "report.md").exists()


def test_resume(elman: Elman, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    shutil.copytree(run, out)
    answer = elman("train", "language-model", "--out", out, "--resume", "--steps", 40, "--set", "learning_rate=0.001")
    assert answer.code == 0, answer.err
    assert [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()] == [26, 30, 40]
    assert json.loads((out / "config.json").read_text())["settings"]["steps"] == 40


def test_ctrl_c(elman: Elman, text: Path, tmp_path: Path, tiny: list, monkeypatch: pytest.MonkeyPatch) -> None:
    from elman.cli.progress import Progress

    watch = Progress.watch

    def press(self: Progress, moment: Any) -> None:
        watch(self, moment)
        if moment.step == 3 and moment.row is None:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Progress, "watch", press)
    out = tmp_path / "r"
    answer = elman("train", "language-model", text, "--steps", 9, "--out", out, *tiny)
    assert answer.code == 130
    assert f"elman train language-model --out {out} --resume" in answer.err
    monkeypatch.undo()
    assert elman("train", "language-model", "--out", out, "--resume").code == 0


def refused(answer: Any, *messages: str) -> None:
    assert answer.code == 2, answer.err
    assert answer.out == ""
    assert "Traceback" not in answer.err
    for message in messages:
        assert message in answer.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "hiden=3"], "did you mean 'hidden'?"),
        (["--set", "hidden"], "--set key=value"),
        (["--hidden", "9", "--set", "hidden=8"], "is given twice"),
        (["--set", "dropout=2"], "out of range"),
        (["--layers", "0"], "out of range"),
        (["--cell", "lsmt"], "did you mean 'lstm'?"),
        (["--set", "init=ortogonal"], "did you mean 'orthogonal'?"),
        (["--set", "nonlinearity=tan", "--cell", "rnn"], "did you mean 'tanh'?"),
        (["--set", "device=abacus"], "device 'abacus' is not available"),
        (["--minutes", "1"], "more than one training budget"),
    ],
)
def test_bad_options_leave_nothing(elman: Elman, text: Path, tmp_path: Path, options: list, message: str) -> None:
    out = tmp_path / "runs" / "r"
    small = ["--set", "batch_size=2", "--set", "window=8"]
    refused(elman("train", "language-model", text, "--steps", 2, "--out", out, *small, *options), message)
    assert not out.exists()
    assert not out.parent.exists() or list(out.parent.iterdir()) == []


def test_an_occupied_place(elman: Elman, text: Path, run: Path, tmp_path: Path, tiny: list) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    refused(
        elman("train", "language-model", text, "--steps", 2, "--out", run, *tiny), "holds a run already", "--resume"
    )
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    refused(elman("train", "language-model", text, "--steps", 2, "--out", text.parent, *tiny), "is not empty")


def test_what_cannot_be_resumed(elman: Elman, text: Path, run: Path, tmp_path: Path) -> None:
    train = ("train", "language-model", "--resume", "--out")
    refused(elman(*train, tmp_path / "none"), "is not a run directory")
    refused(elman(*train, run, "--hidden", 9), "hidden cannot change in a resumed run")
    refused(elman("train", "language-model", "--resume"), "--resume needs a run")
    refused(elman("train", "language-model", text, "--resume", "--out", run), "the run's own data")
    other = tmp_path / "r"
    shutil.copytree(run, other)
    path = other / "checkpoint" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refused(elman(*train, other, "--steps", 50), "is broken")
    shutil.copy(run / "checkpoint" / "state.safetensors", path)
    shutil.copy(text, other / "text.tokens")
    refused(elman(*train, other, "--steps", 50), "is broken")


def test_unknown_recipes_commands_and_options(elman: Elman) -> None:
    refused(elman("train", "langage-model"), "did you mean 'language-model'?")
    refused(elman("trian"), "trian")
    refused(elman("train", "language-model", "--stepz", 3), "--stepz")
    refused(elman("train", "language-model", "--steps", "many"), "--steps")


def test_a_full_disk_while_training(
    elman: Elman, text: Path, tmp_path: Path, tiny: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up some writes into the run: exit 2, and the run can be resumed."""
    original, writes = os.write, [0]

    def write(handle: int, content: bytes) -> int:
        if len(content) > 1000:
            writes[0] += 1
            if writes[0] > 3:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(handle, content)

    out = tmp_path / "r"
    monkeypatch.setattr(os, "write", write)
    answer = elman("train", "language-model", text, "--steps", 8, "--out", out, *tiny, "--set", "checkpoint_every=1")
    refused(answer, "the disk is full", "--resume")
    assert not list(out.rglob("*.new"))
    monkeypatch.undo()
    assert elman("train", "language-model", "--out", out, "--resume").code == 0
