"""Memory of training on a text far larger than memory should be: makes one, encodes it, trains on it, and measures.

    python benchmarks/memory/memory.py [--gigabytes 2] [--vocabulary characters] [--steps 200] [--folder DIR] [--json]

Two children, each measured from the moment when everything is imported: one that chooses the symbols, encodes the
text and reads every window once; and `elman train language-model`, which does the same and trains. What counts is
the peak of the resident set (VmHWM, which the kernel keeps, reset at the start): anonymous memory and the pages of
mapped files alike, though the system can take the latter back at any time. The encoded text is mapped, so its pages
would count as they are read; the streams let go of them now and then, and the report shows how much of the peak is
mapped. Needs Linux (/proc). Exit code 1 if the limit of 1 GB above the start is passed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

LIMIT = 1e9  # bytes above the start
READY = "ready\n"


@dataclass(frozen=True)
class Measured:
    """What one child took."""

    job: str
    seconds: float
    start: int  # bytes resident when everything was imported
    above_start: int  # peak of all resident bytes, less start
    anonymous_above_start: int  # of this, without mapped files (sampled 50 times a second)
    succeeded: bool


def make_text(path: Path, size: int) -> None:
    """Write `size` bytes of lines drawn from the embedded text, with a few signs beyond ASCII among them."""
    from elman.data.text.builtin import python_reference

    lines = [line.encode() + b"\n" for line in "".join(python_reference().pieces()).split("\n")]
    lines += ["„Größe“ – naïve café, 東京 😀\n".encode()] * 20
    generator = np.random.default_rng(0)
    with path.open("wb") as file:
        while (left := size - file.tell()) > 0:
            block = b"".join(lines[number] for number in generator.integers(len(lines), size=200_000))
            file.write(block if len(block) <= left else block[: left - 1].decode(errors="ignore").encode() + b"\n")


def encode(text: Path, folder: Path, vocabulary: str) -> None:
    """The work of the first child: symbols, encoding, and every window of the text."""
    from elman.data.text.bptt_streams import Streams
    from elman.data.text.documents import read_text
    from elman.data.text.token_file import encode_text
    from elman.data.text.vocabularies import build_vocabulary

    begin()
    documents = read_text(text)
    clock = time.perf_counter()
    built = build_vocabulary(vocabulary, documents)
    clock = lap(f"{len(built)} symbols chosen", clock)
    encoded = encode_text(documents, built, folder / "text.tokens")
    clock = lap(f"{len(encoded):,} tokens encoded", clock)
    encode_text(documents, built, folder / "text.tokens")
    clock = lap("opened again", clock)
    count = sum(window.count for window in Streams(encoded.split()[0], batch_size=64, window=256))
    lap(f"{count:,} targets read in windows", clock)


def train(text: Path, folder: Path, vocabulary: str, steps: int) -> None:
    """The work of the second child: the command, with a small model."""
    import elman.models.language_model
    import elman.recipes.run  # noqa: F401  (so that they are not counted)
    from elman.cli import run

    begin()
    sizes = ["--hidden", "128", "--layers", "1", "--steps", str(steps)]
    rest = [f"vocabulary={vocabulary}", "embedding=32", "batch_size=64", "window=64"]
    pairs = [part for pair in rest for part in ("--set", pair)]
    code = run(["train", "language-model", str(text), "--out", str(folder / "run"), *sizes, *pairs])
    sys.exit(code)


def begin() -> None:
    """Tell the parent that everything is imported, and wait until it has looked."""
    sys.stdout.write(READY)
    sys.stdout.flush()
    sys.stdin.readline()


def lap(what: str, since: float) -> float:
    now = time.perf_counter()
    print(f"  {what}: {now - since:.1f} s", file=sys.stderr)
    return now


def measure(job: str, arguments: list[str]) -> Measured:
    """Run this file as a child that does `job`, and watch its memory."""
    command = [sys.executable, __file__, "--job", job, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None and child.stdout is not None
        while (line := child.stdout.readline()) != READY:
            if not line:
                raise SystemExit(f"the child for {job} ended before it began")
        Path(f"/proc/{child.pid}/clear_refs").write_text("5")  # VmHWM counts from here
        start = resident(child.pid)
        began = time.perf_counter()
        child.stdin.write("go\n")
        child.stdin.flush()
        peak = anonymous = 0
        while child.poll() is None:
            now = resident(child.pid) or {}
            peak = max(peak, now.get("VmHWM", 0))
            anonymous = max(anonymous, now.get("RssAnon", 0))
            time.sleep(0.02)
        seconds = time.perf_counter() - began
    above = anonymous - start["RssAnon"]
    return Measured(job, seconds, start["VmRSS"], peak - start["VmRSS"], above, child.returncode == 0)


def resident(process: int) -> dict[str, int]:
    """Return the sizes in bytes that /proc tells of a process; none once it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return {}
    lines = (line.split() for line in status.splitlines() if line.endswith(" kB"))
    return {name.rstrip(":"): int(size) * 1024 for name, size, _ in lines}


def commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent, check=False
    )
    return found.stdout.strip() or "unknown"


def report(measured: list[Measured], gigabytes: float, as_json: bool) -> None:
    import torch

    about = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit(),
        "gigabytes": gigabytes,
    }
    if as_json:
        print(json.dumps({**about, "limit": LIMIT, "measured": [asdict(one) for one in measured]}))
        return
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(f"{'job':8} {'seconds':>8} {'start':>9} {'peak above':>11} {'anonymous':>10} {'limit':>9}")
    for one in measured:
        sizes = (one.start, one.above_start, one.anonymous_above_start, LIMIT)
        start, above, anonymous, limit = (f"{size / 1e6:.0f} MB" for size in sizes)
        verdict = "failed" if not one.succeeded else "within" if one.above_start < LIMIT else "OVER"
        print(f"{one.job:8} {one.seconds:8.1f} {start:>9} {above:>11} {anonymous:>10} {limit:>9}  {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--gigabytes", type=float, default=2.0, help="size of the text, 1e9 bytes each")
    parser.add_argument("--vocabulary", default="characters", choices=("bytes", "characters", "words", "bpe"))
    parser.add_argument("--steps", type=int, default=200, help="of training")
    parser.add_argument("--folder", type=Path, help="where the text is made, and removed; the system's if left out")
    parser.add_argument("--only", choices=("encode", "train"), help="one of the two measurements")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--job", choices=("encode", "train"), help=argparse.SUPPRESS)
    parser.add_argument("--text", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job == "encode":
        encode(given.text, given.folder, given.vocabulary)
        return
    if given.job == "train":
        train(given.text, given.folder, given.vocabulary, given.steps)
    measured = []
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        text = Path(folder) / "text.txt"
        make_text(text, int(given.gigabytes * 1e9))
        for job in (given.only,) if given.only else ("encode", "train"):
            arguments = ["--text", str(text), "--folder", folder, "--vocabulary", given.vocabulary]
            measured.append(measure(job, [*arguments, "--steps", str(given.steps)]))
    report(measured, given.gigabytes, given.json)
    sys.exit(not all(one.succeeded and one.above_start < LIMIT for one in measured))


if __name__ == "__main__":
    main()
