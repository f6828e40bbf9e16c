"""Check, then time: the training of a language model by elman's loop beside the same model in plain torch.

    python benchmarks/speed/training.py [--layers 2] [--hidden 512] [--embedding 128] [--symbols 65] [--batch 32]
                                  [--window 64] [--steps 30] [--fused] [--json]

Elman's side is the whole of `elman.training.loop.train`: schedule, objective, clipping, optimiser and bookkeeping.
The other side is what a tutorial writes: nn.Embedding, nn.LSTM, nn.Linear, cross-entropy, clip_grad_norm_, AdamW.
Both begin with the same weights and see the same windows; their losses are compared before anything is timed. A step
of one is followed by a step of the other, so that whatever else the machine does meets both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from speed import machine
from torch import Tensor, nn
from torch.nn import functional

from elman.models.language_model import LanguageModel
from elman.storage.run_directory import RunDirectory
from elman.training.loop import train
from elman.training.optimiser import build_optimiser, clip_gradients
from elman.training.settings import TrainingSettings
from elman.training.task import Loss, Task

CHECKED = 5  # steps whose losses are compared, and that are not timed
TOLERANCE = 2e-4  # of float32 after so many steps, relative


class Sizes(NamedTuple):
    """Of the model and its windows."""

    layers: int
    hidden: int
    embedding: int
    symbols: int
    batch: int
    window: int


class Plain(nn.Module):
    """The model in torch's own layers."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.symbols, sizes.embedding)
        self.recurrent = nn.LSTM(sizes.embedding, sizes.hidden, sizes.layers)
        self.output = nn.Linear(sizes.hidden, sizes.symbols)

    def forward(self, input_TB: Tensor, state: Any) -> tuple[Tensor, Any]:
        s_TBH, state = self.recurrent(self.embedding(input_TB), state)
        return self.output(s_TBH), state


