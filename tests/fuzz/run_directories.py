"""Damaged run directories: one file of a small run is mutated, and the run is used in five ways."""

import base64
import contextlib
import functools
import io
import json
import math
import os
import random
import shutil
import struct
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mutations import mutate

from elman import cli
from elman.errors import ElmanError
from elman.recipes import api, use

TINY = {"hidden": 4, "steps": 2, "evaluate_every": 1, "device": "cpu"}
BIG = 1 << 40  # bytes of a sparse file
JUNK = (
    None, True, False, -1, 0, 1, 99, 2**31, 10**30, -(10**30), 1e300, 5e-324, 0.5, math.nan, math.inf, "", "x", "AAA",
    "\ud800", "\x1b]0;title\x07\x1b[2J", "\u202egnp", "../x", "<script>", [], [[]], {}, [1, 2], [None], ["x"], {"x": 1},
)  # fmt: skip


class Kind(NamedTuple):
    """A kind of run: its recipe, data, settings, and what `elman predict` is asked."""

    recipe: str
    data: list[str]
    settings: dict[str, Any]
    inputs: list[str]


def text_file(path: Path, lines: list[str]) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def language_model(folder: Path, rng: random.Random) -> Kind:
    words = [rng.choice(["ein", "paar", "Worte\n"]) for _ in range(150)]
    data = text_file(folder / "text.txt", [" ".join(words)])
    return Kind("language-model", [data], {"embedding": 4, "window": 8, "batch_size": 2}, [])


def language_model_of_words(folder: Path, rng: random.Random) -> Kind:
    kind = language_model(folder, rng)
    other = text_file(folder / "other.txt", ["ein paar Worte"] * 20)
    return kind._replace(settings={**kind.settings, "vocabulary": "words", "validation_data": other})


def classify_texts(folder: Path, rng: random.Random) -> Kind:
    rows = [f"{label} {rng.choice('abc')} {number},{label}" for number in range(12) for label in ("warm", "cold")]
    data = text_file(folder / "data.csv", ["text,label", *rows])
    return Kind("classify", [data], {"embedding": 4, "batch_size": 4}, ["warm a"])


def classify_tags(folder: Path, rng: random.Random) -> Kind:
    rows = [{"text": (words := [rng.choice("ab") for _ in range(3)]), "label": words} for _ in range(12)]
    data = text_file(folder / "data.jsonl", [json.dumps(row) for row in rows])
    return Kind("classify", [data], {"embedding": 4, "batch_size": 4, "target": "tags", "validation": 0.3}, ["a b"])


def classify_series(folder: Path, rng: random.Random) -> Kind:
    rows = [{"series": [[rng.random(), n % 2] for _ in range(3)], "label": ["a;b", "b"][n % 2]} for n in range(16)]
    data = text_file(folder / "data.jsonl", list(map(json.dumps, rows)))
    settings = {"batch_size": 4, "target": "classes", "validation": 0.3}
    return Kind("classify", [data], settings, [data])


def classify_numbers(folder: Path, rng: random.Random) -> Kind:
    from PIL import Image

    for label in ("3", "5"):
        (folder / "images" / label).mkdir(parents=True)
        for number in range(6):
            Image.new("L", (8, 8), 20 * number).save(folder / "images" / label / f"{number}.png")
    settings = {"batch_size": 4, "target": "number", "image_size": "8,8", "validation": 0.3}
    return Kind("classify", [str(folder / "images")], settings, [str(folder / "images/3/0.png")])


def forecast(folder: Path, rng: random.Random) -> Kind:
    rows = [f"{day},{math.sin(day / 3) + rng.random():.3f}" for day in range(80)]
    data = text_file(folder / "data.csv", ["time,value", *rows])
    return Kind("forecast", [data], {"horizon": 4, "lookback": 12}, [data])


