"""The page in a browser: it generates, forks, rewinds, listens, reads files, and loads nothing from elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import elman

OpenPage = Callable[..., Any]


@pytest.fixture
def open_page(browser: Any, server: Any) -> Iterator[OpenPage]:
    """Open the page of a model; a request to elsewhere or an error in a script fails the test."""
    wrong: list[str] = []
    context = browser.new_context(viewport={"width": 1000, "height": 800}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(10_000)
    near = (server.url, "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(near) else wrong.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    refused = "Failed to load resource: the server responded"  # what the browser says of a refusal
    page.on(
        "console", lambda line: None if line.text.startswith(refused) or line.type == "log" else wrong.append(line.text)
    )

    def call(model: str) -> Any:
        page.goto(f"{server.url}/#{model}")
        page.wait_for_selector(f"main[data-ready={model}]")
        return page

    yield call
    context.close()
    assert wrong == []


def paper(page: Any) -> str:
    return str(page.locator(".paper").text_content())


def test_a_session_generates_forks_rewinds_and_ends(open_page: OpenPage, client: httpx.Client, text_run: Path) -> None:
    page = open_page("text")
    page.get_by_role("button", name="New session").click()
    page.fill("#prompt", "ein")
    page.fill("#seed", "5")
    page.get_by_label("Temperature").fill("1")
    page.get_by_label("Symbols").fill("40")
    page.get_by_role("button", name="Write").click()
    page.get_by_text("40 symbols with the seed 5.").wait_for()
    expected = "ein" + "".join(elman.load(text_run).generate("ein", length=40, seed=5))
    assert paper(page) == expected
    session = page.locator(".session[aria-current]").get_attribute("title")
    assert client.get(f"/v1/sessions/{session}").json()["position"] == 43
    names = page.locator(".side .bars .name").all_inner_texts()
    assert 1 < len([name for name in names if name]) <= 12 and page.locator("canvas.heat").is_visible()
    page.get_by_role("button", name="Fork session").click()
    page.get_by_text("Forked from").wait_for()
    fork = page.locator(".session[aria-current]").get_attribute("title")
    assert fork != session and paper(page) == expected
    page.get_by_role("button", name="Rewind to 0 symbols").click()
    page.get_by_text("Rewound to 0 symbols.").wait_for()
    positions = [client.get(f"/v1/sessions/{name}").json()["position"] for name in (session, fork)]
    assert positions == [43, 0] and paper(page) == ""
    page.get_by_role("button", name="Delete session").click()
    page.locator(f".session[title='{fork}']").wait_for(state="detached")
    assert client.get(f"/v1/sessions/{fork}").status_code == 404


def test_the_microphone_is_heard_live(open_page: OpenPage, microphone: Path, whistled: Any) -> None:
    import numpy as np
    import soundfile

    quiet = np.zeros(4000, np.float32)
    soundfile.write(microphone, np.concatenate([quiet, np.clip(whistled("abc"), -1, 1), quiet]), 4000, subtype="PCM_16")
    page = open_page("whistles")
    page.get_by_role("button", name="Listen").click()
    page.get_by_text("Listening.").wait_for()
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("seconds were heard").wait_for()
    assert float(page.locator("#page .message").inner_text().split()[0]) > 0.5
    page.set_input_files("input[type=file]", microphone)
    page.get_by_text(f"{microphone.name}:").wait_for()


def test_a_csv_file_is_forecast(open_page: OpenPage, forecast_data: Path) -> None:
    page = open_page("months")
    page.set_input_files("input[type=file]", forecast_data)
    page.get_by_text("2 answers in").wait_for()
    assert page.locator("canvas.chart").count() == 2


def test_a_picture_of_the_wrong_kind_is_refused_in_words(open_page: OpenPage, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "<b>dot.png")
    page = open_page("trends")
    page.set_input_files("input[type=file]", tmp_path / "<b>dot.png")
    page.locator(".preview").wait_for()
    end = time.monotonic() + 5
    while page.locator("#page .message").first.inner_text() in ("", "Computing …"):
        assert time.monotonic() < end
        page.wait_for_timeout(20)
    assert page.locator("main b").count() == 0


def test_the_page_allows_no_request_to_elsewhere(client: httpx.Client) -> None:
    for path in ("/", "/page/main.js", "/page/shared/view/elements.js"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy
