"""The pages of docs/maths: the Python on them runs, and the names and links they give exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from elman.layers import LAYERS

PAGES = Path(__file__).parents[2] / "docs" / "maths"


@pytest.mark.parametrize("cell", LAYERS)
def test_the_python_of_the_page_runs(cell):
    text = (PAGES / f"{cell}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2
    names: dict[str, object] = {}
    for i, block in enumerate(blocks):
        assert "assert " in block
        exec(compile(block, f"docs/maths/{cell}.md, block {i + 1}", "exec"), names)


@pytest.mark.parametrize("cell", LAYERS)
def test_the_links_of_the_page_lead_somewhere(cell):
    page = PAGES / f"{cell}.md"
    links = re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    assert links
    for link in links:
        assert (page.parent / link).exists(), link
