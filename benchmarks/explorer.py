"""Measure the learner's page in a headless Chromium, and draw its pictures for the guide.

python benchmarks/explorer.py --pictures docs/images --run runs/demo      (one minute on one core)

A change is everything that follows an edited number: computing, drawing and the browser's layout. The first figure is
of 25 changes the median, the second the least, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import io
import shutil
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from elman.explorer.api import explore

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
SIZES = [(12, 8, 16.0), (60, 32, 100.0)]
"""Steps, units, and the most milliseconds that a change may take."""

VIEWS, CELLS = ("network", "gradient"), ("rnn_tanh", "lstm")
CHANGES = 25
OPENING_SECONDS = 2.0  # the most, for the page of a run

PICTURES = [
    ("explore-1400-light", 1400, 900, "light", None),
    ("explore-1400-dark", 1400, 880, "dark", "#bptt"),
    ("explore-820-light", 820, 1180, "light", "#gates"),
    ("explore-820-dark", 820, 1100, "dark", "#unrolling"),
    ("explore-390-light", 390, 860, "light", "#state"),
    ("explore-390-dark", 390, 860, "dark", "run"),
]
"""Name, width, height, colours, and the chapter; "run" is the page of a run."""


def changes(page: Page) -> None:
    """Print how long a change takes, for every size, view and cell."""
    for steps, units, most in SIZES:
        for cell in CELLS:
            for view in VIEWS:
                page.evaluate(
                    "([view, cell, T, H]) => { const a = elmanPage.actions; a.example(); a.show(view); a.cell(cell);"
                    " a.units(H); a.steps(T); }",
                    [view, cell, steps, units],
                )
                times = page.evaluate(f"Array.from({{ length: {CHANGES} }}, () => elmanPage.milliseconds())")
                middle, least = statistics.median(times), min(times)
                print(f"T {steps}, H {units}, {cell}, {view}: {middle:.1f} ms, least {least:.1f} ms (limit {most:.0f})")


def opening(page: Page, path: Path) -> None:
    """Print how long the page of a run takes from the file to its first picture."""
    page.goto(path.as_uri())
    page.wait_for_function("() => performance.getEntriesByType('paint').length > 0")
    seconds = page.evaluate("performance.getEntriesByType('paint').at(-1).startTime") / 1000
    kilobytes = path.stat().st_size // 1000
    print(f"{path.name}: {kilobytes} kB, first contentful paint after {seconds:.2f} s (limit {OPENING_SECONDS:.0f})")


def draw(browser: Any, pages: dict[str, Path], out: Path) -> None:
    """Write the pictures."""
    for name, width, height, scheme, chapter in PICTURES:
        path = pages["run" if chapter == "run" and "run" in pages else "lesson"]
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.goto(path.as_uri() + (chapter if chapter and chapter.startswith("#") else ""))
        page.wait_for_timeout(600)
        if name == "explore-390-light":
            page.evaluate("scrollTo(0, document.getElementById('stage').offsetTop - 60)")
        image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        image.save(out / f"{name}.png", optimize=True)
        page.close()


def main() -> None:
    """Make the pages, measure them, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="a trained run, such as that of `make demo`")
    parser.add_argument("--pictures", type=Path, help="a folder for the pictures")
    options = parser.parse_args()
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        pages = {"lesson": explore().save(Path(folder) / "lesson.html")}
        if options.run:
            pages["run"] = explore(options.run).save(Path(folder) / "run.html")
        program = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        for path in pages.values():
            opening(page, path)
        page.goto(pages["lesson"].as_uri())
        changes(page)
        if options.pictures:
            draw(browser, pages, options.pictures)
        browser.close()


if __name__ == "__main__":
    main()
