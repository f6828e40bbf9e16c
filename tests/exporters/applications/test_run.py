"""Exports of runs: what the manifest says, what is refused, half precision, and hostile vocabularies and labels."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import elman
from elman.errors import ExportError, SettingError
from elman.exporters.applications.application import Comparison
from elman.exporters.applications.run import APPLICATIONS
from elman.recipes.classify import Classify
from elman.recipes.registry import RECIPES
from elman.recipes.run import start

Program = Callable[..., Any]
PROGRAMS = Path(elman.__file__).parent / "exporters" / "applications" / "programs"
HOSTILE = [
    '");__import__("os").system("id")#',
    "'''\n{{evil}}",
    "</script><b>",
    "\\N{BULLET}",
    "%s%n{0.__class__}",
    "Ä☃",
]


def test_every_recipe_is_exported() -> None:
    assert APPLICATIONS.keys() == RECIPES.keys()


def test_programs_are_short_and_need_neither_torch_nor_elman() -> None:
    programs = [path for path in PROGRAMS.glob("*.py") if path.name != "__init__.py"]
    assert len(programs) == 10
    for path in programs:
        text = path.read_text()
        assert len(text.splitlines()) <= 150, path.name
        assert "import torch" not in text and "elman." not in text.replace("`elman ", ""), path.name


def test_the_manifest_names_everything(classify_run: Path, tmp_path: Path, elman: Callable[..., Any]) -> None:
    answer = elman("export", classify_run, "--to", "onnx", "--out", tmp_path / "app", "--json")
    assert answer.code == 0
    written = json.loads(answer.out)
    assert written["parity"]["passed"]
    assert any(row["inputs"].startswith("validation data") for row in written["parity"]["rows"])
    manifest = json.loads((tmp_path / "app" / "manifest.json").read_text())
    weights = hashlib.sha256((classify_run / "model.safetensors").read_bytes()).hexdigest()
    assert manifest["run"]["weights"] == weights
    assert manifest["recipe"] == "classify"
    for name, described in manifest["graphs"].items():
        session = onnxruntime.InferenceSession(tmp_path / "app" / f"{name}.onnx")
        for group, own in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
            assert [each["name"] for each in described[group]] == [each.name for each in own]
            assert all(each["unit"] and "shape" in each and each["type"] for each in described[group])
    assert (tmp_path / "app" / "predict.py").read_bytes() == (PROGRAMS / "classify_numbers.py").read_bytes()
    assert elman("export", classify_run, "--to", "onnx", "--out", tmp_path / "app").code == 2


def test_a_run_without_its_data_is_exported_and_says_so(language_run: Path, tmp_path: Path) -> None:
    packed = Path(shutil.copytree(language_run, tmp_path / "run"))
    (packed / "text.tokens").unlink()
    written = elman.export(packed, tmp_path / "app")
    assert "came without its data" in str(written)
    assert written.report.passed


def test_half_precision(language_run: Path, classify_run: Path, tmp_path: Path, program: Program) -> None:
    answers = {}
    for run in (language_run, classify_run):
        sizes = {}
        for precision in ("float32", "float16"):
            path, exact = tmp_path / run.parent.name / precision, precision == "float32"
            path.parent.mkdir(exist_ok=True)
            written = elman.export(run, path, precision=precision)
            assert written.report.precision == precision
            rows = [row for row in written.report.rows if row.compared.startswith("texts of")]
            assert (rows != [], " texts of predict.py differ" in str(written)) == (exact, not exact)
            sizes[precision] = (path / "whole.onnx").stat().st_size
            if run == classify_run:
                answers[precision] = program(path, "-", stdin=b"1,2\n3,4\n-5,6\n")[0]["probabilities"]
        assert sizes["float16"] < sizes["float32"]
    exact_answer, rounded = (list(answers[name].values()) for name in ("float32", "float16"))
    assert rounded == pytest.approx(exact_answer, abs=5e-3) and rounded != exact_answer


def test_other_texts_are_counted_and_none_may_be_of_exact_weights(tmp_path: Path) -> None:
    for precision in ("float32", "float16", "int8"):
        comparison = Comparison(tmp_path, None, precision)
        rows = comparison.texts("prompts", ["a", "b", "c"], ["a", "x", "y"])
        if precision == "float32":
            assert [(row.numbers, row.absolute, row.relative, row.passed) for row in rows] == [(3, 2, 2 / 3, False)]
            assert comparison.texts("prompts", ["a"], ["a"])[0].passed
        else:
            assert rows == [] and comparison.remarks == ["2 of 3 texts of predict.py differ: prompts"]
        assert comparison.texts("prompts", [], []) == []


def test_other_precisions_are_refused(classify_run: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="int4"):
        elman.export(classify_run, tmp_path / "app", precision="int4")
    assert not (tmp_path / "app").exists()


@pytest.mark.parametrize("option", ["lengths", "resets"])
def test_options_of_a_layer_are_refused(language_run: Path, tmp_path: Path, option: str) -> None:
    with pytest.raises(ExportError, match="options of a layer"):
        elman.export(language_run, tmp_path / "app", **{option: True})
    assert not (tmp_path / "app").exists()


def test_labels_and_symbols_are_data_and_never_code(tmp_path: Path, program: Program) -> None:
    rng, rows = np.random.default_rng(1), []
    for n in range(36):
        text = " ".join(rng.choice(HOSTILE, 3))
        rows.append(json.dumps({"text": text, "label": HOSTILE[n % len(HOSTILE)]}))
    (tmp_path / "data.jsonl").write_text("\n".join(rows))
    settings = {"hidden": 4, "embedding": 4, "steps": 2, "vocabulary": "words", "validation": 0.25}
    start(Classify, [tmp_path / "data.jsonl"], settings, tmp_path / "run")
    elman.export(tmp_path / "run", tmp_path / "app")
    assert (tmp_path / "app" / "predict.py").read_bytes() == (PROGRAMS / "classify_text.py").read_bytes()
    answers = program(tmp_path / "app", *(f" {text}" for text in HOSTILE))
    expected = elman.load(tmp_path / "run").predict([f" {text}" for text in HOSTILE])
    assert [answer["label"] for answer in answers] == [answer.fields["label"] for answer in expected]
