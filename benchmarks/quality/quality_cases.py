"""What quality is measured on: real data, a budget, a metric, and the number to reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joined_digits import joined_digits
from media_data import first_words, skeletons, spoken_digits


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
        also: further metrics, or dotted paths, that stand beside the first in the table.
        beside: further sources that the run is evaluated on by the first metric, by the name of the result.
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
    beside: tuple[tuple[str, str], ...] = ()
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


def translation_case(name: str, source: str, target: str, **rest: Any) -> Case:
    """Return a case of `translate` on Multi30k: chosen on its validation part, judged on the test part of 2016."""
    train, valid, test = (
        tuple(f"multi30k/{part}.{language}.gz" for language in (source, target))
        for part in ("train", "val", "test_2016_flickr")
    )
    chosen = ",".join(f"DATA/{file}" for file in valid)
    sizes = ("vocabulary_size=4000", "hidden=512", "embedding=256")
    settings = (f"validation_data={chosen}", *sizes, "dropout=0.4", "learning_rate=0.001")
    files = {"data": train, "judged": test}
    return Case(name, "translate", "bleu", also=("chrf", "nats_per_symbol"), settings=settings, **files, **rest)


ETT = ("segment=48", "window_norm=last", "hidden=256", "calendar_features=false", "validation=0.25", "batch_size=512")

DIGITS = (
    "sample_rate=8000",
    "vocabulary=words",
    "mask_steps=10",
    "mask_features=6",
    "dropout=0.3",
    "validation=0.05",
)


def digits_case(name: str, bar: float, minutes: float, *pairs: str, **rest: Any) -> Case:
    """Return a case of `transcribe` on connected digits, 3 to 7 of them out of the official test recordings."""
    files = {"data": ("train.tsv",), "judged": ("test.tsv",), "settings": (*DIGITS, *pairs)}
    rest = {"make": joined_digits(), "beside": (("single", "single.tsv"),), **rest}
    return Case(name, "transcribe", "word_error_rate", bar, minutes, lower=True, also=("single",), **files, **rest)


GRID = (
    "vocabulary=words",
    "validation=0.05",
    "mask_steps=10",
    "mask_features=6",
    "dropout=0.3",
    "max_frequency_warp=0.01",
)

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
            "variational_dropout=true",
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
    Case(
        "MNIST by rows",
        "classify",
        "accuracy",
        bar=0.988,
        minutes=10,
        data=("mnist/train-images-idx3-ubyte.gz",),
        judged=("mnist/t10k-images-idx3-ubyte.gz",),
        settings=("pixel_order=rows", "pooling=mean", "bidirectional=true", "hidden=192", "layers=2", "dropout=0.2"),
        reference="an LSTM by rows about 98.8 to 99",
    ),
    Case(
        "MNIST pixel by pixel",
        "classify",
        "accuracy",
        bar=0.98,
        aim=0.99,
        minutes=40,
        data=("mnist/train-images-idx3-ubyte.gz",),
        judged=("mnist/t10k-images-idx3-ubyte.gz",),
        settings=("pixel_order=pixels", "pooling=mean", "init=chrono=784", "learning_rate=0.002", "dropout=0"),
        reference="uRNN 95.1, iRNN 97 to 98.5, LSTM 98.8, GRU 99.1, LEM 99.5",
    ),
    Case(
        "MNIST in permuted pixels",
        "classify",
        "accuracy",
        bar=0.92,
        minutes=40,
        data=("mnist/train-images-idx3-ubyte.gz",),
        judged=("mnist/t10k-images-idx3-ubyte.gz",),
        settings=("pixel_order=permuted", "learning_rate=0.004", "dropout=0"),
        reference="91 to 97",
    ),
    Case(
        "JapaneseVowels",
        "classify",
        "accuracy",
        bar=0.97,
        minutes=1,
        data=("uea/JapaneseVowels_TRAIN.ts",),
        judged=("uea/JapaneseVowels_TEST.ts",),
        settings=("pooling=mean", "bidirectional=true"),
        reference="dynamic time warping 94.9, ROCKET 96 to 98",
    ),
    Case(
        "BasicMotions",
        "classify",
        "accuracy",
        bar=0.95,
        minutes=1,
        data=("uea/BasicMotions_TRAIN.ts",),
        judged=("uea/BasicMotions_TEST.ts",),
        settings=("pooling=mean", "bidirectional=true"),
        reference="dynamic time warping 97.5, ROCKET 100",
    ),
    Case(
        "names by language",
        "classify",
        "accuracy",
        bar=0.80,
        minutes=2,
        data=("names",),
        settings=("pooling=mean", "bidirectional=true"),
        reference="18 languages; the most frequent one 47",
    ),
    Case(
        "SST-2, sentences",
        "classify",
        "accuracy",
        bar=0.78,
        minutes=0.5,
        data=("sst2/train.tsv",),
        judged=("sst2/dev.tsv",),
        settings=(
            "column_names=text,label",
            "pooling=max",
            "bidirectional=true",
            "dropout=0.6",
            "word_dropout=0.4",
            "learning_rate=0.0015",
        ),
        reference="without outside vectors: bag of words about 80",
    ),
    Case(
        "MovieLens 100k, the last event of each user",
        "recommend",
        "recall_20",
        bar=0.308,
        aim=0.33,
        minutes=6,
        data=("ml-100k/u.data",),
        settings=(
            "column_names=user,item,rating,time",
            "split=last",
            "exclude_seen=true",
            "hidden=256",
            "dropout=0.4",
            "embedding_dropout=0.4",
        ),
        reference="the best baseline, Markov over the last 20 events, 0.280; item to item 0.260; a plain GRU 0.31",
    ),
    Case(
        "Diginetica sample, sessions",
        "recommend",
        "recall_20",
        bar=0.111,
        minutes=2,
        data=("diginetica-sample/sample_train-item-views.csv",),
        settings=("time_columns=eventdate,timeframe",),
        reference="the bar is the best baseline, Markov over the last 20 events; more than half of the items are new",
    ),
    Case(
        "SICK, relatedness",
        "similarity",
        "pearson",
        bar=0.82,
        aim=0.85,
        minutes=3,
        data=("sick/SICK_train.txt",),
        judged=("sick/SICK_trial.txt",),
        reference="MaLSTM 0.88 and a sequence LSTM 0.85, both with word vectors; an untuned RNN 0.66",
    ),
    Case(
        "STS-B, likeness",
        "similarity",
        "pearson",
        bar=0.70,
        minutes=3,
        data=("stsb/stsb-en-train.csv",),
        judged=("stsb/stsb-en-dev.csv",),
        reference="a BiLSTM about 0.66 with word vectors",
    ),
    Case(
        "GRID, the first word from the mouth",
        "classify",
        "accuracy",
        bar=0.80,
        aim=0.90,
        minutes=6,
        data=("train.tsv",),
        judged=("valid.tsv",),
        settings=(
            "crop=28,44",
            "time_range=0.6,1.92",
            "max_shift=2",
            "bidirectional=true",
            "hidden=64",
            "dropout=0.3",
            "batch_size=16",
            "learning_rate=0.001",
        ),
        reference="one of four words; a linear model on eigenlips 44",
        make=first_words,
    ),
    Case(
        "MSR-Action3D, across people",
        "classify",
        "accuracy",
        bar=0.70,
        aim=0.85,
        minutes=2,
        data=("train.jsonl",),
        judged=("test.jsonl",),
        settings=(
            "validation_data=DATA/validation.jsonl",
            "pooling=max",
            "bidirectional=true",
            "hidden=96",
            "dropout=0.5",
            "learning_rate=0.004",
            "mask_steps=6",
            "mask_features=30",
        ),
        reference="20 actions; a bag of 3D points 74.7 (Li et al. 2010)",
        make=skeletons,
    ),
    Case(
        "spoken digits",
        "classify",
        "accuracy",
        bar=0.98,
        minutes=3,
        data=("train.tsv",),
        judged=("test.tsv",),
        settings=(
            "sample_rate=8000",
            "pooling=attention",
            "bidirectional=true",
            "hidden=96",
            "dropout=0.3",
            "mask_steps=6",
            "mask_features=6",
            "learning_rate=0.005",
        ),
        reference="a bidirectional LSTM 98.4",
        make=spoken_digits,
    ),
    translation_case(
        "Multi30k, en-de",
        "en",
        "de",
        bar=33,
        aim=38,
        minutes=60,
        reference="a plain GRU with attention in stock torch 22, greedy, after six and a half minutes",
    ),
    translation_case("Multi30k, de-en", "de", "en", bar=35, minutes=45),
    Case(
        "scenes, combinations never seen",
        "caption",
        "held_out_exact",
        bar=0.95,
        minutes=2.5,
        data=(),
        also=("exact", "bleu_4", "cider", "cider_ratio"),
        reference="generated; each colour and shape was seen, 8 of 60 pairs of both in their role never",
    ),
    Case(
        "Flickr8k, captions",
        "caption",
        "bleu_4",
        bar=13,
        aim=16,
        minutes=60,
        data=("flickr8k",),
        judged=("flickr8k",),
        settings=(
            "embedding=256",
            "dropout=0.3",
            "word_dropout=0.1",
            "label_smoothing=0.1",
            "bag_of_words_weight=1",
            "max_shift_share=0.1",
            "max_zoom=0.2",
            "max_brightness_change=0.3",
            "weight_decay=0.05",
            "learning_rate=0.0015",
        ),
        also=(
            "bleu_1",
            "cider",
            "cider_ratio",
            "baselines.shuffled images.bleu_4",
            "baselines.constant caption.bleu_4",
        ),
        reference="from scratch; 19.5 with features of ImageNet (Xu et al. 2015); a plain net of five minutes 9.7",
    ),
    Case(
        "Morse code at 6 dB",
        "transcribe",
        "character_error_rate",
        bar=0.02,
        minutes=5,
        data=(),
        lower=True,
        also=("character_error_rate_by_beam",),
        reference="a beam weighed by n-grams beside it",
    ),
    digits_case(
        "connected digits, heard as a whole",
        0.04,
        4,
        "feature_norm=training",
        aim=0.01,
        reference="one speaker a sentence, heard in training",
    ),
    digits_case("connected digits, as they come", 0.06, 5, "streaming=true", reference="one direction only"),
    digits_case(
        "connected digits, a speaker never heard",
        0.20,
        5,
        "max_frequency_warp=0.1",
        reference="trained on the other four speakers",
        make=joined_digits(heard=("george", "jackson", "lucas", "nicolas"), judged=("yweweler",)),
    ),
    Case(
        "GRID, sentences from the sound",
        "transcribe",
        "word_error_rate",
        bar=0.04,
        aim=0.01,
        minutes=10,
        data=("grid/train.tsv",),
        judged=("grid/valid.tsv",),
        settings=GRID,
        lower=True,
        also=("word_error_rate_by_beam",),
        reference="a plain network with CTC 3.3 in seven minutes",
    ),
    Case(
        "GRID, sentences from the lips",
        "transcribe",
        "word_error_rate",
        bar=0.35,
        aim=0.20,
        minutes=20,
        data=("grid/train.tsv",),
        judged=("grid/valid.tsv",),
        settings=(
            "input=video",
            "vocabulary=words",
            "validation=0.05",
            "mask_steps=5",
            "dropout=0.4",
            "augmented_copies=4",
        ),
        lower=True,
        also=("word_error_rate_by_beam",),
        reference="81 is chance; 96 eigenlips with a plain network 38 in three minutes",
    ),
)
