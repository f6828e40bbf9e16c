"""Features of the calendar: smooth, periodic, and only of cycles that training saw."""

import numpy as np
import pytest

from elman.data.series.calendar_features import YEAR, Calendar
from elman.data.series.timestamps import DAY, HOUR, Clock


@pytest.mark.parametrize(
    ("clock", "ticks", "cycles"),
    [
        (Clock("time", HOUR), DAY, ()),
        (Clock("time", HOUR), 2 * DAY, ("day",)),
        (Clock("time", HOUR), 400 * DAY, ("day", "week")),
        (Clock("time", HOUR), 731 * DAY, ("day", "week", "year")),
        (Clock("time", DAY), 100 * DAY, ("week",)),
        (Clock("time", 7 * DAY), 3 * YEAR, ("year",)),
        (Clock("month", 1), 23, ()),
        (Clock("month", 1), 24, ("year",)),
        (Clock("month", 12), 1000, ()),
        (Clock("number", 1), 10**9, ()),
    ],
)
def test_a_cycle_counts_once_training_has_seen_it_twice(clock: Clock, ticks: int, cycles: tuple) -> None:
    assert Calendar.fit(clock, ticks).cycles == cycles


def test_features_repeat_with_their_cycle_and_tell_its_places_apart() -> None:
    calendar = Calendar.fit(Clock("time", HOUR), 30 * DAY)
    ticks = np.arange(7 * 24) * HOUR
    found = calendar.features(ticks)
    assert found.shape == (7 * 24, calendar.size)
    np.testing.assert_allclose(found, calendar.features(ticks + 7 * DAY), atol=1e-5)
    apart = np.linalg.norm(found[:, None] - found[None], axis=-1) + 9 * np.eye(len(found))
    assert apart.min() > 0.1
    assert np.abs(found).max() <= 1
    assert calendar.features(ticks.reshape(7, 24)).shape == (7, 24, calendar.size)


def test_a_wave_has_more_than_two_steps() -> None:
    for every in (HOUR, 8 * HOUR, DAY, 3 * DAY):
        calendar = Calendar.fit(Clock("time", every), 100 * DAY)
        found = calendar.features(np.arange(200) * every)
        assert (found.std(0) > 0.3).all()
