"""Sessions of a recommender: each event costs one step, and the next items come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from elman.errors import DataError, ElmanError, SettingError
from elman.predictors.online.base import OnlinePredictor, are_like, is_count
from elman.predictors.online.state import OnlineState, as_parts, joined, rows_of
from elman.predictors.recommender import RecommendPredictor, session_answer
from elman.predictors.session import Session


class OnlineEvents(OnlinePredictor):
    """A recommender over sessions. An input has `items`, and perhaps `top_k` and `exclude_seen`."""

    kind: ClassVar[str] = "events"
    fields: ClassVar[frozenset[str]] = frozenset({"layers", "seen", "events", "unknown"})
    predictor: RecommendPredictor

    def facts(self) -> Any:
        """Return what the numbers depend on beside the weights."""
        return [self.kind, list(self.predictor.items.names)]

    def begin(self, options: Mapping[str, Any]) -> OnlineState:
        """Return the state before any event."""
        if options:
            raise SettingError("a session of events has no options", should="none", found=", ".join(options)[:80])
        count = -(-len(self.predictor.items) // 8)
        return OnlineState({"layers": None, "seen": torch.zeros(count, dtype=torch.uint8), "events": 0, "unknown": 0})

    def check(self, tree: Any) -> bool:
        """Return whether a tree is one of a state of this model."""
        expected = self.begin({}).tree
        initial = as_parts(self.predictor.model.recurrent.initial_state(1))
        fits = tree["layers"] is None if not tree["events"] else are_like(tree["layers"], initial)
        counts = is_count(tree["events"]) and is_count(tree["unknown"])
        return fits and counts and are_like((tree["seen"],), (expected["seen"],))

    @torch.no_grad()
    def advance(self, states: Sequence[OnlineState], inputs: Sequence[Any]) -> list[Any]:
        """Read the items of each session, and return the next items, as `elman predict --json` has them."""
        numbers = self.predictor.items.numbers
        results: list[Any] = [self._refusal(value) for value in inputs]
        known = [
            [] if result else [numbers[item] for item in value["items"] if item in numbers]
            for value, result in zip(inputs, results, strict=True)
        ]
        layers = [state.tree["layers"] for state in states]
        initial = tuple(part.detach() for part in as_parts(self.predictor.model.recurrent.initial_state(1)))
        for n in range(max(map(len, known), default=0)):
            rows = [row for row, items in enumerate(known) if n < len(items)]
            items_B = torch.tensor([known[row][n] for row in rows])
            state = joined([layers[row] or initial for row in rows])
            after = self.promise.call(self.predictor.model.read, items_B, state)
            for row, parts in zip(rows, rows_of(after), strict=True):
                layers[row] = parts
        for n, (state, value) in enumerate(zip(states, inputs, strict=True)):
            if results[n] is None:
                results[n] = self._read(state, value, known[n], layers[n])
        return results

    def expected(self, state: OnlineState, top: int) -> dict[str, Any]:
        """Return the next items; the state stays as it is."""
        return session_answer(self._session(state), None, [], top, self.predictor.exclude_seen).fields

    def _read(self, state: OnlineState, value: Any, known: list[int], layers: Any) -> Any:
        """Return the next items after the events of an input, and change the state."""
        items, tree = value["items"], state.tree
        seen_V = np.unpackbits(tree["seen"].numpy(), count=len(self.predictor.items))
        seen_V[known] = 1
        unknown = [item for item in items if item not in self.predictor.items.numbers]
        changed = {
            "layers": None if layers is None else tuple(part.clone() for part in layers),
            "seen": torch.from_numpy(np.packbits(seen_V)),
            "events": tree["events"] + len(known),
            "unknown": tree["unknown"] + len(unknown),
        }
        exclude = value.get("exclude_seen")
        exclude = self.predictor.exclude_seen if exclude is None else exclude
        try:
            session = self._session(OnlineState(changed))
            fields = session_answer(session, None, unknown, value.get("top_k", 10), exclude).fields
        except ElmanError as error:
            return error
        state.tree, state.position = changed, state.position + len(items)
        return fields

    def _refusal(self, value: Any) -> ElmanError | None:
        if isinstance(value, dict) and isinstance(value.get("items"), list) and "text" not in value:
            return None
        return DataError("a recommender reads items", should='{"items": ["shoe"]}', found=str(value)[:80])

    def _session(self, state: OnlineState) -> Session:
        predictor, tree = self.predictor, state.tree
        layers = tree["layers"]
        session = Session(predictor.model, predictor.items, predictor.run, probabilities=predictor.probabilities)
        session.resume(
            None if layers is None else layers[0] if len(layers) == 1 else layers,
            np.unpackbits(tree["seen"].numpy(), count=len(predictor.items)).astype(np.bool_),
            tree["events"],
            tree["unknown"],
        )
        return session
