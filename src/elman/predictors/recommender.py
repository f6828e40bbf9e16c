"""A trained recommender: what it is measured by, and what it says comes next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from elman.data.sessions import builtin as shop
from elman.data.sessions.dataset import open_part, sessions_of, write_judged
from elman.data.sessions.events import read_events
from elman.data.sessions.items import ItemCatalogue
from elman.errors import BrokenRun
from elman.evaluation.baselines.next_item import build_baselines
from elman.evaluation.baselines.shop_oracle import shop_oracle
from elman.evaluation.next_item import evaluate_predictor, evaluate_recommender
from elman.evaluation.result import Metrics
from elman.models.recommender import Recommender
from elman.predictors.answer import Answer
from elman.predictors.session import Session, answers
from elman.storage.ragged import RaggedArrays
from elman.storage.run_directory import RunDirectory


@dataclass(frozen=True)
class RecommendPredictor:
    """A recommender that is ready to use."""

    model: Recommender
    items: ItemCatalogue
    settings: Any
    run: RunDirectory

    def session(self, state: Path | None = None) -> Session:
        """Return a session that begins, or goes on from a file that `Session.save` wrote."""
        fresh = Session(self.model, self.items, self.run.model, odds=self.settings.loss == "cross-entropy")
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
            raise BrokenRun(
                f"{self.run.path} came without its training sessions, which the trivial predictors are made of",
                should="training.values.npy and training.ends.npy",
            )
        left_out: dict[str, Any] = {}
        with TemporaryDirectory() as folder:
            if data:
                events = read_events(data, replace(self.settings.table(), skip_bad=skip_bad))
                left_out = {"rows_left_out": events.left_out.count, "left_out": events.left_out.lines()}
                sessions = sessions_of(events, gap=self.settings.gap)
                name, part = "DATA", write_judged(sessions, self.items, Path(folder))
            else:
                name = "test" if self.run.config["data"].get("test_events") else "validation"
                part = open_part(self.run.path, name, len(self.items))
            metrics = judge(self.settings, self.model, part, self.items)
            beside = trivial(self.settings, self.run, self.items, part)
        return {"judged_on": name, **metrics, **(left_out if skip_bad else {}), "baselines": beside}


def judge(settings: Any, model: Any, part: RaggedArrays, items: ItemCatalogue, device: Any = "cpu") -> Metrics:
    """Return the metrics of the model on a part."""

    def features(input_TB: torch.Tensor, lengths_B: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model.features(input_TB.to(device), lengths=lengths_B)[0]
        return found

    options: dict[str, Any] = {"at": settings.at, "exclude_seen": settings.exclude_seen}
    return evaluate_recommender(features, lambda f_NE: model.scores(f_NE.to(device)), part, items.counts, **options)


def trivial(settings: Any, run: RunDirectory, items: ItemCatalogue, part: RaggedArrays) -> dict[str, Metrics]:
    """Return the metrics of trivial predictors on a part; of the made-up shop also the best there can be."""
    predictors = build_baselines(training_part(run, items), items.counts)
    if run.config["data"].get("sources") == [shop.NAME] and set(items.names) <= set(shop.shop().names):
        predictors["best possible"] = shop_oracle(shop.shop(), items.names)
    options: dict[str, Any] = {"at": settings.at, "exclude_seen": settings.exclude_seen}
    return {name: evaluate_predictor(each, part, items.counts, **options) for name, each in predictors.items()}


def training_part(run: RunDirectory, items: ItemCatalogue) -> RaggedArrays:
    """Return the training sessions of a run.

    Raises:
        RunError: they are broken, or others than the run began with.
    """
    training = open_part(run.path, "training", len(items))
    usable = int(training.lengths.min()) > 1 and int(training.values["item"].min()) >= 0
    if training.fingerprint != run.config["data"].get("fingerprint") or not usable:
        raise BrokenRun(
            f"the sessions in {run.path} are not those that the run began with",
            should=f"fingerprint {run.config['data'].get('fingerprint')}",
            found=training.fingerprint,
        )
    return training
