"""The state of a session: each event costs one step, its size is constant, and it is saved and restored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.sessions.items import ItemCatalogue
from elman.errors import DataError, RunError
from elman.models.recommender import Recommender
from elman.modules.recurrent_stack import frozen_weights
from elman.predictors.base import non_finite_output
from elman.storage import tensors
from elman.storage.run_directory import RunDirectory


class Session:
    """A session: the state of the network after its events, and the items that occurred.

    It reads the weights as they are at its first event; a later change must be one that torch counts.

    Args:
        model: the model, in evaluation mode.
        items: the items of the model.
        run: the run directory, to whose weights a saved state belongs.
        probabilities: whether the softmax of the scores is a probability.

    Attributes:
        events: the number of known items so far.
        unknown: the number of unknown items, which are skipped.
    """

    def __init__(self, model: Recommender, items: ItemCatalogue, run: Path, *, probabilities: bool) -> None:
        self.model, self.items, self.run, self.probabilities = model, items, run, probabilities
        self.events = self.unknown = 0
        self._promise = frozen_weights()
        self._state: Any = None
        self._seen_V = np.zeros(len(items), np.bool_)

    def resume(self, state: Any, seen_V: NDArray[np.bool_], events: int, unknown: int) -> None:
        """Continue from a state: that of the layers, the items that occurred, and the counts of both kinds of items."""
        self._state, self._seen_V, self.events, self.unknown = state, seen_V, events, unknown

    def push(self, item: str) -> bool:
        """Add an event, and return whether its item is known."""
        number = self.items.numbers.get(item)
        if number is None:
            self.unknown += 1
            return False
        self._state = self._promise.call(self.model.read, torch.tensor([number]), self._state)
        self._seen_V[number] = True
        self.events += 1
        return True

    def next(self, top_k: int = 10, *, exclude_seen: bool = False) -> list[tuple[str, float]]:
        """Return the recommended items, the best first, with their probabilities, or scores if there are none.

        Before the first known item these are the most popular ones.

        Args:
            top_k: the number of items.
            exclude_seen: exclude the items of the session.

        Raises:
            NonFiniteError: the model gives numbers that are not finite.
        """
        if self._state is None:
            scores_V = torch.from_numpy(np.log(self.items.counts / self.items.counts.sum()))
        else:
            scores_V = self.model.answer(self._state)[0]
            if not bool(torch.isfinite(scores_V).all()):
                raise non_finite_output(self.run)
        if exclude_seen:
            scores_V = scores_V.masked_fill(torch.from_numpy(self._seen_V), -torch.inf)
            top_k = min(top_k, int((~self._seen_V).sum()))
        value_V = scores_V.softmax(0) if self.probabilities or self._state is None else scores_V
        count = min(top_k, len(self.items))
        # Items are in the order of their popularity, which decides among equal counts too.
        best = range(count) if self._state is None else scores_V.topk(count).indices.tolist()
        return [(self.items.names[n], float(value_V[n])) for n in best]

    def save(self, path: Path) -> None:
        """Write the session to a file whose size depends on the model alone.

        Raises:
            RunError: it cannot be written.
        """
        state = () if self._state is None else (self._state,) if isinstance(self._state, Tensor) else self._state
        parts = {f"state_{n}": tensor for n, tensor in enumerate(state)}
        parts["seen"] = torch.from_numpy(np.packbits(self._seen_V))
        tensors.write(path, parts, {"weights": self._fingerprint(), "events": self.events, "unknown": self.unknown})

    def restore(self, path: Path) -> Self:
        """Restore the session from a file that `save` wrote.

        Raises:
            RunError: the file is missing, broken, or belongs to another model.
        """
        parts, facts = tensors.read(path)
        if not isinstance(facts, dict) or facts.get("weights") != self._fingerprint():
            raise RunError(
                f"{path} is the state of a session of another model",
                should=f"a state of the weights in {self.run}",
                found="other weights",
                hint="start a new session, without this file",
            )
        initial = self.model.recurrent.initial_state(1)
        counts = [facts.get(name) for name in ("events", "unknown")]
        expected = {f"state_{n}": tensor for n, tensor in enumerate(initial) if counts[0]}
        expected["seen"] = torch.from_numpy(np.packbits(self._seen_V))
        like = {name: (tensor.shape, tensor.dtype) for name, tensor in expected.items()}
        if not all(type(count) is int and count >= 0 for count in counts) or like != {
            name: (tensor.shape, tensor.dtype) for name, tensor in parts.items()
        }:
            raise RunError(f"{path} is broken", should="the state of a session", found="something else")
        state = tuple(parts[name] for name in expected if name != "seen")
        self._state = None if not state else state[0] if len(state) == 1 else state
        self._seen_V = np.unpackbits(parts["seen"].numpy(), count=len(self.items)).astype(np.bool_)
        self.events, self.unknown = facts["events"], facts["unknown"]
        return self

    def _fingerprint(self) -> str:
        with RunDirectory(self.run, {}).model.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Event:
    """A line of standard input.

    Attributes:
        items: the items, in order.
        session: the name of the session; None: it has none.
        end: whether the session ends.
    """

    items: tuple[str, ...]
    session: str | None
    end: bool


def read_events(lines: Iterable[str]) -> Iterator[Event]:
    """Read events as they come: an item as JSON, or {"session": NAME, "item": NAME or "items": [...], "end": true}.

    Raises:
        DataError: a line is not an event; its number is named.
    """
    for number, line in enumerate(lines, 1):
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
            name = None if session is None else str(session)
            return Event(tuple(map(str, items)), name, fields.get("end") is True)
        found = line.strip()[:80]
    except (ValueError, RecursionError) as error:
        found = f"{line.strip()[:60]!r}: {error}"
    raise DataError(
        f"line {number} of standard input is not an event",
        should='an item as JSON, such as "shoe" or 17, or {"session": "ann", "item": "shoe"}',
        found=found,
    )
