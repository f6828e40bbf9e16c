"""Fuzzing: damaged run directories, damaged data files and malformed engine calls.

    python tests/fuzz/fuzz.py [--seconds 60] [--seed 1] [--target NAME] [--attempts N] [--findings FOLDER]

A target is a module beside this file with two functions:

- `prepare(folder)` makes what is mutated, once;
- `attempt(rng, folder)` makes one mutant from the random generator alone and tries what a user would do with it. It
  returns when the product answers or refuses (an ElmanError, or an exit code of 0 or 2); all else escapes.

It may have two more, for the corpus of small mutants that were findings once, `corpus/TARGET/*.json`, which are tried
first: `mutant()` returns the last one as JSON, None if it is too large, and `replay(mutant, folder)` tries one again.

Each target runs in a process of its own. Attempt n draws from `random.Random(f"{seed}:{n}")`, so a finding is tried
again by its number: `--target NAME --seed S --only N`; numbers below 0 are those of the corpus. A finding is an
exception that escaped, a death of the process, an attempt of more than 60 seconds, or a process that grew beyond 3 GB.
Findings of one place count once. The exit code is 1 if there were any. A mutant among the findings joins the corpus
when what it found is repaired.
"""

import argparse
import faulthandler
import importlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

HERE = Path(__file__).parent
TARGETS = [name for name in ("run_directories", "data_files", "engine_calls") if (HERE / f"{name}.py").exists()]
SLOWEST = 60.0  # seconds for one attempt
MEMORY = 3 * 2**30  # bytes


def place(error: BaseException) -> str:
    """Return where an exception comes from: its type and the innermost frame in the package."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "elman" in Path(frame.filename).parts]
    frames = frames or list(traceback.extract_tb(error.__traceback__))
    kind = f"{type(error).__name__} {error}"[:80] if isinstance(error, AssertionError) else type(error).__name__
    return f"{kind} at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else kind


def corpus(target: str) -> list[Path]:
    return sorted((HERE / "corpus" / target).glob("*.json"))


def work(target: str, seed: str, first: int, attempts: int, only: int | None) -> None:
    """Run attempts in this process; print a line of JSON before and after each."""
    faulthandler.enable()
    sys.path.insert(0, str(HERE))
    module = importlib.import_module(target)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        module.prepare(folder)
        for number in [only] if only is not None else range(first, first + attempts):
            report(attempt=number)
            try:
                if number < 0:
                    module.replay(json.loads(corpus(target)[number].read_text()), folder)
                else:
                    module.attempt(random.Random(f"{seed}:{number}"), folder)
            except BaseException as error:
                text = "".join(traceback.format_exception(error))[-3000:]
                mutant = module.mutant() if hasattr(module, "mutant") else None
                report(finding=place(error), number=number, text=text, mutant=mutant)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            if peak > MEMORY:
                report(finding=f"memory grew to {peak / 2**30:.1f} GiB", number=number, text="")
                return
            report(done=number)


def report(**fields: object) -> None:
    print("FUZZ " + json.dumps(fields), file=sys.__stdout__, flush=True)


class Round:
    """Attempts at one target, in processes that are started again when one dies or hangs."""

    def __init__(self, target: str, seed: str, attempts: int, deadline: float) -> None:
        self.target, self.seed, self.attempts, self.deadline = target, seed, attempts, deadline
        self.done = 0
        self.findings: dict[str, dict[str, object]] = {}

    def run(self) -> None:
        first = -len(corpus(self.target))
        while first < self.attempts and time.monotonic() < self.deadline:
            first = self.process(first) + 1

    def process(self, first: int) -> int:
        """Run one process from attempt `first` on, and return the last attempt that it began."""
        command = [sys.executable, __file__, "--work", self.target, "--seed", self.seed]
        command += ["--first", str(first), "--attempts", str(self.attempts - first)]
        number, ended = first, False
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace") as process,
        ):
            clock = Watch(process, self.deadline)
            for line in process.stdout or ():
                if not line.startswith("FUZZ "):
                    continue
                fields = json.loads(line[5:])
                if "attempt" in fields:
                    number = fields["attempt"]
                    clock.begin()
                elif "finding" in fields:
                    self.findings.setdefault(fields["finding"], fields)
                    ended = fields["finding"].startswith("memory")
                else:
                    self.done += 1
                    clock.end()
            process.wait()
            clock.stop()
            errors.seek(0)
            text = errors.read()[-3000:]
        if clock.hung:
            self.findings.setdefault(f"hang of attempt {number}", {"number": number, "text": text})
        elif process.returncode and not clock.out_of_time and not ended:
            self.findings.setdefault(f"death by {process.returncode}", {"number": number, "text": text})
            if not self.done:
                return self.attempts  # It does not even start.
        return number


class Watch:
    """Kills a process that hangs in one attempt, or when the time is up."""

    def __init__(self, process: "subprocess.Popen[str]", deadline: float) -> None:
        self.process, self.deadline = process, deadline
        self.hung = self.out_of_time = self.stopped = False
        self.begun: float | None = None
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def begin(self) -> None:
        self.begun = time.monotonic()

    def end(self) -> None:
        self.begun = None

    def stop(self) -> None:
        self.stopped = True

    def watch(self) -> None:
        while not self.stopped:
            now = time.monotonic()
            self.hung = self.begun is not None and now - self.begun > SLOWEST
            self.out_of_time = now > self.deadline
            if self.hung or self.out_of_time:
                self.process.kill()
                return
            time.sleep(0.1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="time for all targets together")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--target", choices=TARGETS, action="append", help="one of the targets; all without it")
    parser.add_argument("--attempts", type=int, default=10**9, help="attempts for each target")
    parser.add_argument("--only", type=int, help="one attempt by its number, in this process")
    parser.add_argument("--findings", type=Path, help="folder that gets a JSON file for each finding")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work or chosen.only is not None:
        work(chosen.work or chosen.target[0], chosen.seed, chosen.first, chosen.attempts, chosen.only)
        return 0
    targets = chosen.target or TARGETS
    count = 0
    for target in targets:
        begun = time.monotonic()
        share = chosen.seconds / len(targets)
        attempts = Round(target, chosen.seed, chosen.attempts, begun + share)
        attempts.run()
        print(
            f"{target}: {attempts.done:,} attempts in {time.monotonic() - begun:.0f} s, "
            f"{len(attempts.findings)} findings",
            flush=True,
        )
        for kind, finding in attempts.findings.items():
            count += 1
            again = f"--target {target} --seed {chosen.seed} --only {finding['number']}"
            print(f"\n{kind}  ({again})\n{finding['text']}")
            if chosen.findings:
                chosen.findings.mkdir(parents=True, exist_ok=True)
                path = chosen.findings / f"{target}-{finding['number']}"
                if mutant := finding.pop("mutant", None):
                    path.with_suffix(".mutant.json").write_text(json.dumps(mutant))
                about = {"kind": kind, "target": target, "seed": chosen.seed, **finding}
                path.with_suffix(".json").write_text(json.dumps(about, indent=1))
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
