"""The export of a forecaster: predict.py continues series as `elman predict` does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import elman
from elman.recipes.forecast import Forecast
from elman.recipes.run import start

Program = Callable[..., Any]
Monthly = Callable[..., Path]


def check_answers(run: Path, app: Path, files: list[Path], program: Program, **options: int) -> None:
    """Compare the forecasts of a program with those of elman."""
    if not app.exists():
        elman.export(run, app)
    expected = [answer.fields for answer in elman.load(run).predict(files, **options)]
    answers = program(app, *files, *[word for name, value in options.items() for word in (f"--{name}", value)])
    assert len(answers) == len(expected)
    for answer, fields in zip(answers, expected, strict=True):
        assert answer.keys() == fields.keys()
        for name in ("input", "series", "times"):
            assert answer[name] == fields[name]
        assert list(answer["quantiles"]) == list(fields["quantiles"])
        for level, values in fields["quantiles"].items():
            assert answer["quantiles"][level] == pytest.approx(values, rel=1e-6, abs=1e-4)
        assert answer["forecast"] == answer["quantiles"]["0.5"]


def test_a_shared_run(
    forecast_run: Path, tmp_path: Path, program: Program, series: Callable[..., np.ndarray], monthly: Monthly
) -> None:
    files = [monthly(tmp_path / f"{n}.csv", series(n, seed=n), f"20{n % 90:02}-0{1 + n % 9}") for n in range(24, 42)]
    check_answers(forecast_run, tmp_path / "app", files, program)
    check_answers(forecast_run, tmp_path / "app", files[:2], program, horizon=2)
    lines = files[0].read_text().splitlines()
    lines[5], lines[-1] = "2030-09,,nan", lines[-1].rpartition(",")[0] + ",NA"
    (tmp_path / "missing.csv").write_text("\n".join(lines[:5] + lines[6:]) + "\n")
    (tmp_path / "short.csv").write_text("\n".join(lines[:9]) + "\n")
    (tmp_path / "other.csv").write_text("month,b\n2030-09,2\n")
    names = [tmp_path / f"{name}.csv" for name in ("missing", "short", "other", "none")]
    message = program(tmp_path / "app", *names, code=2)
    assert message.count('"error"') == 4 and "Traceback" not in message


@pytest.mark.parametrize(
    ("settings", "step", "form"),
    [
        ({"decoding": "direct", "output": "normal", "window_norm": "last", "cell": "gru"}, "h", "%Y-%m-%d %H:%M"),
        ({"decoding": "recursive", "output": "quantiles", "quantiles": "0.05,0.5,0.95"}, "D", "%Y-%m-%d"),
        ({"decoding": "recursive", "output": "laplace", "window_norm": "none", "calendar_features": False}, "n", ""),
        ({"decoding": "segments", "segment": 5, "known_columns": "k", "layers": 2, "min_value": 19.0}, "n", ""),
        ({"decoding": "direct", "series_column": "name", "gaps": "missing"}, "D", "%d.%m.%Y"),
    ],
)
def test_networks_heads_and_clocks(
    tmp_path: Path, program: Program, settings: dict[str, Any], step: str, form: str
) -> None:
    rng, horizon = np.random.default_rng(1), 4

    def write(path: Path, rows: int, first: int = 0) -> Path:
        known, named = "known_columns" in settings, "series_column" in settings
        lines = [",".join([*["name"] * named, "time", *["k"] * known, "v"])]
        for name in ("left", "right") if named else ("",):
            for t in range(first, first + rows + horizon * known):
                moment = np.datetime64("2020-01-01T00") + np.timedelta64(t, step if form else "D")
                time = moment.item().strftime(form) if form else str(3 * t)
                value = f"{20 + np.sin(t) + rng.normal() / 9:.4f}" if t < first + rows and t % 11 != 5 else ""
                if t % 11 != 7 or "gaps" not in settings:
                    lines.append(",".join([*[name] * named, time, *[f"{np.cos(t):.3f}"] * known, value]))
        path.write_text("\n".join(lines) + "\n")
        return path

    options = {"horizon": horizon, "lookback": 12, "hidden": 6, "batch_size": 8, "steps": 4, "season": 1, **settings}
    options |= {"time_format": form} if form.startswith("%d") else {}
    start(Forecast, [write(tmp_path / "x.csv", 90)], options, tmp_path / "run")
    files = [write(tmp_path / f"{n}.csv", 20 + n, n) for n in range(4)]
    check_answers(tmp_path / "run", tmp_path / "app", files, program)
    if settings["decoding"] == "recursive":
        check_answers(tmp_path / "run", tmp_path / "app", files[:1], program, horizon=9)
