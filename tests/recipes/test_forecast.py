"""The recipe forecast: it beats the naive baselines, resumes exactly, and does not see the future."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elman.errors import DataError, NonFiniteError, RunError, SettingError
from elman.recipes import run as runs
from elman.recipes import use
from elman.recipes.forecast import Forecast
from elman.storage import tensors

Elman = Callable[..., Any]
Series = Callable[..., np.ndarray]
Monthly = Callable[..., Path]


@pytest.fixture
def file(forecast_data: Path) -> Path:
    return forecast_data


@pytest.fixture
def run(forecast_run: Path) -> Path:
    return forecast_run


@pytest.fixture
def tiny(forecast_settings: dict[str, Any]) -> dict[str, Any]:
    return forecast_settings


def test_it_beats_the_naive_baselines_and_its_intervals_are_calibrated(
    elman: Elman, run: Path, tmp_path: Path, series: Series, monthly: Monthly
) -> None:
    metrics = json.loads(elman("evaluate", run, "--json").out)
    season, last = metrics["baselines"]["seasonal naive, 12 steps"], metrics["baselines"]["last value"]
    # As the noise has no memory, the best has 1 / sqrt(2) of the seasonal one's error, and half its square.
    assert metrics["crps"] < 0.85 * season["crps"]
    assert metrics["crps"] < 0.5 * last["crps"]
    assert metrics["mse"] < 0.7 * season["mse"]
    assert metrics["mase"] < 1
    assert 0.7 < metrics["coverage_80"] < 0.9
    assert metrics["windows"] == 2 * (60 - 6 + 1)
    fresh = monthly(tmp_path / "fresh.csv", series(seed=7)[:120])
    other = json.loads(elman("evaluate", run, fresh, "--json").out)
    assert other["windows"] == 2 * (120 - 24 - 6 + 1)
    assert other["crps"] < 0.9 * other["baselines"]["seasonal naive, 12 steps"]["crps"]
    table = elman("evaluate", run).out
    assert "seasonal naive, 12 steps" in table
    report = (run / "report.md").read_text()
    assert "last value" in report
    assert " values a second" in report


def test_an_evaluation_has_the_metrics_of_training(elman: Elman, run: Path) -> None:
    metrics = json.loads(elman("evaluate", run, "--json").out)
    metrics.pop("baselines")
    rows = [json.loads(line)["validation"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert metrics in rows
    assert min(row["crps"] for row in rows) == metrics["crps"]


def test_validation_windows_are_evenly_spread(run: Path, tmp_path: Path) -> None:
    bounded = Path(shutil.copytree(run, tmp_path / "bounded"))
    config = json.loads((bounded / "config.json").read_text())
    assert config["data"]["validation_windows"] == 2 * (60 - 6 + 1)
    config["settings"]["max_validation_windows"] = 7
    (bounded / "config.json").write_text(json.dumps(config))
    metrics = use.evaluate(bounded)
    assert metrics["windows"] == metrics["baselines"]["last value"]["windows"] == 7


def test_training_does_not_see_the_validation_part(
    tmp_path: Path, tiny: dict[str, Any], series: Series, monthly: Monthly
) -> None:
    """Two files that differ after the cut only: the same losses and the same last weights, bit for bit."""
    values = series()
    changed = values.copy()
    changed[240:] = changed[240:] * 100 - 7
    settings = {**tiny, "steps": 12, "evaluate_every": 12}
    results = []
    for name, table in (("first", values), ("second", changed)):
        runs.start(Forecast, [monthly(tmp_path / f"{name}.csv", table)], settings, tmp_path / name)
        rows = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        weights, _ = tensors.read(tmp_path / name / "model.safetensors")
        results.append(([row["training_loss"] for row in rows], weights, [row["validation"]["mse"] for row in rows]))
    (losses, weights, errors), (losses2, weights2, errors2) = results
    assert losses == losses2
    assert errors != errors2
    assert weights.keys() == weights2.keys()
    assert all(torch.equal(weights[name], weights2[name]) for name in weights)


@pytest.mark.parametrize(
    "settings",
    [{}, {"decoding": "direct", "output": "normal"}, {"decoding": "recursive", "cell": "lstm", "dropout": 0.0}],
    ids=lambda settings: str(settings.get("decoding", "segments")),
)
def test_a_run_that_stopped_resumes_exactly(tmp_path: Path, file: Path, tiny: dict[str, Any], settings: dict) -> None:
    chosen = {**tiny, "evaluate_every": 4, "patience": 0, **settings, "schedule": "constant", "warmup": 0.0}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    runs.start(Forecast, [file], {**chosen, "steps": 13}, whole)
    runs.start(Forecast, [file], {**chosen, "steps": 8}, parts)
    runs.resume(Forecast, {"steps": 13}, parts)
    for name in ("metrics.jsonl", "model.safetensors", "config.json", "series.json"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    predictor = use.load(whole)
    assert len(list(predictor.predict())) == 2
    if settings.get("decoding") == "recursive":
        assert len(next(iter(predictor.predict(horizon=20))).fields["times"]) == 20
    else:
        with pytest.raises(SettingError, match=r"the horizon is too long for .*\n.*at most 6 steps\n.*20"):
            list(predictor.predict(horizon=20))


def test_the_budget_follows_the_number_of_windows(
    run: Path, tmp_path: Path, tiny: dict[str, Any], series: Series, monthly: Monthly
) -> None:
    recipe, _ = use.opened(run)
    assert recipe.default_minutes == 2 * (240 - 24 - 6 + 1) / 2000
    runs.start(Forecast, [monthly(tmp_path / "x.csv", series(60))], {**tiny, "steps": 1}, tmp_path / "short")
    assert use.opened(tmp_path / "short")[0].default_minutes == 0.1


def test_a_run_without_its_series_is_still_usable(run: Path, file: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(run, bare)
    for path in [*bare.glob("values.*"), *bare.glob("ahead.*")]:
        path.unlink()
    predictor = use.load(bare)
    expected = [answer.fields for answer in use.load(run).predict([str(file)])]
    assert [answer.fields for answer in predictor.predict([str(file)])] == expected
    assert use.evaluate(bare, [file])["crps"] > 0
    assert use.diagnosable(bare, [file]).sample.window is None
    for call in (lambda: use.evaluate(bare), lambda: list(predictor.predict()), lambda: use.diagnosable(bare)):
        with pytest.raises(RunError, match=r"came without its series"):
            call()


def test_a_broken_run_is_refused(run: Path, file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    for name in ("series.json", "naive-12.errors_NSQ.npy", "values.ends.npy"):
        shutil.rmtree(broken, ignore_errors=True)
        shutil.copytree(run, broken)
        (broken / name).write_bytes((broken / name).read_bytes()[:50])
        with pytest.raises(RunError):
            use.evaluate(broken)
    shutil.rmtree(broken)
    shutil.copytree(run, broken)
    np.save(broken / "naive-12.errors_NSQ.npy", np.zeros((1, 1, 9)))
    with pytest.raises(RunError, match=r"does not fit the run\n.*2 series with 9 quantiles"):
        use.evaluate(broken, [file])
    shutil.copy(run / "naive-12.errors_NSQ.npy", broken)
    values = np.array(np.load(run / "values.values.npy"))
    np.save(broken / "values.values.npy", values + 1)
    for call in (
        lambda: use.evaluate(broken),
        lambda: list(use.load(broken).predict()),
        lambda: runs.resume(Forecast, {"steps": 300}, broken),
    ):
        with pytest.raises(RunError, match=r"not those that the run began with"):
            call()


def test_weights_that_are_not_finite_are_an_error(run: Path, file: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(run, tmp_path / "broken"))
    weights, facts = tensors.read(run / "model.safetensors")
    name = next(name for name in weights if name.startswith("network."))
    tensors.write(broken / "model.safetensors", {**weights, name: weights[name] * torch.nan}, facts)
    for call in (lambda: use.evaluate(broken), lambda: list(use.load(broken).predict([str(file)]))):
        with pytest.raises(NonFiniteError, match="has weights that are not finite"):
            call()


def test_plots(elman: Elman, run: Path, tmp_path: Path) -> None:
    answer = elman("evaluate", run, "--out", tmp_path / "plots", "--json")
    assert answer.code == 0, answer.err
    for n in (1, 2):
        assert (tmp_path / f"plots/forecast-{n}.png").read_bytes().startswith(b"\x89PNG")


def test_what_does_not_fit_is_an_error(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unknown column of .*'b'"):
        path = tmp_path / "one.csv"
        path.write_text("month,a\n2000-01,1\n2000-02,2\n")
        use.evaluate(run, [path])
    with pytest.raises(SettingError, match=r"a forecaster reads forward only"):
        runs.start(Forecast, [], {"bidirectional": True}, tmp_path / "r")
    with pytest.raises(SettingError, match=r"the quantiles do not fit together"):
        runs.start(Forecast, [], {"quantiles": "0.1,0.9"}, tmp_path / "r")
    with pytest.raises(SettingError, match=r"validation is out of range"):
        runs.start(Forecast, [], {"validation": 0}, tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_counts_are_not_forecast_below_zero(tmp_path: Path, tiny: dict[str, Any], monthly: Monthly) -> None:
    rng = np.random.default_rng(1)
    counts = monthly(tmp_path / "counts.csv", rng.poisson([0.5, 2.0], (200, 2)).astype(float))
    free, bounded = tmp_path / "free", tmp_path / "bounded"
    runs.start(Forecast, [counts], {**tiny, "steps": 60}, free)
    shutil.copytree(free, bounded)
    config = json.loads((bounded / "config.json").read_text())
    config["settings"]["min_value"] = 0.0
    (bounded / "config.json").write_text(json.dumps(config))
    for answer, clipped in zip(use.load(free).predict(), use.load(bounded).predict(), strict=True):
        for level, values in answer.fields["quantiles"].items():
            np.testing.assert_array_equal(clipped.fields["quantiles"][level], np.maximum(values, 0))
        assert min(answer.fields["quantiles"]["0.1"]) < 0, "else there is nothing to see"
    before, after = (use.evaluate(run) for run in (free, bounded))
    assert after["crps"] < before["crps"]
    assert after["coverage_80"] == before["coverage_80"]


def test_broken_rows_are_skipped_only_when_asked(
    elman: Elman, run: Path, tmp_path: Path, series: Series, monthly: Monthly
) -> None:
    fresh = monthly(tmp_path / "fresh.csv", series(seed=7)[:120])
    broken = tmp_path / "broken.csv"
    broken.write_text(fresh.read_text() + "2000-02,much,2\n")
    assert "line 122" in elman("evaluate", run, broken).err
    metrics = json.loads(elman("evaluate", run, broken, "--skip-bad", "--json").out)
    assert (metrics["skipped_rows"], len(metrics["skipped"])) == (1, 1)
    assert "line 122" in metrics["skipped"][0]
    assert metrics["crps"] == json.loads(elman("evaluate", run, fresh, "--json").out)["crps"]
    rows = fresh.read_text().splitlines(keepends=True)
    (tmp_path / "gap.csv").write_text("".join(rows[:40] + rows[41:]))
    (tmp_path / "bad.csv").write_text("".join([*rows[:40], rows[40].replace("2003-04", "2003-04,"), *rows[41:]]))
    refused = elman("evaluate", run, tmp_path / "gap.csv")
    assert "fix the file, or train a run with --set gaps=missing" in refused.err
    skipped = json.loads(elman("evaluate", run, tmp_path / "bad.csv", "--skip-bad", "--json").out)
    assert (skipped["skipped_rows"], skipped["windows"]) == (1, metrics["windows"])


def test_a_run_that_skipped_rows_in_training_skips_new_ones_only_when_asked(
    elman: Elman, tmp_path: Path, series: Series, monthly: Monthly
) -> None:
    whole = monthly(tmp_path / "whole.csv", series(seed=7)[:120])
    broken = tmp_path / "broken.csv"
    broken.write_text(whole.read_text() + "2000-02,much,2\n")
    words = ["--steps", 1, "--hidden", 8, "--out", tmp_path / "run", "--skip-bad"]
    assert elman("train", "forecast", broken, *words).code == 0
    data = json.loads((tmp_path / "run" / "config.json").read_text())["data"]
    assert data["skipped_rows"] == len(data["skipped"]) == 1
    assert elman("predict", tmp_path / "run", whole).code == 0
    for command, where in (("predict", "skipped: "), ("evaluate", "")):
        answer = elman(command, tmp_path / "run", broken)
        assert (answer.code, answer.out) == (2, "") and "line 122" in answer.err
        answer = elman(command, tmp_path / "run", broken, "--skip-bad")
        assert answer.code == 0 and f"{where}{broken}, line 122" in answer.err


def test_series_that_are_too_short_are_named(elman: Elman, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [f"{shop},{t},{rng.normal():.3f}" for shop, end in (("north", 80), ("south", 9)) for t in range(end)]
    path = tmp_path / "shops.csv"
    path.write_text("\n".join(["shop,time,sold", *rows]) + "\n")
    words = [word for pair in ("series_column=shop", "horizon=4", "lookback=12") for word in ("--set", pair)]
    command = ["train", "forecast", path, "--steps", 1, "--hidden", 8, "--out", tmp_path / "run", *words]
    assert "training part of south is too short" in elman(*command).err
    assert elman(*command, "--skip-bad").code == 0
    assert "- skipped series: south\n" in (tmp_path / "run" / "report.md").read_text()


def test_the_default_needs_no_file(elman: Elman, tmp_path: Path) -> None:
    answer = elman("train", "forecast", "--steps", 2, "--hidden", 8, "--out", tmp_path / "sun")
    assert answer.code == 0, answer.err
    config = json.loads((tmp_path / "sun/config.json").read_text())["data"]
    assert config["times"] == "1700 to 2008, every 1"
    assert config["season"] == "11 steps"
    assert json.loads(elman("predict", tmp_path / "sun", "--json").out)["predictions"][0]["times"][0] == "2009"


def test_long_files_with_missing_values_and_prices_known_ahead(elman: Elman, tmp_path: Path, series: Series) -> None:
    values = series(200)
    days = np.datetime64("2026-01-01") + np.arange(205)
    rows = [
        f"{name},{days[n]},{'' if n >= 200 or n % 9 == 0 else values[n, c]},{n % 7}\n"
        for c, name in enumerate("ab")
        for n in range(c * 30, 205)
    ]
    path = tmp_path / "long.csv"
    path.write_text("shop,date,sold,price\n" + "".join(rows))
    sets = ["series_column=shop", "known_columns=price", "horizon=5", "lookback=21"]
    words = [word for pair in (*sets, "decoding=direct", "output=laplace") for word in ("--set", pair)]
    done = elman("train", "forecast", path, "--steps", 3, "--hidden", 8, "--out", tmp_path / "long", *words)
    assert done.code == 0, done.err
    config = json.loads((tmp_path / "long/config.json").read_text())["data"]
    assert config["missing_values"] == sum(n % 9 == 0 for n in range(200)) + sum(n % 9 == 0 for n in range(30, 200))
    answers = json.loads(elman("predict", tmp_path / "long", "--json").out)["predictions"]
    assert [answer["series"] for answer in answers] == ["a", "b"]
    assert answers[0]["times"] == [str(day) for day in days[200:]]
    path.write_text("shop,date,sold,price\n" + "".join(rows[:-3]))
    refused = elman("predict", tmp_path / "long", path)
    assert refused.code == 2
    assert "does not know price far enough ahead" in refused.err
