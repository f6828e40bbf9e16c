"""Sound, video and skeletons in the form that `elman train classify` reads: manifests, and JSON lines."""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Joints = NDArray[np.float64]
"""(T, 20, 3): metres, y upwards."""

NECK, HIP = 2, 6
JUDGED = 9  # the person of the validation part
COPIES = 8  # of a training sequence: itself, and others that are turned, stretched and faster or slower


def first_words(data: Path, folder: Path) -> Path:
    """Write a manifest of the clips of GRID with the first word of each sentence as the label."""
    for part in ("train", "valid"):
        rows = [line.split("\t") for line in (data / "grid" / f"{part}.tsv").read_text().splitlines()[1:]]
        write_manifest(folder / f"{part}.tsv", ((data / "grid" / path, text.split()[0]) for path, text in rows))
    return folder


def spoken_digits(data: Path, folder: Path) -> Path:
    """Write manifests of FSDD: the first five recordings of each digit and speaker are the test part."""
    paths = sorted((data / "fsdd").glob("*.wav"))
    for part, wanted in (("train", False), ("test", True)):
        chosen = [path for path in paths if (int(path.stem.split("_")[2]) < 5) == wanted]
        write_manifest(folder / f"{part}.tsv", ((path, path.stem.split("_")[0]) for path in chosen))
    return folder


def write_manifest(path: Path, rows: Iterator[tuple[Path, str]]) -> None:
    """Write a table with the columns path and label."""
    path.write_text("path\tlabel\n" + "".join(f"{file}\t{label}\n" for file, label in rows))


def skeletons(data: Path, folder: Path) -> Path:
    """Write MSR-Action3D: people with odd numbers train, those with even ones test.

    Person 9 is kept from training for validation: what a model gets on people that it knows says nothing about others.
    Frames in which the camera saw nobody (all joints at zero) are left out, and with them a13_s09_e02 as a whole,
    which has no others.
    """
    rng = np.random.default_rng(1)
    parts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for action, person, joints in read_skeletons(data / "msraction3d" / "msraction3d.zip"):
        if person % 2 == 0:
            parts["test"].append(line(action, joints))
        elif person == JUDGED:
            parts["validation"].append(line(action, joints))
        else:
            varied = [vary(joints, rng) for _ in range(COPIES - 1)]
            parts["train"] += [line(action, sequence) for sequence in (joints, *varied)]
    for name, lines in parts.items():
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def read_skeletons(path: Path) -> Iterator[tuple[int, int, Joints]]:
    """Yield action, person and joints, counted from where the hips are at first, in lengths of the trunk."""
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            found = re.fullmatch(r"a(\d+)_s(\d+)_e(\d+)_skeleton3D\.txt", name)
            if found is None:
                continue
            numbers = np.array(archive.read(name).decode().split(), float).reshape(-1, 20, 4)[..., :3]
            seen = numbers[(numbers != 0).any((1, 2))]
            if len(seen) == 0:
                print(f"{name} is left out: all of it is zero")
                continue
            trunk = np.linalg.norm(seen[:, NECK] - seen[:, HIP], axis=-1).mean()
            yield int(found[1]), int(found[2]), (seen - seen[0, HIP]) / trunk


def vary(joints: Joints, rng: np.random.Generator) -> Joints:
    """Return a sequence as another person could have done it, seen from a little aside."""
    speed, size, angle = 1 + 0.2 * rng.uniform(-1, 1), 1 + 0.1 * rng.uniform(-1, 1), rng.uniform(-1, 1)
    place = np.linspace(0, len(joints) - 1, max(2, round(len(joints) / speed)))
    before = np.minimum(place.astype(int), max(0, len(joints) - 2))
    after, share = np.minimum(before + 1, len(joints) - 1), (place - before)[:, None, None]
    cos, sin = math.cos(math.radians(25) * angle), math.sin(math.radians(25) * angle)
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    return size * (joints[before] * (1 - share) + joints[after] * share) @ turn.T


def line(action: int, joints: Joints) -> str:
    """Return a line of JSON: at each step the places of the joints and their velocities, and the label."""
    places = joints.reshape(len(joints), 60)
    velocity = np.zeros_like(places)
    velocity[1:-1] = (places[2:] - places[:-2]) / 2
    row: dict[str, Any] = {"label": f"{action:02d}", "series": np.hstack([places, velocity]).round(4).tolist()}
    return json.dumps(row, separators=(",", ":"))
