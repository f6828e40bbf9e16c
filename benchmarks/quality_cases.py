"""What quality is measured on: real data, a budget, a metric, and the number to reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """One line of the table of `make quality`.

    Attributes:
        name: of the line.
        recipe: what is trained.
        metric: the key in what `elman evaluate --json` prints; a dotted path for one of the baselines.
        bar: the number to reach.
        minutes: the budget of training.
        data: the sources, in the folder of data sets.
        judged: the sources that the run is evaluated on; none for the run's own validation data.
        settings: `key=value` pairs.
        aim: the number to aim for.
        lower: whether less is better.
        reference: what others reach, and who.
        also: further metrics that stand beside the first in the table.
        make: (data folder, an empty folder) -> where the sources above lie, for data that must be put in form first.
    """

    name: str
    recipe: str
    metric: str
    bar: float
    minutes: float
    data: tuple[str, ...]
    judged: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    aim: float | None = None
    lower: bool = False
    reference: str = ""
    also: tuple[str, ...] = ()
    make: Callable[[Path, Path], Path] | None = None


def cut_series(source: str, training: int, test: int, lookback: int) -> Callable[[Path, Path], Path]:
    """Return what cuts a CSV into train.csv and test.csv; the latter begins with the lookback rows before its part."""

    def make(data: Path, folder: Path) -> Path:
        head, *rows = (data / source).read_text().strip().splitlines()
        for name, part in (("train", rows[:training]), ("test", rows[training - lookback : training + test])):
            (folder / f"{name}.csv").write_text("\n".join([head, *part]) + "\n")
        return folder

    return make


def forecast_case(
    name: str, metric: str, source: str, rows: tuple[int, int], lookback: int, *pairs: str, **rest: Any
) -> Case:
    """Return a case of `forecast`: trained on the first rows of a file, judged on every window of the next."""
    made = cut_series(source, *rows, lookback)
    settings = (f"lookback={lookback}", *pairs)
    files = {"data": ("train.csv",), "judged": ("test.csv",), "make": made}
    return Case(name, "forecast", metric, lower=True, also=("coverage_80", "mase"), settings=settings, **files, **rest)


ETT = ("segment=48", "normalise=last", "hidden=256", "calendar=false", "validation=0.25", "batch_size=512")

CASES: tuple[Case, ...] = (
    Case(
        "tiny Shakespeare, characters",
        "language-model",
        "nats_per_symbol",
        bar=1.55,
        aim=1.47,
        minutes=10,
        data=("tinyshakespeare/input.txt",),
        lower=True,
        reference="nanoGPT 1.47 on a GPU, 1.88 in its 3-minute CPU configuration",
    ),
    Case(
        "WikiText-2, words",
        "language-model",
        "perplexity",
        bar=140,
        aim=100,
        minutes=60,
        data=("wikitext-2/train.txt",),
        settings=(
            "vocabulary=words",
            "validation_data=DATA/wikitext-2/valid.txt",
            "hidden=650",
            "embedding=400",
            "dropout=0.4",
            "embedding_dropout=0.1",
            "variational=true",
            "window=70",
            "batch_size=24",
        ),
        lower=True,
        reference="a plain 2-layer LSTM about 100, AWD-LSTM 65.8 (test)",
    ),
    forecast_case(
        "ETTh1, horizon 96",
        "mse",
        "ett/ETTh1.csv",
        (11520, 2880),
        720,
        "horizon=96",
        *ETT,
        bar=0.37,
        aim=0.345,
        minutes=2,
        reference="DLinear 0.376 here, SegRNN 0.341 (Lin et al. 2023)",
    ),
    forecast_case(
        "ETTh1, horizon 720",
        "mse",
        "ett/ETTh1.csv",
        (11520, 2880),
        720,
        "horizon=720",
        *ETT,
        bar=0.47,
        minutes=4,
        reference="SegRNN 0.434 (Lin et al. 2023)",
    ),
    forecast_case(
        "airline passengers, horizon 12",
        "mase",
        "series/airline-passengers.csv",
        (120, 24),
        36,
        "horizon=12",
        "hidden=64",
        "dropout=0.5",
        "batch_size=16",
        bar=1,
        minutes=0.2,
        reference="season of 12 months",
    ),
    forecast_case(
        "monthly sunspots, horizon 12",
        "mase",
        "series/monthly-sunspots.csv",
        (2256, 564),
        264,
        "horizon=12",
        "season=132",
        "segment=12",
        bar=1,
        minutes=1,
        reference="season of 132 months, the mean length of a cycle that takes 9 to 14 years",
    ),
)
