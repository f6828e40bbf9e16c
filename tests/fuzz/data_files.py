"""Target: a damaged file of data, of each kind that a recipe reads, and a training on it.

A mutant is one changed file of a small data set. Its data are prepared as a training does it; one in eight is trained
too, a step, with an evaluation at the end.
"""

import gzip
import io
import json
import math
import os
import random
import shutil
import struct
import tempfile
import wave
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mutations import mutate

from elman.errors import ElmanError
from elman.recipes import run
from elman.recipes.registry import RECIPES

SMALL = {"hidden": 4, "steps": 1}
CELLS = (
    b"1e160",
    b"-1e308",
    b"3e38",
    b"1e-310",
    b"1700000000.5",
    b"",
    b" ",
    b"nan",
    b"2024-02-30",
    b"9999-12-31",
    b"0001-01-01T00:00:00+23:59",
    b"0" * 400,
    b"1_000",
    b"0x10",
    b"yes",
    b'"',
    b'"open',
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"z" * 300 + b".png",
    b"..",
    b".",
    b"a\0b",
    "\u0661\u0662".encode(),
    "e\u0301\u202e".encode(),
)
"""What a cell of a table may hold, beside what `mutations` inserts."""

Files = Mapping[str, bytes]


class Case(NamedTuple):
    """A kind of data: the files, what DATA names of them ("." is the folder), and the settings."""

    recipe: str
    files: Callable[[], Files]
    sources: tuple[str, ...] = (".",)
    settings: Mapping[str, Any] = {}


def text_lines(count: int, line: Callable[[int], str], header: str = "") -> bytes:
    return (header + "".join(line(n) + "\n" for n in range(count))).encode()


def saved(save: Callable[[Any], object]) -> bytes:
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def array(n: int, dtype: type = np.float32) -> bytes:
    numbers = (np.sin(np.arange(12.0).reshape(6, 2) + n) * 9).astype(dtype)
    return saved(lambda file: np.save(file, numbers))


def tensors() -> bytes:
    from safetensors.numpy import save

    return save({f"{n}.png": np.full((2, 3), n, np.float32) for n in range(12)})


def picture(n: int, kind: str = "PNG") -> bytes:
    from PIL import Image

    pixels = np.full((16, 16, 3), (20 * n % 255, 90, 30), np.uint8)
    return saved(lambda file: Image.fromarray(pixels).save(file, format=kind))


def tone(n: int, seconds: float = 0.25) -> "np.ndarray[Any, Any]":
    return (0.3 * np.sin(np.arange(int(8000 * seconds)) * (0.5 + 0.1 * (n % 3)))).astype(np.float32)


def sound(n: int, kind: str = "FLAC", subtype: str | None = None) -> bytes:
    import soundfile

    return saved(lambda file: soundfile.write(file, tone(n), 8000, format=kind, subtype=subtype))


def wav(n: int) -> bytes:
    def write(file: Any) -> None:
        with wave.open(file, "wb") as out:
            out.setparams((1, 2, 8000, 0, "NONE", ""))
            out.writeframes((tone(n) * 32767).astype("<i2").tobytes())

    return saved(write)


def video(n: int, kind: str = "mp4") -> bytes:
    import av

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"x.{kind}")
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream("mpeg4", rate=25)
            stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
            for t in range(6):
                pixels = np.full((32, 32, 3), 40, np.uint8)
                pixels[4 * t : 4 * t + 6, 8 + n % 8 : 16 + n % 8] = 200
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = t, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path.read_bytes()


def idx(values: "np.ndarray[Any, Any]") -> bytes:
    return struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


def labelled(make: Callable[[int], bytes], suffix: str, count: int = 12) -> Callable[[], Files]:
    """Return one folder per class with a file for each example."""
    return lambda: {f"{'ab'[n % 2]}/{n}{suffix}": make(n) for n in range(count)}


