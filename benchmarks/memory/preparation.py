"""Memory of preparing a run out of data that should not fit into it: makes pairs of lines, or sounds, and measures.

    python benchmarks/memory/preparation.py translate|transcribe [--count N] [--set key=value ...] [--folder DIR]

What counts is the peak of anonymous memory (sampled 100 times a second) above that when everything was imported, while
the recipe prepares a run; pages of mapped files do not count, as the system can take them back at any time. Run it with
two counts: what is held by rows grows with them. Needs Linux (/proc).
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from elman.recipes.registry import RECIPES

WORDS, BLOCK = 20_000, 20_000  # different words, by Zipf's law; pairs that are made at a time
RATE, SECONDS, SPEAKERS = 16_000, 5, 20


def make_pairs(folder: Path, count: int) -> Path:
    """Write pairs of five words each."""
    rng = np.random.default_rng(1)
    letters = list("abcdefghijklmnop")
    words = np.array(["".join(rng.choice(letters, size=rng.integers(2, 9))) for _ in range(WORDS)])
    share = 1 / np.arange(1, WORDS + 1)
    path = folder / "pairs.tsv"
    with path.open("w") as file:
        for begin in range(0, count, BLOCK):
            rows = words[rng.choice(WORDS, size=(min(BLOCK, count - begin), 10), p=share / share.sum())]
            file.writelines(f"{' '.join(row[:5])}\t{' '.join(row[5:])}\n" for row in rows.tolist())
    return path


def make_sounds(folder: Path, count: int) -> Path:
    """Write a table of noises of five seconds, by so many speakers."""
    import soundfile

    rng = np.random.default_rng(1)
    noise = (0.2 * rng.standard_normal(RATE * (SECONDS + 1))).astype(np.float32)
    lines = ["path\ttext\tspeaker\n"]
    for n in range(count):
        begin = int(rng.integers(RATE))
        soundfile.write(folder / f"{n}.wav", noise[begin : begin + RATE * SECONDS], RATE)
        lines.append(f"{n}.wav\tsaid {n % 50}\ts{n % SPEAKERS}\n")
    path = folder / "sounds.tsv"
    path.write_text("".join(lines))
    return path


def anonymous() -> int:
    """Return the bytes of this process's memory that are no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


MAKERS = {"translate": (make_pairs, 200_000), "transcribe": (make_sounds, 2000)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=MAKERS)
    parser.add_argument("--count", type=int, help="pairs or sounds")
    parser.add_argument("--set", action="append", default=[], metavar="key=value", help="a setting of the recipe")
    parser.add_argument("--folder", type=Path, help="where the data go, and are left")
    arguments = parser.parse_args()
    make, count = MAKERS[arguments.recipe]
    count = arguments.count or count
    recipe = RECIPES[arguments.recipe]
    settings = recipe.Settings.parse(dict(pair.split("=", 1) for pair in arguments.set))
    with tempfile.TemporaryDirectory() as beside:
        data = make(arguments.folder or Path(beside), count)
        run = Path(beside) / "run"
        run.mkdir()
        start, peak, done = anonymous(), [0], threading.Event()

        def watch() -> None:
            while not done.wait(0.01):
                peak[0] = max(peak[0], anonymous())

        watcher = threading.Thread(target=watch)
        watcher.start()
        began = time.perf_counter()
        try:
            description = recipe(settings, run).prepare([data])
        finally:
            done.set()
            watcher.join()
        seconds = time.perf_counter() - began
    above = max(0, peak[0] - start) / 2**20
    print(f"{recipe.name}, {count:,} of them: {above:.0f} MiB above {start / 2**20:.0f}, {seconds:.1f} s")
    print(f"vocabulary of {description['vocabulary']}")


if __name__ == "__main__":
    main()
