"""The engine loop: it gathers what waits, runs one batched step or piece, and gives the results back.

It runs in the event loop, between the events of the network, so that no second thread fights for the interpreter: a
round takes milliseconds. All numbers are computed here, in one thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from elman.errors import ElmanError
from elman.predictors.online.base import OnlinePredictor
from elman.predictors.online.state import OnlineState
from elman.predictors.online.text import GeneratedSymbol, GenerationBatch, OnlineText, TextRow
from elman.serving.errors import Failed, TooBusy, Unavailable
from elman.serving.metrics import Metrics
from elman.serving.settings import Limits

log = logging.getLogger("elman.serving")

PROMPT = 8  # so few sessions get each symbol at once
DELIVERY = 1e-4  # seconds that it takes to send to a session what it has
LONGEST = 0.1  # seconds that a symbol waits to be sent


@dataclass(eq=False, slots=True)
class Generation:
    """A text that is read and generated.

    Attributes:
        model: the model.
        row: the session.
        arrived: when it came.
        started: when it got its place; None: it waits.
        changed: is set when there are choices, or it is finished.
        paused: whether it waits for its client to read.
    """

    model: OnlineText
    row: TextRow
    arrived: float
    started: float | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    paused: bool = False


class Engine:
    """Runs all models.

    Args:
        limits: of the server.
        metrics: of the server.

    Attributes:
        predicting: the number of whole predictions that run or wait in threads.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self.limits, self.metrics = limits, metrics
        self._batches: dict[OnlineText, GenerationBatch] = {}
        self._generations: dict[TextRow, Generation] = {}
        self._paused: set[Generation] = set()
        self._waiting: deque[Generation] = deque()
        self._inputs: deque[tuple[OnlinePredictor, OnlineState, Any, asyncio.Future[Any], float]] = deque()
        self._scheduled, self.predicting = False, 0
        self._flushed = self._computed = 0.0
        self._silent: set[Generation] = set()

    @property
    def active(self) -> int:
        """The number of generations that have a place."""
        return len(self._generations) + len(self._paused)

    def admit(self, count: int = 1) -> None:
        """Check that there is room for more requests.

        Raises:
            TooBusy: too many wait.
        """
        waiting = len(self._waiting) + len(self._inputs) + max(0, self.predicting - self.limits.predictions)
        if waiting + count > self.limits.waiting + max(0, self.limits.active - self.active):
            raise TooBusy(
                "the server is busy", should=f"at most {self.limits.waiting} waiting requests", found=str(waiting),
                hint="try again after the seconds of Retry-After",
            )  # fmt: skip

    async def advance(self, model: OnlinePredictor, state: OnlineState, value: Any) -> Any:
        """Let a session read an input, and return its output; the state changes in place.

        Raises:
            ElmanError: the input is invalid; the state is as before.
            TooBusy: too many wait.
        """
        self.admit()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._inputs.append((model, state, value, future, time.perf_counter()))
        self._schedule()
        return await future

    def begin(self, model: OnlineText, row: TextRow) -> Generation:
        """Let a session read its unread symbols and generate; `choices` gives what it generates.

        Raises:
            TooBusy: too many wait.
        """
        self.admit()
        generation = Generation(model, row, time.perf_counter())
        if row.finish:
            generation.changed.set()
            return generation
        self._waiting.append(generation)
        self._schedule()
        return generation

    async def choices(self, generation: Generation) -> AsyncIterator[list[GeneratedSymbol]]:
        """Yield the symbols as they are generated, several at a time for a slow client.

        Raises:
            ElmanError: the model gives numbers that are not finite.
        """
        row = generation.row
        while True:
            await generation.changed.wait()
            generation.changed.clear()
            taken, row.choices = row.choices, []
            if generation.paused and not row.finish:
                generation.paused = False
                self._paused.discard(generation)
                self._place(generation)
            if taken:
                yield taken
            if row.finish and not row.choices:
                if isinstance(row.finish, ElmanError):
                    raise row.finish
                return

    def state(self, generation: Generation) -> None:
        """Bring the state of a session up to date while it generates."""
        if batch := self._batches.get(generation.model):
            batch.current([generation.row])

    def cancel(self, generation: Generation) -> None:
        """Free the place of a generation; its state is that after the symbols that were generated."""
        if generation.row in self._generations:
            del self._generations[generation.row]
            self._batches[generation.model].remove({generation.row})
        elif generation in self._paused:
            self._paused.discard(generation)
        elif generation in self._waiting:
            self._waiting.remove(generation)
        self._silent.discard(generation)
        if self._waiting:
            self._schedule()

    def stop(self) -> None:
        """End everything that runs or waits; sessions are then where their last acknowledged symbol is."""
        error = Unavailable("the server is stopping", should="a server that runs", found="one that was told to stop")
        for generation in [*self._generations.values(), *self._paused, *self._waiting]:
            self.cancel(generation)
            generation.row.finish = error
            generation.changed.set()
        while self._inputs:
            future = self._inputs.popleft()[3]
            if not future.done():
                future.set_exception(error)

    def _place(self, generation: Generation) -> None:
        self._generations[generation.row] = generation
        if generation.model not in self._batches:
            self._batches[generation.model] = GenerationBatch(generation.model, piece=self.limits.piece)
        self._batches[generation.model].add(generation.row)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._round)

    def _round(self) -> None:
        """Run one batched step of everything that waits."""
        self._scheduled = False
        places = 1 if self.limits.one_at_a_time else self.limits.active
        now = time.perf_counter()
        while self._waiting and self.active < places:
            generation = self._waiting.popleft()
            generation.started = now
            self.metrics.queue_seconds.observe(now - generation.arrived)
            self._place(generation)
        self._advance_inputs()
        for model, batch in list(self._batches.items()):
            if len(batch):
                self._step(batch)
            elif len(self._batches) > 1:
                del self._batches[model]
        self._deliver()
        if self._generations or self._inputs or (self._waiting and self.active < places):
            self._schedule()

    def _step(self, batch: GenerationBatch) -> None:
        begun, size = time.perf_counter(), len(batch)
        try:
            finished = batch.run()
        except Exception:  # the loop goes on for all others
            log.exception("a batch failed")
            self._fail(batch)
            return
        seconds = time.perf_counter() - begun
        self.metrics.batch_size.observe(size)
        self.metrics.step_seconds.observe(seconds)
        self._computed += seconds
        for row in finished:
            generation = self._generations.pop(row)
            generation.changed.set()
            self._silent.discard(generation)
        limit, slow = self.limits.unread_symbols, []
        for row in batch.rows:
            if len(row.choices) >= limit:
                slow.append(row)
        self.metrics.symbols.inc(len(batch.rows) + len(finished))
        for row in slow:
            generation = self._generations.pop(row)
            generation.paused = True
            self._paused.add(generation)
            generation.changed.set()
        if slow:
            batch.remove(set(slow))
        self._silent.update(self._generations[row] for row in batch.rows)

    def _fail(self, batch: GenerationBatch) -> None:
        """End the sessions of a batch by an error; what was not yet given out is dropped, as the states are."""
        for row in batch.clear():
            row.choices = []
            row.finish = _failed("a symbol for each session")
            generation = self._generations.pop(row)
            self._silent.discard(generation)
            generation.changed.set()

    def _deliver(self) -> None:
        """Wake those that have choices: a few at once, many when as much time was computed as sending will take."""
        now, count = time.perf_counter(), len(self._silent)
        if count > PROMPT and self._computed < DELIVERY * count and now - self._flushed < LONGEST:
            return
        self._flushed, self._computed = now, 0.0
        for generation in self._silent:
            generation.changed.set()
        self._silent.clear()

    def _advance_inputs(self) -> None:
        """Let sessions of one model read an input each; a session that has two waits for the next round."""
        if not self._inputs:
            return
        model = self._inputs[0][0]
        taken: list[Any] = []
        later: list[Any] = []
        seen: set[int] = set()
        most = 1 if self.limits.one_at_a_time else model.together
        while self._inputs and len(taken) < most:
            item = self._inputs.popleft()
            if item[3].cancelled():
                continue
            if item[0] is model and id(item[1]) not in seen:
                seen.add(id(item[1]))
                taken.append(item)
            else:
                later.append(item)
        self._inputs.extendleft(reversed(later))
        if not taken:
            return
        begun = time.perf_counter()
        for item in taken:
            self.metrics.queue_seconds.observe(begun - item[4])
        results = self._advanced(model, [item[1] for item in taken], [item[2] for item in taken])
        self.metrics.batch_size.observe(len(taken))
        self.metrics.step_seconds.observe(time.perf_counter() - begun)
        for (_, _, _, future, _), result in zip(taken, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    def _advanced(self, model: OnlinePredictor, states: list[OnlineState], values: list[Any]) -> list[Any]:
        """Return the output or error of each session; where a batch fails, they are tried one by one."""
        before = [(state.tree, state.position) for state in states]
        try:
            return model.advance(states, values)
        except Exception:
            for state, (tree, position) in zip(states, before, strict=True):
                state.tree, state.position = tree, position
            if len(states) > 1:
                return [self._advanced(model, [s], [v])[0] for s, v in zip(states, values, strict=True)]
            log.exception("a step failed")
            return [_failed("an output for each input")]


def _failed(should: str) -> Failed:
    return Failed(
        "the model failed", should=should, found="an error in the log of the server",
        hint="read the session, and try again",
    )  # fmt: skip