def table(name: str, content: Callable[[], bytes], **files: Callable[[int], bytes]) -> Callable[[], Files]:
    """Return a table, and files that it names."""
    return lambda: {
        name: content(),
        **{f"{n}.{kind}": make(n) for kind, make in files.items() for n in range(12)},
    }


def idx_files(compressed: bool) -> Files:
    pixels, labels = idx(np.arange(12 * 16).reshape(12, 4, 4)), idx(np.arange(12) % 2)
    suffix, pack = (".gz", gzip.compress) if compressed else ("", bytes)
    return {f"train-images-idx3-ubyte{suffix}": pack(pixels), f"train-labels-idx1-ubyte{suffix}": pack(labels)}


def ts_file() -> bytes:
    head = "@problemName x\n@timeStamps false\n@univariate false\n@classLabel true a b\n@data\n"
    return text_lines(12, lambda n: f"{n},1.5,2:3,{n},5:{'ab'[n % 2]}", head)


def coco() -> bytes:
    images = [{"id": n, "file_name": f"{n}.png"} for n in range(12)]
    notes = [{"id": n, "image_id": n, "caption": f"a red thing number {n % 3}"} for n in range(12)]
    return json.dumps({"images": images, "annotations": notes}).encode()


def days(n: int) -> str:
    return f"2020-01-{n + 1:02}" if n < 31 else f"2020-02-{n - 30:02}"


def wave_at(n: int) -> float:
    return round(10 + 5 * math.sin(n / 3), 3)


def events(separator: str = ",") -> bytes:
    def row(n: int) -> str:
        return separator.join((f"u{n // 5}", f"item {n * n % 7}", str(1000 + n)))

    return text_lines(60, row, separator.join(("user", "item", "time")) + "\n")


WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight"]


def words(n: int, shift: int = 0) -> str:
    return " ".join(WORDS[(n * k + shift) % 8] for k in range(1, 2 + n % 4))


STREAM = {"window": 4, "batch_size": 2, "embedding": 4}
FORECAST = {"horizon": 4, "lookback": 8}
CAPTION = {"image_size": 16, "width": 4, "min_count": 1, "validation": 0.3, "embedding": 4}
SPEECH = {"sample_rate": 8000, "validation": 0.3, "mel_bands": 8}
CLASSIFY = {"validation": 0.3, "embedding": 4}
LINES = {"validation": 0.3, "vocabulary": "words", "embedding": 4}
TEXT_TABLE = table("a.csv", lambda: text_lines(24, lambda n: f'{n},"{words(n)}",{"ab"[n % 2]}', "id,text,label\n"))
SPOKEN = "path\ttext\tspeaker\n"


def spoken(kind: str) -> Callable[[], bytes]:
    return lambda: text_lines(12, lambda n: f"{n}.{kind}\tab {'cd'[n % 2]}\ts{n % 2}", SPOKEN)


def captions(n: int) -> str:
    return f"{n}.png#0\ta {['red', 'blue'][n % 2]} thing number {n % 3}"


