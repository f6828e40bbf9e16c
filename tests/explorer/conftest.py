"""An empty page of the browser, without a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A new empty page, without a network; an error in a script fails the test."""
    context = browser.new_context(offline=True)
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert failures == []
