"""A program that trains a small run, kills it, resumes it, and compares it with an uninterrupted one, bit for bit.

    python kill_trials.py random FOLDER TRIALS      SIGKILL at random moments, twice a trial
    python kill_trials.py points FOLDER [after]     SIGKILL before every write to the disk, and in the middle, and after
    python kill_trials.py failures FOLDER TRIALS    a system call that fails: the disk, the network, a signal

It imports torch once and forks, so that a trial takes a fraction of a second. It prints a JSON object: the number of
trials, how many processes were killed or failed, and what differed. test_kill.py runs a few of them, `make trials` all.
"""

import errno
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
import torch._dynamo  # every optimiser loads it, which takes longer than a trial: once for all forks

from elman.errors import ElmanError
from elman.recipes import registry
from elman.recipes import run as runs
from elman.storage import tensors

torch.set_num_threads(1)
RECIPE = registry.find("language-model")
SETTINGS = {
    "epochs": 2,
    "hidden": 6,
    "embedding": 4,
    "batch_size": 3,
    "window": 7,
    "vary_window": True,
    "dropout": 0.3,
    "evaluate_every": 5,
    "checkpoint_every": 3,
    "learning_rate": 0.03,
    "schedule": "plateau",
    "plateau_patience": 1,
    "validation": 0.2,
    "variational_dropout": True,
}
REFUSED = 3  # the exit code of a child that ends with a message for the user
ERRORS = (errno.ESTALE, errno.EIO, errno.EINTR, errno.EDQUOT, errno.ETXTBSY, errno.ENOSPC, errno.EACCES)
POINTS = ("open", "write", "fsync", "replace", "mkdir", "unlink", "rename", "rmdir")


FEW = {"epochs": None, "steps": 6, "evaluate_every": 3, "checkpoint_every": 2}


def attempt(text, out, settings=SETTINGS):
    """Begin the run, or go on with it if there is one."""
    if (out / "config.json").exists():
        runs.resume(RECIPE, {}, out)
    else:
        runs.start(RECIPE, [text], settings, out)


def in_child(work):
    """Run `work` in a fork and return its process number."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except ElmanError:
            os._exit(REFUSED)
        except BaseException as error:
            sys.stderr.write(f"child: {error!r}\n")
            os._exit(1)
    return child


def finish(child):
    """Wait for a child and return how it ended: minus the signal, or the exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def trace(out):
    """Return what must be equal bit for bit."""
    checkpoint, _ = tensors.read(out / "checkpoint/state.safetensors")
    return {
        "model.safetensors": (out / "model.safetensors").read_bytes(),
        "metrics.jsonl": (out / "metrics.jsonl").read_bytes(),
        "config.json": (out / "config.json").read_bytes(),
        "checkpoint": {name: tensor.numpy().tobytes() for name, tensor in checkpoint.items()},
        "files": sorted(str(path.relative_to(out)) for path in out.rglob("*")),
        "leftovers": sorted(path.name for path in out.parent.glob(f".{out.name}*")),
    }


def differences(expected, out):
    found = trace(out)
    return [name for name in expected if expected[name] != found[name]]


