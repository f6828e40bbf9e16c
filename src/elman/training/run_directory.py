"""The run directory: what training leaves and everything else takes. Nothing in it can run code.

config.json            recipe, settings, versions, fingerprint of the data
vocabulary.json        whatever files the recipe adds
model.safetensors      the best weights so far
checkpoint/            everything needed to go on exactly
metrics.jsonl          one line per evaluation
report.md              what was trained, on what, how well
"""

from __future__ import annotations

import contextlib
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

import torch

from elman.data.files import BESIDE, disk_errors, sync_folder, write_bytes, write_json
from elman.errors import RunError

FORMAT = 1
"""The version of this layout. A run with a higher one was made by a newer elman and is refused."""

_LARGEST = 16 * 2**20  # bytes of JSON that are read; ours are far smaller


@dataclass(frozen=True)
class RunDirectory:
    """A directory that is known to hold a run; `config` is what config.json says."""

    path: Path
    config: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Open a run.

        Raises:
            RunError: there is none, it is foreign or broken, or a newer version made it.
        """
        if not path.is_dir():
            found = "a file" if path.exists() else "nothing of that name"
            raise RunError(f"{path} is no run directory", should="a directory that `elman train` made", found=found)
        if not (path / "config.json").exists():
            names = sorted(entry.name for entry in path.iterdir())
            raise RunError(
                f"{path} is no run directory",
                should="a directory that `elman train` made, with a config.json",
                found=", ".join(names[:5]) + (" ..." if len(names) > 5 else "") if names else "an empty directory",
            )
        config = cls(path, {}).read_json("config.json")
        made = config.get("format") if isinstance(config, dict) else None
        if not isinstance(made, int) or made < 1 or "recipe" not in config:
            raise RunError(f"{path}/config.json is not elman's", should="the config.json that `elman train` wrote")
        if made > FORMAT:
            raise RunError(
                f"{path} was made by a newer version of elman",
                should=f"a run of format {FORMAT} or less",
                found=f"format {made}, written by elman {config.get('elman', '?')}",
                hint="pip install --upgrade elman",
            )
        wrong = [key for key in ("settings", "data") if not isinstance(config.get(key), dict)]
        if wrong or not isinstance(config["recipe"], str):
            raise RunError(f"{path}/config.json is broken", found=f"no {' and no '.join(wrong) or 'recipe'} in it")
        return cls(path, config)

    @classmethod
    def create(cls, path: Path, recipe: str, settings: dict[str, Any], fill: Callable[[Path], Any]) -> RunDirectory:
        """Make a run whole or not at all: it is filled beside `path` and renamed.

        Args:
            path: where; nothing, or an empty directory, may be there.
            recipe: the name of the recipe.
            settings: what config.json keeps of the settings.
            fill: puts the recipe's own files into the directory it is given and returns what config.json is to say
                about the data.

        Raises:
            RunError: `path` holds something, or cannot be written.
        """
        refuse_occupied(path)
        path = path.absolute()
        beside = path.with_name(f".{path.name}.unfinished")
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir()
        try:
            data = fill(beside)  # whose own reads must not be taken for writes to `path` that failed
            with disk_errors(path):
                write_json(beside / "config.json", describe(recipe, settings, data))
                with contextlib.suppress(FileNotFoundError):
                    path.rmdir()  # it is empty, and not every system renames over a directory
                beside.rename(path)
                sync_folder(path.parent)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        return cls.open(path)

    def with_settings(self, settings: dict[str, Any]) -> RunDirectory:
        """Write other settings into config.json, and return the run with them."""
        config = {**self.config, "settings": settings}
        if config != self.config:
            write_json(self.path / "config.json", config)
        return RunDirectory(self.path, config)

    @property
    def model(self) -> Path:
        """The best weights."""
        return self.file("model.safetensors")

    @property
    def checkpoint(self) -> Path:
        """The one file that holds everything to go on exactly, so that it is replaced in one operation."""
        return self.file("checkpoint/state.safetensors")

    def file(self, name: str) -> Path:
        """Return the path of a file of the run.

        Raises:
            RunError: the name climbs out of the run, or a link stands on the way.
        """
        path = self.path / name
        parts = Path(name).parts
        if Path(name).is_absolute() or ".." in parts:
            raise RunError(f"{name} lies outside of the run {self.path}", should="a name inside the run directory")
        here = self.path
        for part in parts:
            here = here / part
            if here.is_symlink():
                raise RunError(
                    f"{here} is a link", should="an ordinary file, so that a run cannot reach outside of itself"
                )
        return path

    def read_json(self, name: str) -> Any:
        """Read one of the run's JSON files.

        Raises:
            RunError: it is missing, too large, or not JSON.
        """
        path = self.file(name)
        try:
            if path.stat().st_size > _LARGEST:
                raise RunError(f"{path} is too large to be ours", found=f"{path.stat().st_size} bytes")
            return json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            if isinstance(error, RunError):
                raise
            raise RunError(f"{path} is broken", should="JSON", found=str(error)) from error
        except OSError as error:
            raise RunError(f"{path} cannot be read", found=error.strerror) from error

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.jsonl, none where there was no evaluation yet.

        Raises:
            RunError: a row is broken.
        """
        path = self.file("metrics.jsonl")
        if not path.exists():
            return []
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (ValueError, OSError) as error:
            raise RunError(f"{path} is broken", should="a JSON object on each line", found=str(error)) from error

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Replace metrics.jsonl by these rows."""
        lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows]
        write_bytes(self.file("metrics.jsonl"), "".join(lines).encode())

    def sweep(self) -> None:
        """Remove what a crash left of files that were being written."""
        for folder in (self.path, self.path / "checkpoint"):
            for leftover in folder.glob(f"*{BESIDE}"):
                leftover.unlink()

    def write_text(self, name: str, text: str) -> None:
        """Replace a text file of the run."""
        write_bytes(self.file(name), text.encode())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second process from training the same run; the lock goes with the process, however it ends.

        Raises:
            RunError: another process trains this run now.
        """
        if os.name != "posix":
            yield
            return
        import fcntl

        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise RunError(
                f"another process is training {self.path}", hint="wait for it, or choose another --out"
            ) from error
        finally:
            os.close(handle)


def refuse_occupied(path: Path) -> None:
    """Check that a new run can be made at `path`.

    Raises:
        RunError: a run is there already, or something else.
    """
    if not path.exists() and not path.is_symlink():
        return
    if not path.is_dir():
        raise RunError(f"--out {path} is a file", should="a directory that does not exist yet, or an empty one")
    if (path / "config.json").exists():
        raise RunError(
            f"--out {path} holds a run already",
            should="a directory that does not exist yet, or an empty one",
            hint=f"go on with it by --out {path} --resume, or choose another --out",
        )
    if any(path.iterdir()):
        raise RunError(
            f"--out {path} is not empty",
            should="a directory that does not exist yet, or an empty one",
            found=", ".join(sorted(entry.name for entry in path.iterdir())[:5]),
            hint="choose another --out",
        )


def describe(recipe: str, settings: dict[str, Any], data: Any) -> dict[str, Any]:
    """Return what config.json says of a new run."""
    return {
        "format": FORMAT,
        "elman": version("elman"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "recipe": recipe,
        "settings": settings,
        "data": data,
    }
