"""`forecast` from a file to a forecast: better than the naive ones, honest, exact on resuming, blind to the future."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elman import cli
from elman.errors import DataError, NonFiniteError, RunError, SettingError
from elman.recipes import registry, use
from elman.recipes import run as runs
from elman.storage import tensors

Elman = Callable[..., Any]
RECIPE = registry.find("forecast")
TINY: dict[str, Any] = {"horizon": 6, "lookback": 24, "hidden": 16, "batch_size": 32, "segment": 6}
TINY["learning_rate"] = 0.01


def series(rows: int = 300, seed: int = 1) -> np.ndarray:
    """Two seasonal series with noise, (rows, 2)."""
    noise = np.random.default_rng(seed).normal(0, 0.5, (rows, 2))
    t = np.arange(rows)[:, None]
    return 20 + 5 * np.array([1, 3]) * (np.sin(2 * np.pi * t / 12 + np.array([0, 1])) + noise)


def write(path: Path, values: np.ndarray, first: str = "2000-01") -> Path:
    months = np.datetime64(first) + np.arange(len(values))
    rows = (f"{month},{a:.6f},{b:.6f}\n" for month, (a, b) in zip(months, values, strict=True))
    path.write_text("month,a,b\n" + "".join(rows))
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("series") / "x.csv", series())


@pytest.fixture(scope="module")
def run(file: Path) -> Path:
    out = file.with_name("run")
    pairs = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    assert cli.run(["train", "forecast", str(file), "--steps", "250", "--out", str(out), *pairs]) == 0
    return out


def test_it_beats_the_naive_forecasts_and_its_intervals_hold(elman: Elman, run: Path, tmp_path: Path) -> None:
    found = json.loads(elman("evaluate", run, "--json").out)
    season, last = found["baselines"]["seasonal naive, 12 steps"], found["baselines"]["last value"]
    # As the noise has no memory, the best has 1 / sqrt(2) of the seasonal one's error, and half its square.
    assert found["crps"] < 0.85 * season["crps"]
    assert found["crps"] < 0.5 * last["crps"]
    assert found["mse"] < 0.7 * season["mse"]
    assert found["mase"] < 1
    assert 0.7 < found["coverage_80"] < 0.9
    assert found["windows"] == 2 * (60 - 6 + 1)
    fresh = write(tmp_path / "fresh.csv", series(seed=7)[:120])
    other = json.loads(elman("evaluate", run, fresh, "--json").out)
    assert other["windows"] == 2 * (120 - 24 - 6 + 1)
    assert other["crps"] < 0.9 * other["baselines"]["seasonal naive, 12 steps"]["crps"]
    table = elman("evaluate", run).out
    assert "seasonal naive, 12 steps" in table
    report = (run / "report.md").read_text()
    assert "last value" in report
    assert " values a second" in report


def test_evaluation_says_what_training_said(elman: Elman, run: Path) -> None:
    found = json.loads(elman("evaluate", run, "--json").out)
    found.pop("baselines")
    rows = [json.loads(line)["validation"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert found in rows
    assert min(row["crps"] for row in rows) == found["crps"]


def test_predictions_go_on_from_the_end(elman: Elman, run: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(elman("predict", run, file, "--json").out)["predictions"]
    assert [one["series"] for one in found] == ["a", "b"]
    for one in found:
        assert one["times"] == ["2025-01", "2025-02", "2025-03", "2025-04", "2025-05", "2025-06"]
        assert one["forecast"] == one["quantiles"]["0.5"]
        values = np.array(list(one["quantiles"].values()))
        assert values.shape == (9, 6)
        assert (np.diff(values, axis=0) >= 0).all()
    truth = 20 + 5 * np.sin(2 * np.pi * np.arange(300, 306) / 12)
    assert np.abs(np.array(found[0]["forecast"]) - truth).max() < 10  # in the units of the file
    said = elman("predict", run, file, "--set", "horizon=2").out.splitlines()
    assert said[0] == f"a: from the end of {file}"
    assert said[1].split() == ["0.1", "0.5", "0.9"]
    assert [line.split()[0] for line in said[2:4]] == ["2025-01", "2025-02"]
    assert said[4].startswith("b: ")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    piped = json.loads(elman("predict", run, "-", "--json").out)["predictions"]
    own = json.loads(elman("predict", run, "--json").out)["predictions"]
    assert [one["forecast"] for one in piped] == [one["forecast"] for one in own] == [one["forecast"] for one in found]


def test_a_forecast_does_not_know_what_comes(run: Path, file: Path, tmp_path: Path) -> None:
    """The forecast from row 200 on is the same, whatever stands behind row 200."""
    trained = use.load(run)
    cut = write(tmp_path / "cut.csv", series()[:200])
    expected = [answer.fields["forecast"] for answer in trained.predict([str(cut)])]
    values = series()
    values[200:] = 1e4
    from elman.predictors.forecaster import forecast_function, read

    windows = trained.plan.all_of(read([write(tmp_path / "y.csv", values)], trained.settings, trained.plan).panel, "y")
    places = windows.places(np.arange(len(windows)))
    numbers = np.flatnonzero(places.rows == 200)
    point_FB, _ = forecast_function(trained.model)(windows.batch(numbers), numbers)
    scaler = trained.plan.scaler
    np.testing.assert_allclose(point_FB.T * scaler.deviation[0][:, None] + scaler.mean[0][:, None], expected, rtol=1e-5)


def test_training_is_blind_to_the_validation_part(tmp_path: Path) -> None:
    """Two files that differ after the cut only: the same losses and the same last weights, bit for bit."""
    values = series()
    other = values.copy()
    other[240:] = other[240:] * 100 - 7
    settings = {**TINY, "steps": 12, "evaluate_every": 12}
    found = []
    for name, table in (("one", values), ("two", other)):
        runs.start(RECIPE, [write(tmp_path / f"{name}.csv", table)], settings, tmp_path / name)
        rows = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        kept, _ = tensors.read(tmp_path / name / "model.safetensors")
        found.append(([row["training_loss"] for row in rows], kept, [row["validation"]["mse"] for row in rows]))
    (losses, weights, judged), (losses2, weights2, judged2) = found
    assert losses == losses2
    assert judged != judged2
    assert weights.keys() == weights2.keys()
    assert all(torch.equal(weights[name], weights2[name]) for name in weights)


@pytest.mark.parametrize(
    "settings",
    [{}, {"decoding": "direct", "output": "normal"}, {"decoding": "recursive", "cell": "lstm", "dropout": 0.0}],
    ids=lambda settings: str(settings.get("decoding", "segments")),
)
def test_a_run_that_stopped_goes_on_exactly(tmp_path: Path, file: Path, settings: dict) -> None:
    chosen = {**TINY, "evaluate_every": 4, "patience": 0, **settings, "schedule": "constant", "warmup": 0.0}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    runs.start(RECIPE, [file], {**chosen, "steps": 13}, whole)
    runs.start(RECIPE, [file], {**chosen, "steps": 8}, parts)
    runs.resume(RECIPE, {"steps": 13}, parts)
    for name in ("metrics.jsonl", "model.safetensors", "config.json", "series.json"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    trained = use.load(whole)
    assert len(list(trained.predict())) == 2
    if settings.get("decoding") == "recursive":
        assert len(next(iter(trained.predict(horizon=20))).fields["times"]) == 20
    else:
        with pytest.raises(SettingError, match=r"cannot look so far ahead\n.*at most 6 steps\n.*20"):
            list(trained.predict(horizon=20))


def test_a_run_is_of_use_without_its_series(run: Path, file: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(run, bare)
    for path in [*bare.glob("values.*"), *bare.glob("ahead.*")]:
        path.unlink()
    trained = use.load(bare)
    assert [a.fields for a in trained.predict([str(file)])] == [
        {**a.fields} for a in use.load(run).predict([str(file)])
    ]
    assert trained.evaluate([file])["crps"] > 0
    assert use.diagnosable(bare, [file]).sample.window is None
    for call in (trained.evaluate, lambda: list(trained.predict()), lambda: use.diagnosable(bare)):
        with pytest.raises(RunError, match=r"came without its series"):
            call()


def test_a_broken_run_is_refused(run: Path, file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    for name in ("series.json", "naive-12.errors_NSQ.npy", "values.ends.npy"):
        shutil.rmtree(broken, ignore_errors=True)
        shutil.copytree(run, broken)
        (broken / name).write_bytes((broken / name).read_bytes()[:50])
        with pytest.raises(RunError):
            use.load(broken).evaluate()
    shutil.rmtree(broken)
    shutil.copytree(run, broken)
    np.save(broken / "naive-12.errors_NSQ.npy", np.zeros((1, 1, 9)))
    with pytest.raises(RunError, match=r"does not fit the run\n.*2 series with 9 quantiles"):
        use.load(broken).evaluate([file])
    shutil.copy(run / "naive-12.errors_NSQ.npy", broken)
    values = np.array(np.load(run / "values.values.npy"))
    np.save(broken / "values.values.npy", values + 1)
    with pytest.raises(RunError, match=r"not those that the run began with"):
        use.load(broken).evaluate()


def test_weights_that_are_no_numbers_are_said(run: Path, file: Path) -> None:
    trained = use.load(run)
    with torch.no_grad():
        next(trained.model.network.parameters()).fill_(torch.nan)
    for call in (trained.evaluate, lambda: list(trained.predict([str(file)]))):
        with pytest.raises(NonFiniteError, match="predicts no numbers"):
            call()


def test_pictures(elman: Elman, run: Path, tmp_path: Path) -> None:
    answer = elman("evaluate", run, "--out", tmp_path / "pictures", "--json")
    assert answer.code == 0, answer.err
    for n in (1, 2):
        assert (tmp_path / f"pictures/forecast-{n}.png").read_bytes().startswith(b"\x89PNG")


def test_what_does_not_fit_is_said(run: Path, tmp_path: Path) -> None:
    trained = use.load(run)
    with pytest.raises(DataError, match=r"unknown column of .*'b'"):
        path = tmp_path / "one.csv"
        path.write_text("month,a\n2000-01,1\n2000-02,2\n")
        trained.evaluate([path])
    with pytest.raises(DataError, match=r"too short a past to be continued\n.*24 rows"):
        list(trained.predict([str(write(tmp_path / "short.csv", series()[:20]))]))
    with pytest.raises(SettingError, match=r"a forecaster reads forward only"):
        runs.start(RECIPE, [], {"bidirectional": True}, tmp_path / "r")
    with pytest.raises(SettingError, match=r"the quantiles do not fit together"):
        runs.start(RECIPE, [], {"quantiles": "0.1,0.9"}, tmp_path / "r")
    with pytest.raises(SettingError, match=r"validation is out of range"):
        runs.start(RECIPE, [], {"validation": 0}, tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_counts_are_never_forecast_below_nothing(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    counts = write(tmp_path / "counts.csv", chance.poisson([0.5, 2.0], (200, 2)).astype(float))
    free, least = tmp_path / "free", tmp_path / "least"
    runs.start(RECIPE, [counts], {**TINY, "steps": 60}, free)
    shutil.copytree(free, least)
    config = json.loads((least / "config.json").read_text())
    config["settings"]["least"] = 0.0
    (least / "config.json").write_text(json.dumps(config))
    for one, other in zip(use.load(free).predict(), use.load(least).predict(), strict=True):
        for level, values in one.fields["quantiles"].items():
            np.testing.assert_array_equal(other.fields["quantiles"][level], np.maximum(values, 0))
        assert min(one.fields["quantiles"]["0.1"]) < 0, "else there is nothing to see"
    found, clipped = (use.load(run).evaluate() for run in (free, least))
    assert clipped["crps"] < found["crps"]
    assert clipped["coverage_80"] == found["coverage_80"]


def test_rows_that_cannot_be_read_are_named(elman: Elman, run: Path, tmp_path: Path) -> None:
    fresh = write(tmp_path / "fresh.csv", series(seed=7)[:120])
    broken = tmp_path / "broken.csv"
    broken.write_text(fresh.read_text() + "2000-02,much,2\n")
    for command in ("evaluate", "predict"):
        assert "line 122" in elman(command, run, broken).err
    told = elman("evaluate", run, broken, "--skip-bad", "--json")
    found = json.loads(told.out)
    assert (found["rows_left_out"], len(found["left_out"])) == (1, 1)
    assert "line 122" in found["left_out"][0]
    assert found["crps"] == json.loads(elman("evaluate", run, fresh, "--json").out)["crps"]
    rows = fresh.read_text().splitlines(keepends=True)
    (tmp_path / "gap.csv").write_text("".join(rows[:40] + rows[41:]))
    (tmp_path / "bad.csv").write_text("".join([*rows[:40], rows[40].replace("2003-04", "2003-04,"), *rows[41:]]))
    refused = elman("evaluate", run, tmp_path / "gap.csv")
    assert "mend the file, or train a run with --set gaps=missing" in refused.err
    skipped = json.loads(elman("evaluate", run, tmp_path / "bad.csv", "--skip-bad", "--json").out)
    assert (skipped["rows_left_out"], skipped["windows"]) == (1, found["windows"])
    answer = elman("predict", run, broken, "--skip-bad")
    assert answer.err.startswith(f"left out: {broken}, line 122")
    assert answer.out == elman("predict", run, fresh).out.replace(str(fresh), str(broken))


def test_a_run_that_left_rows_out_in_training_leaves_out_new_ones_only_when_told(elman: Elman, tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.csv", series(seed=7)[:120])
    broken = tmp_path / "broken.csv"
    broken.write_text(whole.read_text() + "2000-02,much,2\n")
    words = ["--steps", 1, "--hidden", 8, "--out", tmp_path / "run", "--skip-bad"]
    assert elman("train", "forecast", broken, *words).code == 0
    assert elman("predict", tmp_path / "run", whole).code == 0
    for command in ("predict", "evaluate"):
        answer = elman(command, tmp_path / "run", broken)
        assert (answer.code, answer.out) == (2, "") and "line 122" in answer.err
        answer = elman(command, tmp_path / "run", broken, "--skip-bad")
        assert answer.code == 0 and f"left out: {broken}, line 122" in answer.err


def test_series_that_are_too_short_are_named(elman: Elman, tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    rows = [f"{shop},{t},{chance.normal():.3f}" for shop, end in (("north", 80), ("south", 9)) for t in range(end)]
    path = tmp_path / "shops.csv"
    path.write_text("\n".join(["shop,time,sold", *rows]) + "\n")
    words = [word for pair in ("series=shop", "horizon=4", "lookback=12") for word in ("--set", pair)]
    command = ["train", "forecast", path, "--steps", 1, "--hidden", 8, "--out", tmp_path / "run", *words]
    assert "training part of south is too short" in elman(*command).err
    assert elman(*command, "--skip-bad").code == 0
    assert "- series left out: south\n" in (tmp_path / "run" / "report.md").read_text()


def test_the_default_needs_no_file_and_long_files_with_holes_train_too(elman: Elman, tmp_path: Path) -> None:
    answer = elman("train", "forecast", "--steps", 2, "--hidden", 8, "--out", tmp_path / "sun")
    assert answer.code == 0, answer.err
    config = json.loads((tmp_path / "sun/config.json").read_text())["data"]
    assert config["times"] == "1700 to 2008, every 1"
    assert config["season"] == "11 steps"
    assert json.loads(elman("predict", tmp_path / "sun", "--json").out)["predictions"][0]["times"][0] == "2009"


def test_long_files_with_holes_and_prices_known_ahead(elman: Elman, tmp_path: Path) -> None:
    values = series(200)
    days = np.datetime64("2026-01-01") + np.arange(205)
    rows = [
        f"{name},{days[n]},{'' if n >= 200 or n % 9 == 0 else values[n, c]},{n % 7}\n"
        for c, name in enumerate("ab")
        for n in range(c * 30, 205)
    ]
    path = tmp_path / "long.csv"
    path.write_text("shop,date,sold,price\n" + "".join(rows))
    sets = ["series=shop", "known=price", "horizon=5", "lookback=21", "decoding=direct", "output=laplace"]
    words = [word for pair in sets for word in ("--set", pair)]
    done = elman("train", "forecast", path, "--steps", 3, "--hidden", 8, "--out", tmp_path / "long", *words)
    assert done.code == 0, done.err
    config = json.loads((tmp_path / "long/config.json").read_text())["data"]
    assert config["missing_values"] == sum(n % 9 == 0 for n in range(200)) + sum(n % 9 == 0 for n in range(30, 200))
    answers = json.loads(elman("predict", tmp_path / "long", "--json").out)["predictions"]
    assert [one["series"] for one in answers] == ["a", "b"]
    assert answers[0]["times"] == [str(day) for day in days[200:]]
    path.write_text("shop,date,sold,price\n" + "".join(rows[:-3]))
    refused = elman("predict", tmp_path / "long", path)
    assert refused.code == 2
    assert "does not know price far enough ahead" in refused.err
