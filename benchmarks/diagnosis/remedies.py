"""Does the doctor cure? Train a plain network, diagnose it, apply the first remedy as it is printed, train again.

    python benchmarks/diagnosis/remedies.py adding:100 adding:200 adding:400 copy:50 copy:100 mnist --data FOLDER

Every case starts from the same patient: a tanh RNN with torch's initialisation, AdamW with a learning rate of 0.001
that falls along half a cosine, and no clipping. The doctor sees one batch of its training data after training has
failed; what it prints first is parsed as the command line would parse it, and a new model is trained with it, for as
many steps, on the same seed. `--no-gates` takes the first remedy that keeps a plain RNN. The table holds before,
verdict, remedy and after; a line is added to it as each case ends.

The tasks: adding (Hochreiter and Schmidhuber, 1997): of T random numbers two are marked, their sum is asked for; always
answering 1 has a squared error of 0.167. Copy (the same; in the form of Arjovsky, Shah and Bengio, 2016): ten symbols
are shown, then T blanks, then they are asked for in order; guessing is right for 1 of 8. Pixel MNIST (Le, Jaitly and
Hinton, 2015): a digit, pixel by pixel, 784 steps; the last 5,000 training digits are held out. FOLDER holds MNIST's
train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz; it can also be given as ELMAN_DATA, with mnist/ in it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import elman
from elman.inspection import Report, diagnose
from elman.layers import LAYERS

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Treatment:
    """What a remedy can set."""

    cell: str = "rnn"
    nonlinearity: str = "tanh"
    init: str = "torch"
    clip: float = 0.0  # 0 clips nothing
    learning_rate: float = 0.001
    weight_decay: float = 0.0

    def changed(self, paste: str) -> Treatment:
        """Return the treatment with a remedy's options, read as the command line reads them."""
        values: dict[str, Any] = dict(vars(self))
        words = iter(shlex.split(paste))
        for word in words:
            if word == "--cell":
                values["cell"] = next(words)
            elif word == "--set":
                name, _, value = next(words).partition("=")
                if name in values:
                    values[name] = type(values[name])(value)
                elif name != "window":  # these tasks are trained over whole sequences
                    raise SystemExit(f"the remedy {paste!r} sets {name}, which this benchmark cannot")
            else:
                raise SystemExit(f"the remedy {paste!r} cannot be read")
        return Treatment(**values)


@dataclass(frozen=True)
class Task:
    """A task: its batches, its loss, and the number that says whether it is solved."""

    inputs: int
    outputs: int
    hidden: int
    batch: int
    steps: int  # of training, unless the command line says otherwise
    draw: Callable[[int, torch.Generator], Batch]
    held_out: Callable[[], Batch]
    loss: Callable[[Tensor, Tensor], Tensor]  # of what `Net` returns
    metric: str
    score: Callable[[Tensor, Tensor], float]
    solved: Callable[[float], bool]
    last: int  # the read-out sees so many of the last steps
    memory: int  # how many steps back the gradient has to reach, as `elman diagnose --memory` is told


class Net(nn.Module):
    """A recurrent layer and a linear read-out of its last steps."""

    def __init__(self, task: Task, treatment: Treatment) -> None:
        super().__init__()
        options: dict[str, Any] = {"nonlinearity": treatment.nonlinearity} if treatment.cell == "rnn" else {}
        layer: Any = LAYERS[treatment.cell]
        self.recurrent = layer(task.inputs, task.hidden, init=treatment.init, **options)
        self.read = nn.Linear(task.hidden, task.outputs)
        self.last = task.last

    def forward(self, x_TBI: Tensor) -> Tensor:
        y_TBH, _ = self.recurrent(x_TBI)
        output: Tensor = self.read(y_TBH[-self.last :])
        return output


