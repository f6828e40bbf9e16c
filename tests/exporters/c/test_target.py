"""The target `c`: complete folders that were compiled and compared, names that are safe, and the command line."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

import elman
from elman.errors import ElmanError, ExportError, SettingError
from elman.exporters.c import comparison, compiler
from elman.exporters.c.names import check_name, is_name, name_of
from elman.exporters.chain import chain_of
from elman.exporters.precision import symmetric_rows
from elman.models.language_model import LanguageModel

HOSTILE = [
    "", " ", "a b", "x;system(1)", "*/ int evil; /*", "../up", "..", "a/b", "a\nb", 'a"b', "1st", "_a", "é", "m\u202e",
    "main", "MATH", "stdio", "features", "a" * 26, "con", "int main(void){}", "%s", "{name}", "-o",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused_with_one_that_is_safe(name: str) -> None:
    with pytest.raises(SettingError, match="cannot name functions") as caught:
        check_name(name)
    assert caught.value.hint is not None and is_name(caught.value.hint.partition("name=")[2])


@given(st.text(max_size=60))
@example("runs/c-2024.1")
@example("stdio")
@example("_")
@example("a" * 24 + "/b")
def test_every_text_has_a_safe_name(text: str) -> None:
    name = name_of(text)
    assert is_name(name) and name.isascii() and check_name(name) == name
    assert not is_name(text) or "_" in text or name == text


class Speller(nn.Module):
    """Symbols in, the logits after the last one out."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.gru, self.out = nn.Embedding(9, 4), nn.GRU(4, 6), nn.Linear(6, 9)

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        return self.out(self.gru(self.table(symbols))[0][-1])


@pytest.fixture
def needs_compiler() -> None:
    if compiler.find_compiler() is None:
        pytest.skip("no C compiler")


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_an_export_was_compiled_and_compared(tmp_path: Path, precision: str, needs_compiler: None) -> None:
    torch.manual_seed(0)
    done = elman.export(nn.LSTM(2, 5), tmp_path / "out", to="c", precision=precision, name="robot")
    assert done.files == ("main.c", "parity.json", "robot.c", "robot.h")
    rows = {row.compared: row for row in done.report.rows}
    assert {"y of robot.c", "h of robot.c", "c of robot.c"} <= rows.keys() and not done.report.remarks
    assert all(row.bound <= 1e-3 for row in rows.values() if precision == "float32" or "against" in row.compared)
    (time,) = done.report.times
    assert 0 < time.microseconds < 1000 and time.original_microseconds is not None


def test_a_model_from_symbols_to_logits(tmp_path: Path, needs_compiler: None) -> None:
    torch.manual_seed(0)
    model = Speller()
    done = elman.export(model, tmp_path / "out", to="c", inputs=(torch.tensor([[1, 0], [8, 3], [2, 2]]),))
    assert done.report.passed and {row.inputs for row in done.report.rows} == {
        "the given inputs", "random inputs", "random inputs, T = 20",
    }  # fmt: skip
    program = [shutil.which("cc") or "gcc", "-std=c99", "model.c", "main.c", "-lm", "-o", "program"]
    subprocess.run(program, cwd=tmp_path / "out", check=True)
    command = [str(tmp_path / "out" / "program")]
    answer = subprocess.run(command, input="1 8 2 reset 0 3 2", capture_output=True, text=True, check=True).stdout
    lines = np.array([line.split() for line in answer.splitlines()], float)
    expected = model(torch.tensor([[1, 0], [8, 3], [2, 2]])).detach().numpy()
    np.testing.assert_allclose(lines[[2, 5]], expected, atol=1e-6)
    for words in ("9", "-1", "1.5", "x", "99999999999999999999"):
        wrong = subprocess.run(command, input=f"1 {words}", capture_output=True, text=True)
        assert wrong.returncode == 2 and wrong.stderr == f"not a symbol: {words}\n"


def test_main_reads_numbers_and_refuses_the_rest(tmp_path: Path, needs_compiler: None) -> None:
    layer = nn.GRU(2, 3)
    elman.export(layer, tmp_path / "out", to="c", compare=False)
    program = [shutil.which("cc") or "gcc", "-std=c99", "model.c", "main.c", "-lm", "-o", "program"]
    subprocess.run(program, cwd=tmp_path / "out", check=True)

    def run(words: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(tmp_path / "out" / "program"), *arguments]
        return subprocess.run(command, input=words, capture_output=True, text=True)

    once, twice = run("1 2\n3 4e0"), run("1 2 3 4 reset 1 2 3 4", "state")
    assert [len(line.split()) for line in twice.stdout.splitlines()] == [6] * 4
    assert twice.stdout.splitlines()[2:] == twice.stdout.splitlines()[:2] and once.returncode == 0
    assert [line.split()[:3] for line in twice.stdout.splitlines()[:2]] == [l.split() for l in once.stdout.splitlines()]
    assert run("1 2 3").stderr == "the last step has 1 numbers instead of 2\n" and run("1 2 3").returncode == 2
    assert run("1 two").stderr == "not a number: two\n" and run("1 reset").returncode == 2
    assert run("").stdout == "" and float(run("", "time").stdout) > 0


