"""A small trained run."""

import random
from pathlib import Path

import pytest

from elman import cli

TINY = ["--hidden", "8", "--set", "embedding=4", "--set", "batch_size=2", "--set", "window=8"]


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chance = random.Random(1)
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("".join(chance.choice(["ein ", "Öl ", "paar ", "\n"]) for _ in range(400)), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def run(text: Path) -> Path:
    out = text.with_name("run")
    assert cli.run(["train", "language-model", str(text), "--steps", "30", "--out", str(out), *TINY]) == 0
    return out


@pytest.fixture
def tiny() -> list[str]:
    return TINY
