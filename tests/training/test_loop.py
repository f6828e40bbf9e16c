"""The loop: budgets, evaluation, best weights, going on, early stopping, Ctrl-C, and numbers that are not finite."""

import json
import os
import random
import signal
import threading
import time
from typing import Any

import pytest
import torch

from elman.errors import DataError, NonFiniteError, RunError
from elman.storage import tensors
from elman.training import checkpoint
from elman.training.loop import train
from elman.training.optimiser import build_optimiser
from elman.training.settings import TrainingSettings
from elman.training.task import Loss


def rows(run: Any) -> list[dict]:
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


def test_a_budget_in_steps_and_in_epochs(make_task: Any, make_run: Any) -> None:
    outcome = train(make_task(), TrainingSettings(steps=7), make_run("steps"))
    assert (outcome.ended, outcome.step, outcome.symbols) == ("budget", 7, 14)
    outcome = train(make_task(), TrainingSettings(epochs=1.5), make_run("epochs"))
    assert outcome.step == 6


def test_a_budget_in_minutes_ends_in_time(make_task: Any, make_run: Any) -> None:
    outcome = train(make_task(), TrainingSettings(minutes=0.01), make_run("minutes"))
    assert outcome.step > 10
    assert 0.5 < outcome.seconds < 2.0


def test_slow_evaluations_are_few_in_a_timed_run_and_the_last_one_is_within_it(make_task: Any, make_run: Any) -> None:
    def slow(model: Any) -> dict[str, float]:
        time.sleep(0.4)
        return {"error": 1.0}

    run = make_run("run")
    outcome = train(make_task(evaluate=slow), TrainingSettings(minutes=0.02), run)
    assert len(rows(run)) == 2, "one on the way, which shows what the one at the end will take"
    assert outcome.seconds < 1.2 + 0.35


def test_the_rows_of_metrics(make_task: Any, make_run: Any) -> None:
    run = make_run("run")
    outcome = train(make_task(), TrainingSettings(steps=10, evaluate_every=4, clip=0.01), run)
    table = rows(run)
    assert [row["step"] for row in table] == [4, 8, 10]
    assert table[0]["epoch"] == 1.0
    assert all(row["share_clipped"] == 1.0 for row in table)
    assert all(row["gradient_norm_clipped"] == pytest.approx(0.01) for row in table)
    assert all(row["gradient_norm_largest"] >= row["gradient_norm"] > 0.01 for row in table)
    assert [len(row["gradient_norms"]) for row in table] == [4, 4, 2]
    for row in table:
        assert sum(row["gradient_norms"]) / len(row["gradient_norms"]) == pytest.approx(row["gradient_norm"], rel=1e-3)
    assert min(table, key=lambda row: row["validation"]["error"])["step"] == outcome.best_step


def test_the_best_weights_are_saved(make_task: Any, make_run: Any) -> None:
    errors = iter([3.0, 1.0, 2.0, 2.5])
    weights = []

    def evaluate(model: Any) -> dict[str, float]:
        assert not model.training
        weights.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return {"error": next(errors)}

    run = make_run("run")
    task = make_task(evaluate=evaluate)
    outcome = train(task, TrainingSettings(steps=8, evaluate_every=2), run)
    assert outcome.best_step == 4
    best, facts = tensors.read(run.model)
    assert all(torch.equal(best[name], weights[1][name]) for name in best)
    assert facts == {"step": 4, "metrics": {"error": 1.0}}
    assert task.model.training


def test_higher_is_better_where_the_task_says_so(make_task: Any, make_run: Any) -> None:
    values = iter([1.0, 3.0, 2.0])
    task = make_task(evaluate=lambda model: {"error": next(values)}, lower_is_better=False)
    assert train(task, TrainingSettings(steps=6, evaluate_every=2), make_run("run")).best_step == 4


