"""The training loop: truncated backpropagation through time, evaluation, checkpoints, exact resumption.

The order of the writes at an evaluation makes a crash between any two of them harmless. First a line is appended to
metrics.jsonl, whose lines after the checkpoint are dropped on resuming; then the checkpoint is written, in one rename;
then the best weights, which a resumed run writes again if they are those of the checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from elman.errors import BrokenRun, DataError, NonFiniteError
from elman.storage import tensors
from elman.storage.files import exists
from elman.storage.records import read_record
from elman.storage.run_directory import RunDirectory
from elman.training import checkpoint
from elman.training.interruption import Interruption
from elman.training.loop_state import RECENT, LoopState, RunningStats
from elman.training.non_finite import Autopsy, non_finite_error, non_finite_evaluation
from elman.training.optimiser import Norms, build_optimiser, clip_gradients
from elman.training.schedule import Budget, EndOfRun, RunningMean, Schedule, ScheduleState
from elman.training.settings import TrainingSettings
from elman.training.task import Batches, Probe, Task

EVALUATIONS = 20
"""The evaluations of a run if the settings do not give their interval."""

FEWEST_STEPS = 25
"""The fewest steps between two of them."""

LARGEST_SHARE = 0.1
"""The largest share of a timed run that evaluations may take."""


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of a training, for a callback after every step and evaluation.

    Attributes:
        step: steps so far.
        epoch: epochs so far.
        done: share of the budget that is used.
        loss: the training loss.
        norms: the norm of the gradient before and after clipping.
        rate: the learning rate.
        symbols: symbols trained on so far.
        seconds: training time so far.
        probes: the last measurements since the last evaluation.
        row: the new row of metrics.jsonl, after an evaluation.
        best: whether the evaluation is the best so far.
        unit: what `symbols` counts.
        mean_loss: the running mean of the loss, about the last 50 steps.
        left: seconds until the end, the last evaluation included; None if they are unknown.
    """

    step: int
    epoch: float
    done: float
    loss: float
    norms: Norms
    rate: float
    symbols: int
    seconds: float
    probes: Mapping[str, float] = field(default_factory=dict)
    row: dict[str, Any] | None = None
    best: bool = False
    unit: str = "symbols"
    mean_loss: float | None = None
    left: float | None = None


