"""A small trained run."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def text(language_text: Path) -> Path:
    return language_text


@pytest.fixture(scope="session")
def run(language_run: Path) -> Path:
    return language_run


@pytest.fixture
def tiny(language_settings: dict[str, int]) -> list[str]:
    return [word for name, value in language_settings.items() for word in ("--set", f"{name}={value}")]