PICTURES = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP")
CASES: dict[str, Case] = {
    "text": Case("language-model", lambda: {"a.txt": text_lines(60, words)}, ("a.txt",), STREAM),
    "text-folder": Case("language-model", lambda: {f"{n}.md": text_lines(30, words) for n in range(3)}, (".",), STREAM),
    "text-utf-16": Case(
        "language-model",
        lambda: {"a.txt": " ".join(WORDS * 20).encode("utf-16")},
        ("a.txt",),
        {**STREAM, "encoding": "utf-16"},
    ),
    "text-bpe": Case(
        "language-model",
        lambda: {"a.txt": text_lines(60, words)},
        ("a.txt",),
        {**STREAM, "vocabulary": "bpe", "vocabulary_size": 300},
    ),
    "table": Case("classify", TEXT_TABLE, ("a.csv",), CLASSIFY),
    "table-tags": Case(
        "classify",
        lambda: {"a.tsv": text_lines(60, lambda n: f"{n // 4}\t{WORDS[n % 8]}\t{'AB'[n % 2]}", "s\ttext\tlabel\n")},
        ("a.tsv",),
        {**CLASSIFY, "target": "tags", "group_column": "s"},
    ),
    "table-numbers": Case(
        "classify",
        table("a.tsv", lambda: text_lines(24, lambda n: f"{n / 7}\t{n} 1.5 -2e3", "label\tseries\n")),
        ("a.tsv",),
        {**CLASSIFY, "target": "number"},
    ),
    "table-columns": Case(
        "classify",
        table("a.csv", lambda: text_lines(24, lambda n: f"{n};{n * n};{n % 2}", "x1;x2;label\n")),
        ("a.csv",),
        {**CLASSIFY, "series_columns": "x*"},
    ),
    "json-lines": Case(
        "classify",
        lambda: {"a.jsonl": text_lines(24, lambda n: json.dumps({"text": words(n), "label": "ab"[n % 2], "id": n}))},
        ("a.jsonl",),
        CLASSIFY,
    ),
    "json-series": Case(
        "classify",
        lambda: {"a.jsonl": text_lines(24, lambda n: json.dumps({"series": [[n, 1.5]] * 3, "label": "ab"[: n % 3]}))},
        ("a.jsonl",),
        {**CLASSIFY, "target": "classes"},
    ),
    "ts": Case("classify", lambda: {"a.ts": ts_file()}, ("a.ts",), CLASSIFY),
    "idx": Case("classify", lambda: idx_files(False), (".",), CLASSIFY),
    "idx-gz": Case("classify", lambda: idx_files(True), (".",), CLASSIFY),
    "arrays": Case("classify", labelled(array, ".npy"), (".",), CLASSIFY),
    "array-bytes": Case("classify", labelled(lambda n: array(n, np.uint8), ".npy"), (".",), CLASSIFY),
    "array-doubles": Case("classify", labelled(lambda n: array(n, np.float64), ".npy"), (".",), CLASSIFY),
    "array-manifest": Case(
        "classify",
        table("m.csv", lambda: text_lines(12, lambda n: f"{n}.npy,{'ab'[n % 2]}", "path,label\n"), npy=array),
        ("m.csv",),
        CLASSIFY,
    ),
    "series-files": Case(
        "classify",
        labelled(lambda n: text_lines(6, lambda t: f"{t * n},{t / 3}", "x,y\n"), ".csv"),
        (".",),
        CLASSIFY,
    ),
    "text-files": Case("classify", labelled(lambda n: text_lines(2, words), ".txt"), (".",), CLASSIFY),
    "class-files": Case(
        "classify",
        lambda: {f"{k}.txt": text_lines(12, lambda n, k=k: words(n, k)) for k in (0, 1)},
        (".",),
        CLASSIFY,
    ),
    "csv-forecast": Case(
        "forecast",
        lambda: {"a.csv": text_lines(45, lambda n: f"{days(n)},{wave_at(n)},{wave_at(n + 5)}", "date,a,b\n")},
        ("a.csv",),
        FORECAST,
    ),
    "csv-forecast-long": Case(
        "forecast",
        lambda: {
            "a.tsv": text_lines(
                90, lambda n: f"{'xy'[n // 45]}\t{days(n % 45)}\t{wave_at(n)}\t{n % 7}", "shop\tday\tv\tk\n"
            )
        },
        ("a.tsv",),
        {**FORECAST, "series_column": "shop", "known_columns": "k"},
    ),
    "csv-forecast-numbers": Case(
        "forecast",
        lambda: {"a.csv": text_lines(45, lambda n: f"{n * 60};{wave_at(n)}", "time;value\n")},
        ("a.csv",),
        FORECAST,
    ),
    "pairs": Case(
        "similarity",
        lambda: {"a.tsv": text_lines(40, lambda n: f"{words(n)}\t{words(n, 1)}\t{n % 5}", "a\tb\tscore\n")},
        ("a.tsv",),
        {"embedding": 4, "subword_buckets": 20, "validation": 0.3},
    ),
    "pairs-csv": Case(
        "similarity",
        lambda: {
            "a.csv": text_lines(40, lambda n: f'"{words(n)}","{words(n, 1)}",{["yes", "no"][n % 2]}'),
            "v.txt": text_lines(8, lambda n: f"{WORDS[n]} {n}.5 {n / 9:.3f} -1", "8 3\n"),
        },
        ("a.csv",),
        {"embedding": 4, "subword_buckets": 0, "validation": 0.3, "word_vectors": "v.txt", "extra_word_vectors": 4},
    ),
    "events": Case("recommend", lambda: {"a.csv": events()}, ("a.csv",), {"split": "last", "embedding": 4}),
    "events-gz": Case("recommend", lambda: {"a.csv.gz": gzip.compress(events())}, ("a.csv.gz",), {"split": "last"}),
    "events-time": Case("recommend", lambda: {"a.tsv": events("\t")}, ("a.tsv",), {"embedding": 4, "test": 0}),
    "parallel": Case(
        "translate",
        lambda: {"a.en": text_lines(40, words), "a.de": text_lines(40, lambda n: words(n, 3))},
        ("a.en", "a.de"),
        {**LINES, "hidden": 4},
    ),
    "parallel-gz": Case(
        "translate",
        lambda: {"a.en.gz": gzip.compress(text_lines(40, words)), "a.de": text_lines(40, lambda n: words(n, 3))},
        ("a.en.gz", "a.de"),
        {**LINES, "vocabulary": "characters"},
    ),
    "parallel-tabs": Case(
        "translate",
        lambda: {"a.tsv": text_lines(40, lambda n: f"{words(n)}\t{words(n, 3)}")},
        ("a.tsv",),
        {**LINES, "vocabulary": "auto", "vocabulary_size": 300},
    ),
    "coco": Case(
        "caption", table("captions.json", coco, png=picture), (".",), {**CAPTION, "vocabulary": "characters"}
    ),
    "captions": Case(
        "caption",
        lambda: {
            "x.token.txt": text_lines(12, captions),
            "x.trainImages.txt": text_lines(8, lambda n: f"{n}.png"),
            "x.devImages.txt": text_lines(4, lambda n: f"{n + 8}.png"),
            **{f"{n}.png": picture(n) for n in range(12)},
        },
        (".",),
        CAPTION,
    ),
    "caption-arrays": Case(
        "caption",
        lambda: {"c.tsv": text_lines(12, captions), **{f"f/{n}.npy": array(n) for n in range(12)}},
        ("c.tsv", "f"),
        CAPTION,
    ),
    "caption-tensors": Case(
        "caption",
        lambda: {"c.tsv": text_lines(12, captions), "f.safetensors": tensors()},
        ("c.tsv", "f.safetensors"),
        CAPTION,
    ),
    **{
        f"picture-{kind.lower()}": Case(
            "classify",
            labelled(lambda n, kind=kind: picture(n, kind), f".{suffix}", 6),  # type: ignore[misc]
            (".",),
            {**CLASSIFY, "image_size": "8,8"},
        )
        for kind, suffix in zip(PICTURES, ("png", "jpg", "tif", "gif", "bmp", "webp"), strict=True)
    },
    **{
        f"sound-{kind.lower()}": Case("classify", labelled(make, f".{suffix}", 6), (".",), CLASSIFY)
        for kind, suffix, make in (
            ("WAV", "wav", wav),
            ("FLAC", "flac", sound),
            ("OGG", "ogg", lambda n: sound(n, "OGG", "VORBIS")),
            ("AIFF", "aiff", lambda n: sound(n, "AIFF")),
            ("MP3", "mp3", lambda n: sound(n, "MP3")),
        )
    },
    "video-mp4": Case("classify", labelled(video, ".mp4", 6), (".",), {**CLASSIFY, "image_size": "8,8"}),
    "video-avi": Case(
        "classify", labelled(lambda n: video(n, "avi"), ".avi", 6), (".",), {**CLASSIFY, "image_size": "8,8"}
    ),
    "spoken-wav": Case("transcribe", table("t.tsv", spoken("wav"), wav=wav), ("t.tsv",), SPEECH),
    "spoken-flac": Case(
        "transcribe",
        table("t.tsv", spoken("flac"), flac=sound),
        ("t.tsv",),
        {**SPEECH, "vocabulary": "words", "feature_norm": "speaker"},
    ),
    "spoken-video": Case(
        "transcribe",
        table("t.tsv", spoken("avi"), avi=lambda n: video(n, "avi")),
        ("t.tsv",),
        {"input": "video", "crop": "8,8", "pca_components": 2, "validation": 0.3},
    ),
}  # fmt: skip