@pytest.mark.parametrize(("tie_metric", "best"), [("nats", 6), ("", 2)])
def test_among_equals_the_lower_tie_metric_is_best(make_task: Any, make_run: Any, tie_metric: str, best: int) -> None:
    values = iter([(1.0, 0.3), (1.0, 0.4), (1.0, 0.1), (1.0, None), (2.0, 0.0)])
    run, task = (
        make_run("run"),
        make_task(
            evaluate=lambda model: dict(zip(("error", "nats"), next(values), strict=True)), tie_metric=tie_metric
        ),
    )
    outcome = train(task, TrainingSettings(steps=6, evaluate_every=2), run)
    train(task, TrainingSettings(steps=10, evaluate_every=2), run, resume=True)
    assert tensors.read(run.model)[1]["step"] == outcome.best_step == best


def test_an_evaluation_does_not_change_the_run(make_task: Any, make_run: Any) -> None:
    """Evaluations and probes that draw random numbers leave the weights as they would be without them."""

    class Probe:
        every = 2

        def __call__(self, model: Any, batch: Any, state: Any) -> dict[str, float]:
            return {"horizon": float(torch.rand(1))}

    plain, looked = make_task(), make_task(evaluate=lambda model: {"error": float(torch.rand(1))})
    train(plain, TrainingSettings(steps=9, evaluate_every=9), make_run("plain"))
    run = make_run("looked")
    train(looked, TrainingSettings(steps=9, evaluate_every=1), run, probes=[Probe()])
    assert all(torch.equal(a, b) for a, b in zip(plain.model.parameters(), looked.model.parameters(), strict=True))
    assert "horizon" in rows(run)[0]
    assert "horizon" not in rows(run)[1]


def test_early_stopping(make_task: Any, make_run: Any) -> None:
    values = iter([2.0, 1.0, 1.5, 1.0, 0.5])
    task = make_task(evaluate=lambda model: {"error": next(values)})
    outcome = train(task, TrainingSettings(steps=50, evaluate_every=3, patience=2), make_run("run"))
    assert (outcome.ended, outcome.step, outcome.best_step) == ("early", 12, 6)


def test_the_state_is_carried_and_its_gradient_cut(make_task: Any, make_run: Any) -> None:
    seen: list[Any] = []

    def watching(model: Any, batch: Any, state: Any) -> Loss:
        seen.append(state)
        made = model(torch.ones(1, 1))
        return Loss(made.square().mean(), 1, {"made": made})

    train(make_task(objective=watching), TrainingSettings(steps=3), make_run("run"))
    assert seen[0] is None
    assert not seen[1]["made"].requires_grad
    assert not torch.equal(seen[1]["made"], seen[2]["made"])


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_ctrl_c_saves_and_the_run_is_resumed_exactly(make_task: Any, make_run: Any, schedule: str) -> None:
    settings = TrainingSettings(steps=20, evaluate_every=6, schedule=schedule, plateau_patience=1)
    whole, broken = make_run("whole"), make_run("broken")
    train(make_task(), settings, whole)

    def press(progress: Any) -> None:
        if progress.step == 10:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    outcome = train(make_task(), settings, broken, watch=press)
    assert (outcome.ended, outcome.step) == ("interrupted", 10)
    assert signal.getsignal(signal.SIGINT) is before
    assert train(make_task(), settings, broken, resume=True).ended == "budget"
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (whole.path / name).read_bytes() == (broken.path / name).read_bytes()


