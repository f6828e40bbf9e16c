"""Graphs with weights of 8 bits: small, near, and the same as their weights in float32."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx

import elman
from elman.exporters.onnx.runtime import OnnxSession
from elman.recipes.language_model import LanguageModelling
from elman.recipes.run import start


def test_a_run_of_int8_is_small_and_near(
    language_text: Path, language_settings: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**language_settings, "hidden": 128, "embedding": 64, "steps": 4, "cell": "gru"}
    start(LanguageModelling, [language_text], settings, tmp_path / "r")
    answers, sizes, feeds = [], [], {"x": np.array([[1, 2], [3, 1]]), "h": np.zeros((1, 2, 128), np.float32)}
    for precision in ("float32", "int8"):
        report = elman.export(tmp_path / "r", tmp_path / precision, precision=precision).report
        answers.append(OnnxSession(tmp_path / precision / "whole.onnx").run(feeds)[0])
        sizes.append(sum(each.stat().st_size for each in (tmp_path / precision).glob("*.onnx")))
    assert sizes[1] <= 0.3 * sizes[0]
    assert 0 < np.abs(answers[1] - answers[0]).max() < 0.05
    assert any("rounding aside" in row.compared for row in report.rows)
    weights = {each.name: each for each in onnx.load(tmp_path / "int8" / "step.onnx").graph.initializer}
    assert sum(each.data_type == onnx.TensorProto.INT8 for each in weights.values()) == 4
