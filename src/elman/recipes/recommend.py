"""The events of a session -> the item that comes next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from elman.data import session_batches, shop
from elman.data.events import Table, read_events
from elman.data.items import Items
from elman.data.sequences import AGAIN, Sequences
from elman.data.session_batches import SessionStreams, WholeSessions, seen_before
from elman.data.sessions import (
    EVENT,
    by_time,
    leave_last_out,
    open_part,
    sessions_of,
    write_judged,
    write_parts,
)
from elman.errors import DataError, RunError
from elman.evaluation.best_possible import best_possible
from elman.evaluation.next_item import judge_model, judge_predictor
from elman.evaluation.next_item_baselines import build_baselines
from elman.models.ranking_loss import LOSSES, RankingLoss
from elman.models.recommender import Recommender
from elman.recipes.network import NetworkSettings
from elman.recipes.recipe import Answer, Metrics, Recipe, Sample
from elman.recipes.running_session import PredictSettings, RunningSession, answers
from elman.training.device import choose_device
from elman.training.run_directory import RunDirectory
from elman.training.settings import setting
from elman.training.task import Loss, Task

MANY, NEGATIVES = (
    10_000,
    2048,
)  # from so many items on, so many are drawn: the scores of all would take most of the time
SAMPLE_SESSIONS, SAMPLE_STEPS = 16, 200  # that a diagnosis looks at


@dataclass(frozen=True, kw_only=True)
class RecommendSettings(NetworkSettings):
    """The settings of a recommender."""

    session: str = setting("", "column of the session or user; empty: found by its name", fixed=True)
    item: str = setting("", "column of the item; empty: found by its name", fixed=True)
    time: tuple[str, ...] = setting((), "columns that order the events, the most significant first", fixed=True)
    columns: tuple[str, ...] = setting((), "names of all columns, for a file without a line of names", fixed=True)
    gap: float = setting(0.0, "a session ends where the next event is so much later; 0: never", low=0, fixed=True)
    split: str = setting("time", "time, or last: the last events of each session", choices=("time", "last"), fixed=True)
    validation: float = setting(0.1, "split=time: share of the events for validation", low=0.001, high=0.5, fixed=True)
    test: float = setting(0.1, "split=time: share of the events, the latest, for test", low=0, high=0.4, fixed=True)
    judged: int = setting(5_000, "most events of the validation part that are judged", low=1, fixed=True)
    item_least: int = setting(1, "events in the training part that an item must have to be known", low=1, fixed=True)
    exclude_seen: bool = setting(False, "items of the session so far are never recommended", fixed=True)
    at: int = setting(20, "length of the lists that are judged", low=1, high=10_000, fixed=True)
    embedding: int = setting(128, "size of the vector of an item", low=1, high=65536, fixed=True)
    tied: bool = setting(True, "the scores use the embedding's weight", fixed=True)
    embedding_dropout: float = setting(0.3, "probability of dropping a feature of an embedding", low=0, high=1)
    item_dropout: float = setting(0.0, "probability of hiding a whole item of the session", low=0, high=1)
    dropout: float = setting(0.3, "probability of dropping a feature between layers and after them", low=0, high=1)
    loss: str = setting("cross-entropy", "what is descended", choices=tuple(LOSSES), fixed=True)
    negatives: int | None = setting(
        None,
        "items drawn to compare with in each batch; 0: all; not set: 2048 from 10 000 items on",
        low=0,
        high=1 << 20,
    )
    negative_power: float = setting(0.75, "they are drawn by popularity to this power", low=0, high=2)
    bpr_decay: float = setting(1.0, "bpr-max: weight of the squares of the scores", low=0)
    window: int = setting(0, "steps between two cuts of the gradient; 0: whole sessions", low=0, fixed=True)
    batch_events: int = setting(4096, "whole sessions: events in a batch at most, padding included", low=1, fixed=True)
    shuffle_ties: bool = setting(True, "training: events of one moment in a new order each epoch", fixed=True)
    skip_bad: bool = setting(False, "leave rows out that cannot be read, and count them", fixed=True)

    def drawn(self, items: int) -> int:
        """Return how many negatives are drawn among so many items; 0: none, all are compared with."""
        if self.negatives is None:
            return NEGATIVES if items >= MANY else 0
        return self.negatives

    def table(self) -> Table:
        """Return how a table is read."""
        return Table(self.session, self.item, self.time, self.columns, self.skip_bad)


def prepare(sources: Sequence[Path], settings: RecommendSettings, folder: Path) -> dict[str, Any]:
    """Read the events, divide them, and write the parts into the folder."""
    events = read_events(sources, settings.table()) if sources else shop.shop_events()
    sessions = sessions_of(events, gap=settings.gap)
    division = (
        leave_last_out(sessions) if settings.split == "last" else by_time(sessions, settings.validation, settings.test)
    )
    items, facts = write_parts(sessions, division, folder, item_least=settings.item_least, judged=settings.judged)
    items.save(folder)
    inside = len(events) - len(sessions.ends)
    return {
        "sources": [str(source) for source in sources] or [shop.NAME],
        "columns": events.columns,
        "events": len(events),
        "bad_rows_left_out": events.bad,
        "sessions": len(sessions.ends),
        "items": f"{len(items)} known of {len(events.items)}",
        "order": f"by time; the file's among equal times, {int(sessions.tied.sum())} of {inside} neighbouring events",
        "split": division.said,
        **facts,
        "fingerprint": open_part(folder, "training", len(items)).fingerprint,
    }


def build(settings: RecommendSettings, folder: Path) -> Recommender:
    """Build the untrained model for the items in the folder."""
    return Recommender(
        len(Items.load(folder)),
        settings.hidden,
        embedding=settings.embedding,
        tied=settings.tied,
        embedding_dropout=settings.embedding_dropout,
        item_dropout=settings.item_dropout,
        **settings.network(),
    )


def batches(settings: RecommendSettings, training: Sequences) -> WholeSessions | SessionStreams:
    """Return the training batches."""
    options: dict[str, Any] = {"shuffle_ties": settings.shuffle_ties, "seed": settings.seed}
    if settings.window:
        return SessionStreams(training, batch_size=settings.batch_size, window=settings.window, **options)
    return WholeSessions(training, batch_size=settings.batch_size, events=settings.batch_events, **options)


def objective_of(settings: RecommendSettings, items: Items, device: torch.device | str) -> Any:
    """Return (model, batch, state) -> Loss."""
    drawn = settings.drawn(len(items))
    loss = RankingLoss(
        settings.loss,
        torch.from_numpy(items.counts),
        negatives=drawn,
        power=settings.negative_power,
        decay=settings.bpr_decay,
    )

    def objective(model: Any, batch: session_batches.SessionBatch, state: Any) -> Loss:
        resets = batch.resets_TB.to(device) if batch.resets_TB is not None else None
        state = None if batch.first else state
        f_TBE, state = model.features(batch.input_TB.to(device), state, lengths=batch.lengths_B, resets=resets)
        target_TB = batch.target_TB.to(device)
        counted_TB = target_TB != session_batches.IGNORED
        out = seen_before(batch) if settings.exclude_seen and not drawn else None
        out = None if out is None else (out[0].to(device), out[1].to(device))
        mean = loss(model, f_TBE[counted_TB], target_TB[counted_TB], out)
        return Loss(mean, batch.count, state if settings.window else None)

    return objective


def judge(settings: RecommendSettings, model: Any, part: Sequences, items: Items, device: Any = "cpu") -> Metrics:
    """Return the metrics of the model on a part."""

    def features(input_TB: torch.Tensor, lengths_B: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model.features(input_TB.to(device), lengths=lengths_B)[0]
        return found

    options: dict[str, Any] = {"at": settings.at, "exclude_seen": settings.exclude_seen}
    return judge_model(features, lambda f_NE: model.scores(f_NE.to(device)), part, items.counts, **options)


def trivial(settings: RecommendSettings, run: RunDirectory, items: Items, part: Sequences) -> dict[str, Metrics]:
    """Return the metrics of trivial predictors on a part; of the made-up shop also the best there can be."""
    predictors = build_baselines(training_part(run, items), items.counts)
    if run.config["data"].get("sources") == [shop.NAME] and set(items.names) <= set(shop.shop().names):
        predictors["best possible"] = best_possible(shop.shop(), items.names)
    options: dict[str, Any] = {"at": settings.at, "exclude_seen": settings.exclude_seen}
    return {name: judge_predictor(each, part, items.counts, **options) for name, each in predictors.items()}


def training_part(run: RunDirectory, items: Items) -> Sequences:
    """Return the training sessions of a run.

    Raises:
        RunError: they are broken, or others than the run began with.
    """
    training = open_part(run.path, "training", len(items))
    usable = int(training.lengths.min()) > 1 and int(training.values["item"].min()) >= 0
    if training.fingerprint != run.config["data"].get("fingerprint") or not usable:
        raise RunError(
            f"the sessions in {run.path} are not those that the run began with",
            should=f"fingerprint {run.config['data'].get('fingerprint')}",
            found=training.fingerprint,
            hint=AGAIN,
        )
    return training


def task(settings: RecommendSettings, run: RunDirectory, model: nn.Module) -> Task:
    """Return what training needs."""
    items = Items.load(run.path)
    device = choose_device(settings.device)
    training = training_part(run, items)
    validation = open_part(run.path, "validation", len(items))

    def evaluate(model: nn.Module) -> Metrics:
        return judge(settings, model, validation, items, device)

    return Task(
        model,
        batches(settings, training),
        objective_of(settings, items, device),
        evaluate,
        metric=f"recall_{settings.at}",
        lower_is_better=False,
        default_minutes=1.5,
    )


def baselines(settings: RecommendSettings, run: RunDirectory) -> Mapping[str, Metrics]:
    """Return what trivial predictors get on the validation part."""
    items = Items.load(run.path)
    return trivial(settings, run, items, open_part(run.path, "validation", len(items)))


def sample(settings: RecommendSettings, run: RunDirectory, sources: Sequence[Path]) -> Sample:
    """Return the longest sessions of the validation part or of DATA, so that what is far back can be seen."""
    items = Items.load(run.path)
    with TemporaryDirectory() as folder:
        part = (
            write_judged(sessions_of(read_events(sources, settings.table()), gap=settings.gap), items, Path(folder))
            if sources
            else open_part(run.path, "validation", len(items))
        )
        longest = np.argsort(-part.lengths, kind="stable")[: 2 * SAMPLE_SESSIONS]
        known = [steps[steps["item"] >= 0][-SAMPLE_STEPS:] for steps in (part[int(n)] for n in longest)]
        known = [steps for steps in known if len(steps) > 1][:SAMPLE_SESSIONS]
    if not known:
        raise DataError("there is no session to look at", should="a session of two known items or more", found="none")
    whole = WholeSessions(Sequences.of(np.asarray(steps, EVENT) for steps in known), batch_size=SAMPLE_SESSIONS)
    objective = objective_of(settings, items, "cpu")
    return Sample(list(whole), lambda model, batch: objective(model, batch, None).mean, settings.window or None)


@dataclass(frozen=True)
class TrainedRecommender:
    """A recommender that is ready to use."""

    model: Recommender
    items: Items
    settings: RecommendSettings
    run: RunDirectory

    def session(self, state: Path | None = None) -> RunningSession:
        """Return a session that begins, or goes on from a file that `RunningSession.save` wrote."""
        fresh = RunningSession(self.model, self.items, self.run.model, odds=self.settings.loss == "cross-entropy")
        return fresh if state is None else fresh.restore(state)

    def predict(
        self, inputs: Sequence[str], *, k: int = 10, exclude_seen: bool | None = None, state: str | None = None
    ) -> Iterator[Answer]:
        """Yield what comes next in a running session, as it is asked for.

        Args:
            inputs: the items of one session, which get one answer, after the last of them; "-" reads events from
                standard input as JSON, one a line, and answers each.
            k: how many items.
            exclude_seen: leave out items of the session; None: as in training.
            state: a file that the session goes on from, where it is there, and that it is written to at the end.

        Raises:
            DataError: a line is no event.
            RunError: the state is another model's, or broken.
            SettingError: there is nothing to answer to.
        """
        exclude = self.settings.exclude_seen if exclude_seen is None else exclude_seen
        return answers(self.session, inputs, k=k, exclude_seen=exclude, state=Path(state) if state else None)

    def evaluate(self, data: Sequence[Path] | None = None, *, skip_bad: bool = False) -> dict[str, Any]:
        """Return the metrics, and under "baselines" those of trivial predictors.

        On `data` every event but the first of a session is judged; without it, the test part of the run, or the
        validation part where there is no test part.

        Raises:
            DataError, RunError: the data cannot be read, or the run has none.
        """
        if not (self.run.path / "training.ends.npy").exists():
            raise RunError(
                f"{self.run.path} came without its training sessions, which the trivial predictors are made of",
                should="training.values.npy and training.ends.npy",
                hint=AGAIN,
            )
        with TemporaryDirectory() as folder:
            if data:
                table = replace(self.settings.table(), skip_bad=skip_bad)
                sessions = sessions_of(read_events(data, table), gap=self.settings.gap)
                name, part = "DATA", write_judged(sessions, self.items, Path(folder))
            else:
                name = "test" if self.run.config["data"].get("test_events") else "validation"
                part = open_part(self.run.path, name, len(self.items))
            metrics = judge(self.settings, self.model, part, self.items)
            beside = trivial(self.settings, self.run, self.items, part)
        return {"judged_on": name, **metrics, "baselines": beside}


def load(settings: RecommendSettings, run: RunDirectory, model: nn.Module) -> TrainedRecommender:
    """Return the trained model with what belongs to it."""
    assert isinstance(model, Recommender)
    return TrainedRecommender(model, Items.load(run.path), settings, run)


def headline(metrics: Metrics) -> str:
    """Return how well, in a few words."""
    name = next(name for name in (*metrics, "recall") if name.startswith("recall"))
    return f"Recall@{name.split('_')[1]} {metrics[name]:.4f}"


def commands(folder: Path) -> list[tuple[str, str]]:
    """Return what can be done next."""
    run = shlex.quote(str(folder))
    return [
        ("What comes next after some items", f"elman predict {run} ITEM ITEM ITEM --set k=5"),
        ("Answer events as they come, one JSON object a line", f"elman predict {run} -"),
        ("Measure it on the test part, beside trivial predictors", f"elman evaluate {run}"),
        ("See how its gradients flow", f"elman diagnose {run}"),
    ]


RECIPE = Recipe(
    name="recommend",
    summary="the events of a session -> the item that comes next",
    data="a table (CSV, TSV; .gz too) with a session or user, an item and a time a row, or several",
    default=f"{shop.NAME}, whose best possible score is known",
    example="elman train recommend clicks.csv --set session=visitor --set item=product --minutes 10 --out runs/shop",
    settings=RecommendSettings,
    prepare=prepare,
    build=build,
    task=task,
    sample=sample,
    load=load,
    headline=headline,
    commands=commands,
    predict=PredictSettings,
    baselines=baselines,
)