def test_a_second_ctrl_c_stops_at_once(make_task: Any, make_run: Any) -> None:
    def press(progress: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before, run = signal.getsignal(signal.SIGINT), make_run("run")
    with pytest.raises(KeyboardInterrupt):
        train(make_task(), TrainingSettings(steps=9), run, watch=press)
    assert signal.getsignal(signal.SIGINT) is before
    assert not run.checkpoint.exists()


def test_training_in_a_thread_leaves_signals_alone(make_task: Any, make_run: Any) -> None:
    ended = []
    run = make_run("run")
    task = make_task()
    thread = threading.Thread(target=lambda: ended.append(train(task, TrainingSettings(steps=2), run).ended))
    thread.start()
    thread.join()
    assert ended == ["budget"]


def test_a_second_process_is_refused(make_task: Any, make_run: Any) -> None:
    run = make_run("run")
    with run.locked(), pytest.raises(RunError, match="another process is training"):
        train(make_task(), TrainingSettings(steps=2), run)


def test_a_larger_budget_is_resumed_and_an_exhausted_one_does_nothing(make_task: Any, make_run: Any) -> None:
    run = make_run("run")
    train(make_task(), TrainingSettings(steps=4), run)
    before = (run.path / "metrics.jsonl").read_bytes()
    assert train(make_task(), TrainingSettings(steps=4), run, resume=True).step == 4
    assert (run.path / "metrics.jsonl").read_bytes() == before
    assert train(make_task(), TrainingSettings(steps=9), run, resume=True).step == 9
    assert [row["step"] for row in rows(run)] == [4, 9]


def test_each_evaluation_adds_a_line_and_writes_no_other_again(make_task: Any, make_run: Any) -> None:
    run = make_run("run")
    places: list[tuple[int, int]] = []

    def look(progress: Any) -> None:
        if progress.row is not None:
            status = (run.path / "metrics.jsonl").stat()
            places.append((status.st_ino, status.st_size))

    train(make_task(), TrainingSettings(steps=8, evaluate_every=2), run, watch=look)
    assert len({file for file, _ in places}) == 1
    assert [size for _, size in places] == sorted({size for _, size in places})
    assert len(places) == len(rows(run)) == 4


def test_missing_metrics_of_the_checkpoint_are_refused(make_task: Any, make_run: Any) -> None:
    run = make_run("run")
    train(make_task(), TrainingSettings(steps=4, evaluate_every=2), run)
    (run.path / "metrics.jsonl").write_text("")
    with pytest.raises(RunError, match=r"metrics\.jsonl has fewer rows than the checkpoint"):
        train(make_task(), TrainingSettings(steps=9), run, resume=True)


def test_a_checkpoint_of_another_model_is_refused(make_task: Any, make_run: Any) -> None:
    run = make_run("run")
    train(make_task(), TrainingSettings(steps=2), run)
    other = make_task(model=torch.nn.Linear(3, 3))
    with pytest.raises(RunError, match=r"does not fit config\.json"):
        train(other, TrainingSettings(steps=9), run, resume=True)


def poisoned(where: str, at: float) -> Any:
    def objective(model: Any, batch: Any, state: Any) -> Loss:
        made = model.inner(torch.ones(1, 1))
        if batch >= at and where == "output":
            made = model.outer(made * float("inf"))
        elif batch >= at and where == "loss":
            made = model.outer(made) * float("nan")
        elif batch >= at and where == "gradient":
            made = model.outer((made * 0).sqrt())
        else:
            made = model.outer(made)
        return Loss(made.square().mean(), 1)

    return objective


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("output", r"the loss became inf at step 6, first in outer \(Linear\)"),
        ("loss", "the loss became nan at step 6, first in the loss itself"),
        ("gradient", r"the gradient became nan at step 6, first in the gradient of inner"),
    ],
)
def test_what_is_not_finite_stops_the_run_and_is_found(make_task: Any, make_run: Any, where: str, message: str) -> None:
    run = make_run("run")
    with pytest.raises(NonFiniteError, match=message) as error:
        train(make_task(objective=poisoned(where, 6.0)), TrainingSettings(steps=20, checkpoint_every=4), run)
    assert "the checkpoint of step 4 is kept" in str(error.value)
    good, _ = tensors.read(run.checkpoint)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in good.values() if tensor.is_floating_point())


