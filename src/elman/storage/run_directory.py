"""The run directory, which training writes and everything else reads. Nothing in it can run code.

config.json            recipe, settings, versions, fingerprint of the data
vocabulary.json        whatever files the recipe adds
model.safetensors      the best weights so far
checkpoint/            everything needed to resume exactly
metrics.jsonl          one line per evaluation
report.md              what was trained, on what, how well
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from elman.errors import BrokenRun, RunError, valid_unicode
from elman.storage import format_1
from elman.storage.files import (
    BESIDE,
    absence,
    append_line,
    disk_errors,
    exists,
    is_dir,
    is_link,
    read_checked,
    write_bytes,
    write_json,
    write_text,
)  # fmt: skip
from elman.storage.records import is_number
from elman.storage.run_creation import UNFINISHED, created_folder, folder_lock, listed
from elman.storage.run_validation import FORMAT, check_config, checked_rows, extraordinary, refuse_extraordinary

_LARGEST_METRICS = 2**28  # bytes of metrics.jsonl: some 300,000 evaluations


@dataclass(frozen=True)
class RunDirectory:
    """A directory that holds a run.

    Attributes:
        path: the directory.
        config: the content of config.json.
    """

    path: Path
    config: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Open a run.

        Raises:
            RunError: there is none, it is not a run or broken, or a newer version made it.
        """
        if not (exists(path / "config.json") or is_link(path / "config.json")):
            should, found = (
                "a directory that `elman train` made",
                "a file" if exists(path) else absence(path, "nothing of that name"),
            )
            if is_dir(path):
                found, should = listed(path) or "an empty directory", f"{should}, with a config.json"
            hint = "check the spelling of the name"
            if is_dir(staging := path.with_name(f".{path.name}{UNFINISHED}")):
                found += f", but {staging}, the remains of a run whose preparation was killed"
                hint = "repeat the command that made the run, without --resume; it removes them and begins again"
            raise RunError(f"{path} is not a run directory", should=should, found=found, hint=hint)
        refuse_extraordinary(path)
        config = cls(path, {}).read_json("config.json")
        check_config(path, config)
        return cls(path, format_1.upgraded(config) if config["format"] == 1 else config)

    @classmethod
    def create(cls, path: Path, recipe: str, settings: dict[str, Any], fill: Callable[[Path], Any]) -> RunDirectory:
        """Create a run atomically, in a new or an empty directory: it is filled beside `path` and renamed.

        `fill` writes the recipe's own files into a directory and returns the facts about the data for config.json.

        Raises:
            RunError: `path` is not empty, cannot be written, or another process creates a run there.
        """
        with disk_errors(path):
            name = path.absolute()
        with created_folder(path) as beside:
            data = fill(beside)  # outside of disk_errors: its own reads are not failed writes to `path`
            with disk_errors(path):
                write_json(beside / "config.json", describe(recipe, settings, data))
        return cls.open(name)

    def with_settings(self, settings: dict[str, Any]) -> RunDirectory:
        """Return the run with other settings, which `save_config` writes."""
        return RunDirectory(self.path, {**self.config, "settings": settings})

    def save_config(self) -> None:
        """Write config.json."""
        write_json(self.file("config.json"), self.config)

    @property
    def model(self) -> Path:
        """The best weights."""
        return self.file("model.safetensors")

    def weights_digest(self) -> str:
        """Return the SHA-256 of the file of the best weights, in hexadecimal."""
        with self.model.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def best_metrics(self) -> dict[str, float | None]:
        """Return the validation metrics of the best weights.

        Raises:
            RunError: there are no weights, or they are broken.
        """
        from elman.storage import tensors  # only here: all else of a run is read without torch

        _, facts = tensors.header(self.model)
        metrics = facts.get("metrics") if isinstance(facts, dict) else None
        if not isinstance(metrics, dict) or not all(value is None or is_number(value) for value in metrics.values()):
            found = str(metrics)[:80]
            raise BrokenRun(f"{self.model} is broken", should="the metrics of its weights", found=found)
        return self._renamed(metrics)

    @property
    def checkpoint(self) -> Path:
        """The one file that holds everything to resume exactly, so that it is replaced in one operation."""
        return self.file("checkpoint/state.safetensors")

    def file(self, name: str) -> Path:
        """Return the path of a file of the run.

        Raises:
            RunError: the name leads outside of the run, or through a link.
        """
        path = self.path / name
        parts = Path(name).parts
        if Path(name).is_absolute() or ".." in parts:
            what, should = f"{name} is outside of the run {self.path}", "a name inside the run directory"
            raise BrokenRun(what, should=should, found=name)
        parent = self.path
        for part in parts:
            parent = parent / part
            if is_link(parent):
                raise extraordinary(parent, "a link")
        return path

    def read_json(self, name: str) -> Any:
        """Read one of the run's JSON files.

        Raises:
            RunError: it is missing, too large, or not JSON.
        """
        return read_checked(self.file(name), "JSON")

    def check_data(self, fingerprint: str, what: str) -> None:
        """Check the fingerprint of the data in the run, which the message calls by the plural `what`, such as "pairs".

        Raises:
            RunError: config.json has another fingerprint.
        """
        expected = self.config["data"].get("fingerprint")
        if fingerprint != expected:
            raise BrokenRun(
                f"the {what} in {self.path} are not those that the run began with",
                should=f"fingerprint {expected}",
                found=fingerprint,
            )

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.jsonl, none before the first evaluation.

        An incomplete last line, which a crash may leave, is skipped.

        Raises:
            RunError: a row is broken, or the file is too large.
        """
        if not exists(self.file("metrics.jsonl")):
            return []
        path, should = self.file("metrics.jsonl"), "an evaluation on each line"
        rows: list[dict[str, Any]] = read_checked(path, should, checked_rows, largest=_LARGEST_METRICS)
        return [{**row, "validation": self._renamed(row["validation"])} for row in rows]

    def _renamed(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """Return metrics under the names of format 2."""
        return format_1.renamed(metrics, format_1.METRICS.get(self.config.get("recipe", ""), {}))

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Replace metrics.jsonl by these rows."""
        write_bytes(self.file("metrics.jsonl"), b"".join(_line(row) + b"\n" for row in rows))

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add a row to metrics.jsonl."""
        append_line(self.file("metrics.jsonl"), _line(row))

    def sweep(self) -> None:
        """Remove the temporary files that a crash left."""
        for folder in (self.path, self.path / "checkpoint"):
            for leftover in folder.glob(f"*{BESIDE}"):
                leftover.unlink()
        shutil.rmtree(self.path / UNFINISHED, ignore_errors=True)

    def write_text(self, name: str, text: str) -> None:
        """Replace a text file of the run."""
        write_text(self.file(name), text)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run against training by a second process; the lock ends with the process.

        Raises:
            RunError: another process is training this run.
        """
        with folder_lock(Path(os.path.realpath(self.path))) as ours:
            if not ours:
                raise RunError(
                    f"another process is training {self.path}",
                    should="one process at a time",
                    found="a lock of another process on the directory",
                    hint="wait for it, or choose another --out",
                )
            yield


def _line(row: dict[str, Any]) -> bytes:
    return valid_unicode(json.dumps(row, ensure_ascii=False, allow_nan=False)).encode()


def describe(recipe: str, settings: dict[str, Any], data: Any) -> dict[str, Any]:
    """Return the content of config.json of a new run."""
    return {
        "format": FORMAT,
        "elman": version("elman"),
        "torch": version("torch"),
        "python": platform.python_version(),
        "recipe": recipe,
        "settings": settings,
        "data": data,
    }
