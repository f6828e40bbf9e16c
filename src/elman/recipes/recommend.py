"""The events of a session -> the item that comes next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from elman.data.batching import IGNORED
from elman.data.sessions import batches as session_batches
from elman.data.sessions import builtin as shop
from elman.data.sessions.batches import SessionStreams, WholeSessions, seen_before
from elman.data.sessions.dataset import (
    EVENT,
    by_time,
    leave_last_out,
    open_part,
    sessions_of,
    write_judged,
    write_parts,
)
from elman.data.sessions.events import EventTable, read_events
from elman.data.sessions.items import ItemCatalogue
from elman.errors import DataError
from elman.evaluation.result import Metrics
from elman.models.recommender import RankingLoss, Recommender
from elman.modules.ranking_loss import LOSSES
from elman.predictors.options import RecommendOptions
from elman.predictors.recommender import RecommendPredictor, judge, training_part, trivial
from elman.recipes.legacy import LegacyRecipe, LegacySample
from elman.recipes.network_settings import NetworkSettings
from elman.settings import setting
from elman.storage.ragged import RaggedArrays
from elman.storage.run_directory import RunDirectory
from elman.training.device import choose_device
from elman.training.task import Loss, Task

MANY, NEGATIVES = (
    10_000,
    2048,
)  # from so many items on, so many are drawn: to score all takes most of the time
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

    def table(self) -> EventTable:
        """Return how a table is read."""
        return EventTable(self.session, self.item, self.time, self.columns, self.skip_bad)


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
        "bad_rows_left_out": events.left_out.count,
        **({"left_out": told} if (told := events.left_out.lines()) else {}),
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
        len(ItemCatalogue.load(folder)),
        settings.hidden,
        embedding=settings.embedding,
        tie_weights=settings.tied,
        embedding_dropout=settings.embedding_dropout,
        item_dropout=settings.item_dropout,
        **settings.network(),
    )


def batches(settings: RecommendSettings, training: RaggedArrays) -> WholeSessions | SessionStreams:
    """Return the training batches."""
    options: dict[str, Any] = {"shuffle_ties": settings.shuffle_ties, "seed": settings.seed}
    if settings.window:
        return SessionStreams(training, batch_size=settings.batch_size, window=settings.window, **options)
    return WholeSessions(training, batch_size=settings.batch_size, events=settings.batch_events, **options)


def objective_of(settings: RecommendSettings, items: ItemCatalogue, device: torch.device | str) -> Any:
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
        counted_TB = target_TB != IGNORED
        out = seen_before(batch) if settings.exclude_seen and not drawn else None
        out = None if out is None else (out[0].to(device), out[1].to(device))
        mean = loss(model, f_TBE[counted_TB], target_TB[counted_TB], out)
        return Loss(mean, batch.count, state if settings.window else None)

    return objective


def task(settings: RecommendSettings, run: RunDirectory, model: nn.Module) -> Task:
    """Return what training needs."""
    items = ItemCatalogue.load(run.path)
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
        unit="events",
    )


def baselines(settings: RecommendSettings, run: RunDirectory) -> Mapping[str, Metrics]:
    """Return what trivial predictors get on the validation part."""
    items = ItemCatalogue.load(run.path)
    return trivial(settings, run, items, open_part(run.path, "validation", len(items)))


def sample(settings: RecommendSettings, run: RunDirectory, sources: Sequence[Path]) -> LegacySample:
    """Return the longest sessions of the validation part or of DATA, so that what is far back can be seen."""
    items = ItemCatalogue.load(run.path)
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
    whole = WholeSessions(RaggedArrays.of(np.asarray(steps, EVENT) for steps in known), batch_size=SAMPLE_SESSIONS)
    objective = objective_of(settings, items, "cpu")
    return LegacySample(list(whole), lambda model, batch: objective(model, batch, None).mean, settings.window or None)


def load(settings: RecommendSettings, run: RunDirectory, model: nn.Module) -> RecommendPredictor:
    """Return the trained model with what belongs to it."""
    assert isinstance(model, Recommender)
    return RecommendPredictor(model, ItemCatalogue.load(run.path), settings, run)


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


RECIPE = LegacyRecipe(
    name="recommend",
    summary="the events of a session -> the item that comes next",
    data="a table (CSV, TSV; .gz too) with a session or user, an item and a time a row, or several",
    default=f"{shop.NAME}, whose best possible score is known",
    example="elman train recommend clicks.csv --set session=visitor --set item=product --minutes 6 --out runs/shop",
    settings=RecommendSettings,
    prepare=prepare,
    build=build,
    task=task,
    sample=sample,
    load=load,
    headline=headline,
    commands=commands,
    predict=RecommendOptions,
    baselines=baselines,
)
