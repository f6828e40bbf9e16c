"""The events of a session -> the next item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.data.in_memory import RowFormat
from elman.data.sessions import builtin
from elman.data.sessions.dataset import (
    EVENT,
    leave_last_out,
    open_part,
    order_events,
    split_by_time,
    write_evaluated,
    write_parts,
)
from elman.data.sessions.items import ItemCatalogue
from elman.data.sessions.readers import EventSettings, read_events
from elman.data.skipped import SkippedRows
from elman.errors import BrokenRun, DataError
from elman.evaluation.result import Metrics
from elman.number_format import decimal
from elman.predictors.options import RecommendOptions
from elman.recipes.base import Part, Recipe, skipped_rows
from elman.recipes.network_settings import NetworkSettings
from elman.settings import setting
from elman.storage.ragged import RaggedArrays
from elman.training.task import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from elman.data.sessions.batches import SessionBatch, SessionStreams, WholeSessions
    from elman.models.recommender import RankingLoss, Recommender
    from elman.predictors.recommender import RecommendPredictor

SAMPLED_FROM, NEGATIVES = 10_000, 2048  # from so many items on, so many are sampled: all would take most of the time
SAMPLE_SESSIONS, SAMPLE_STEPS = 16, 200  # of a diagnosis


@dataclass(frozen=True, kw_only=True)
class RecommendSettings(EventSettings, NetworkSettings):
    """Settings of recommendation."""

    session_gap: float = setting(0.0, "a session ends before a longer gap in time; 0: never", low=0, fixed=True)
    split: str = setting("time", "time, or last: the last events of each session", choices=("time", "last"), fixed=True)
    validation: float = setting(0.1, "split=time: share of the events for validation", low=0.001, high=0.5, fixed=True)
    test: float = setting(0.1, "split=time: share of the events, the latest, for test", low=0, high=0.4, fixed=True)
    max_validation_events: int = setting(5_000, "maximum number of validation events", low=1, fixed=True)
    min_item_count: int = setting(1, "minimum number of training events of an item", low=1, fixed=True)
    exclude_seen: bool = setting(False, "items of the session so far are never recommended", fixed=True)
    top_k: int = setting(20, "length of the lists that are evaluated", low=1, high=10_000, fixed=True)
    embedding: int = setting(128, "size of the vector of an item", low=1, high=65536, fixed=True)
    tie_weights: bool = setting(True, "the output layer has the weights of the embedding", fixed=True)
    embedding_dropout: float = setting(0.3, "probability of dropping a feature of an embedding", low=0, high=1)
    item_dropout: float = setting(0.0, "probability of masking a whole item of the session", low=0, high=1)
    dropout: float = setting(0.3, "probability of dropping a feature between layers and after them", low=0, high=1)
    loss: str = setting("cross-entropy", "loss", choices=("cross-entropy", "bpr-max", "top1-max"), fixed=True)
    negatives: int | None = setting(
        None, "negatives sampled for each batch; 0: all items; not set: 2048 from 10 000 items on", low=0, high=1 << 20
    )
    negative_power: float = setting(0.75, "their probability is the popularity to this power", low=0, high=2)
    bpr_decay: float = setting(1.0, "bpr-max: weight of the squares of the scores", low=0)
    window: int = setting(0, "truncation length (TBPTT), in steps; 0: whole sessions", low=0, fixed=True)
    batch_events: int = setting(4096, "whole sessions: most events in a batch, with padding", low=1, fixed=True)
    shuffle_ties: bool = setting(True, "training: events of the same time in a new order each epoch", fixed=True)

    def sampled(self, items: int) -> int:
        """Return the number of negatives that are sampled among so many items; 0: all items are compared with."""
        if self.negatives is None:
            return NEGATIVES if items >= SAMPLED_FROM else 0
        return self.negatives


class Recommend(Recipe[RecommendSettings, RaggedArrays]):
    """Session-based recommendation: next-item prediction with a recurrent network."""

    name = "recommend"
    summary = "the events of a session -> the item that comes next"
    data = "a table (CSV, TSV; .gz too) with a session or user, an item and a time a row, or several"
    default = f"{builtin.NAME}, whose best possible score is known"
    example = "elman train recommend clicks.csv --set session_column=user --set item_column=sku --out runs/shop"
    Settings, Options = RecommendSettings, RecommendOptions
    rows = RowFormat(("session", "item", "time"))
    lower_is_better = False
    unit, examples = "events", "sessions"
    default_minutes = 1.5

    @property
    def metric(self) -> str:
        return f"recall_{self.settings.top_k}"

    @cached_property
    def items(self) -> ItemCatalogue:
        return ItemCatalogue.load(self.folder)

    @cached_property
    def ranking_loss(self) -> RankingLoss:
        import torch

        from elman.models.recommender import RankingLoss

        s, counts = self.settings, torch.from_numpy(self.items.counts)
        negatives = s.sampled(len(counts))
        return RankingLoss(s.loss, counts, negatives=negatives, power=s.negative_power, decay=s.bpr_decay)

    def prepare(self, sources: Sequence[Path]) -> dict[str, Any]:
        s = self.settings
        events = read_events(sources, s) if sources else builtin.shop_events()
        sessions = order_events(events, gap=s.session_gap)
        division = leave_last_out(sessions) if s.split == "last" else split_by_time(sessions, s.validation, s.test)
        limits = {"min_item_count": s.min_item_count, "max_evaluated": s.max_validation_events}
        items, facts = write_parts(sessions, division, self.folder, **limits)
        items.save(self.folder)
        return {
            "sources": [str(source) for source in sources] or [builtin.NAME],
            "columns": events.columns,
            **({"notes": events.notes} if events.notes else {}),
            "events": len(events),
            **skipped_rows(events),
            **facts,
        }

    def build(self) -> Recommender:
        from elman.models.recommender import Recommender

        s = self.settings
        return Recommender(
            len(self.items),
            s.hidden,
            embedding=s.embedding,
            tie_weights=s.tie_weights,
            embedding_dropout=s.embedding_dropout,
            item_dropout=s.item_dropout,
            **s.network(),
        )

    def dataset(self, part: Part) -> RaggedArrays:
        sessions = open_part(self.folder, part, len(self.items))
        if part == "training" and (sessions.lengths.min() < 2 or sessions.values["item"].min() < 0):
            raise BrokenRun(
                f"{self.folder}/training.values.npy is broken", should="sessions of two known items or more"
            )
        return sessions

    def evaluation_data(self) -> RaggedArrays:
        part = "test" if self.run.config["data"].get("test_events") else "validation"
        return open_part(self.folder, part, len(self.items))

    def read(
        self, sources: Sequence[Path], folder: Path, *, skip_bad: bool, limit: int | None
    ) -> tuple[RaggedArrays, SkippedRows]:
        events = read_events(sources, replace(self.settings, skip_bad=skip_bad))
        sessions = order_events(events, gap=self.settings.session_gap)
        return write_evaluated(sessions, self.items, folder), events.skipped

    def batches(self, training: RaggedArrays) -> WholeSessions | SessionStreams:
        from elman.data.sessions.batches import SessionStreams, WholeSessions

        s = self.settings
        options: dict[str, Any] = {"batch_size": s.batch_size, "shuffle_ties": s.shuffle_ties, "seed": s.seed}
        if s.window:
            return SessionStreams(training, window=s.window, **options)
        return WholeSessions(training, events=s.batch_events, **options)

    def loss(self, model: Recommender, batch: SessionBatch, state: Any, progress: float | None) -> Loss:
        from elman.data.batching import IGNORED
        from elman.data.sessions.batches import seen_before

        state, excluded = None if batch.first else state, None
        f_TBE, state = model.features(batch.input_TB, state, lengths=batch.lengths_B, resets=batch.resets_TB)
        if self.settings.exclude_seen and not self.ranking_loss.negatives:
            rows_M, items_M = seen_before(batch)
            excluded = (rows_M.to(f_TBE.device), items_M.to(f_TBE.device))
        counted_TB = batch.target_TB != IGNORED
        mean = self.ranking_loss(model, f_TBE[counted_TB], batch.target_TB[counted_TB], excluded)
        return Loss(mean, batch.count, state if self.settings.window else None)

    def measure(self, model: Recommender, data: RaggedArrays) -> Metrics:
        from elman.evaluation.next_item import evaluate_recommender

        device, s = next(model.parameters()).device, self.settings

        def features(input_TB: Tensor, lengths_B: Tensor) -> Tensor:
            f_TBE: Tensor = model.features(input_TB.to(device), lengths=lengths_B)[0]
            return f_TBE

        def scores(f_NE: Tensor) -> Tensor:
            return model.scores(f_NE.to(device))

        return evaluate_recommender(features, scores, data, self.items.counts, at=s.top_k, exclude_seen=s.exclude_seen)

    def baselines(self, data: RaggedArrays) -> dict[str, Metrics]:
        from elman.evaluation.baselines.next_item import build_baselines
        from elman.evaluation.baselines.shop_oracle import shop_oracle
        from elman.evaluation.next_item import evaluate_predictor

        training, counts, s = self.dataset("training"), self.items.counts, self.settings
        self.run.check_data(training.fingerprint, "sessions")
        predictors = build_baselines(training, counts)
        simulated = self.run.config["data"].get("sources") == [builtin.NAME]
        if simulated and set(self.items.names) <= set(builtin.shop().names):
            predictors["best possible"] = shop_oracle(builtin.shop(), self.items.names)
        return {
            name: evaluate_predictor(predictor, data, counts, at=s.top_k, exclude_seen=s.exclude_seen)
            for name, predictor in predictors.items()
        }

    def sample(self, data: RaggedArrays) -> tuple[list[SessionBatch], int | None]:
        """Return the longest sessions, whose gradients go back the farthest."""
        from elman.data.sessions.batches import WholeSessions

        longest = np.argsort(-data.lengths, kind="stable")[: 2 * SAMPLE_SESSIONS]
        known = [steps[steps["item"] >= 0][-SAMPLE_STEPS:] for steps in (data[int(n)] for n in longest)]
        known = [np.asarray(steps, EVENT) for steps in known if len(steps) > 1][:SAMPLE_SESSIONS]
        if not known:
            raise DataError("there is no session to diagnose", should="a session of two known items", found="none")
        return list(WholeSessions(RaggedArrays.of(known), batch_size=SAMPLE_SESSIONS)), self.settings.window or None

    def predictor(self, model: Recommender) -> RecommendPredictor:
        from elman.predictors.recommender import RecommendPredictor

        s = self.settings
        probabilities = s.loss == "cross-entropy"
        return RecommendPredictor(
            model, self.folder, self.items, exclude_seen=s.exclude_seen, probabilities=probabilities
        )

    @staticmethod
    def headline(metrics: Metrics) -> str:
        name = next(name for name in (*metrics, "recall") if name.startswith("recall"))
        return f"Recall@{name.split('_')[1]} {decimal(metrics[name])}"

    def usage(self, run: str) -> list[tuple[str, str]]:
        return [
            ("Recommend the next items", f"elman predict {run} ITEM ITEM ITEM --set top_k=5"),
            ("Answer events as they come, one JSON object a line", f"elman predict {run} -"),
            ("Evaluate it on the test part, beside baselines", f"elman evaluate {run}"),
        ]