Watch = Callable[[TrainingProgress], None]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run.

    Attributes:
        ended: "budget", "early" (no new best for `patience` evaluations) or "interrupted" (by Ctrl-C, after saving).
        step: total steps.
        best_step: the step of the best weights.
        best: their row of metrics.jsonl.
        seconds: total training time.
        symbols: total symbols trained on.
        unit: what `symbols` counts, as in `Task.unit`.
    """

    ended: str
    step: int
    best_step: int | None
    best: dict[str, Any] | None
    seconds: float
    symbols: int
    unit: str = "symbols"


def train(
    task: Task, settings: TrainingSettings, run: RunDirectory, *, resume: bool = False,
    begun: Callable[[], None] | None = None, watch: Watch | None = None, probes: Sequence[Probe] = (),
    autopsy: Autopsy | None = None,
) -> Outcome:  # fmt: skip
    """Train until the budget is exhausted, early stopping, or Ctrl-C.

    Args:
        task: the model, batches, objective and evaluation of a recipe.
        settings: the budget, optimiser and schedule.
        run: the run directory for checkpoint, best weights and metrics.
        resume: continue from the run's checkpoint, if it has one.
        begun: called when the run is locked and its checkpoint read, before the first step.
        watch: called after every step and evaluation.
        probes: periodic measurements.
        autopsy: finds the sequences of a batch whose loss or gradient is not finite.

    Raises:
        NonFiniteError: the loss or gradient is infinite or not a number; the last checkpoint is kept.
        RunError: the disk is full, or the checkpoint is broken.
    """
    with run.locked(), Interruption() as interruption:
        loop = _Loop(task, settings, run, watch or (lambda progress: None), probes, autopsy, resume)
        if begun:
            begun()
        return loop.run_through(interruption)


class _Loop:
    def __init__(
        self, task: Task, settings: TrainingSettings, run: RunDirectory, watch: Watch, probes: Sequence[Probe],
        autopsy: Autopsy | None, resume: bool,
    ) -> None:  # fmt: skip
        self.task, self.settings, self.run, self.watch, self.probes = task, settings, run, watch, probes
        self.autopsy = autopsy
        self.optimiser = build_optimiser(task.model, settings)
        self.schedule = Schedule(settings)
        self.budget = Budget(settings, task.default_minutes)
        self.state = LoopState()
        self.carried: Any = None
        self.best: dict[str, Any] | None = None  # row of metrics.jsonl
        self.saved: int | None = None  # step of the last checkpoint
        self.before = 0.0  # share of the budget at the beginning of the last step
        self.mean_loss, self.end = RunningMean(RECENT), EndOfRun()
        run.sweep()
        if resume and exists(run.checkpoint):
            self._load()
        else:
            run.write_metrics([])  # without those of a process that crashed before its first checkpoint
            torch.manual_seed(settings.seed)
        self.started = time.monotonic() - self.state.seconds

    def run_through(self, interruption: Interruption) -> Outcome:
        model, state = self.task.model, self.state
        model.train()
        ended = "budget"
        batches = endless(self.task.batches)
        while True:
            self.before, state.done = state.done, self._done()
            if self._evaluation_is_due(self.before, state.done):
                self._evaluate()
            if state.done >= 1:
                break
            if self.settings.patience and state.stale >= self.settings.patience:
                ended = "early"
                break
            if interruption.asked:
                ended = "interrupted"
                break
            self._step(next(batches))
            every = self.settings.checkpoint_every
            if every and state.step % every == 0:
                self._save()
        if ended == "interrupted":
            self._save()
        elif state.evaluated != state.step:
            self._evaluate()
        return Outcome(ended, state.step, state.best_step, self.best, state.seconds, state.symbols, self.task.unit)

    def _done(self) -> float:
        """Return the share of the budget that is used, with the time of the final evaluation."""
        state = self.state
        state.seconds = time.monotonic() - self.started
        reserve = self.end.seconds(state.evaluation_seconds) if self.budget.timed and state.step else 0.0
        return self.budget.done(step=state.step, epoch=self.task.batches.progress, seconds=state.seconds + reserve)

    def _evaluation_is_due(self, before: float, now: float) -> bool:
        """Return whether an evaluation is due: at an interval of steps, or after each 20th of the budget."""
        state = self.state
        if state.evaluated == state.step or state.step == 0:
            return False
        if self.settings.evaluate_every and not (self.budget.timed and state.rows == 0 and now >= 0.5):
            return state.step % self.settings.evaluate_every == 0
        since = state.step - max(0, state.evaluated)
        # The first evaluation of a timed run shows what the last one takes, however slow the steps are.
        fewest = 1 if self.budget.timed and state.rows == 0 else FEWEST_STEPS
        if since < fewest or math.floor(now * EVALUATIONS) == math.floor(before * EVALUATIONS):
            return False
        return not self.budget.timed or state.evaluation_seconds * state.rows <= LARGEST_SHARE * state.seconds

    def _step(self, batch: Any) -> None:
        task, state, began = self.task, self.state, time.monotonic()
        for probe in self.probes:
            if state.step % probe.every == 0:
                with restored_random_states():
                    numbers = probe(task.model, batch, self.carried)
                state.probes = {name: number for name, number in numbers.items() if math.isfinite(number)}
        rate = self.schedule.rate(state.done)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        before = checkpoint.random_states()
        self.optimiser.zero_grad(set_to_none=True)
        result = task.objective(task.model, batch, self.carried)
        loss = float(result.mean.detach())
        norms = None
        if math.isfinite(loss):
            result.mean.backward()  # type: ignore[no-untyped-call]
            norms = clip_gradients(task.model, self.settings.clip)
        if norms is None or not math.isfinite(norms.before):
            self._stop_non_finite(batch, before, loss, norms)
        assert norms is not None
        self.optimiser.step()
        self.carried = checkpoint.detach(result.state)
        state.step += 1
        state.symbols += result.items
        state.tally.add(loss, result.items, norms)
        self.mean_loss.add(loss)
        self.end.add_step(time.monotonic() - began)
        self.watch(self._progress(loss, norms, rate))

    def _progress(self, loss: float, norms: Norms, rate: float) -> TrainingProgress:
        state, epoch = self.state, self.task.batches.progress
        counts = state.symbols, state.seconds
        seconds = time.monotonic() - self.started
        left = self.budget.left(done=state.done, seconds=seconds if self.budget.timed else state.seconds)
        options: dict[str, Any] = {"probes": state.probes, "unit": self.task.unit, "left": left}
        options["mean_loss"] = self.mean_loss.mean
        return TrainingProgress(state.step, epoch, state.done, loss, norms, rate, *counts, **options)

    def _stop_non_finite(self, batch: Any, states: dict[str, Any], loss: float, norms: Norms | None) -> None:
        def again() -> Tensor:
            checkpoint.restore_random_states(states)
            return self.task.objective(self.task.model, batch, self.carried).mean

        options: dict[str, Any] = {"checkpoint": self.saved, "autopsy": self.autopsy}
        norm = None if norms is None else norms.before
        raise non_finite_error(self.task.model, again, step=self.state.step + 1, loss=loss, norm=norm, **options)

    def _evaluate(self) -> None:
        """Evaluate, append to metrics.jsonl, write the checkpoint, and save the weights if they are the best."""
        task, state = self.task, self.state
        began = time.monotonic()
        metrics = self._measure()
        state.evaluation_seconds = time.monotonic() - began
        for name, number in metrics.items():
            if (number is None and name == task.metric) or (number is not None and not math.isfinite(number)):
                raise non_finite_evaluation(name, number, step=state.step, checkpoint=self.saved)
        value = float(metrics[task.metric])
        better = self._is_better(metrics)
        rate = self.schedule.rate(state.done)
        self.schedule.update(better)
        state.stale = 0 if better else state.stale + 1
        if better:
            state.best, state.best_step, state.best_tie = value, state.step, metrics.get(task.tie_metric)
        counts = {"step": state.step, "epoch": task.batches.progress, "symbols": state.symbols, "learning_rate": rate}
        row: dict[str, Any] = {**counts, **state.tally.row(), **state.probes, "validation": metrics}
        self.best = row if better else self.best
        state.rows, state.evaluated = state.rows + 1, state.step
        tally, state.tally, state.probes = state.tally, RunningStats(), {}
        state.seconds = time.monotonic() - self.started
        self.run.append_metrics(row)
        self._save()
        if better:
            self._save_best()
        self.end.set_evaluation(time.monotonic() - began)
        norms = Norms(tally.norm / max(1, tally.steps), tally.norm_after / max(1, tally.steps))
        self.watch(replace(self._progress(row["training_loss"], norms, rate), row=row, best=better))

    def _is_better(self, metrics: Mapping[str, Any]) -> bool:
        """Return whether an evaluation is better than the best: among equals the one with the lower `tie_metric` is."""
        task, best, before = self.task, self.state.best, self.state.best_tie
        value, tie = float(metrics[task.metric]), metrics.get(task.tie_metric)
        if best is None or value != best:
            return best is None or (value < best if task.lower_is_better else value > best)
        return tie is not None and before is not None and tie < before

    def _measure(self) -> dict[str, Any]:
        """Return the metrics; if they cannot be computed, a checkpoint is written, so that no step is lost."""
        metric = self.task.metric
        try:
            metrics = evaluate(self.task)
            if metric not in metrics:
                raise DataError(
                    f"the evaluation at step {self.state.step} has no {metric}, which decides what is best",
                    should=f"validation data that {metric} can be computed on",
                    found=f"{', '.join(metrics) or 'no metric'} alone",
                    hint="more validation data, or data that differs more; then resume with --resume",
                )
            return metrics
        except NonFiniteError:
            raise  # the weights are not finite: the last checkpoint is the one to resume from
        except Exception:
            self.state.done = self.before  # so that the resumed run evaluates here
            self._save()
            raise

    def _save_best(self) -> None:
        """Save the current weights as the best ones."""
        facts = {"step": self.state.best_step, "metrics": self.best["validation"] if self.best else {}}
        tensors.write(self.run.model, dict(self.task.model.state_dict()), facts)

    def _save(self) -> None:
        model, path, position = self.task.model, self.run.checkpoint, self.task.batches.position
        state = {"run": asdict(self.state), "schedule": asdict(self.schedule.state), "position": position}
        checkpoint.save(path, model=model, optimiser=self.optimiser, carried=self.carried, state=state)
        self.saved = self.state.step

    def _load(self) -> None:
        """Restore the checkpoint: truncate metrics.jsonl to it, and save the best weights again if they are its own."""
        self.carried, record = checkpoint.load(self.run.checkpoint, model=self.task.model, optimiser=self.optimiser)
        try:
            self.state = read_record(LoopState, record["run"])
            self.schedule.state = read_record(ScheduleState, record["schedule"])
            self.task.batches.seek(record["position"])
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise BrokenRun(
                f"{self.run.checkpoint} is broken",
                should="the state of a training run",
                found=str(error) or type(error).__name__,
            ) from error
        rows = self.run.read_metrics()
        if len(rows) < self.state.rows:
            raise BrokenRun(
                f"{self.run.path}/metrics.jsonl has fewer rows than the checkpoint",
                should=f"{self.state.rows} rows",
                found=f"{len(rows)} rows",
            )
        rows = rows[: self.state.rows]
        self.run.write_metrics(rows)  # without rows after the checkpoint, and without an incomplete line
        self.best = next((row for row in rows if row["step"] == self.state.best_step), None)
        self.saved = self.state.step
        if self.state.best_step == self.state.step:
            self._save_best()


def endless(batches: Batches) -> Iterator[Any]:
    """Yield the batches of all epochs."""
    while True:
        yield from batches


def evaluate(task: Task) -> dict[str, Any]:
    """Return the metrics of the task's model on its validation data; training mode and random states stay unchanged."""
    was_training = task.model.training
    task.model.eval()
    try:
        with torch.no_grad(), restored_random_states():
            return dict(task.evaluate(task.model))
    finally:
        task.model.train(was_training)


@contextmanager
def restored_random_states() -> Iterator[None]:
    """Restore the random generators afterwards, so that a measurement does not change the run."""
    states = checkpoint.random_states()
    try:
        yield
    finally:
        checkpoint.restore_random_states(states)
