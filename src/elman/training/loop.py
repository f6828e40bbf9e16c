"""The training loop: truncated backpropagation through time, evaluation, checkpoints, and going on exactly.

The order of the writes at an evaluation makes a crash between any two of them harmless. First a line is added to
metrics.jsonl, which may then be longer than the checkpoint knows, and is cut back on resuming; then the checkpoint, in
one rename; then the best weights, which a resumed run copies from the checkpoint again if the checkpoint is where they
are from.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from elman.errors import BrokenRun, DataError, NonFiniteError
from elman.storage import tensors
from elman.storage.records import read_record
from elman.storage.run_directory import RunDirectory
from elman.training import checkpoint
from elman.training.interruption import Interruption
from elman.training.loop_state import LoopState, RunningStats
from elman.training.non_finite import Autopsy, non_finite_error, non_finite_evaluation
from elman.training.optimiser import Norms, build_optimiser, clip_gradients
from elman.training.schedule import Budget, Schedule, ScheduleMemory
from elman.training.settings import TrainingSettings
from elman.training.task import Batches, Probe, Task

EVALUATIONS = 20  # over a run, where the settings say nothing
FEWEST_STEPS = 25  # between two of them, then
LARGEST_SHARE = 0.1  # of a timed run that evaluations may take


@dataclass(frozen=True)
class TrainingProgress:
    """What a watcher is told after every step and evaluation."""

    step: int
    epoch: float
    done: float  # share of the budget that is used
    loss: float
    norms: Norms
    rate: float
    symbols: int  # trained on so far
    seconds: float  # trained so far
    probes: Mapping[str, float] = field(default_factory=dict)  # what was measured last, since the last evaluation
    row: dict[str, Any] | None = None  # the new row of metrics.jsonl, after an evaluation
    best: bool = False  # whether it is the best so far
    unit: str = "symbols"  # what `symbols` counts


Watch = Callable[[TrainingProgress], None]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        ended: "budget", "early" (no new best for `patience` evaluations) or "interrupted" (by Ctrl-C, after saving).
        step: steps in all.
        best_step: the step of the best weights.
        best: their row of metrics.jsonl.
        seconds: of training in all.
        symbols: trained on in all.
        unit: what these are, as `Task.unit` says.
    """

    ended: str
    step: int
    best_step: int | None
    best: dict[str, Any] | None
    seconds: float
    symbols: int
    unit: str = "symbols"


def train(
    task: Task,
    settings: TrainingSettings,
    run: RunDirectory,
    *,
    resume: bool = False,
    begun: Callable[[], None] | None = None,
    watch: Watch | None = None,
    probes: Sequence[Probe] = (),
    autopsy: Autopsy | None = None,
) -> Outcome:
    """Train until the budget is used, the best is long past, or Ctrl-C.

    Args:
        task: what the recipe gives: model, batches, objective, evaluation.
        settings: budget, optimiser, schedule.
        run: where to write; checkpoint, best weights and metrics go there as training goes.
        resume: go on from the run's checkpoint, if it has one.
        begun: is called once the run is locked and its checkpoint read, before the first step.
        watch: is told of every step and evaluation.
        probes: measurements every so many steps.
        autopsy: names the sequences of a batch after which a number is not finite.

    Raises:
        NonFiniteError: the loss or gradient is infinite or not a number; the last checkpoint is kept.
        RunError: the disk is full, or the checkpoint is broken.
    """
    with run.locked(), Interruption() as interruption:
        loop = _Loop(task, settings, run, watch or (lambda moment: None), probes, autopsy, resume)
        if begun:
            begun()
        return loop.run_through(interruption)