def test_the_sequences_that_an_autopsy_finds_are_named(make_task: Any, make_run: Any) -> None:
    def autopsy(model: Any, again: Any) -> str:
        return f"sequence 3, with a loss of {again().item()}"

    with pytest.raises(NonFiniteError, match=r"the loss itself, because of sequence 3, with a loss of nan"):
        train(make_task(objective=poisoned("loss", 6.0)), TrainingSettings(steps=20), make_run("run"), autopsy=autopsy)


def test_the_batch_runs_again_with_the_same_random_numbers(make_task: Any, make_run: Any) -> None:
    drawn: list[tuple[float, float]] = []

    def objective(model: Any, batch: Any, state: Any) -> Loss:
        drawn.append((random.random(), float(torch.rand(1))))
        return Loss(model(torch.ones(1, 1)).sum() * float("nan"), 1)

    def autopsy(model: Any, again: Any) -> None:
        again()
        again()

    with pytest.raises(NonFiniteError):
        train(make_task(objective=objective), TrainingSettings(steps=2), make_run("run"), autopsy=autopsy)
    assert len(drawn) >= 3
    assert set(drawn) == {drawn[0]}


def test_a_weight_that_is_not_finite_is_named(make_task: Any, make_run: Any) -> None:
    task = make_task()
    with torch.no_grad():
        task.model.outer.bias.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match=r"first in the weight outer\.bias\n"):
        train(task, TrainingSettings(steps=2), make_run("run"), autopsy=lambda model, again: "all of them")


def test_an_evaluation_that_is_not_finite_stops_the_run(make_task: Any, make_run: Any) -> None:
    task = make_task(evaluate=lambda model: {"error": float("nan")})
    run = make_run("run")
    with pytest.raises(NonFiniteError, match="error became nan in the evaluation at step 3"):
        train(task, TrainingSettings(steps=3), run)
    assert rows(run) == []


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_any_metric_that_is_not_finite_stops_the_run(make_task: Any, make_run: Any, value: float) -> None:
    task = make_task(evaluate=lambda model: {"error": 1.0, "other": value})
    run = make_run("run")
    with pytest.raises(NonFiniteError, match=f"other became {value} in the evaluation at step 3"):
        train(task, TrainingSettings(steps=3), run)
    assert rows(run) == []


def test_a_metric_may_overflow_but_not_the_deciding_one(make_task: Any, make_run: Any) -> None:
    run = make_run("run")
    train(make_task(evaluate=lambda model: {"error": 1.0, "other": None}), TrainingSettings(steps=3), run)
    assert rows(run)[0]["validation"] == {"error": 1.0, "other": None}
    with pytest.raises(NonFiniteError, match="error became None"):
        train(make_task(evaluate=lambda model: {"error": None}), TrainingSettings(steps=3), make_run("none"))


@pytest.mark.parametrize("evaluate_every", [0, 30])
def test_an_evaluation_that_fails_loses_no_step(make_task: Any, make_run: Any, evaluate_every: int) -> None:
    settings = TrainingSettings(steps=100, evaluate_every=evaluate_every)
    whole, broken = make_run("whole"), make_run("broken")
    train(make_task(), settings, whole)

    def fail(model: Any) -> dict[str, float]:
        torch.rand(3)
        raise OSError("the judge is not there")

    with pytest.raises(OSError, match="the judge is not there"):
        train(make_task(evaluate=fail), settings, broken)
    seen: list[Any] = []
    train(make_task(), settings, broken, resume=True, watch=seen.append)
    assert seen[0].row is not None and seen[0].step in (25, 30), "it goes on with the evaluation that failed"
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (whole.path / name).read_bytes() == (broken.path / name).read_bytes()


def test_an_evaluation_without_the_deciding_metric_is_one_message_and_loses_no_step(
    make_task: Any, make_run: Any
) -> None:
    run = make_run("run")
    with pytest.raises(DataError, match=r"step 3 has no error, which decides(.|\n)*is: +other alone(.|\n)*--resume"):
        train(make_task(evaluate=lambda model: {"other": 1.0}), TrainingSettings(steps=3), run)
    steps: list[int] = []
    train(make_task(), TrainingSettings(steps=3), run, resume=True, watch=lambda progress: steps.append(progress.step))
    assert steps == [3]


