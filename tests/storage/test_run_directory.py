"""A run directory is made whole or not at all, and what is none is refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from elman.errors import RunError
from elman.storage.run_directory import FORMAT, RunDirectory
from elman.storage.run_validation import checked_rows, largest_by_weights

NUMBERS = ("epoch", "training_loss", "gradient_norm", "share_clipped")


def make(path: Path) -> RunDirectory:
    return RunDirectory.create(path, "example", {"hidden": 3}, lambda folder: {"fingerprint": "0"})


def test_it_is_made_and_opened(tmp_path: Path) -> None:
    run = make(tmp_path / "deep" / "run")
    assert RunDirectory.open(tmp_path / "deep" / "run") == run
    assert run.config["settings"] == {"hidden": 3}
    assert run.config["format"] == FORMAT
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["run"]
    (tmp_path / "empty").mkdir()
    assert make(tmp_path / "empty").config["recipe"] == "example"


def test_other_data_than_it_began_with_are_refused(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    run.check_data("0", "pairs")
    with pytest.raises(RunError, match=r"the pairs in .*run are not those .*\n.*fingerprint 0\n.*1\n.*restore the run"):
        run.check_data("1", "pairs")


def test_what_fails_while_it_is_made_leaves_nothing(tmp_path: Path) -> None:
    def fill(folder: Path) -> Any:
        (folder / "half").write_text("half")
        raise RunError("the disk is full")

    with pytest.raises(RunError, match="the disk is full"):
        RunDirectory.create(tmp_path / "run", "example", {}, fill)
    assert list(tmp_path.iterdir()) == []


def test_data_that_cannot_be_read_is_not_blamed_on_the_run(tmp_path: Path) -> None:
    def fill(folder: Path) -> Any:
        raise PermissionError(13, "Permission denied", "book.txt")

    with pytest.raises(PermissionError, match=r"book\.txt"):
        RunDirectory.create(tmp_path / "run", "example", {}, fill)
    assert list(tmp_path.iterdir()) == []


def test_a_leftover_of_a_crash_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".run.unfinished").mkdir()
    (tmp_path / ".run.unfinished" / "half").write_text("half")
    make(tmp_path / "run")
    assert sorted(entry.name for entry in (tmp_path / "run").iterdir()) == ["config.json"]


def test_an_occupied_place_is_refused_and_untouched(tmp_path: Path) -> None:
    make(tmp_path / "run")
    before = (tmp_path / "run" / "config.json").read_bytes()
    with pytest.raises(RunError, match=r"holds a run already(.|\n)*--resume"):
        make(tmp_path / "run")
    assert (tmp_path / "run" / "config.json").read_bytes() == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match=r"is not empty(.|\n)*letter\.txt"):
        make(tmp_path / "other")
    with pytest.raises(RunError, match="is a file"):
        make(tmp_path / "other" / "letter.txt")
    with pytest.raises(RunError, match="cannot be written"):
        make(tmp_path / "other" / "letter.txt" / "run")
    assert (tmp_path / "other" / "letter.txt").read_text() == "dear"


def config(**changes: Any) -> str:
    return json.dumps(
        {"format": 1, "recipe": "r", "settings": {}, "data": {}, "elman": "9.9", "torch": "2.9", **changes}
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "with a config.json"),
        ("{", "is broken"),
        ("[" * 100_000, "is broken"),
        ("[]", "is not elman's"),
        ('{"name": "a package"}', "is not elman's"),
        (config(format="1"), "is not elman's"),
        (config(format=FORMAT + 1), r"newer version of elman(.|\n)*elman 9\.9(.|\n)*pip install --upgrade"),
        (config(settings=3), "no settings in it"),
        (config(data=None), "no data in it"),
        (config(recipe=["r"]), "no recipe in it"),
        (config(torch=None), r"is broken(.|\n)*no torch in it(.|\n)*try: "),
        (config(elman=3), "no elman in it"),
        (config(recipe="\ud800"), "is broken"),
        (config(data={"n": float("nan")}), "is broken"),
    ],
)
def test_another_directory_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(RunError, match=message):
        RunDirectory.open(tmp_path)


def test_what_is_not_there_or_no_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run directory(.|\n)*nothing of that name"):
        RunDirectory.open(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"is not a run directory(.|\n)*a file"):
        RunDirectory.open(tmp_path / "file")


def test_a_config_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(RunError, match="too large"):
        RunDirectory.open(tmp_path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "checkpoint/../../secret"])
def test_no_path_climbs_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match="is outside of the run"):
        make(tmp_path / "run").file(name)


def test_links_are_refused(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    (run.path / "checkpoint").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="is a link"):
        _ = run.checkpoint
    (run.path / "config.json").rename(tmp_path / "config.json")
    (run.path / "config.json").symlink_to(tmp_path / "config.json")
    with pytest.raises(RunError, match="is a link"):
        RunDirectory.open(run.path)


ROW = {
    "step": 1,
    "epoch": 0.5,
    "training_loss": 1.0,
    "gradient_norm": 1.0,
    "share_clipped": 0.0,
    "validation": {"error": 1.0, "perplexity": None},
}


def test_metrics_come_back(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    assert run.read_metrics() == []
    run.write_metrics([ROW, {**ROW, "step": 2, "horizon": 3.0}])
    assert run.read_metrics() == [ROW, {**ROW, "step": 2, "horizon": 3.0}]
    run.append_metrics({**ROW, "step": 3, "name": "ä"})
    assert [row["step"] for row in run.read_metrics()] == [1, 2, 3]


def test_an_incomplete_row_is_skipped(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    run.write_metrics([ROW])
    path = run.path / "metrics.jsonl"
    whole = path.read_bytes()
    run.append_metrics({**ROW, "step": 2, "name": "ä"})
    longer = path.read_bytes()
    for size in range(len(whole), len(longer)):
        path.write_bytes(longer[:size])
        assert run.read_metrics() == [ROW]


def test_metrics_of_very_many_evaluations_are_read(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    row = {**ROW, "gradient_norms": [0.1234] * 1000}
    run.write_metrics([row] * 2500)
    assert (run.path / "metrics.jsonl").stat().st_size > 16 * 2**20
    assert len(run.read_metrics()) == 2500


def test_missing_metrics_are_not_replaced_by_empty_ones(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"metrics\.jsonl cannot be written"):
        make(tmp_path / "run").append_metrics(ROW)


@pytest.mark.parametrize(
    "line",
    [
        '{"st',
        "[" * 100_000,
        "[]",
        "3",
        json.dumps({**ROW, "step": "1"}),
        json.dumps({**ROW, "step": None}),
        *[json.dumps({**ROW, name: "x"}) for name in ROW if name != "step"],
        json.dumps({**ROW, "validation": {"error": "x"}}),
        json.dumps({**ROW, "gradient_norm": float("nan")}),
        json.dumps({**ROW, "epoch": 10**400}),
        json.dumps({**ROW, "gradient_norms": 1.0}),
        json.dumps({**ROW, "gradient_norms": ["x"]}),
        json.dumps({**ROW, "other": "\ud800"}),
        json.dumps({name: ROW[name] for name in ROW if name != "gradient_norm"}),
    ],
)
def test_broken_metrics_are_refused(tmp_path: Path, line: str) -> None:
    run = make(tmp_path / "run")
    (run.path / "metrics.jsonl").write_text(json.dumps(ROW) + "\n" + line + "\n")
    with pytest.raises(RunError, match=r"metrics\.jsonl is broken(.|\n)*should be: (.|\n)*try: "):
        run.read_metrics()


def test_metrics_that_are_too_large_are_not_read(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    with (run.path / "metrics.jsonl").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(RunError, match=r"metrics\.jsonl is too large"):
        run.read_metrics()


@pytest.mark.parametrize("name", ["text.tokens", "config.json", "checkpoint", "checkpoint/state.safetensors"])
def test_links_and_pipes_anywhere_are_refused(tmp_path: Path, name: str) -> None:
    run = make(tmp_path / "run")
    path = run.path / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    (tmp_path / "elsewhere").mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=rf"{name} is a link(.|\n)*try: "):
        RunDirectory.open(run.path)
    path.unlink()
    path.symlink_to(tmp_path / "nothing")
    with pytest.raises(RunError, match=rf"{name} is a link"):
        RunDirectory.open(run.path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RunError, match=rf"{name} is a pipe"):
        RunDirectory.open(run.path)


def test_the_names_of_a_run_have_a_size_that_follows_from_its_weights(tmp_path: Path) -> None:
    names = tmp_path / "vocabulary.json"
    assert largest_by_weights(names, 1 << 29) == 1 << 29, "no weights yet"
    (tmp_path / "model.safetensors").write_bytes(bytes(100))
    assert largest_by_weights(names, 1 << 29) == (1 << 20) + 1600
    assert largest_by_weights(tmp_path / "symbols" / "tokenizer.json", 1 << 29) == (1 << 20) + 1600
    assert largest_by_weights(names, 10) == 10


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b'{"step": 1, "x": "' + b"a" * (1 << 16) + b'"}', "a line of more than"),
        (json.dumps({"step": 1, **dict.fromkeys(NUMBERS, 0), "validation": {}, "gradient_norms": [1] * 2000}).encode(),
         "gradient_norms"),
    ],
)  # fmt: skip
def test_rows_of_metrics_have_a_size(row: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_rows(row + b"\n")
