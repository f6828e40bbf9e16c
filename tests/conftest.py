"""What every test runs under, commands that run in this process, videos to read, and runs of recipes."""

import importlib
import importlib.util
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import settings

# The same examples in every run, so that a red run can be repeated.
settings.register_profile("elman", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("elman")

# Tensors in tests are tiny: a second thread would only wait for the first. Tests about threads set their own number.
torch.set_num_threads(1)

# Triton reads TRITON_INTERPRET where its language is imported, which a test may do before the kernel's own tests.
INTERPRETED = not torch.cuda.is_available() or os.environ.get("ELMAN_TEST_INTERPRET") == "1"
if INTERPRETED and importlib.util.find_spec("triton"):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        importlib.import_module("triton.experimental.gluon")


class Answer(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def elman(capfd: pytest.CaptureFixture) -> Callable[..., Answer]:
    from elman import cli

    def call(*arguments: object) -> Answer:
        capfd.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        return Answer(code, *capfd.readouterr())

    return call


@pytest.fixture(scope="session")
def write_video() -> Callable[..., Path]:
    """Write frames (T, H, W, 3), without loss if the codec can, and samples (N,) as a sound track if there are any."""
    import av

    def write(
        path: Path,
        frames: np.ndarray | None,
        samples: np.ndarray | None = None,
        *,
        rate: int = 16000,
        codec: str = "ffv1",
    ) -> Path:
        with av.open(str(path), "w") as container:
            picture = sound = None
            if frames is not None:
                picture = container.add_stream(codec, rate=25)
                picture.height, picture.width = frames.shape[1:3]
                picture.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
            if samples is not None:
                sound = container.add_stream("pcm_s16le", rate=rate, layout="mono")
            for n, image in enumerate([] if frames is None else frames):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = n, Fraction(1, 25)
                container.mux(picture.encode(frame))
            if picture is not None:
                container.mux(picture.encode(None))
            if sound is not None:
                whole = (np.clip(samples, -1, 1) * 32767).astype(np.int16)[None]
                block = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
                block.sample_rate, block.pts, block.time_base = rate, 0, Fraction(1, rate)
                container.mux(sound.encode(block))
                container.mux(sound.encode(None))
        return path

    return write


BROWSER_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]  # fmt: skip


@pytest.fixture(scope="session")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The WAV file that the browser's microphone hears; a test writes it before it listens."""
    return tmp_path_factory.mktemp("microphone") / "sound.wav"


@pytest.fixture(scope="module")
def browser(microphone: Path) -> Iterator[Any]:
    """A headless Chromium; without one the tests are skipped.

    It ends with the module: while it runs, its event loop is that of the thread, and no other can be run there.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is missing")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on the PATH")
    flags = [*BROWSER_FLAGS, f"--use-file-for-fake-audio-capture={microphone}"]
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=flags)
        yield chromium
        chromium.close()


NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ZAHLEN = ["eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"]


@pytest.fixture(scope="session")
def translation_options() -> list[str]:
    """Options of `elman train translate` for a small model."""
    pairs = ("hidden=32", "embedding=16", "vocabulary=words", "batch_tokens=200", "seed=1")
    return [word for pair in pairs for word in ("--set", pair)]


@pytest.fixture(scope="session")
def translation_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbers in words, backwards: source and target differ in words and in order."""
    rng = random.Random(1)
    path = tmp_path_factory.mktemp("pairs") / "numbers.tsv"
    rows = [[rng.randrange(9) for _ in range(rng.randint(1, 4))] for _ in range(600)]
    lines = [f"{' '.join(NUMBERS[n] for n in row)}\t{' '.join(ZAHLEN[n] for n in row[::-1])}\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def translation_run(translation_data: Path, translation_options: list[str]) -> Path:
    from elman import cli

    out = translation_data.with_name("run")
    words = ["train", "translate", translation_data, "--steps", 240, "--out", out, "--set", "learning_rate=0.01"]
    assert cli.run([str(word) for word in [*words, *translation_options]]) == 0
    return out


@pytest.fixture(scope="session", params=["characters", "words", "bpe", "bytes"])
def translation_run_of_symbols(
    request: pytest.FixtureRequest, translation_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A translator for each kind of symbol, hardly trained; the folder has the name of the kind."""
    from elman import cli

    out = Path(tmp_path_factory.mktemp("symbols") / request.param)
    pairs = ["hidden=32", "embedding=16", f"vocabulary={request.param}"]
    pairs += ["vocabulary_size=300"] if request.param == "bpe" else []
    options = [word for pair in pairs for word in ("--set", pair)]
    words = ["train", "translate", translation_data, "--steps", 1, "--out", out, *options]
    assert cli.run([str(word) for word in words]) == 0
    return out


COLOURS = {"red": (220, 30, 30), "green": (30, 180, 30), "blue": (30, 30, 220), "white": (250, 250, 250)}


@pytest.fixture(scope="session")
def caption_options() -> list[str]:
    """Options of `elman train caption` for a small model."""
    pairs = ("hidden=24", "embedding=16", "width=6", "min_count=1", "seed=1")
    return [word for pair in pairs for word in ("--set", pair)]


@pytest.fixture(scope="session")
def caption_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images whose left and right halves have colours, with two captions each."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("halves")
    (folder / "images").mkdir()
    rng, lines, names = np.random.default_rng(1), [], []
    for n in range(120):
        left, right = rng.choice(list(COLOURS), 2)
        pixels = np.empty((20, 24, 3))
        pixels[:, :12], pixels[:, 12:] = COLOURS[left], COLOURS[right]
        noisy = np.clip(pixels + rng.normal(0, 5, pixels.shape), 0, 255).astype(np.uint8)
        names.append(f"{n}.png")
        Image.fromarray(noisy).save(folder / "images" / names[-1])
        lines += [f"{names[-1]}#0\t{left} on the left , {right} on the right .", f"{names[-1]}#1\tIt is {left} {right}"]
    (folder / "Halves.token.txt").write_text("\n".join(lines))
    for part, listed in (("train", names[:90]), ("dev", names[90:105]), ("test", names[105:])):
        (folder / f"{part}Images.txt").write_text("\n".join(listed))
    return folder


@pytest.fixture(scope="session")
def caption_run(caption_data: Path, caption_options: list[str]) -> Path:
    from elman import cli

    out = caption_data.with_name("run")
    pairs = ("image_size=16", "max_shift_share=0", "max_zoom=0", "max_brightness_change=0", "dropout=0")
    words = ["train", "caption", caption_data, "--steps", 120, "--out", out, "--set", "learning_rate=0.01"]
    words += [word for pair in pairs for word in ("--set", pair)]
    assert cli.run([str(word) for word in [*words, *caption_options]]) == 0
    return out


ANIMALS = ["cat", "dog", "horse", "cow", "bird", "fish"]
ACTIONS = ["sleeps", "eats", "runs", "sings"]
SIMILARITY_SETTINGS = {
    **{"embedding": 16, "subword_buckets": 500, "learning_rate": 0.01, "hidden": 16},
    **{"dropout": 0, "embedding_dropout": 0, "word_dropout": 0},
}


def scored_pairs(count: int, seed: int = 1) -> list[tuple[str, str, float]]:
    """Return sentences about animals: 2 points for the same animal, 1 for the same action, minus 3 for a denial."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        animal, action = rng.choice(ANIMALS), rng.choice(ACTIONS)
        second_animal = animal if rng.random() < 0.5 else rng.choice(ANIMALS)
        second_action = action if rng.random() < 0.5 else rng.choice(ACTIONS)
        denied = rng.random() < 0.4
        score = 3 + 2 * (animal == second_animal) + (action == second_action) - 3 * denied
        second = f"{'no' if denied else 'a'} {second_animal} {second_action} today"
        rows.append((f"one {animal} {action} here", second, score))
    return rows


@pytest.fixture(scope="session")
def similarity_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.tsv"
    rows = "".join(f"{first}\t{second}\t{score}\n" for first, second, score in scored_pairs(600))
    path.write_text("sentence_A\tsentence_B\tscore\n" + rows)
    return path


@pytest.fixture(scope="session")
def similarity_run(similarity_data: Path) -> Path:
    from elman.recipes.run import start
    from elman.recipes.similarity import Similarity

    out = similarity_data.with_name("run")
    start(Similarity, [similarity_data], {"steps": 150, **SIMILARITY_SETTINGS}, out)
    return out


@pytest.fixture(scope="session")
def similarity_pairs() -> Callable[..., list[tuple[str, str, float]]]:
    return scored_pairs


@pytest.fixture(scope="session")
def similarity_options() -> list[str]:
    """Options of `elman train similarity` for a small model."""
    return [word for name, value in SIMILARITY_SETTINGS.items() for word in ("--set", f"{name}={value}")]


WHISTLE_RATE = 4000
PITCH = {"a": 400.0, "b": 700.0, "c": 1000.0, "d": 1400.0}


def whistle(text: str) -> np.ndarray:
    """Return a tone for each letter with a pause after it, and a longer pause for a space."""
    rng = np.random.default_rng(len(text) + sum(map(ord, text)))
    parts = []
    for letter in text:
        time = np.arange(int(WHISTLE_RATE * 0.08 * rng.uniform(0.9, 1.1))) / WHISTLE_RATE
        tone = 0.3 * np.sin(2 * np.pi * PITCH[letter] * time) if letter != " " else 0 * time
        parts += [tone, np.zeros(WHISTLE_RATE // 25)]
    return (np.concatenate(parts) + 0.003 * rng.standard_normal(sum(map(len, parts)))).astype(np.float32)


def whistle_table(folder: Path, name: str, texts: list[str]) -> Path:
    """Write whistled texts into `folder/name`, and a table of them."""
    import soundfile

    (folder / name).mkdir()
    rows = ["path\ttext"]
    for n, text in enumerate(texts):
        soundfile.write(folder / name / f"{n}.wav", whistle(text), WHISTLE_RATE)
        rows.append(f"{name}/{n}.wav\t{text}")
    path = folder / f"{name}.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="session")
def whistled() -> Callable[[str], np.ndarray]:
    return whistle


@pytest.fixture(scope="session")
def write_whistles() -> Callable[[Path, str, list[str]], Path]:
    return whistle_table


@pytest.fixture(scope="session")
def transcription_options() -> list[str]:
    """Options of `elman train transcribe` for a small model of whistles."""
    pairs = (f"sample_rate={WHISTLE_RATE}", "mel_bands=16", "batch_size=8", "hidden=24", "layers=1")
    return [word for pair in pairs for word in ("--set", pair)]


@pytest.fixture(scope="session")
def transcription_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = random.Random(1)
    words = ["ab", "ba", "cd", "dac", "bd"]
    texts = [" ".join(rng.choice(words) for _ in range(rng.randint(1, 3))) for _ in range(60)]
    return whistle_table(tmp_path_factory.mktemp("whistles"), "train", texts)


@pytest.fixture(scope="session")
def transcription_run(transcription_data: Path, transcription_options: list[str]) -> Path:
    """A transcriber of whistles that can stream."""
    from elman.cli import run

    out = transcription_data.with_name("run")
    words = ["train", "transcribe", transcription_data, "--steps", 150, "--out", out, *transcription_options]
    words += ["--set", "learning_rate=0.01", "--set", "streaming=true", "--set", "stride=3", "--set", "dropout=0"]
    assert run([str(word) for word in words]) == 0
    return out


FORECAST_SETTINGS = {
    **{"horizon": 6, "lookback": 24, "segment": 6},
    **{"hidden": 16, "batch_size": 32, "learning_rate": 0.01},
}


def seasonal_series(rows: int = 300, seed: int = 1) -> np.ndarray:
    """Return two seasonal series with noise, (rows, 2)."""
    noise = np.random.default_rng(seed).normal(0, 0.5, (rows, 2))
    t = np.arange(rows)[:, None]
    return 20 + 5 * np.array([1, 3]) * (np.sin(2 * np.pi * t / 12 + np.array([0, 1])) + noise)


def write_monthly(path: Path, values: np.ndarray, first: str = "2000-01") -> Path:
    """Write two monthly series, a and b, as CSV."""
    months = np.datetime64(first) + np.arange(len(values))
    rows = (f"{month},{a:.6f},{b:.6f}\n" for month, (a, b) in zip(months, values, strict=True))
    path.write_text("month,a,b\n" + "".join(rows))
    return path


@pytest.fixture(scope="session")
def series() -> Callable[..., np.ndarray]:
    return seasonal_series


@pytest.fixture(scope="session")
def monthly() -> Callable[..., Path]:
    return write_monthly


@pytest.fixture(scope="session")
def forecast_settings() -> dict[str, float]:
    return FORECAST_SETTINGS


@pytest.fixture(scope="session")
def forecast_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_monthly(tmp_path_factory.mktemp("series") / "x.csv", seasonal_series())


@pytest.fixture(scope="session")
def forecast_run(forecast_data: Path) -> Path:
    from elman.recipes.forecast import Forecast
    from elman.recipes.run import start

    out = forecast_data.with_name("run")
    start(Forecast, [forecast_data], {"steps": 250, **FORECAST_SETTINGS}, out)
    return out


RECOMMEND_SETTINGS = {"hidden": 24, "embedding": 16, "top_k": 1, "dropout": 0, "embedding_dropout": 0}


def session_rows(sessions: int, begin: int = 0) -> list[str]:
    """Return sessions whose next item is the one before the last plus one, so that the last alone says nothing."""
    rng = np.random.default_rng(begin)
    rows = []
    for n in range(begin, begin + sessions):
        items = rng.integers(0, 6, 2).tolist()
        while len(items) < 7:
            items.append((items[-2] + 1) % 6)
        rows += [f"u{n},{100 * n + t},p{item}" for t, item in enumerate(items)]
    return rows


@pytest.fixture(scope="session")
def recommend_rows() -> Callable[..., list[str]]:
    return session_rows


@pytest.fixture(scope="session")
def recommend_options() -> list[str]:
    """Options of `elman train recommend` for a small model."""
    return [word for name, value in RECOMMEND_SETTINGS.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture(scope="session")
def recommend_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recommend") / "clicks.csv"
    path.write_text("\n".join(["user,time,item", *session_rows(300)]) + "\n")
    return path


@pytest.fixture(scope="session")
def recommend_run(recommend_data: Path) -> Path:
    from elman.recipes.recommend import Recommend
    from elman.recipes.run import start

    out = recommend_data.with_name("run")
    settings = {"steps": 240, "learning_rate": 0.02, "evaluate_every": 60}
    start(Recommend, [recommend_data], {**settings, **RECOMMEND_SETTINGS}, out)
    return out


CLASSIFY_SETTINGS = {"hidden": 8, "batch_size": 8, "evaluate_every": 10, "validation": 0.2, "learning_rate": 0.01}


def write_trends(path: Path, count: int = 60, seed: int = 1) -> Path:
    """Write rising and falling series of many lengths, two channels, one of them noise."""
    rng, lines = np.random.default_rng(seed), []
    for n in range(count):
        steps = int(rng.integers(4, 12))
        sign = 1 if n % 2 else -1
        series = np.stack([sign * np.arange(steps) + rng.normal(0, 0.5, steps), rng.normal(0, 1, steps)], 1)
        lines.append(json.dumps({"series": series.round(3).tolist(), "label": "up" if n % 2 else "down"}))
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="session")
def trends() -> Callable[..., Path]:
    return write_trends


@pytest.fixture(scope="session")
def classify_settings() -> dict[str, float]:
    return CLASSIFY_SETTINGS


@pytest.fixture(scope="session")
def classify_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run on trends, whose file is gone."""
    from elman.recipes.classify import Classify
    from elman.recipes.run import start

    data = write_trends(tmp_path_factory.mktemp("classify") / "trends.jsonl")
    start(Classify, [data], {"steps": 60, **CLASSIFY_SETTINGS}, data.with_name("run"))
    data.unlink()
    return data.with_name("run")


LANGUAGE_SETTINGS = {"hidden": 8, "embedding": 4, "batch_size": 2, "window": 8}


@pytest.fixture(scope="session")
def language_settings() -> dict[str, int]:
    return LANGUAGE_SETTINGS


@pytest.fixture(scope="session")
def language_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = random.Random(1)
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("".join(rng.choice(["ein ", "Öl ", "paar ", "\n"]) for _ in range(400)), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def language_run(language_text: Path) -> Path:
    from elman.recipes.language_model import LanguageModelling
    from elman.recipes.run import start

    out = language_text.with_name("run")
    start(LanguageModelling, [language_text], {"steps": 30, **LANGUAGE_SETTINGS}, out)
    return out


class OddImages(NamedTuple):
    """A folder of images with the names of unusual ones that can be read, and of broken ones."""

    folder: Path
    readable: list[str]
    broken: list[str]


@pytest.fixture
def odd_images(caption_data: Path, tmp_path: Path) -> OddImages:
    """The images of the captions, beside tiny, wide, 16-bit, transparent, CMYK, animated, rotated and broken ones."""
    from PIL import Image

    folder, red = tmp_path / "images", Image.new("RGB", (24, 20), (220, 30, 30))
    shutil.copytree(caption_data / "images", folder)
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    Image.new("RGB", (9000, 10)).save(folder / "wide.png")
    Image.fromarray(np.full((20, 24), 40000, np.uint16)).save(folder / "deep.png")
    red.convert("P").save(folder / "glass.png", transparency=bytes(range(256)))
    red.convert("CMYK").save(folder / "print.jpg")
    red.save(folder / "moving.gif", save_all=True, append_images=[Image.new("RGB", (24, 20))])
    orientation = Image.Exif()
    orientation[0x0112] = 6
    red.save(folder / "turned.jpg", exif=orientation)
    (folder / "cut.jpg").write_bytes((folder / "print.jpg").read_bytes()[:-200])
    (folder / "text.png").write_text("not an image")
    (folder / "none.png").write_bytes(b"")
    readable = ["one.png", "wide.png", "deep.png", "glass.png", "print.jpg", "moving.gif", "turned.jpg"]
    return OddImages(folder, readable, ["cut.jpg", "text.png", "none.png"])
