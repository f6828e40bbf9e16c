"""A session that runs: each event costs one step, its state has a constant size, and it can be saved and continued."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from elman.data.sessions.items import ItemCatalogue
from elman.decoding.probabilities import refuse_nan
from elman.errors import DataError, RunError, SettingError
from elman.models.recommender import Recommender
from elman.predictors.answer import Answer
from elman.storage import tensors


class Session:
    """One session: what the network remembers of it, and which items were in it.

    Attributes:
        events: known items so far.
        unknown: unknown ones, which change nothing.

    Args:
        model: the trained model.
        items: that it knows.
        weights: the file of its weights, which a saved state belongs to.
        odds: whether the softmax of the scores is a probability.
    """

    def __init__(self, model: Recommender, items: ItemCatalogue, weights: Path, *, odds: bool) -> None:
        self.model, self.items, self.weights, self.odds = model, items, weights, odds
        self.events = self.unknown = 0
        self._state: Any = None
        self._seen_V = np.zeros(len(items), np.bool_)

    def push(self, item: str) -> bool:
        """Take note of an event, and say whether its item is known."""
        number = self.items.numbers.get(item)
        if number is None:
            self.unknown += 1
            return False
        self._state = self.model.read(torch.tensor([number]), self._state)
        self._seen_V[number] = True
        self.events += 1
        return True

    def next(self, k: int = 10, *, exclude_seen: bool = False) -> list[tuple[str, float]]:
        """Return the k items that come next, the likeliest first, with their probabilities, or scores without.

        Before the first known item these are the most popular ones.

        Raises:
            NonFiniteError: the model gives scores that are no numbers.
        """
        if self._state is None:
            scores_V = torch.from_numpy(np.log(self.items.counts / self.items.counts.sum()))
        else:
            scores_V = self.model.answer(self._state)[0]
            refuse_nan(0 * scores_V)  # infinity times zero is no number either
        if exclude_seen:
            scores_V = scores_V.masked_fill(torch.from_numpy(self._seen_V), -torch.inf)
            k = min(k, int((~self._seen_V).sum()))
        value_V = scores_V.softmax(0) if self.odds or self._state is None else scores_V
        best = scores_V.topk(min(k, len(self.items))).indices.tolist()
        return [(self.items.names[n], float(value_V[n])) for n in best]

    def save(self, path: Path) -> None:
        """Write the session to a file whose size depends on the model alone.

        Raises:
            RunError: it cannot be written.
        """
        state = () if self._state is None else (self._state,) if isinstance(self._state, Tensor) else self._state
        held = {f"state_{n}": tensor for n, tensor in enumerate(state)}
        held["seen"] = torch.from_numpy(np.packbits(self._seen_V))
        tensors.write(path, held, {"weights": self._fingerprint(), "events": self.events, "unknown": self.unknown})

    def restore(self, path: Path) -> Self:
        """Go on from a file that `save` wrote.

        Raises:
            RunError: it is missing, broken, or another model's.
        """
        held, facts = tensors.read(path)
        if not isinstance(facts, dict) or facts.get("weights") != self._fingerprint():
            raise RunError(
                f"{path} is the state of a session of another model",
                should=f"one of the weights in {self.weights}",
                found="others",
                hint="begin the session anew, without this file",
            )
        initial = self.model.recurrent.initial_state(1)
        counts = [facts.get(name) for name in ("events", "unknown")]
        expected = {f"state_{n}": tensor for n, tensor in enumerate(initial) if counts[0]}
        expected["seen"] = torch.from_numpy(np.packbits(self._seen_V))
        like = {name: (tensor.shape, tensor.dtype) for name, tensor in expected.items()}
        if not all(type(count) is int and count >= 0 for count in counts) or like != {
            name: (tensor.shape, tensor.dtype) for name, tensor in held.items()
        }:
            raise RunError(f"{path} is broken", should="the state of a session", found="something else")
        state = tuple(held[name] for name in expected if name != "seen")
        self._state = None if not state else state[0] if len(state) == 1 else state
        self._seen_V = np.unpackbits(held["seen"].numpy(), count=len(self.items)).astype(np.bool_)
        self.events, self.unknown = facts["events"], facts["unknown"]
        return self

    def _fingerprint(self) -> str:
        with self.weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


MakeSession = Callable[[Path | None], Session]


def answers(
    session: MakeSession, inputs: Sequence[str], *, k: int, exclude_seen: bool, state: Path | None
) -> Iterator[Answer]:
    """Yield an answer to a session of items, and to each event on standard input where an input is "-".

    Raises:
        DataError, RunError, SettingError: see `TrainedRecommender.predict`.
    """
    going_on = state is not None and state.exists()
    if not inputs and not going_on:
        raise SettingError(
            "there is no session to answer to",
            should="the items of a session, or - for events on standard input",
            found="nothing",
            hint="elman predict RUN ITEM ITEM",
        )
    main = session(state if going_on else None)
    return _answered(session, main, inputs, k, exclude_seen, state)


def _answered(
    session: MakeSession, main: Session, inputs: Sequence[str], k: int, exclude_seen: bool, state: Path | None
) -> Iterator[Answer]:
    try:
        unknown = [item for item in inputs if item != "-" and not main.push(item)]
        if "-" not in inputs:
            yield _answer(main, None, unknown, k, exclude_seen)
            return
        named: dict[str, Session] = {}
        for event in events_of(sys.stdin):
            if event.session is not None and state is not None:
                raise SettingError(
                    "one file cannot hold the state of many sessions",
                    should="events without a session where state=FILE is given",
                    found=f"the session {event.session!r}",
                )
            if event.session is not None and event.session not in named:
                named[event.session] = session(None)
            running = main if event.session is None else named[event.session]
            unknown = [item for item in event.items if not running.push(item)]
            yield _answer(running, event.session, unknown, k, exclude_seen)
            if event.end and event.session is not None:
                del named[event.session]
    finally:
        if state is not None:
            main.save(state)


def _answer(running: Session, session: str | None, unknown: list[str], k: int, exclude_seen: bool) -> Answer:
    found = running.next(k, exclude_seen=exclude_seen)
    fields: dict[str, Any] = {} if session is None else {"session": session}
    fields |= {"items": [item for item, _ in found], "scores": [value for _, value in found], "events": running.events}
    shown = "  ".join(f"{item} {value:.3f}" for item, value in found)
    line = shown if session is None else f"{session}: {shown}"
    if unknown:
        fields["unknown"] = unknown
        line += f"  (unknown: {', '.join(unknown[:5])})"
    if not running.events:
        fields["of"] = "popularity"
        line += "  (nothing known yet: the most popular)"
    return Answer(line, fields)


@dataclass(frozen=True)
class Event:
    """One line of standard input."""

    items: tuple[str, ...]
    session: str | None
    end: bool


def events_of(lines: Iterable[str]) -> Iterator[Event]:
    """Read events as they come: an item as JSON, or {"session": NAME, "item": NAME or "items": [...], "end": true}.

    Raises:
        DataError: a line is no event; its number is named.
    """
    number, waiting = 0, iter(lines)
    while True:
        number += 1
        try:
            line = next(waiting, None)
        except UnicodeDecodeError as error:
            raise DataError(f"line {number} of standard input is no text", should="UTF-8", found=str(error)) from error
        if line is None:
            return
        if line.strip():
            yield _event(number, line)


def _event(number: int, line: str) -> Event:
    try:
        content = json.loads(line)
        fields = content if isinstance(content, dict) else {"item": content}
        items = [fields["item"]] if "item" in fields else fields.get("items", [])
        session = fields.get("session")
        known = {"item", "items", "session", "end"}
        names = [*items, *([] if session is None else [session])]
        if fields.keys() <= known and isinstance(items, list) and all(type(name) in (str, int) for name in names):
            named = None if session is None else str(session)
            return Event(tuple(map(str, items)), named, fields.get("end") is True)
        found = line.strip()[:80]
    except (ValueError, RecursionError) as error:
        found = f"{line.strip()[:60]!r}: {error}"
    raise DataError(
        f"line {number} of standard input is no event",
        should='an item as JSON, such as "shoe" or 17, or {"session": "ann", "item": "shoe"}',
        found=found,
    )