def adding(T: int) -> Task:
    def draw(count: int, generator: torch.Generator) -> Batch:
        values = torch.rand(T, count, generator=generator)
        first = torch.randint(0, T // 2, (count,), generator=generator)
        second = torch.randint(T // 2, T, (count,), generator=generator)
        marks = torch.zeros(T, count)
        rows = torch.arange(count)
        marks[first, rows] = marks[second, rows] = 1.0
        return torch.stack([values, marks], 2), (values * marks).sum(0)[None, :, None]

    def squares(output: Tensor, target: Tensor) -> Tensor:
        return functional.mse_loss(output, target)

    return Task(
        inputs=2,
        outputs=1,
        hidden=64,
        batch=32,
        steps=6000,
        draw=draw,
        held_out=lambda: draw(1000, torch.Generator().manual_seed(10**6)),
        loss=squares,
        metric="squared error",
        score=lambda output, target: float(squares(output, target)),
        solved=lambda score: score < 0.01,
        last=1,
        memory=T // 2,  # the first number is shown at least so long before the end
    )


def copy(T: int, symbols: int = 8, length: int = 10) -> Task:
    def draw(count: int, generator: torch.Generator) -> Batch:
        message = torch.randint(0, symbols, (length, count), generator=generator)
        blank = torch.full((T, count), symbols)
        ask = torch.full((length, count), symbols + 1)
        return functional.one_hot(torch.cat([message, blank, ask]), symbols + 2).float(), message

    return Task(
        inputs=symbols + 2,
        outputs=symbols,
        hidden=96,
        batch=32,
        steps=6000,
        draw=draw,
        held_out=lambda: draw(500, torch.Generator().manual_seed(10**6)),
        loss=lambda output, target: functional.cross_entropy(output.flatten(0, 1), target.flatten()),
        metric="symbols right",
        score=lambda output, target: float((output.argmax(2) == target).float().mean()),
        solved=lambda score: score > 0.99,
        last=length,
        memory=T + length,  # a symbol is asked for so long after it was shown
    )


def mnist(folder: Path) -> Task:
    def read(name: str, header: int) -> Tensor:
        with gzip.open(folder / name) as file:
            return torch.frombuffer(bytearray(file.read()[header:]), dtype=torch.uint8)

    images = read("train-images-idx3-ubyte.gz", 16).view(-1, 784)
    labels = read("train-labels-idx1-ubyte.gz", 8).long()
    kept = len(images) - 5000

    def batch_of(places: Tensor) -> Batch:
        return images[places].float().div(255).T[:, :, None].contiguous(), labels[places][None]

    return Task(
        inputs=1,
        outputs=10,
        hidden=128,
        batch=64,
        steps=20_000,
        draw=lambda count, generator: batch_of(torch.randint(0, kept, (count,), generator=generator)),
        held_out=lambda: batch_of(torch.arange(kept, len(images))),
        loss=lambda output, target: functional.cross_entropy(output[0], target[0]),
        metric="digits right",
        score=lambda output, target: float((output[0].argmax(1) == target[0]).float().mean()),
        solved=lambda score: score >= 0.9,
        last=1,
        memory=392,  # half of the picture
    )


def train(task: Task, treatment: Treatment, steps: int, seed: int, every: int = 500) -> tuple[Net, float, int]:
    """Return the model, its best score on held-out data, and the step that reached it; ends early when solved."""
    torch.manual_seed(seed)
    model = Net(task, treatment)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=treatment.learning_rate, weight_decay=treatment.weight_decay, betas=(0.9, 0.99)
    )
    # As `elman train` does it: half a cosine down to a twentieth.
    cosine = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 0.05 + 0.95 * (1 + math.cos(math.pi * min(1.0, step / steps))) / 2
    )
    x, target = task.held_out()
    best, at = None, 0
    for step in range(1, steps + 1):
        inputs, wanted = task.draw(task.batch, generator)
        optimiser.zero_grad()
        loss = task.loss(model(inputs), wanted)
        loss.backward()  # type: ignore[no-untyped-call]
        if treatment.clip:
            nn.utils.clip_grad_norm_(model.parameters(), treatment.clip)
        optimiser.step()
        cosine.step()
        if step % every == 0 or step == steps:
            with torch.no_grad():
                score = task.score(torch.cat([model(x[:, k : k + 250]) for k in range(0, x.shape[1], 250)], 1), target)
            print(f"  step {step:6}  loss {float(loss.detach()):.4f}  {task.metric} {score:.4f}", file=sys.stderr)
            if best is None or (score < best if task.metric == "squared error" else score > best):
                best, at = score, step
            if task.solved(score):
                break
    assert best is not None
    return model, best, at


def examine(task: Task, model: Net, treatment: Treatment, seed: int) -> Report:
    """Diagnose a model on one batch of its training data, as `elman diagnose` would."""
    sample = task.draw(8, torch.Generator().manual_seed(seed + 1))
    settings = {"learning_rate": treatment.learning_rate, "clip": treatment.clip}
    return diagnose(model, [sample], lambda m, b: task.loss(m(b[0]), b[1]), memory=task.memory, settings=settings)


def run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return one line of the table."""
    kind, _, length = name.partition(":")
    task = mnist(options.data / "mnist") if kind == "mnist" else {"adding": adding, "copy": copy}[kind](int(length))
    steps, sick = options.steps or task.steps, Treatment()
    print(f"{name}: the patient", file=sys.stderr)
    start = time.perf_counter()
    model, before, _ = train(task, sick, options.patient_steps or steps, options.seed)
    line: dict[str, Any] = {"case": name, "metric": task.metric, "before": before}
    if task.solved(before):
        return {**line, "verdict": "not ill", "remedy": "", "after": before, "solved": True, "steps": 0}
    report = examine(task, model, sick, options.seed)
    remedies = report.layers[0].remedies
    if options.no_gates:
        remedies = tuple(r for r in remedies if "--cell lstm" not in r.options and "--cell gru" not in r.options)
    line |= {"verdict": report.verdict, "words": report.layers[0].findings[0].message}
    if not remedies:
        return {**line, "remedy": "", "after": before, "solved": False, "steps": 0}
    remedy = remedies[0].options
    print(f"{name}: {report.verdict}; {line['words']}\n{name}: {remedy}", file=sys.stderr)
    _, after, at = train(task, sick.changed(remedy), steps, options.seed)
    minutes = (time.perf_counter() - start) / 60
    return {**line, "remedy": remedy, "after": after, "solved": task.solved(after), "steps": at, "minutes": minutes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", metavar="CASE", help="adding:T, copy:T or mnist")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ELMAN_DATA", ".")), help="folder with mnist/")
    parser.add_argument("--steps", type=int, help="of training; the default is the task's own")
    parser.add_argument("--patient-steps", type=int, help="of the patient's training; the same if not given")
    parser.add_argument("--no-gates", action="store_true", help="take the first remedy that keeps a plain RNN")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="add a line for each case to this file")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, elman {elman.__version__}\n")
    print("| case | measure | before | verdict | remedy | after | steps | solved |\n" + "| --- " * 8 + "|")
    for name in options.cases:
        line = run(name, options)
        cells = [line["case"], line["metric"], f"{line['before']:.4f}", line["verdict"], f"`{line['remedy']}`"]
        cells += [f"{line['after']:.4f}", str(line["steps"]), "yes" if line["solved"] else "no"]
        print("| " + " | ".join(cells) + " |", flush=True)
        if options.json:
            with options.json.open("a") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