class PlainTraining:
    """Its training step, as a tutorial writes it."""

    def __init__(self, model: Plain, settings: TrainingSettings, fused: bool) -> None:
        self.model, self.clip, self.state = model, settings.clip, None
        self.optimiser = torch.optim.AdamW(
            model.parameters(), lr=settings.learning_rate, betas=(settings.beta1, settings.beta2), fused=fused or None
        )

    def step(self, input_TB: Tensor, target_TB: Tensor) -> float:
        self.optimiser.zero_grad()
        logits_TBV, state = self.model(input_TB, self.state)
        loss = functional.cross_entropy(logits_TBV.flatten(0, 1), target_TB.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimiser.step()
        self.state = tuple(s.detach() for s in state)
        return loss.item()


class Turns:
    """Windows for the loop; before each is handed out, the other side takes its step, and both are timed."""

    position: Any = None
    progress: float = 0.0

    def __init__(self, sizes: Sizes, other: PlainTraining, steps: int) -> None:
        self.sizes, self.other, self.steps = sizes, other, steps
        self.seconds: dict[str, list[float]] = {"torch": [], "elman": []}
        self.losses: list[float] = []

    def seek(self, position: Any) -> None:
        """There is no place to go back to."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(1)
        for _ in range(self.steps):
            text_TB = torch.randint(self.sizes.symbols, (self.sizes.window + 1, self.sizes.batch), generator=generator)
            window = text_TB[:-1], text_TB[1:]
            start = time.perf_counter()
            self.losses.append(self.other.step(*window))
            between = time.perf_counter()
            yield window
            self.seconds["torch"].append(between - start)
            self.seconds["elman"].append(time.perf_counter() - between)


def run(sizes: Sizes, steps: int, fused: bool) -> dict[str, list[float]]:
    """Train both for so many steps, and return the seconds of each step; stop where their losses differ."""
    torch.manual_seed(0)
    ours = LanguageModel(sizes.symbols, embedding=sizes.embedding, hidden=sizes.hidden, layers=sizes.layers)
    theirs = Plain(sizes)
    theirs.load_state_dict(ours.state_dict())
    total = CHECKED + steps + 1
    settings = TrainingSettings.parse(
        {"steps": total, "schedule": "constant", "warmup": 0, "weight_decay": 0.01, "evaluate_every": total + 1}
    )
    turns = Turns(sizes, PlainTraining(theirs, settings, fused), total)
    losses: list[float] = []

    def objective(model: Any, window: Any, state: Any) -> Loss:
        nats, state = model.nats(*window, state)
        return Loss(nats / window[1].numel(), window[1].numel(), state)

    def watch(moment: Any) -> None:
        losses.append(moment.loss)
        pairs = zip(losses[:CHECKED], turns.losses, strict=False)
        if any(not abs(a - b) <= TOLERANCE * abs(b) for a, b in pairs):
            sys.exit(f"the losses differ, nothing is timed: elman {losses}, torch {turns.losses}")

    task = Task(ours, turns, objective, lambda model: {"none": 0.0}, metric="none")
    with tempfile.TemporaryDirectory() as folder:
        train(task, settings, RunDirectory.create(Path(folder) / "run", "benchmark", {}, lambda _: {}), watch=watch)
    return {name: values[CHECKED:] for name, values in turns.seconds.items()}


def parts(sizes: Sizes) -> dict[str, float]:
    """Return the milliseconds that each part of elman's step takes, best of several."""
    model = LanguageModel(sizes.symbols, embedding=sizes.embedding, hidden=sizes.hidden, layers=sizes.layers)
    optimiser = build_optimiser(model, TrainingSettings())
    input_TB, target_TB = torch.randint(sizes.symbols, (2, sizes.window, sizes.batch))
    model.nats(input_TB, target_TB)[0].backward()
    e_TBE = model.embedding(input_TB).detach().requires_grad_()
    s_TBH = model.recurrent(e_TBE)[0].detach().requires_grad_()
    d_e, d_s = torch.randn_like(e_TBE), torch.randn_like(s_TBH) * 1e-4
    runs: dict[str, Callable[[], object]] = {
        "embedding": lambda: model.embedding(input_TB).backward(d_e),
        "recurrent": lambda: model.recurrent(e_TBE)[0].backward(d_s),
        "output and loss": lambda: model.output.nats(s_TBH.flatten(0, 1), target_TB.flatten()).backward(),
        "clipping": lambda: clip_gradients(model, 1.0),
        "optimiser": optimiser.step,
    }
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(7):
        for name, part in runs.items():
            start = time.perf_counter()
            part()
            best[name] = min(best[name], time.perf_counter() - start)
            if name != "clipping":
                model.zero_grad(set_to_none=name != "output and loss")
            if name == "output and loss":
                for p in model.parameters():
                    p.grad = torch.ones_like(p)
    return {name: round(seconds * 1e3, 2) for name, seconds in best.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the training of a language model beside plain torch.")
    defaults = {"layers": 2, "hidden": 512, "embedding": 128, "symbols": 65, "batch": 32, "window": 64}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--steps", type=int, default=30, help="timed steps of each side")
    parser.add_argument("--fused", action="store_true", help="give the other side torch's fused AdamW too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    sizes = Sizes(*(getattr(given, name) for name in Sizes._fields))
    times = run(sizes, given.steps, given.fused)
    ours, theirs = (statistics.median(times[name]) for name in ("elman", "torch"))
    found = {
        "machine": machine(),
        "sizes": sizes._asdict(),
        "milliseconds": {"elman": round(ours * 1e3, 1), "torch": round(theirs * 1e3, 1)},
        "symbols_per_second": round(sizes.batch * sizes.window / ours),
        "ratio_of_medians": round(theirs / ours, 2),
        "median_of_ratios": round(
            statistics.median(t / o for t, o in zip(times["torch"], times["elman"], strict=True)), 2
        ),
        "parts_milliseconds": parts(sizes),
    }
    print(json.dumps(found) if given.json else "\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
