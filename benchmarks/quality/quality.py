"""How well the recipes do on real data: train within a budget, evaluate, and put the number beside its bar.

    ELMAN_DATA=DATA python benchmarks/quality/quality.py [--only NAME ...] [--scale X] [--threads N] [--out FILE]

Every case runs the two commands that a user would type, `elman train` and `elman evaluate`; both are printed. A case
replaces its own line in the stored table and leaves the others, so that the table can be made case by case.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from quality_cases import CASES, Case


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the quality of the recipes on real data.")
    parser.add_argument("--only", nargs="+", default=[], help="parts of names of cases")
    parser.add_argument("--scale", type=float, default=1.0, help="of the budgets: 0.1 for a quick look")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="processors to use")
    parser.add_argument("--out", type=Path, default=Path("docs/results/quality"), help="the stored table")
    parser.add_argument("--runs", type=Path, help="keep the runs in this folder")
    arguments = parser.parse_args()
    data = os.environ.get("ELMAN_DATA")
    if not data:
        sys.exit("ELMAN_DATA names no folder of data sets; docs/guide/quality.md says what lies in it")
    chosen = [case for case in CASES if not arguments.only or any(part in case.name for part in arguments.only)]
    if not chosen:
        sys.exit(f"no such case; there are: {', '.join(case.name for case in CASES)}")
    stored = arguments.out.with_suffix(".json")
    rows = json.loads(stored.read_text()) if stored.exists() else {}
    for case in chosen:
        with tempfile.TemporaryDirectory() as folder:
            runs = arguments.runs or Path(folder)
            rows[case.name] = measure(case, Path(data).resolve(), runs, arguments.scale, arguments.threads)
        known = {c.name for c in CASES}
        rows = {name: rows[name] for name in [c.name for c in CASES] if name in rows and name in known}
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        stored.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
        arguments.out.with_suffix(".md").write_text(table(rows))
    print(table(rows))


def measure(case: Case, data: Path, runs: Path, scale: float, threads: int) -> dict[str, Any]:
    """Train and evaluate a case, and return its row."""
    with tempfile.TemporaryDirectory() as made:
        home = case.make(data, Path(made)) if case.make else data
        run = runs / case.name.replace(" ", "-").replace(",", "")
        train = ["train", case.recipe, *(str(home / name) for name in case.data), "--out", str(run)]
        train += ["--minutes", f"{case.minutes * scale:g}"]
        for pair in case.settings:
            train += ["--set", pair.replace("DATA", str(home))]
        judge = ["evaluate", str(run), *(str(home / name) for name in case.judged), "--json"]
        began = time.monotonic()
        elman(train, threads)
        seconds = time.monotonic() - began
        metrics = json.loads(elman(judge, threads))
        further = {name: ["evaluate", str(run), str(home / source), "--json"] for name, source in case.beside}
        metrics |= {name: at(json.loads(elman(words, threads)), case.metric) for name, words in further.items()}
        shown = [
            shlex.join(["elman", *words]).replace(str(home), "DATA").replace(str(runs), "runs")
            for words in (train, judge, *further.values())
        ]
    return {
        **{f.name: getattr(case, f.name) for f in dataclasses.fields(case) if f.name not in ("make", "name")},
        "value": at(metrics, case.metric),
        "seconds": round(seconds),
        "scale": scale,
        "threads": threads,
        "metrics": metrics,
        "commands": shown,
        "date": datetime.date.today().isoformat(),
        "machine": f"{processor()}, {threads} of {os.cpu_count()} processors, torch {torch.__version__}",
        "commit": commit(),
    }


def at(metrics: dict[str, Any], path: str) -> Any:
    """Return the number at a key, or at a dotted path of keys."""
    value: Any = metrics
    for key in path.split("."):
        value = value[key]
    return value


def elman(words: list[str], threads: int) -> str:
    """Run a command of elman's, show what it says on the way, and return what it prints."""
    print(shlex.join(["elman", *words]), file=sys.stderr, flush=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([sys.executable, "-m", "elman", *words], stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        sys.exit(f"elman {words[0]} ended with {done.returncode}")
    return done.stdout


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.machine())


def commit() -> str:
    """Return the commit that is measured, marked where something is not committed."""
    words = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    found = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parent)
    return found.stdout.strip() or "unknown"


def table(rows: dict[str, Any]) -> str:
    """Return all rows as Markdown."""
    lines = [
        "# Quality on real data",
        "",
        "    ELMAN_DATA=DATA python benchmarks/quality/quality.py",
        "",
        "| what | metric | reached | bar | aim | budget, min | others | when, where, which commit |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for name, row in rows.items():
        reached = row["value"] <= row["bar"] if row["lower"] else row["value"] >= row["bar"]
        mark = "" if reached else " (**not reached**)"
        aim = "" if row["aim"] is None else f"{row['aim']:g}"
        also = "".join(f", {key} {at(row['metrics'], key):.3g}" for key in row.get("also", ()) if key != row["metric"])
        where = f"{row['date']}, {row['machine']}, {row['commit']}"
        budget = f"{row['minutes'] * row['scale']:g}"
        lines.append(
            f"| {name} | {row['metric']} | {row['value']:.4g}{mark}{also} | {row['bar']:g} | {aim} | {budget} "
            f"| {row['reference']} | {where} |"
        )
    missing = [case.name for case in CASES if case.name not in rows]
    if missing:
        lines += ["", f"Not in the table, because not measured as they stand: {'; '.join(missing)}."]
    lines += ["", "The commands:", ""]
    lines += [f"    {line}" for row in rows.values() for line in row["commands"]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
