"""A trained recommender: it answers the events of sessions with the items that come next."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from elman.data.sessions.items import ItemCatalogue
from elman.errors import SettingError
from elman.models.recommender import Recommender
from elman.predictors.answer import Answer
from elman.predictors.base import Predictor
from elman.predictors.inputs import STDIN
from elman.predictors.options import RecommendOptions
from elman.predictors.session import Session, read_events


class RecommendPredictor(Predictor):
    """A recommender that is ready to use.

    Args:
        model: the model, in evaluation mode.
        run: the run directory.
        items: the items of the model.
        exclude_seen: whether items of a session are excluded, unless an option says otherwise.
        probabilities: whether the softmax of the scores is a probability.
    """

    Options = RecommendOptions
    model: Recommender

    def __init__(
        self, model: Recommender, run: Path, items: ItemCatalogue, *, exclude_seen: bool, probabilities: bool
    ) -> None:
        super().__init__(model, run)
        self.items, self.exclude_seen, self.probabilities = items, exclude_seen, probabilities

    def session(self, state: Path | None = None) -> Session:
        """Return a new session, or one that is restored from a file of `Session.save`.

        Raises:
            RunError: the file belongs to another model, or is broken.
        """
        session = Session(self.model, self.items, self.run, probabilities=self.probabilities)
        return session if state is None else session.restore(state)

    def answers(self, inputs: Sequence[str | Path] = (), **options: Any) -> Iterator[Answer]:
        """Recommend the next items of a session, each time when they are asked for.

        Args:
            inputs: the items of one session, which get one answer, after the last of them; "-" reads events from
                standard input as JSON, one a line, and answers each.
            options: the fields of `RecommendOptions`.

        Raises:
            DataError: a line is not an event.
            NonFiniteError: the model gives numbers that are not finite.
            RunError: the state belongs to another model, or is broken.
            SettingError: an option is invalid, or there is no session to answer.
        """
        chosen = RecommendOptions(**options)
        state = Path(chosen.state) if chosen.state else None
        restored = state if state is not None and state.exists() else None
        if not inputs and restored is None:
            raise SettingError(
                "there is no session to answer",
                should="the items of a session, or - for events on standard input",
                found="nothing",
                hint="elman predict RUN ITEM ITEM",
            )
        exclude_seen = self.exclude_seen if chosen.exclude_seen is None else chosen.exclude_seen
        session = self.session(restored)
        try:
            unknown = [str(item) for item in inputs if item != STDIN and not session.push(str(item))]
            if STDIN in inputs:
                yield from self._stream(session, chosen.top_k, exclude_seen, one_session=state is not None)
            else:
                yield _answer(session, None, unknown, chosen.top_k, exclude_seen)
        finally:
            if state is not None:
                session.save(state)

    def _stream(self, session: Session, top_k: int, exclude_seen: bool, *, one_session: bool) -> Iterator[Answer]:
        """Answer each event on standard input; those that name no session belong to `session`."""
        named: dict[str, Session] = {}
        for event in read_events(sys.stdin):
            current = session
            if event.session is not None:
                if one_session:
                    raise SettingError(
                        "one file cannot hold the state of many sessions",
                        should="events without a session where state=FILE is given",
                        found=f"the session {event.session!r}",
                    )
                current = named.get(event.session) or named.setdefault(event.session, self.session())
            unknown = [item for item in event.items if not current.push(item)]
            yield _answer(current, event.session, unknown, top_k, exclude_seen)
            if event.end and event.session is not None:
                del named[event.session]


def _answer(session: Session, name: str | None, unknown: list[str], top_k: int, exclude_seen: bool) -> Answer:
    items = session.next(top_k, exclude_seen=exclude_seen)
    fields: dict[str, Any] = {} if name is None else {"session": name}
    fields |= {"items": [item for item, _ in items], "scores": [score for _, score in items], "events": session.events}
    shown = "  ".join(f"{item} {score:.3f}" for item, score in items)
    line = shown if name is None else f"{name}: {shown}"
    if unknown:
        fields["unknown"] = unknown
        line += f"  (unknown: {', '.join(unknown[:5])})"
    if not session.events:
        fields["of"] = "popularity"
        line += "  (no known item yet: the most popular)"
    return Answer(line, fields)