def test_without_a_compiler_the_constants_are_compared_and_the_report_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    torch.manual_seed(0)
    layers = [nn.LSTM(3, 4, 2), nn.GRU(3, 4, 2, bias=False), elman.RNN(3, 4, nonlinearity="sigmoid")]
    layers += [elman.LSTM(3, 4, 2, proj_size=2, learn_initial_state=True)]
    for number, layer in enumerate(layers):
        for precision in ("float32", "int8"):
            done = elman.export(layer, tmp_path / f"{number}{precision}", to="c", precision=precision)
            assert done.report.remarks == (
                "model.c was not compiled and run: no C compiler (cc, gcc or clang) on this machine",
            )
            assert "the constants of model.c, in NumPy" in done.report.table() and not done.report.times
    done = elman.export(Speller(), tmp_path / "s", to="c", precision="int8", inputs=(torch.ones(3, 2, dtype=int),))
    assert done.report.passed
    done = elman.export(nn.GRU(2, 3), tmp_path / "quick", to="c", compare=False)
    assert done.report.remarks == ("model.c was not compiled and run: compare=false",)


@pytest.mark.parametrize("script", ["exit 1", "exit 0", "echo 'model.c:1: error: no' >&2; exit 3"])
def test_a_broken_compiler_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    tools, out = tmp_path / "tools", tmp_path / "out"
    tools.mkdir()
    (tools / "cc").write_text(f"#!/bin/sh\n{script}\n")
    (tools / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/bin")
    with pytest.raises(ExportError, match="compare=false"):
        elman.export(nn.GRU(2, 3), out, to="c")
    assert [each.name for each in tmp_path.iterdir()] == ["tools"]


@pytest.mark.parametrize("array", ["U0", "W0", "V0", "b0", "c0"])
def test_a_wrong_constant_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, array: str) -> None:
    """The comparison reads the file: where one number of it is wrong, nothing is left behind."""
    read = comparison.read_constants

    def changed(text: str) -> Any:
        constants = read(text)
        constants[array].flat[1] += 0.01
        return constants

    monkeypatch.setattr(comparison, "read_constants", changed)
    torch.manual_seed(0)
    with pytest.raises(ExportError, match="computes other numbers"):
        elman.export(nn.GRU(2, 3), tmp_path / "out", to="c", compare=False)


def test_a_run_of_a_language_model(tmp_path: Path, language_run: Path, elman: Any, needs_compiler: None) -> None:
    answer = elman("export", language_run, "--to", "c", "--out", tmp_path / "out", "--json")
    assert answer.code == 0 and json.loads(answer.out)["files"] == [
        "main.c", "parity.json", "run.c", "run.h", "vocabulary.json",
    ]  # fmt: skip
    assert json.loads(answer.out)["parity"]["passed"]
    answer = elman("export", language_run, "--to", "c", "--out", tmp_path / "b", "--set", "name=a;b")
    assert answer.code == 2 and "--set name=a_b" in answer.err and not (tmp_path / "b").exists()


def test_what_does_not_fit_a_model(tmp_path: Path) -> None:
    model = Speller()
    for inputs in ((torch.zeros(2, 3, 4),), (torch.ones(3, 2, dtype=int), 1), ("text",)):
        with pytest.raises(ElmanError, match="inputs of a model"):
            elman.export(model, tmp_path / "out", to="c", inputs=inputs)
    with pytest.raises(ElmanError, match="does not run on the given inputs"):
        elman.export(model, tmp_path / "out", to="c", inputs=(torch.full((3, 2), 9),))
    assert not list(tmp_path.iterdir())


def test_a_layer_that_diverges_is_compared_until_it_overflows(tmp_path: Path) -> None:
    layer = elman.RNN(2, 3, nonlinearity="relu")
    for parameter in layer.parameters():
        nn.init.constant_(parameter, 1.0)
    done = elman.export(layer, tmp_path / "out", to="c", compare=False)
    assert any("steps until overflow" in row.inputs and row.numbers > 0 for row in done.report.rows)


@pytest.mark.parametrize("tied", [False, True])
def test_language_models(tied: bool) -> None:
    model = LanguageModel(7, cell="gru", embedding=4, hidden=4, tie_weights=tied)
    chain = chain_of(model)
    assert chain.embedding.shape == (8, 4) and not chain.embedding[7].any() and chain.dense[0].A.shape == (7, 4)
    assert np.array_equal(chain.dense[0].A, chain.embedding[:7]) == tied
    with pytest.raises(ExportError, match="softmax=full"):
        chain_of(LanguageModel(50, cell="gru", embedding=4, hidden=4, cutoffs=(10,)))


def test_rounded_rows_are_close() -> None:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((6, 50)) * np.array([1e-3, 1, 1e3, 1e-30, 0, 1e30])[:, None]
    integers, scales = symmetric_rows(weights)
    assert integers.dtype == np.int8 and scales.dtype == np.float32 and integers.min() >= -127
    assert (np.abs(integers * scales[:, None].astype(float) - weights) <= 0.5001 * scales[:, None]).all()
    assert (np.abs(integers[[0, 1, 2, 3, 5]]).max(1) == 127).all() and not integers[4].any()
    assert symmetric_rows(np.zeros((3, 0)))[0].shape == (3, 0)