def die_at(point, moment):
    """Make this process kill itself before, after, or in the middle of the `point`-th write to the disk."""
    passed = []

    def wrap(name, original):
        def operation(*arguments, **options):
            passed.append(name)
            if len(passed) != point:
                return original(*arguments, **options)
            if moment == "middle":
                original(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            elif moment == "after":
                original(*arguments, **options)
            return os.kill(os.getpid(), signal.SIGKILL)

        return operation

    for name in POINTS:
        setattr(os, name, wrap(name, getattr(os, name)))
    return passed


def fail_at(point, number):
    """Make the `point`-th write to the disk of this process fail."""
    passed = []

    def wrap(original):
        def operation(*arguments, **options):
            passed.append(original)
            if len(passed) == point:
                raise OSError(number, os.strerror(number))
            return original(*arguments, **options)

        return operation

    for name in POINTS:
        setattr(os, name, wrap(getattr(os, name)))


def random_kills(text, folder, expected, duration, trials):
    rng = random.Random(20)
    wrong, killed = [], 0
    for trial in range(trials):
        out = folder / f"random-{trial}"
        for _ in range(2):
            child = in_child(lambda out=out: attempt(text, out))
            time.sleep(rng.uniform(0, duration))
            os.kill(child, signal.SIGKILL)
            killed += finish(child) == -signal.SIGKILL
        if finish(in_child(lambda out=out: attempt(text, out))) != 0:
            wrong.append([trial, "could not go on"])
            continue
        wrong += [[trial, name] for name in differences(expected, out)]
    return wrong, killed


def kills_at_points(text, folder, expected, names):
    wrong, killed = [], 0
    trials = [(point, moment) for point in range(1, len(names) + 1) for moment in ("before", *sys.argv[3:])]
    trials += [(point, "middle") for point, name in enumerate(names, 1) if name == "write"]
    for point, moment in trials:
        out = folder / f"point-{point}-{moment}"

        def work(point=point, moment=moment, out=out):
            die_at(point, moment)
            attempt(text, out, SETTINGS | FEW)

        killed += finish(in_child(work)) == -signal.SIGKILL
        if finish(in_child(lambda out=out: attempt(text, out, SETTINGS | FEW))) != 0:
            wrong.append([point, moment, "could not go on"])
            continue
        wrong += [[point, moment, name] for name in differences(expected, out)]
    return wrong, killed, len(trials)


def failing_calls(text, folder, expected, names, trials):
    """A failed call ends training with a message, or is of no account; the run resumes to the same bits."""
    rng = random.Random(21)
    wrong, refused = [], 0
    for trial in range(trials):
        out = folder / f"failure-{trial}"
        point, number = 1 + trial * len(names) // trials, rng.choice(ERRORS)

        def work(point=point, number=number, out=out):
            fail_at(point, number)
            attempt(text, out, SETTINGS | FEW)

        code = finish(in_child(work))
        refused += code == REFUSED
        if code not in (0, REFUSED):
            wrong.append([trial, names[point - 1], errno.errorcode[number], f"exit code {code}"])
        if finish(in_child(lambda out=out: attempt(text, out, SETTINGS | FEW))) != 0:
            wrong.append([trial, names[point - 1], errno.errorcode[number], "could not go on"])
            continue
        wrong += [[trial, name] for name in differences(expected, out)]
    return wrong, refused


def main():
    kind, folder = sys.argv[1], Path(sys.argv[2])
    settings = SETTINGS if kind == "random" else SETTINGS | FEW
    text = folder / "text.txt"
    rng = random.Random(1)
    text.write_text("".join(rng.choice("abc de\n") for _ in range(500)))
    read, write = os.pipe()

    def whole():
        passed = die_at(0, "before")
        attempt(text, folder / "whole", settings)
        names = ",".join(passed)
        os.write(write, names.encode())

    assert finish(in_child(whole)) == 0
    names = os.read(read, 60_000).decode().split(",")
    began = time.monotonic()
    assert finish(in_child(lambda: attempt(text, folder / "again", settings))) == 0
    duration = time.monotonic() - began
    expected = trace(folder / "whole")
    if kind == "random":
        trials = int(sys.argv[3])
        wrong, killed = random_kills(text, folder, expected, duration, trials)
    elif kind == "failures":
        trials = int(sys.argv[3])
        wrong, killed = failing_calls(text, folder, expected, names, trials)
    else:
        wrong, killed, trials = kills_at_points(text, folder, expected, names)
    rows = len(expected["metrics.jsonl"].splitlines())
    result = {"wrong": wrong, "killed": killed, "trials": trials, "rows": rows, "duration": duration}
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
