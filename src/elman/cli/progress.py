"""The progress of a training run on standard error: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Self

from rich.live import Live
from rich.text import Text

from elman.cli.console import PrintedConsole
from elman.errors import shell_word
from elman.number_format import decimal

if TYPE_CHECKING:
    from elman.recipes.run import Trained, TrainingProgress

PERIOD = 0.2  # seconds between two updates of the live line
PLAIN_PERIOD = 10.0  # seconds between two plain lines


class Progress:
    """The progress of a training, for a person.

    Args:
        headline: turns the metrics of an evaluation into a few words.
        gradients: whether to show the norm of the gradient and its horizon.
    """

    def __init__(self, headline: Callable[[Mapping[str, float]], str], *, gradients: bool = False) -> None:
        self._headline, self._gradients = headline, gradients
        self._horizons = ""
        self._console = PrintedConsole(stderr=True)
        self._live: Live | None = None
        self._shown = self._began = time.monotonic()
        self._first: tuple[int, float] | None = None  # symbols and seconds when this process began

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, transient=True, auto_refresh=False).__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(Text(text), soft_wrap=True)

    def watch(self, moment: TrainingProgress) -> None:
        """Show some of the steps, and every evaluation."""
        if self._first is None:
            self._first = (moment.symbols, moment.seconds)
        if moment.row is not None:
            star = "  best so far" if moment.best else ""
            self.say(f"{self._line(moment)}  validation {self._headline(moment.row['validation'])}{star}")
            return
        now = time.monotonic()
        if now - self._shown < (PERIOD if self._live else PLAIN_PERIOD):
            return
        self._shown = now
        if self._live is not None:
            self._live.update(Text(self._line(moment), overflow="ellipsis", no_wrap=True), refresh=True)
        else:
            self.say(self._line(moment))

    def finish(self, trained: Trained) -> None:
        """Print how the training ended, and what to do next."""
        outcome, path = trained.outcome, trained.run.path
        if outcome.ended == "interrupted":
            self.say(f"interrupted at step {outcome.step:,}; everything is saved. To resume:")
            self.say(f"  elman train {trained.run.config['recipe']} --out {shell_word(path)} --resume")
            return
        why = {"budget": "training budget exhausted", "early": "early stopping (no improvement)"}[outcome.ended]
        self.say(f"{why}: {trained.headline} on the validation data (step {outcome.best_step:,})")
        self.say(f"the run is in {path}; {path}/report.md says how to use it")

    def _line(self, moment: TrainingProgress) -> str:
        assert self._first is not None
        symbols, seconds = moment.symbols - self._first[0], moment.seconds - self._first[1]
        speed = f"{symbols / seconds:,.0f} {moment.unit}/s  " if seconds > 0.5 else ""
        left = f"{clock(moment.left)} left" if moment.left is not None and moment.seconds > 0.5 else ""
        # A row has the mean since the last evaluation.
        loss = moment.loss if moment.row is not None or moment.mean_loss is None else moment.mean_loss
        line = f"step {moment.step:,}  epoch {moment.epoch:.2f}  loss {decimal(loss)}  {speed}{left}".rstrip()
        return f"{line}  {self._gradient(moment)}" if self._gradients else line

    def _gradient(self, moment: TrainingProgress) -> str:
        """Return the norm before and after clipping, and the horizons that were measured last."""
        before, after = moment.norms
        clipped = f", clipped to {after:.3g}" if after < before else ""
        measured = moment.probes or moment.row or {}
        horizons = [f"{name}: {steps:.0f} steps" for name, steps in measured.items() if "horizon" in name]
        if horizons:
            self._horizons = "  " + "  ".join(horizons)
        return f"gradient {before:.3g}{clipped}{self._horizons}"


def clock(seconds: float) -> str:
    """Return a time as 0:42, 3:05 or 2:10:00."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
