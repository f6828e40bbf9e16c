"""Sessions of events, and their split into training, validation and test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.sessions.items import UNKNOWN, ItemCatalogue
from elman.data.sessions.readers import Events
from elman.errors import BrokenRun, DataError
from elman.storage.ragged import RaggedArrays

EVENT = np.dtype([("item", "<i4"), ("tied", "?"), ("judged", "?")])
"""A step of a session: the number of the item, whether its time is that of the step before, whether it is predicted."""

PARTS = ("training", "validation", "test")


@dataclass(frozen=True)
class Sessions:
    """All events, session by session, each in the order of time; file order decides between equal times.

    Attributes:
        item: (N,) int64, places in `names`.
        time: (N,) float64, of the most significant column.
        tied: (N,) bool, the time is that of the event before in the same session.
        ends: (sessions,) int64, where each ends.
        names: the items.
    """

    item: NDArray[np.int64]
    time: NDArray[np.float64]
    tied: NDArray[np.bool_]
    ends: NDArray[np.int64]
    names: list[str]

    @property
    def begins(self) -> NDArray[np.int64]:
        """Where each session begins, (sessions,)."""
        return np.concatenate([[0], self.ends[:-1]])


def order_events(events: Events, *, gap: float = 0.0) -> Sessions:
    """Put events in order.

    Args:
        events: in the order of the files.
        gap: a session ends where the next event of its user is more than so much later; 0: never.
    """
    times = events.time
    # The last key is the first to sort by; the sort is stable, so that file order is kept among equal times.
    order = np.lexsort((*[times[:, k] for k in reversed(range(times.shape[1]))], events.session))
    session, item, times = events.session[order], events.item[order], times[order]
    new = np.diff(session) != 0
    tied = np.concatenate([[False], (np.diff(times, axis=0) == 0).all(1) & ~new])
    if gap > 0:
        new |= np.diff(times[:, 0]) > gap
    ends = np.append(np.flatnonzero(new) + 1, len(item))
    return Sessions(item, times[:, 0], tied, ends, events.items)


@dataclass(frozen=True)
class SessionSplit:
    """Where each session is cut: its events up to a place are for training, the next for validation, then for test.

    Attributes:
        training: (sessions,) int64, where training ends and validation begins, a place in all events.
        validation: (sessions,) where validation ends and test begins.
        description: how the split was made, for messages.
    """

    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    description: str


def split_by_time(sessions: Sessions, validation: float, test: float) -> SessionSplit:
    """Split at two moments: no training event is later than an evaluated one.

    Args:
        sessions: all of them.
        validation: about which share of the events; events of one moment stay together.
        test: likewise.

    Raises:
        DataError: there are too few different times.
    """
    moments = np.sort(sessions.time)
    count = len(moments)
    last = moments[min(count - 1, round(count * (1 - test)))] if test else np.inf
    middle = moments[min(count - 1, round(count * (1 - test - validation)))]
    if not moments[0] < middle < last or (test and last > moments[-1]):
        raise DataError(
            "the events cannot be split by time",
            should="times of which some are early, some late, and some last",
            found=f"{len(np.unique(moments))} different times in {count} events",
            hint="--set split=last, which takes the last events of each session",
        )
    # Within a session times do not fall, so that how many are early says where it is cut.
    training, validated = (
        sessions.begins + np.add.reduceat((sessions.time < moment).astype(np.int64), sessions.begins)
        for moment in (middle, last)
    )
    description = f"by time: training before {middle:.15g}, validation from there on"
    return SessionSplit(training, validated, description + (f", test from {last:.15g} on" if test else ", no test"))


def leave_last_out(sessions: Sessions) -> SessionSplit:
    """Keep the last event of each session for test and the last but one for validation, where it has three or more.

    Raises:
        DataError: no session has three.
    """
    long = sessions.ends - sessions.begins >= 3
    if not long.any():
        raise DataError(
            "no session is long enough to leave its last events out",
            should="a session of 3 events or more",
            found=f"{len(long)} shorter ones",
            hint="--set split=time",
        )
    cuts = sessions.ends - 2 * long, sessions.ends - long
    description = "the last event of each session for test, the last but one for validation"
    return SessionSplit(*cuts, f"{description}; sessions of 1 or 2 for training")


def write_parts(
    sessions: Sessions, division: SessionSplit, folder: Path, *, min_item_count: int, max_evaluated: int
) -> tuple[ItemCatalogue, dict[str, Any]]:
    """Number the items by the training part alone, and write all parts.

    Args:
        sessions: what is written.
        division: where it is split.
        folder: of the run.
        min_item_count: events in the training part that an item must have to be known.
        max_evaluated: about how many events of the validation part are evaluated at most, spread over all sessions.

    Returns:
        The items, and what config.json says about the parts.

    Raises:
        DataError: a part has nothing to learn from, or nothing to evaluate.
    """
    begins, ends = sessions.begins, sessions.ends
    places = np.arange(len(sessions.item))
    owner = np.repeat(np.arange(len(ends)), ends - begins)
    trained = places < division.training[owner]
    items, numbers = ItemCatalogue.of(sessions.names, sessions.item[trained], least=min_item_count)
    steps = np.empty(len(places), EVENT)
    steps["item"], steps["tied"], steps["judged"] = numbers[sessions.item], sessions.tied, places > begins[owner]
    bounds = {"training": (begins, division.training), "validation": (division.training, division.validation)}
    bounds["test"] = (division.validation, ends)
    tied, neighbours = int(sessions.tied.sum()), len(places) - len(ends)
    facts: dict[str, Any] = {
        "sessions": len(ends),
        "items": f"{len(items)} known of {len(sessions.names)}",
        "order": f"by time; the file's among equal times, {tied} of {neighbours} neighbouring events",
        "split": division.description,
    }
    for part in PARTS:
        first, last = bounds[part]
        limit = max_evaluated if part == "validation" else 0
        facts |= _write_part(part, steps, begins, first, last, folder, limit)
    once = int((ends - begins == 1).sum())
    return items, {**facts, "sessions_of_one_event": once}


def _write_part(
    part: str,
    steps: NDArray[Any],
    begins: NDArray[np.int64],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    folder: Path,
    limit: int,
) -> dict[str, Any]:
    """Write the sessions that have something to predict between `first` and `last`, with all that came before."""
    counts = last - np.maximum(first, begins + 1)
    chosen = np.flatnonzero(counts > 0)
    if limit and counts[chosen].sum() > limit:
        share = limit / counts[chosen].sum()
        chosen = chosen[np.diff(np.floor(np.arange(len(chosen) + 1) * share)) > 0]  # evenly over all of them
    if not len(chosen):
        if part == "test":
            return {"test_events": 0}
        raise DataError(
            f"the {part} part has nothing to predict",
            should="a session of two events or more",
            found="sessions of one event, or none",
            hint="--set split=last, or name the column of the user as the session",
        )

    def arrays() -> Iterator[NDArray[Any]]:
        for n in chosen:
            session = steps[begins[n] : last[n]].copy()
            session["judged"][: max(0, first[n] - begins[n])] = False
            known = session[session["item"] != UNKNOWN] if part == "training" else session
            if len(known) > 1:
                yield known

    written = RaggedArrays.write(folder, part, arrays())
    target = written.values["item"][written.values["judged"]]
    facts = {f"{part}_events": len(target), f"{part}_sessions": len(written)}
    return facts if part == "training" else {**facts, f"{part}_unknown_targets": int((target == UNKNOWN).sum())}


def write_evaluated(sessions: Sessions, items: ItemCatalogue, folder: Path) -> RaggedArrays:
    """Write other sessions, all of whose events but the first are evaluated, by the items of a run.

    Raises:
        DataError: no session has two events.
    """
    numbers = np.array([items.numbers.get(name, UNKNOWN) for name in sessions.names], np.int64)
    steps = np.empty(len(sessions.item), EVENT)
    steps["item"], steps["tied"], steps["judged"] = numbers[sessions.item], sessions.tied, True
    steps["judged"][sessions.begins] = False
    _write_part("judged", steps, sessions.begins, sessions.begins, sessions.ends, folder, 0)
    return open_part(folder, "judged", len(items))


def open_part(folder: Path, part: str, items: int) -> RaggedArrays:
    """Map a part that `write_parts` wrote, and check its numbers.

    Raises:
        RunError: it is missing or broken, or has other items.
    """
    found = RaggedArrays.open(folder, part)
    fits = found.values.dtype == EVENT and found.values.ndim == 1
    numbers = found.values["item"] if fits else np.zeros(0, np.int32)
    if not fits or (len(numbers) and not UNKNOWN <= int(numbers.min()) <= int(numbers.max()) < items):
        raise BrokenRun(
            f"{folder}/{part}.values.npy is broken",
            should=f"events of the {items} items",
            found="other numbers" if fits else f"{found.values.dtype}",
        )
    return found