def similarity(folder: Path, rng: random.Random) -> Kind:
    rows = [f"{n} {rng.choice('abcd')}\t{n} {rng.choice('abcd')}\t{rng.random():.2f}" for n in range(60)]
    data = text_file(folder / "data.tsv", ["first\tsecond\tscore", *rows])
    return Kind("similarity", [data], {"embedding": 4, "subword_buckets": 20}, ["one a\tone b"])


def recommend(folder: Path, rng: random.Random) -> Kind:
    rows = [f"u{user},i{rng.randrange(8)},{time}" for user in range(20) for time in range(user, user + 5)]
    data = text_file(folder / "data.csv", ["session,item,time", *rows])
    return Kind("recommend", [data], {"embedding": 4, "top_k": 3}, ["i1", "i2"])


def translate(folder: Path, rng: random.Random) -> Kind:
    rows = [f"one {rng.choice('abc')} {number}\tein {rng.choice('abc')} {number}" for number in range(30)]
    return Kind("translate", [text_file(folder / "data.tsv", rows)], {"embedding": 4}, ["one a 3"])


def transcribe(folder: Path, rng: random.Random) -> Kind:
    import soundfile

    rows = ["path\ttext"]
    for number in range(8):
        text = rng.choice(["a", "ab", "b"])
        tones = [np.sin(np.arange(1200) * (0.3 if letter == "a" else 0.9)) for letter in text]
        soundfile.write(folder / f"{number}.wav", 0.5 * np.concatenate(tones), 8000)
        rows.append(f"{number}.wav\t{text}")
    settings = {"batch_size": 4, "sample_rate": 8000, "mel_bands": 8}
    return Kind("transcribe", [text_file(folder / "data.tsv", rows)], settings, [str(folder / "0.wav")])


def caption(folder: Path, rng: random.Random) -> Kind:
    from PIL import Image

    rows = []
    for number in range(10):
        name, colour = rng.choice([("red", (255, 0, 0)), ("blue", (0, 0, 255))])
        Image.new("RGB", (32, 32), colour).save(folder / f"{number}.png")
        rows.append(f"{number}.png\ta {name} image")
    settings = {"batch_size": 4, "embedding": 4, "image_size": 32, "width": 4}
    return Kind("caption", [text_file(folder / "data.tsv", rows)], settings, [str(folder / "0.png")])


MAKERS: tuple[Callable[[Path, random.Random], Kind], ...] = (
    language_model, language_model_of_words, classify_texts, classify_tags, classify_series, classify_numbers, forecast,
    similarity, recommend, translate, transcribe, caption,
)  # fmt: skip
KINDS: dict[str, Kind] = {}
LAST: dict[str, Any] = {"content": None}
LARGEST_MUTANT = 1 << 15  # bytes


def prepare(folder: Path) -> None:
    """Train a run of each kind, in `folder/NAME/run`."""
    os.fsync = lambda handle: None  # type: ignore[assignment] # a run that is lost with the machine is no finding
    cli.traceback.print_exc = reraise  # a defect is an exception here, not an exit code
    for make in MAKERS:
        (folder / make.__name__).mkdir()
        kind = KINDS[make.__name__] = make(folder / make.__name__, random.Random(1))
        api.train(kind.recipe, kind.data, folder / make.__name__ / "run", **{**TINY, **kind.settings})


def reraise() -> None:
    error = sys.exception()
    assert error is not None
    raise error


def attempt(rng: random.Random, folder: Path) -> None:
    """Copy a run, mutate a file of it, and use it in five ways."""
    name = rng.choice(list(KINDS))
    run = folder / "mutant"
    try:
        copy(folder / name / "run", run)
        file = rng.choice(sorted(path for path in run.rglob("*") if path.is_file() and path.name != "report.md"))
        damage(rng, file, run)
        LAST.update(kind=name, file=str(file.relative_to(run)), content=None)
        if file.is_file() and not file.is_symlink() and file.stat().st_size < LARGEST_MUTANT:
            LAST.update(content=base64.b64encode(file.read_bytes()).decode())
        use_run(KINDS[name], run)
    finally:
        shutil.rmtree(run, ignore_errors=True)


def mutant() -> dict[str, Any] | None:
    """Return the last mutant."""
    return dict(LAST) if LAST["content"] is not None else None


def replay(last: dict[str, Any], folder: Path) -> None:
    """Use a mutant again."""
    run = folder / "mutant"
    try:
        copy(folder / last["kind"] / "run", run)
        (run / last["file"]).unlink()
        (run / last["file"]).write_bytes(base64.b64decode(last["content"]))
        use_run(KINDS[last["kind"]], run)
    finally:
        shutil.rmtree(run, ignore_errors=True)


def use_run(kind: Kind, run: Path) -> None:
    """Use a run in five ways; each may be refused."""
    for operation in operations(kind, run):
        with contextlib.suppress(ElmanError, KeyboardInterrupt):
            operation()


def copy(run: Path, mutant: Path) -> None:
    """Copy a run by links; metrics.jsonl grows in place, so it is copied."""
    shutil.copytree(run, mutant, copy_function=os.link)
    (mutant / "metrics.jsonl").unlink()
    shutil.copy(run / "metrics.jsonl", mutant)


def operations(kind: Kind, run: Path) -> Iterator[Callable[[], object]]:
    """Yield what a user does with a run: evaluation on data and without, an answer, a diagnosis, training."""
    yield functools.partial(command, "evaluate", run, *kind.data, "--json")
    if kind.inputs:
        yield functools.partial(command, "predict", run, *kind.inputs)
    else:
        yield functools.partial(command, "generate", run, "--length", 5, "--seed", 1)
    yield functools.partial(command, "evaluate", run)
    yield functools.partial(diagnose, run)
    yield functools.partial(command, "train", kind.recipe, "--out", run, "--resume", "--steps", 3)


def diagnose(run: Path) -> None:
    """Do what `elman diagnose` does before it measures."""
    subject = use.diagnosable(run)
    for batch in subject.sample.batches:
        subject.sample.loss(subject.model, batch)


def command(*arguments: object) -> None:
    """Run a command, and check its exit code and what it prints."""
    out, err = Terminal(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run([str(argument) for argument in arguments])
    assert code in (0, 2), f"exit code {code}: {err.getvalue()[-300:]}"
    assert code == 0 or "error: " in err.getvalue() or "no answer: " in err.getvalue(), err.getvalue()[:300]
    if "--json" in arguments and code == 0:
        json.loads(out.getvalue(), parse_constant=lambda name: json.loads(f"{name} in JSON"))
    for text in (out.getvalue(), err.getvalue()):
        odd = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in "\n\t"}
        assert not odd, f"printed {odd}"


class Terminal(io.StringIO):
    """A stream that says that a person looks at it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def damage(rng: random.Random, file: Path, run: Path) -> None:
    """Replace a file of a run by a mutant."""
    if rng.random() < 0.12:
        rng.choice((delete, empty, swap, link, pipe, directory, sparse))(rng, file, run)
        return
    data = file.read_bytes()
    kinds = {".json": mutate_json, ".jsonl": mutate_line, ".npy": mutate_array, ".safetensors": mutate_tensors}
    change = kinds.get(file.suffix)
    changed = change(data, rng) if change and rng.random() < 0.6 else mutate(data, rng)
    file.unlink()
    file.write_bytes(changed)


def delete(rng: random.Random, file: Path, run: Path) -> None:
    file.unlink()


def empty(rng: random.Random, file: Path, run: Path) -> None:
    file.unlink()
    file.touch()


def swap(rng: random.Random, file: Path, run: Path) -> None:
    other = rng.choice(sorted(path for path in run.rglob("*") if path.is_file()))
    data = other.read_bytes()
    file.unlink(missing_ok=True)
    file.write_bytes(data)


def link(rng: random.Random, file: Path, run: Path) -> None:
    file.unlink()
    file.symlink_to(rng.choice(("/etc/passwd", "nowhere", "..", "config.json", "/dev/zero")))


def pipe(rng: random.Random, file: Path, run: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def directory(rng: random.Random, file: Path, run: Path) -> None:
    file.unlink()
    file.mkdir()


def sparse(rng: random.Random, file: Path, run: Path) -> None:
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data)
    os.truncate(file, BIG)


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """Replace, delete, repeat or rename a random part of a JSON document."""
    content = [json.loads(data)]
    for _ in range(rng.choice((1, 1, 2))):
        holder: Any = content
        key: Any = 0
        while isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.85:
            holder = holder[key]
            key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
        draw = rng.random()
        if draw < 0.15 and holder is not content:
            del holder[key]
        elif draw < 0.25 and isinstance(holder, dict):
            holder[f"{key}x"] = holder.pop(key)
        elif draw < 0.35 and isinstance(holder, list) and holder is not content:
            holder.insert(key, holder[key])
        elif draw < 0.45 and type(holder[key]) in (int, float):
            holder[key] *= rng.choice((-1, 0.5, 1000, 10**9))
        else:
            holder[key] = rng.choice(JUNK)
    return json.dumps(content[0]).encode("utf-8", "surrogatepass")


def mutate_line(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines()
    n = rng.randrange(len(lines))
    lines[n] = mutate_json(lines[n], rng)
    return b"\n".join(lines) + b"\n"


def mutate_array(data: bytes, rng: random.Random) -> bytes:
    """Change some numbers, the type, the order or the shape of an array."""
    array = np.load(io.BytesIO(data))
    draw = rng.random()
    if draw < 0.2:
        array = np.asarray(array, order="F")
        array = array["item"] if array.dtype.names else array
        array = array.astype(rng.choice(("f2", "f4", "f8", "i1", "u1", "i4", "i8", ">i4", "c8", "?", "S3", "M8[s]")))
    elif draw < 0.35:
        array = rng.choice((array[:0], array[:-1], array[None], array.ravel(), array.reshape(-1, 1), array[0:1]))
    elif array.size:
        raw = array.reshape(-1).copy()
        count = rng.choice((1, 1, len(raw)))
        places = rng.sample(range(len(raw)), count)
        with np.errstate(all="ignore"):
            worst = [-1, 0, 1, 99, 127, 200, 255, 2**31 - 1, -(2**31), 2**62]
            worst += [] if raw.dtype.kind in "iub" else [math.nan, math.inf]
            if raw.dtype.names:
                raw[rng.choice(raw.dtype.names)][places] = np.array(rng.choice(worst[:8]), "i8").astype("i4")
            else:
                raw[places] = np.array(rng.choice(worst)).astype(raw.dtype)
        array = raw.reshape(array.shape)
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def mutate_tensors(data: bytes, rng: random.Random) -> bytes:
    """Change the header of a safetensors file, or numbers in it."""
    size = struct.unpack("<Q", data[:8])[0]
    header, body = data[8 : 8 + size], bytearray(data[8 + size :])
    if rng.random() < 0.5:
        fields = json.loads(header)
        facts = fields.get("__metadata__", {})
        if "elman" in facts and rng.random() < 0.6:
            facts["elman"] = mutate_json(facts["elman"].encode(), rng).decode("utf-8", "replace")
            header = json.dumps(fields).encode()
        else:
            header = mutate_json(header, rng)
    else:
        numbers = np.frombuffer(body[: len(body) // 4 * 4], "<f4").copy()
        begin = rng.choice((0, rng.randrange(len(numbers))))
        numbers[begin : begin + rng.choice((1, 50, len(numbers)))] = rng.choice((math.nan, math.inf, 1e30, -1e30, 0.0))
        body[: 4 * len(numbers)] = numbers.tobytes()
    return struct.pack("<Q", len(header)) + header + bytes(body)
