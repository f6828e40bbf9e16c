"""`elman evaluate`, `generate` and `recipes`, and hostile runs."""

import json
import pickle
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import elman as package
from elman import cli
from elman.recipes import registry, use
from elman.recipes import run as runs
from elman.storage import tensors

Elman = Callable[..., Any]


def test_a_terminal_gets_no_control_characters(capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.write_text("a\x1b[2J\tb\n")
    assert capfd.readouterr().out == "a\x1b[2J\tb\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    cli.write_text("a\x1b[2J\tb\n")
    assert capfd.readouterr().out == "a\ufffd[2J\tb\n"


def test_an_empty_name_is_not_the_current_folder(elman: Elman, run: Path, tmp_path: Path) -> None:
    for command in (["train", "language-model", "", "--out", tmp_path / "r"], ["evaluate", run, ""]):
        answer = elman(*command)
        assert answer.code == 2
        assert "DATA is empty" in answer.err


@pytest.mark.parametrize("command", ["recipes language-model", "evaluate {run}", "diagnose {run} --json"])
def test_standard_output_of_every_command_may_be_closed(run: Path, command: str) -> None:
    program = f"{sys.executable} -c 'from elman.cli import main; main()'"
    line = f"{program} {command.format(run=run)} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("0", "")


def test_training_continues_when_standard_error_is_closed(text: Path, tiny: list, tmp_path: Path) -> None:
    options = " ".join([*tiny, "--steps 30 --set evaluate_every=10"])
    line = (
        f"{sys.executable} -c 'from elman.cli import main; main()' train language-model {text} --out {tmp_path}/r "
        f"{options} 2>&1 >/dev/null | true; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
    assert len((tmp_path / "r" / "metrics.jsonl").read_text().splitlines()) == 3


def test_closed_standard_output_is_not_an_error(run: Path) -> None:
    program = "import sys; from elman import cli; sys.exit(cli.run(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "generate", str(run), "--length", "-1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert len(process.stdout.read(30)) == 30
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


def test_recipes(elman: Elman) -> None:
    for name, recipe in registry.RECIPES.items():
        assert name in elman("recipes").out
        assert recipe.example in elman("recipes").out
        assert f"; if omitted: {recipe.default}\n" in elman("recipes").out
        assert "--set hidden=" in elman("recipes", name).out
        assert json.loads(elman("recipes", name, "--json").out)[name]["settings"]["seed"][0] == "1"
    assert elman("recipes", "poetry").code == 2


@pytest.mark.parametrize("name", registry.RECIPES)
def test_the_commands_of_a_report_can_be_pasted_whatever_the_name_of_the_run(name: str) -> None:
    run = Path("my runs") / "it's one"
    recipe = registry.RECIPES[name]
    for what, command in runs.commands(recipe(recipe.Settings(), run)):
        assert str(run) in shlex.split(command), what


def test_settings_are_listed_with_their_choices(elman: Elman) -> None:
    assert "kind of symbols (one of bytes, characters, words, bpe)" in elman("recipes", "language-model").out


def test_version(elman: Elman) -> None:
    assert elman("--version").out == f"elman {package.__version__}\n"
    done = subprocess.run([sys.executable, "-m", "elman", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("elman ")


@pytest.mark.parametrize("arguments", [["recipes"], *(["recipes", name] for name in registry.RECIPES)], ids=" ".join)
def test_recipes_are_listed_without_torch(arguments: list[str]) -> None:
    program = f"import sys; from elman import cli; cli.run({arguments}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)


def test_help_loads_no_recipe() -> None:
    program = "import sys; from elman import cli; cli.run(['--help']); assert 'elman.recipes' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "train" in done.stdout


def test_an_internal_error_has_its_own_exit_code(elman: Elman, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(use, "evaluate", fail)
    answer = elman("evaluate", run)
    assert answer.code == cli.INTERNAL_ERROR == 1
    assert "internal error: this is a bug in elman" in answer.err


@pytest.fixture
def broken(run: Path, tmp_path: Path) -> Path:
    shutil.copytree(run, tmp_path / "r")
    return tmp_path / "r"


def edit(path: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def lengthen(path: Path) -> None:
    edit(path, lambda content: content.update(symbols=[*content["symbols"], "\u1234"], size=content["size"] + 1))
    # the weights have one more symbol too
    weights, facts = tensors.read(path.with_name("model.safetensors"))
    for name in ("embedding.weight", "output.weight", "output.bias"):
        weights[name] = torch.cat([weights[name], weights[name][:1]])
    tensors.write(path.with_name("model.safetensors"), weights, facts)


HOSTILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pickle": (lambda r: (r / "model.safetensors").write_bytes(pickle.dumps([1])), "a pickle, which is never opened"),
    "truncated": (lambda r: (r / "model.safetensors").write_bytes(b"abc"), "is broken"),
    "no weights": (lambda r: (r / "model.safetensors").unlink(), "has no weights yet"),
    "no vocabulary": (lambda r: (r / "vocabulary.json").unlink(), "has no vocabulary"),
    "no config": (lambda r: (r / "config.json").unlink(), "is not a run directory"),
    "newer": (lambda r: edit(r / "config.json", lambda c: c.update(format=99)), "newer version"),
    "other recipe": (lambda r: edit(r / "config.json", lambda c: c.update(recipe="poetry")), "'poetry'"),
    "a size that lies": (
        lambda r: edit(r / "config.json", lambda c: c["settings"].update(hidden=65536)),
        "does not fit",
    ),
    "a size beyond": (lambda r: edit(r / "config.json", lambda c: c["settings"].update(hidden=10**12)), "out of range"),
    "no setting": (lambda r: edit(r / "config.json", lambda c: c["settings"].update(evil=1)), "unknown setting"),
    "a cell": (lambda r: edit(r / "config.json", lambda c: c["settings"].update(cell="os.system")), "os.system"),
    "a text of another vocabulary": (lambda r: lengthen(r / "vocabulary.json"), "encoded with another vocabulary"),
    "a broken text": (lambda r: (r / "text.tokens").write_bytes(b"abc"), "is broken"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_runs_are_refused(elman: Elman, broken: Path, name: str) -> None:
    harm, message = HOSTILE[name]
    harm(broken)
    answer = elman("evaluate", broken)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert "Traceback" not in answer.err


def test_a_link_out_of_the_run_is_refused(elman: Elman, broken: Path, run: Path) -> None:
    (broken / "model.safetensors").unlink()
    (broken / "model.safetensors").symlink_to(run / "model.safetensors")
    answer = elman("generate", broken)
    assert answer.code == 2
    assert "is a link" in answer.err
