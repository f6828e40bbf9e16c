"""`elman.export`: a complete folder or none, and one message for each mistake."""

import errno
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import nn

import elman
from elman.cli.export import RUN_TARGETS
from elman.errors import ElmanError, ExportError, RunError, SettingError
from elman.exporters import export as module
from elman.exporters.export import TARGETS, find_target
from elman.exporters.parity import ParityReport, compare
from elman.exporters.stack import stack_of
from elman.exporters.target import Target
from elman.settings import Settings, setting
from elman.storage.files import write_text


@dataclass(frozen=True, kw_only=True)
class Options(Settings):
    precision: str = setting("float32", "of the weights", choices=("float32",))
    wrong: bool = setting(False, "whether the numbers differ")
    broken: bool = setting(False, "whether writing fails")


def write(layer: nn.Module, folder: Path, options: Any) -> ParityReport:
    write_text(folder / "weights.txt", str(stack_of(layer).layers[0].forward.U.tolist()))
    if options.broken:
        raise OSError("no")
    return ParityReport("toy", options.precision, (compare("U", "all", [0.0], [float(options.wrong)], 1e-5),))


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    home = ModuleType("toy_target")
    home.TARGET = Target("toy", Options, layer=write)
    monkeypatch.setitem(sys.modules, "toy_target", home)
    monkeypatch.setitem(module.TARGETS, "toy", "toy_target")


@pytest.mark.parametrize("there", [False, True])
def test_an_export_is_a_folder_with_a_report(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "out").mkdir()
    done = elman.export(nn.GRU(2, 3), tmp_path / "out", to="toy")
    assert done.files == ("parity.json", "weights.txt") and done.report.passed
    assert json.loads((tmp_path / "out" / "parity.json").read_text())["target"] == "toy"
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
    assert str(done).startswith(f"{tmp_path / 'out'}: parity.json, weights.txt\n")


@pytest.mark.parametrize(("option", "error"), [("wrong", ExportError), ("broken", OSError)])
def test_a_failure_leaves_nothing(tmp_path: Path, option: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        elman.export(nn.GRU(2, 3), tmp_path / "out", to="toy", **{option: True})
    assert not list(tmp_path.iterdir())
    (tmp_path / "out").mkdir()
    with pytest.raises(error):
        elman.export(nn.GRU(2, 3), tmp_path / "out", to="toy", **{option: True})
    assert not list((tmp_path / "out").iterdir())


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, content: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RunError, match="the disk is full"):
        elman.export(nn.GRU(2, 3), tmp_path / "out", to="toy")
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for place in (tmp_path, tmp_path / "mine"):
        with pytest.raises(RunError, match="new or an empty"):
            elman.export(nn.GRU(2, 3), place, to="toy")
    with pytest.raises(RunError):
        elman.export(nn.GRU(2, 3), tmp_path / "mine" / "below", to="toy")
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("subject", "options", "message"),
    [
        (nn.GRU(2, 3), {"to": "tony"}, "did you mean 'toy'"),
        (nn.GRU(2, 3), {"precison": "float32"}, "unknown option of the target toy"),
        (nn.GRU(2, 3), {"precision": "int4"}, "int4"),
        (nn.GRU(2, 3), {"inputs": [1]}, "inputs and dynamic_shapes are for a model"),
        (nn.Linear(2, 3), {}, "does not take a model"),
        (7, {}, "subject of an export"),
        ("no/such/run", {}, "not a run directory"),
    ],
)
def test_a_mistake_is_one_message(tmp_path: Path, subject: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ElmanError, match=message):
        elman.export(subject, tmp_path / "out", **{"to": "toy", **options})
    assert not list(tmp_path.iterdir())


def test_a_run_is_refused_by_a_target_without_runs(tmp_path: Path, language_run: Path, elman: Any) -> None:
    answer = elman("export", language_run, "--to", "toy", "--out", tmp_path / "out")
    assert answer.code == 2 and "does not take a run" in answer.err and not list(tmp_path.iterdir())
    for name in ("nothing", "a/b", "..", ""):
        answer = elman("export", language_run, "--to", name)
        assert answer.code == 2 and "target" in answer.err
    assert elman("export", tmp_path / "none", "--to", "toy").code == 2


def test_a_target_that_takes_runs_is_reached_from_the_command_line(
    tmp_path: Path, language_run: Path, elman: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_run(predictor: Any, folder: Path, options: Any) -> ParityReport:
        write_text(folder / "name.txt", type(predictor).__name__)
        return ParityReport("toy", options.precision, (compare("y", "all", [1.0], [1.0], 1e-5),))

    sys.modules["toy_target"].TARGET = Target("toy", Options, run=write_run)
    answer = elman("export", language_run, "--to", "toy", "--out", tmp_path / "out", "--json")
    assert answer.code == 0 and json.loads(answer.out)["files"] == ["name.txt", "parity.json"]
    again = elman("export", language_run, "--to", "toy", "--out", tmp_path / "out")
    assert again.code == 2 and "not empty" in again.err
    assert elman("export", language_run, "--to", "toy", "--out", tmp_path / "b").out.startswith("compared")
    with pytest.raises(SettingError):
        module.export(nn.GRU(2, 3), tmp_path / "c", to="tow")


def test_the_help_names_the_targets_that_take_a_run() -> None:
    assert {*RUN_TARGETS} == {name for name in TARGETS if find_target(name).run is not None}