def prepare(folder: Path) -> None:
    """Write the files of all cases."""
    os.fsync = lambda handle: None  # files that survive a crash are not what is tried here, and take half of the time
    for name, case in CASES.items():
        for file, content in case.files().items():
            path = folder / "seeds" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def replace_cell(content: bytes, rng: random.Random) -> bytes:
    """Replace a cell, or a whole column's cells, or a line; now and then with a byte order mark before it all."""
    lines = content.split(b"\n")
    separator = max((b",", b";", b"\t", b":"), key=lines[0].count)
    number, value = rng.randrange(len(lines)), rng.choice(CELLS)
    place = rng.randrange(lines[0].count(separator) + 1)
    chosen = range(1, len(lines)) if rng.random() < 0.3 else [number]
    for n in chosen:
        cells = lines[n].split(separator)
        if place < len(cells) and any(cells):
            cells[place] = value
            lines[n] = separator.join(cells)
    mark = rng.choice((b"", b"", b"", b"\xef\xbb\xbf", b"\xff\xfe"))
    return mark + b"\n".join(lines)


def attempt(rng: random.Random, folder: Path) -> None:
    """Mutate one file of one case, and prepare or train on the data."""
    name = rng.choice(sorted(CASES))
    case, work = CASES[name], folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(folder / "seeds" / name, work / "data")
    files = sorted(path for path in (work / "data").rglob("*") if path.is_file())
    # A table that names many files is mutated as often as all of these.
    first = [path for path in files if path.suffix in (".tsv", ".csv", ".json", ".txt")]
    path = rng.choice(first if first and rng.random() < 0.5 else files)
    content = path.read_bytes()
    is_text = path.suffix in (".tsv", ".csv", ".json", ".txt", ".jsonl", ".ts", ".en", ".de")
    path.write_bytes(replace_cell(content, rng) if is_text and rng.random() < 0.3 else mutate(content, rng))
    settings = {**SMALL, **case.settings, "skip_bad": rng.random() < 0.4, "seed": 1}
    trained = rng.random() < 0.125
    recipe = RECIPES[case.recipe]
    if "skip_bad" not in recipe.Settings.meanings():
        del settings["skip_bad"]
    before = Path.cwd()
    os.chdir(work / "data")
    try:
        use(recipe, [Path(source) for source in case.sources], settings, work, trained)
    except ElmanError:
        pass
    finally:
        os.chdir(before)


def use(recipe: Any, sources: list[Path], settings: dict[str, Any], work: Path, trained: bool) -> None:
    if trained:
        run.start(recipe, sources, settings, work / "run")
        return
    (work / "run").mkdir()
    new = recipe(recipe.Settings.parse(settings), work / "run")
    json.dumps(new.prepare(sources), allow_nan=False).encode()
    for part in ("training", "validation"):
        len(new.dataset(part))
