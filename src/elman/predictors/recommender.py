"""A trained recommender: it answers the events of sessions with the items that come next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from elman.data.in_memory import RowText, as_frame, is_frame
from elman.data.sessions.items import ItemCatalogue
from elman.errors import DataError, SettingError
from elman.models.recommender import Recommender
from elman.number_format import decimal
from elman.predictors.answer import Answer
from elman.predictors.base import Predictor
from elman.predictors.inputs import is_stdin, stdin_text
from elman.predictors.options import RecommendOptions
from elman.predictors.session import Session, read_events
from elman.storage.files import exists


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
    one_answer_per_row = False
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

    def _converted(self, inputs: Any, options: Mapping[str, Any]) -> Iterator[Answer]:
        """Yield the answers to items, which are one session, or to the sessions of a DataFrame of events."""
        frame = as_frame(inputs)
        items = [inputs] if isinstance(inputs, str | Path) or frame is not None else list(inputs)
        names = {str(name): name for name in frame.columns} if is_frame(inputs) else {}
        if frame is None and all(isinstance(item, str | Path) for item in items):
            yield from self.answers(items, **options)
            return
        if not {"session", "item"} <= names.keys() or options.get("state"):
            raise DataError(
                "these are not the items of sessions",
                should="a list of items, or without state a DataFrame with the columns session, item and perhaps time",
                found=", ".join(names) or type(items[0]).__name__,
            )
        events = frame.sort_values(names["time"], kind="stable") if "time" in names else frame
        for session, rows in events.groupby(names["session"], sort=False):
            texts = [RowText(item) for item in rows[names["item"]].dropna()]
            for answer in self.answers(texts, **options):
                yield answer._replace(
                    line=f"{session}: {answer.line}", fields={"session": str(session), **answer.fields}
                )

    @property
    def reads_text(self) -> bool:
        """Whether an input may be a text itself."""
        return True

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
        restored = state if state is not None and exists(state) else None
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
            unknown = [str(item) for item in inputs if not is_stdin(item) and not session.push(str(item))]
            if any(map(is_stdin, inputs)):
                yield from self._stream(session, chosen.top_k, exclude_seen, one_session=state is not None)
            else:
                yield session_answer(session, None, unknown, chosen.top_k, exclude_seen)
        finally:
            if state is not None:
                session.save(state)

    def _stream(self, session: Session, top_k: int, exclude_seen: bool, *, one_session: bool) -> Iterator[Answer]:
        """Answer each event on standard input; those that name no session belong to `session`."""
        named: dict[str, Session] = {}
        for event in read_events(stdin_text()):
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
            yield session_answer(current, event.session, unknown, top_k, exclude_seen)
            if event.end and event.session is not None:
                del named[event.session]


def session_answer(
    session: Session, name: str | None, unknown: list[str], top_k: int, exclude_seen: bool
) -> Answer:  # fmt: skip
    """Return the answer to a session: its next items."""
    items = session.next(top_k, exclude_seen=exclude_seen)
    fields: dict[str, Any] = {} if name is None else {"session": name}
    fields |= {"items": [item for item, _ in items], "scores": [score for _, score in items], "events": session.events}
    shown = "  ".join(f"{item} {decimal(score, 3)}" for item, score in items)
    line = shown if name is None else f"{name}: {shown}"
    if unknown:
        fields["unknown"] = unknown
        line += f"  (unknown: {', '.join(unknown[:5])})"
    if not session.events:
        fields["of"] = "popularity"
        line += "  (no known item yet: the most popular)"
    return Answer(line, fields)