def test_a_probe_that_finds_no_number_does_not_stop_the_run(make_task: Any, make_run: Any) -> None:
    class Probe:
        every = 1

        def __call__(self, model: Any, batch: Any, state: Any) -> dict[str, float]:
            return {"horizon": float("nan")}

    run = make_run("run")
    train(make_task(), TrainingSettings(steps=2), run, probes=[Probe()])
    assert "horizon" not in rows(run)[0]


@pytest.mark.parametrize(
    "change",
    [
        {"run": {"step": "abc"}},
        {"run": {}},
        {"schedule": {}},
        {"position": {}},
        {"position": None},
    ],
)
def test_an_invalid_checkpoint_is_refused(make_task: Any, make_run: Any, change: dict) -> None:
    run = make_run("run")
    train(make_task(), TrainingSettings(steps=2), run)
    model = make_task().model
    optimiser = build_optimiser(model, TrainingSettings())
    _, state = checkpoint.load(run.checkpoint, model=model, optimiser=optimiser)
    if "step" in change.get("run", {}):
        change = {"run": {**state["run"], **change["run"]}}
    checkpoint.save(run.checkpoint, model=model, optimiser=optimiser, carried=None, state={**state, **change})
    with pytest.raises(RunError, match=r"is broken(.|\n)*should be: (.|\n)*is: (.|\n)*try: "):
        train(make_task(), TrainingSettings(steps=9), run, resume=True)


def test_the_time_left_of_a_timed_run_is_what_it_takes(make_task: Any, make_run: Any) -> None:
    """Also where evaluations and steps are slow, and where the machine becomes busier on the way."""
    began, moments, ends = time.monotonic(), [], []

    def slow(model: Any) -> dict[str, float]:
        time.sleep(0.05 if time.monotonic() - began < 0.4 else 0.2)
        return {"error": 1.0}

    def objective(model: Any, batch: Any, state: Any) -> Loss:
        time.sleep(0.005 if time.monotonic() - began < 0.4 else 0.02)
        return Loss(model(torch.ones(1, 1)).square().mean(), 1)

    def watch(progress: Any) -> None:
        moments.append((time.monotonic(), progress.left))

    task = make_task(evaluate=slow, objective=objective)
    train(task, TrainingSettings(minutes=0.02), make_run("run"), watch=watch)
    ends = time.monotonic()
    assert ends - began < 1.2 + 0.1
    for moment, left in moments[1:]:
        assert moment + left == pytest.approx(ends, abs=0.15)


def test_an_evaluation_comes_early_in_a_timed_run_of_slow_steps(make_task: Any, make_run: Any) -> None:
    def objective(model: Any, batch: Any, state: Any) -> Loss:
        time.sleep(0.05)
        return Loss(model(torch.ones(1, 1)).square().mean(), 1)

    run = make_run("run")
    train(make_task(objective=objective), TrainingSettings(minutes=0.008), run)
    assert rows(run)[0]["step"] <= 2


def test_the_loss_shown_is_a_running_mean(make_task: Any, make_run: Any) -> None:
    losses = iter([4.0, 0.0, 4.0, 0.0, 4.0, 0.0])
    shown: list[float] = []

    def objective(model: Any, batch: Any, state: Any) -> Loss:
        return Loss(model(torch.ones(1, 1)).square().mean() * 0 + next(losses), 1)

    def watch(progress: Any) -> None:
        if progress.row is None:
            shown.append(progress.mean_loss)

    train(make_task(objective=objective), TrainingSettings(steps=6, evaluate_every=6), make_run("run"), watch=watch)
    assert shown[0] == 4.0
    assert all(1.5 < loss < 2.8 for loss in shown[1:])
