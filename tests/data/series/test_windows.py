"""Windows: what a loop over rows would cut, scaled by the training part, which is all that training sees."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from elman.data.series.dataset import Panel
from elman.data.series.scaler import Scaler
from elman.data.series.timestamps import HOUR, Clock
from elman.data.series.window_plan import ForecastSpec
from elman.data.series.windows import Windows, forward_filled
from elman.errors import DataError, RunError, SettingError
from elman.storage.ragged import RaggedArrays

CLOCK = Clock("time", HOUR, "%Y-%m-%d %H:%M")


def panel_of(lengths: list[int], columns: int = 2, known: int = 1, holes: float = 0.0, seed: int = 1) -> Panel:
    rng = np.random.default_rng(seed)
    values = [rng.normal(3, 2, (length, columns)) for length in lengths]
    for table in values:
        table[rng.random(table.shape) < holes] = np.nan
    ahead = [rng.normal(size=(length + 3, known)) for length in lengths]
    names = (tuple(f"g{n}" for n in range(len(lengths))), tuple("abcd"[:columns]), tuple("xyz"[:known]))
    starts = np.arange(len(lengths)) * HOUR
    return Panel(*names, CLOCK, starts, RaggedArrays.of(values), RaggedArrays.of(ahead))


def test_the_scale_is_that_of_scikit_learn() -> None:
    panel = panel_of([50, 40], holes=0.2)
    scaler = Scaler.fit(panel)
    for n in range(2):
        judge = StandardScaler().fit(panel.values[n])
        np.testing.assert_allclose(scaler.mean[n], judge.mean_, rtol=1e-12)
        np.testing.assert_allclose(scaler.deviation[n], judge.scale_, rtol=1e-12)
    assert Scaler.from_json(scaler.as_json(), 2, 2, 1).mean.tolist() == scaler.mean.tolist()


@given(
    st.lists(st.integers(1, 14), min_size=1, max_size=3),
    st.integers(1, 5),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.3]),
    st.integers(0, 12),
)
def test_windows_are_what_a_loop_cuts(lengths: list, lookback: int, horizon: int, holes: float, first: int) -> None:
    panel = panel_of([*lengths, 12], holes=holes)
    plan_scaler = Scaler.fit(panel, constants="keep") if holes == 0 else Scaler.fit(panel_of([30] * (len(lengths) + 1)))
    calendar = ForecastSpec.fit(panel_of([60]), validation=0.3, horizon=1, lookback=2)[0].calendar
    windows = Windows(panel, plan_scaler, calendar, lookback=lookback, horizon=horizon, first=first * HOUR)
    expected = []
    for n in range(len(panel.groups)):
        for row in range(lookback, len(panel.values[n]) - horizon + 1):
            if row + n >= first:  # group n starts n hours later
                expected += [(n, c, row) for c in range(2)]
    assert len(windows) == len(expected)
    if not expected:
        return
    batch = windows.batch(np.arange(len(windows)))
    for b, (n, c, row) in enumerate(expected):
        scaled = (panel.values[n][:, c] - plan_scaler.mean[n, c]) / plan_scaler.deviation[n, c]
        past, future = scaled[row - lookback : row], scaled[row : row + horizon]
        np.testing.assert_array_equal(batch.past_seen_TB[:, b], ~np.isnan(past))
        np.testing.assert_array_equal(batch.future_seen_FB[:, b], ~np.isnan(future))
        last, filled = 0.0, []
        for value in past:
            last = last if np.isnan(value) else value
            filled.append(last)
        np.testing.assert_allclose(batch.past_TB[:, b], filled, rtol=1e-6)
        np.testing.assert_allclose(batch.future_FB[:, b], np.nan_to_num(future), rtol=1e-6)
        ahead = (panel.ahead[n][row - lookback : row + horizon] - plan_scaler.known_mean) / plan_scaler.known_deviation
        np.testing.assert_allclose(batch.known_SBK[:, b], ahead, rtol=1e-5, atol=1e-6)
        ticks = panel.starts[n] + np.arange(row - lookback, row + horizon) * HOUR
        np.testing.assert_allclose(batch.calendar_SBK[:, b], calendar.features(ticks), atol=1e-6)
        assert batch.series_B[b] == 2 * n + c


def test_forward_filling() -> None:
    nan = np.nan
    found = forward_filled(np.array([[nan, 1], [2, nan], [nan, nan], [3, 4]]))
    assert found.tolist() == [[0, 1], [2, 1], [2, 1], [3, 4]]


def batches_of(windows: Windows) -> list[torch.Tensor]:
    return list(windows.batch(np.arange(len(windows))))


def test_nothing_of_the_validation_part_reaches_training() -> None:
    """Another future after the cut, whatever it is, leaves scale, calendar, sizes and every batch as they were."""
    panel, sizes = panel_of([120, 90], holes=0.05), {"validation": 0.3, "horizon": 3}
    plan, kept = ForecastSpec.fit(panel, **sizes)
    changed = panel_of([120, 90], holes=0.05)
    for n in range(2):
        rows = (plan.cut - int(panel.starts[n])) // HOUR
        assert 0 < rows < len(panel.values[n])
        changed.values[n][rows:] = 1e9
        changed.ahead[n][rows:] = -1e9
    other, _ = ForecastSpec.fit(changed, **sizes)
    assert (other.cut, other.season, other.lookback, other.segment) == (
        plan.cut,
        plan.season,
        plan.lookback,
        plan.segment,
    )
    assert other.calendar == plan.calendar
    assert other.scaler.as_json() == plan.scaler.as_json()
    mine, theirs = plan.training(kept), other.training(changed)
    for a, b in zip(batches_of(mine), batches_of(theirs), strict=True):
        assert torch.equal(a, b)
    # And the last future of the training part ends where the validation part begins.
    places = mine.places(np.arange(len(mine)))
    ends = kept.starts[places.groups] + (places.rows + plan.horizon) * HOUR
    assert ends.max() == plan.cut
    judged = plan.validation(kept)
    places = judged.places(np.arange(len(judged)))
    assert (kept.starts[places.groups] + places.rows * HOUR).min() == plan.cut


def test_the_plan_survives_its_file(tmp_path: Path) -> None:
    panel = panel_of([80, 90])
    plan, panel = ForecastSpec.fit(panel, validation=0.2, horizon=4)
    plan.save(tmp_path, panel)
    panel.save(tmp_path)
    import json

    facts = json.loads((tmp_path / "series.json").read_text())
    again = ForecastSpec.read(facts, "series.json")
    opened = Panel.open(tmp_path, facts)
    for a, b in zip(batches_of(plan.validation(panel)), batches_of(again.validation(opened)), strict=True):
        assert torch.equal(a, b)
    broken = [
        {**facts, "horizon": 0},
        {**facts, "lookback": "5"},
        {**facts, "cycles": ["century"]},
        {**facts, "clock": {"kind": "moon", "every": 1}},
        {**facts, "groups": []},
        {**facts, "clock": {**facts["clock"], "form": 5}},
        {**facts, "clock": {**facts["clock"], "day": 99}},
        {**facts, "scaler": {**facts["scaler"], "deviation": [[0.0, 1.0], [1.0, 1.0]]}},
        {**facts, "scaler": {**facts["scaler"], "mean": [[1.0, 1.0]]}},
        {name: value for name, value in facts.items() if name != "cut"},
    ]
    for found in broken:
        with pytest.raises(RunError, match=r"x is broken\n.*the plan of a forecaster"):
            ForecastSpec.read(found, "x")
    for found in ({**facts, "columns": ["a"]}, {**facts, "starts": [1]}):
        with pytest.raises(RunError, match=r"are not those that it says"):
            Panel.open(tmp_path, found)
    with pytest.raises(RunError, match=r"says of its series is broken"):
        Panel.open(tmp_path, {**facts, "clock": 5})


def test_what_cannot_be_planned_is_said() -> None:
    with pytest.raises(DataError, match=r"training part of g0 is too short\n.*20 rows\n.*14 rows"):
        ForecastSpec.fit(panel_of([20]), validation=0.3, horizon=4, lookback=16)
    with pytest.raises(DataError, match=r"validation part is too short\n.*the horizon, 8 rows\n.*5 rows"):
        ForecastSpec.fit(panel_of([50]), validation=0.1, horizon=8, lookback=3)
    with pytest.raises(SettingError, match=r"the season is longer than the training part"):
        ForecastSpec.fit(panel_of([50]), validation=0.2, season=60, horizon=2, lookback=3)
    lengths = [60, 5]
    with pytest.raises(DataError, match=r"of g1 is too short\n.*\n.*5 rows\n.*--skip-bad skips such series"):
        ForecastSpec.fit(panel_of(lengths), validation=0.2, horizon=4)
    plan, panel = ForecastSpec.fit(panel_of(lengths), validation=0.2, horizon=4, lookback=10, skip_bad=True)
    assert plan.groups == panel.groups == ("g0",)
    still = panel_of([60])
    still.values[0][:40, 1] = 7.0
    with pytest.raises(DataError, match=r"series g0 b does not move in the training part\n.*\n.*7 at all 40 times"):
        ForecastSpec.fit(still, validation=1 / 3, horizon=2, lookback=5)
    kept, _ = ForecastSpec.fit(still, validation=1 / 3, horizon=2, lookback=5, constants="keep")
    assert kept.scaler.deviation[0, 1] == 1.0
    still.values[0][:40, 1] = np.nan
    with pytest.raises(DataError, match=r"series g0 b has no value in the training part"):
        ForecastSpec.fit(still, validation=1 / 3, horizon=2, lookback=5)


def test_series_that_lie_an_age_apart_are_refused() -> None:
    plan, panel = ForecastSpec.fit(panel_of([60, 60]), validation=0.2, horizon=3, lookback=6)
    panel.starts[1] += 10**9 * HOUR
    with pytest.raises(DataError, match=r"lie too far apart\n.*100,000,000 steps of 1 h"):
        plan.all_of(panel, "x")


def test_other_series_must_fit() -> None:
    plan, panel = ForecastSpec.fit(panel_of([60, 60]), validation=0.2, horizon=3, lookback=6)
    assert len(plan.all_of(panel_of([20]), "x")) == 2 * (20 - 6 - 3 + 1)
    with pytest.raises(DataError, match=r"x has other series than the run\n.*a, b\n.*a, b, c"):
        plan.all_of(panel_of([20], columns=3), "x")
    with pytest.raises(DataError, match=r"x has other series than the run\n.*g0, g1\n.*g2"):
        plan.all_of(panel_of([20, 20, 20]), "x")
    with pytest.raises(DataError, match=r"x is too short\n.*6 \+ 3 rows\n.*8 rows"):
        plan.all_of(panel_of([8]), "x")
    slow = panel_of([20])
    slow = Panel(slow.groups, slow.columns, slow.known, Clock("time", 2 * HOUR), slow.starts, slow.values, slow.ahead)
    with pytest.raises(DataError, match=r"x has another step than the run\n.*every 1 h\n.*every 2 h"):
        plan.all_of(slow, "x")
    assert len(plan.beyond(panel, 3, "x", needed=3)) == 4
    with pytest.raises(
        DataError, match=r"x does not know x far enough ahead\n.*4 rows behind.* a, b left empty\n.*3 rows"
    ):
        plan.beyond(panel, 3, "x", needed=4)
    with pytest.raises(DataError, match=r"x g0 has too short a past to be continued\n.*6 rows"):
        plan.beyond(panel_of([5]), 3, "x", needed=3)


def windows_of(values: np.ndarray, **options: Any) -> Windows:
    table = values.reshape(-1, 1)
    arrays = (RaggedArrays.of([table]), RaggedArrays.of([np.zeros((len(table), 0))]))
    panel = Panel(("",), ("v",), (), CLOCK, np.zeros(1, np.int64), *arrays)
    plan, panel = ForecastSpec.fit(panel, validation=0.2, horizon=2, lookback=5, **options)
    return plan.validation(panel)


@pytest.mark.parametrize(("unit", "common"), [(1e-13, 0), (1e160, 0), (1e-200, 0), (1.0, 1.7e9), (1.0, 2.0**40)])
def test_the_unit_and_a_common_part_of_the_values_do_not_matter(unit: float, common: float) -> None:
    values = np.random.default_rng(1).integers(-50, 50, 60).astype(float)
    expected, batch = (windows_of(v).batch(np.arange(3)) for v in (values, values * unit + common))
    assert batch.past_TB.std() > 0.5
    torch.testing.assert_close(batch.past_TB, expected.past_TB)
    torch.testing.assert_close(batch.future_FB, expected.future_FB)


def test_one_number_and_its_rounding_do_not_move() -> None:
    values = 1.7e9 + 1e-7 * (np.arange(60) % 5)
    assert len(set(values)) > 1
    with pytest.raises(DataError, match=r"the series v does not move.*\n.*more than the rounding"):
        windows_of(values)


def test_what_float32_cannot_carry_is_refused() -> None:
    values = np.random.default_rng(1).normal(size=60)
    values[55] = 1e20
    with pytest.raises(DataError, match=r"the value of v at 1970-01-03 07:00 is too far off\n.*1e\+12 .*\n.*1e\+20"):
        windows_of(values)