class _Loop:
    def __init__(
        self,
        task: Task,
        settings: TrainingSettings,
        run: RunDirectory,
        watch: Watch,
        probes: Sequence[Probe],
        autopsy: Autopsy | None,
        resume: bool,
    ) -> None:
        self.task, self.settings, self.run, self.watch, self.probes = task, settings, run, watch, probes
        self.autopsy = autopsy
        self.optimiser = build_optimiser(task.model, settings)
        self.schedule = Schedule(settings)
        self.budget = Budget(settings, task.default_minutes)
        self.memory = LoopState()
        self.carried: Any = None
        self.best: dict[str, Any] | None = None  # row of metrics.jsonl
        self.saved: int | None = None
        self.before = 0.0  # share of the budget when the last step began
        run.sweep()
        if resume and run.checkpoint.exists():
            self._load()
        else:
            self._forget()
        self.started = time.monotonic() - self.memory.seconds

    def run_through(self, interruption: Interruption) -> Outcome:
        model, memory = self.task.model, self.memory
        model.train()
        ended = "budget"
        batches = endless(self.task.batches)
        while True:
            self.before, memory.done = memory.done, self._done()
            if self._mark_passed(self.before, memory.done):
                self._evaluate()
            if memory.done >= 1:
                break
            if self.settings.patience and memory.stale >= self.settings.patience:
                ended = "early"
                break
            if interruption.asked:
                ended = "interrupted"
                break
            self._step(next(batches))
            every = self.settings.checkpoint_every
            if every and memory.step % every == 0:
                self._save()
        if ended == "interrupted":
            self._save()
        elif memory.evaluated != memory.step:
            self._evaluate()
        return Outcome(ended, memory.step, memory.best_step, self.best, memory.seconds, memory.symbols, self.task.unit)

    def _done(self) -> float:
        """Return the share of the budget that is used, the evaluation at the end counted in."""
        memory = self.memory
        memory.seconds = time.monotonic() - self.started
        reserve = memory.evaluation_seconds if self.budget.timed and memory.step else 0.0
        return self.budget.done(step=memory.step, epoch=self.task.batches.progress, seconds=memory.seconds + reserve)

    def _mark_passed(self, before: float, now: float) -> bool:
        """Return whether it is time to evaluate: every so many steps, or each time a 20th of the budget is used."""
        memory = self.memory
        if memory.evaluated == memory.step or memory.step == 0:
            return False
        if self.settings.evaluate_every:
            return memory.step % self.settings.evaluate_every == 0
        since = memory.step - max(0, memory.evaluated)
        if math.floor(now * EVALUATIONS) == math.floor(before * EVALUATIONS) or since < FEWEST_STEPS:
            return False
        return not self.budget.timed or memory.evaluation_seconds * memory.rows <= LARGEST_SHARE * memory.seconds

    def _step(self, batch: Any) -> None:
        task, memory = self.task, self.memory
        for probe in self.probes:
            if memory.step % probe.every == 0:
                with random_states_kept():
                    found = probe(task.model, batch, self.carried)
                memory.probes = {name: number for name, number in found.items() if math.isfinite(number)}
        rate = self.schedule.rate(memory.done)
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
        memory.step += 1
        memory.symbols += result.items
        memory.tally.add(loss, result.items, norms)
        self.watch(self._moment(loss, norms, rate))

    def _moment(self, loss: float, norms: Norms, rate: float) -> TrainingProgress:
        memory, epoch = self.memory, self.task.batches.progress
        counts = memory.symbols, memory.seconds
        told: dict[str, Any] = {"probes": memory.probes, "unit": self.task.unit}
        return TrainingProgress(memory.step, epoch, memory.done, loss, norms, rate, *counts, **told)

    def _stop_non_finite(self, batch: Any, states: dict[str, Any], loss: float, norms: Norms | None) -> None:
        def again() -> Tensor:
            checkpoint.restore_random_states(states)
            return self.task.objective(self.task.model, batch, self.carried).mean

        norm = None if norms is None else norms.before
        step, model = self.memory.step + 1, self.task.model
        raise non_finite_error(model, again, step=step, loss=loss, norm=norm, kept=self.saved, autopsy=self.autopsy)

    def _evaluate(self) -> None:
        """Evaluate, add a row to metrics.jsonl, write the checkpoint, and keep the weights if they are the best."""
        task, memory = self.task, self.memory
        began = time.monotonic()
        metrics = self._measure()
        memory.evaluation_seconds = time.monotonic() - began
        for name, number in metrics.items():
            if (number is None and name == task.metric) or (number is not None and not math.isfinite(number)):
                raise non_finite_evaluation(name, number, step=memory.step, kept=self.saved)
        value = float(metrics[task.metric])
        better = memory.best is None or (value < memory.best if task.lower_is_better else value > memory.best)
        rate = self.schedule.rate(memory.done)
        self.schedule.judge(better)
        memory.stale = 0 if better else memory.stale + 1
        if better:
            memory.best, memory.best_step = value, memory.step
        where = {"step": memory.step, "epoch": task.batches.progress, "symbols": memory.symbols, "learning_rate": rate}
        row: dict[str, Any] = {**where, **memory.tally.row(), **memory.probes, "validation": metrics}
        self.best = row if better else self.best
        memory.rows, memory.evaluated = memory.rows + 1, memory.step
        tally, memory.tally, memory.probes = memory.tally, RunningStats(), {}
        memory.seconds = time.monotonic() - self.started
        self.run.append_metrics(row)
        self._save()
        if better:
            self._keep_best()
        norms = Norms(tally.norm / max(1, tally.steps), tally.norm_after / max(1, tally.steps))
        moment = asdict(self._moment(row["training_loss"], norms, rate))
        self.watch(TrainingProgress(**{**moment, "norms": norms, "row": row, "best": better}))

    def _measure(self) -> dict[str, Any]:
        """Return the metrics; where they cannot be had a checkpoint is written first, so that no step is lost."""
        metric = self.task.metric
        try:
            metrics = evaluate(self.task)
            if metric not in metrics:
                raise DataError(
                    f"the evaluation at step {self.memory.step} found no {metric}, which decides what is best",
                    should=f"validation data that {metric} can be computed on",
                    found=f"{', '.join(metrics) or 'no metric'} alone",
                    hint="more validation data, or data that differs more; the run can go on with --resume",
                )
            return metrics
        except NonFiniteError:
            raise  # the weights are spoilt: the last checkpoint is the one to go on from
        except Exception:
            self.memory.done = self.before  # the run that goes on evaluates here
            self._save()
            raise

    def _keep_best(self) -> None:
        """Write the present weights as the best ones."""
        facts = {"step": self.memory.best_step, "metrics": self.best["validation"] if self.best else {}}
        tensors.write(self.run.model, dict(self.task.model.state_dict()), facts)

    def _save(self) -> None:
        memory = {
            "run": asdict(self.memory),
            "schedule": asdict(self.schedule.memory),
            "position": self.task.batches.position,
        }
        checkpoint.save(
            self.run.checkpoint,
            model=self.task.model,
            optimiser=self.optimiser,
            carried=self.carried,
            memory=memory,
        )
        self.saved = self.memory.step

    def _load(self) -> None:
        """Go back to the checkpoint: cut metrics.jsonl back to it, and mend the best weights if they are its own."""
        self.carried, kept = checkpoint.load(self.run.checkpoint, model=self.task.model, optimiser=self.optimiser)
        try:
            self.memory = read_record(LoopState, kept["run"])
            self.schedule.memory = read_record(ScheduleMemory, kept["schedule"])
            self.task.batches.seek(kept["position"])
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise BrokenRun(
                f"{self.run.checkpoint} is broken",
                should="what a training run remembers",
                found=str(error) or type(error).__name__,
            ) from error
        rows = self.run.read_metrics()
        if len(rows) < self.memory.rows:
            raise BrokenRun(
                f"{self.run.path}/metrics.jsonl is shorter than the checkpoint knows",
                should=f"{self.memory.rows} rows",
                found=f"{len(rows)} rows",
            )
        rows = rows[: self.memory.rows]
        self.run.write_metrics(rows)  # without what the checkpoint does not know, and a line that a kill left half
        self.best = next((row for row in rows if row["step"] == self.memory.best_step), None)
        self.saved = self.memory.step
        if self.memory.best_step == self.memory.step:
            self._keep_best()

    def _forget(self) -> None:
        """Begin anew: what a process left that died before its first checkpoint is no part of the run."""
        self.run.write_metrics([])
        torch.manual_seed(self.settings.seed)


def endless(batches: Batches) -> Iterator[Any]:
    """Yield the batches of epoch after epoch."""
    while True:
        yield from batches


def evaluate(task: Task) -> dict[str, Any]:
    """Return the metrics of the task's model on its validation data; training mode and random states are kept."""
    was_training = task.model.training
    task.model.eval()
    try:
        with torch.no_grad(), random_states_kept():
            return dict(task.evaluate(task.model))
    finally:
        task.model.train(was_training)


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Put the random generators back afterwards, so that looking does not change the run."""
    states = checkpoint.random_states()
    try:
        yield
    finally:
        checkpoint.restore_random_states(states)
