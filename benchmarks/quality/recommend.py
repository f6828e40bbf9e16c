"""How fast the recommender trains on a million events of 20,000 items, and what it has learned then.

    python benchmarks/quality/recommend.py [--seconds S] [--negatives K ...] [--threads N] [--events N] [--items V]

The events are made up: sessions of about ten, in which the next item follows from the last one, from a taste that stays
for the session, or from popularity. Every K is trained for S seconds in a run of its own (0 is the softmax over all
items); printed are the events a second, evaluations left out, the minutes that a million events take at that rate, and
the metrics on the test part beside the trivial predictors.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from elman.recipes import registry, use
from elman.recipes import run as runs

BRIEF = {"validation": 0.01, "test": 0.01, "batch_size": 256}  # ten thousand events are enough to judge on
KINDS, TASTE, MEAN_LENGTH, LONGEST = 50, 200, 10, 60


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the training of the recommender on a million events.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--negatives", type=int, nargs="+", default=[0, 2048])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings beside the defaults")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "events.csv"
        count = write_events(table, arguments.events, arguments.items)
        print(f"{count:,} events of {arguments.items:,} items, {arguments.threads} threads, torch {torch.__version__}")
        for negatives in arguments.negatives:
            settings = dict(pair.split("=") for pair in arguments.set)
            measure(
                table,
                Path(folder) / f"run-{negatives}",
                {**BRIEF, **settings, "negatives": negatives},
                arguments.seconds,
            )


def measure(table: Path, out: Path, settings: dict[str, object], seconds: float) -> None:
    """Train for a while, and print the rate and the metrics."""
    began, marks = time.monotonic(), []

    def watch(moment: runs.Moment) -> None:
        if moment.row is None:
            marks.append((time.monotonic(), moment.symbols))

    trained = runs.start(registry.find("recommend"), [table], {"minutes": seconds / 60, **settings}, out, watch=watch)
    # The median over the steps, so that evaluations between two of them do not count.
    rates = [(b - a) / (later - earlier) for (earlier, a), (later, b) in pairwise(marks)]
    rate = float(np.median(rates))
    settled = time.monotonic() - began
    metrics = use.evaluate(out)
    print(f"\nnegatives {settings['negatives'] or 'all'}: {rate:,.0f} events/s, {1e6 / rate / 60:.1f} min a million")
    print(f"  {trained.outcome.symbols:,} events in {trained.outcome.seconds:.0f} s, {settled:.0f} s with the reading")
    for name, found in {"the model": metrics, **metrics["baselines"]}.items():
        print(f"  {name:16} recall_20 {found['recall_20']:.4f}  mrr_20 {found['mrr_20']:.4f}", flush=True)


def write_events(path: Path, events: int, items: int) -> int:
    """Write a table, and return how many events are in it."""
    rng = np.random.default_rng(1)
    sessions = events // MEAN_LENGTH
    lengths = np.minimum(1 + rng.geometric(1 / (MEAN_LENGTH - 1), sessions), LONGEST)
    kind = rng.integers(0, KINDS, sessions)
    taste = np.stack([rng.choice(items, TASTE, replace=False) for _ in range(KINDS)])
    followers = rng.integers(0, items, (items, 3))

    def by_rank(count: int, size: int) -> np.ndarray:
        sums = np.cumsum(1 / np.arange(1, count + 1))
        return np.searchsorted(sums, rng.random(size) * sums[-1])

    item = np.zeros((sessions, LONGEST), np.int64)
    item[:, 0] = by_rank(items, sessions)
    for t in range(1, LONGEST):
        on = np.flatnonzero(lengths > t)
        how = rng.random(len(on))
        follow = followers[item[on, t - 1], rng.choice(3, len(on), p=[0.5, 0.3, 0.2])]
        liked = taste[kind[on], by_rank(TASTE, len(on))]
        item[on, t] = np.where(how < 0.45, follow, np.where(how < 0.9, liked, by_rank(items, len(on))))
    with path.open("w") as file:
        file.write("session,item,time\n")
        for n in range(sessions):
            file.writelines(f"{n},{item[n, t]},{100 * n + t}\n" for t in range(lengths[n]))
    return int(lengths.sum())


if __name__ == "__main__":
    main()
