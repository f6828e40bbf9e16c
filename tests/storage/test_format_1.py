"""Runs of format 1 open under the names of format 2."""

import json
from pathlib import Path
from typing import Any

import pytest

from elman.recipes.registry import RECIPES
from elman.storage import tensors
from elman.storage.format_1 import DATA, SETTINGS, SHARED_SETTINGS, upgraded
from elman.storage.run_directory import RunDirectory


def config(**settings: Any) -> dict[str, Any]:
    data = {"sources": ["x"], "rows_left_out": 2, "left_out": ["a", "b"]}
    head = {"format": 1, "elman": "0.1.0", "torch": "2.13.0", "recipe": "similarity"}
    return {**head, "settings": settings, "data": data}


def test_settings_and_facts_are_renamed_in_their_order() -> None:
    new = upgraded(config(seed=3, first="a", longest=9, variational=True))
    assert new["format"] == 2
    assert list(new["settings"].items()) == [
        ("seed", 3),
        ("first_column", "a"),
        ("max_words", 9),
        ("variational_dropout", True),
    ]
    assert new["data"] == {"sources": ["x"], "skipped_rows": 2, "skipped": ["a", "b"]}


@pytest.mark.parametrize(("old", "new"), [(None, []), ("x.tsv", ["x.tsv"]), (["a", "b"], ["a", "b"])])
def test_validation_data_is_a_list(old: Any, new: list[str]) -> None:
    assert upgraded(config(validation_data=old))["settings"]["validation_data"] == new


@pytest.mark.parametrize("recipe", SETTINGS)
def test_new_names_are_settings(recipe: str) -> None:
    names = RECIPES[recipe].Settings.meanings().keys()
    assert SETTINGS[recipe].keys().isdisjoint(names)
    assert set(SETTINGS[recipe].values()) <= names
    assert recipe in DATA
    assert set(SHARED_SETTINGS.values()).isdisjoint(SETTINGS[recipe].values())


def test_a_run_opens_as_format_2_and_is_written_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config(buckets=5)))
    run = RunDirectory.open(tmp_path)
    assert run.config["settings"] == {"subword_buckets": 5}
    run.save_config()
    assert json.loads((tmp_path / "config.json").read_text())["format"] == 2
    assert RunDirectory.open(tmp_path) == run


@pytest.mark.parametrize(
    ("lines", "count"), [([], 0), (["a: broken", "b: broken"], 2), (["a: broken", "and 1,234 more"], 1235)]
)
@pytest.mark.parametrize(("recipe", "name"), [("classify", "skipped"), ("transcribe", "left_out_as_broken")])
def test_skipped_rows_are_counted_where_there_is_no_count(recipe: str, name: str, lines: list[str], count: int) -> None:
    assert upgraded({**config(), "recipe": recipe, "data": {name: lines}})["data"] == {
        "skipped": lines,
        "skipped_rows": count,
    }


def test_metrics_have_their_new_names(tmp_path: Path) -> None:
    row = {"step": 1, "epoch": 1.0, "training_loss": 1.0, "gradient_norm": 1.0, "share_clipped": 0.0}
    metrics = {"pearson": 0.5, "mean_squared_error": 2.0}
    (tmp_path / "metrics.jsonl").write_text(json.dumps({**row, "validation": metrics}) + "\n")
    tensors.write(tmp_path / "model.safetensors", {}, {"step": 1, "metrics": metrics})
    (tmp_path / "config.json").write_text(json.dumps(config()))
    run = RunDirectory.open(tmp_path)
    assert run.read_metrics() == [{**row, "validation": {"pearson": 0.5, "mse": 2.0}}]
    assert run.best_metrics() == {"pearson": 0.5, "mse": 2.0}
