"""The page in a browser: it types, draws, pastes and speaks, and answers what the run answers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elman
from elman.predictors.generator import LanguageModelPredictor
from elman.predictors.transcriber import TranscriptionPredictor

from .conftest import HOSTILE, RATE, sound

NEAR = 1e-3
"""The largest difference of a number in the page from that of the run."""

MODEL = "const { manifest, model } = await (await import('/js/model/load.js')).loadModel(location.href);"

Folder = Callable[..., Path]
OpenPage = Callable[..., Any]


def until(page: Any, condition: str, arg: Any = None) -> None:
    """Wait until a condition is true in the page, whose own policy lets no string be run as a script."""
    end = time.monotonic() + 10
    while not page.evaluate(condition, arg):
        assert time.monotonic() < end, f"not true in 10 seconds: {condition}"
        page.wait_for_timeout(20)


def shown(text: str) -> float:
    """Return a probability of the page, which has at least two digits."""
    return float(text.replace("%", "").replace("<", "")) / 100


def bars(page: Any) -> dict[str, float]:
    """Return the names and probabilities of the bars."""
    rows = page.locator(".bars .row").filter(visible=True)
    names, values = rows.locator(".name").all_inner_texts(), rows.locator(".value").all_inner_texts()
    return dict(zip(names, map(shown, values), strict=True))


def has_no_foreign_element(page: Any) -> bool:
    """Return whether no text of the model became an element, or ran."""
    return page.locator("img").count() == 0 and page.title() != "hacked"


def test_a_language_model_writes_what_the_run_writes(
    writer: LanguageModelPredictor, folder: Folder, open_page: OpenPage
) -> None:
    page = open_page(folder(writer, title=HOSTILE))
    page.fill("#prompt", f"the cat {HOSTILE} unheard-of")
    until(page, "document.querySelector('.message').textContent.includes('1 of 4 symbols')")
    first = writer.vocabulary.encode(f"the cat {HOSTILE} unheard-of")
    logits, _ = writer.model(torch.from_numpy(first.astype(np.int64))[:, None])
    expected = (logits[-1, 0] / 0.8).softmax(0).tolist()
    names = {0: "<unk>", 1: "⏎", 2: HOSTILE, 3: "__proto__"}
    for id, name in enumerate(names.get(n, word) for n, word in enumerate(writer.vocabulary.words)):
        assert bars(page)[name] == pytest.approx(expected[id], abs=0.0051)
    p = page.evaluate(
        f"""async (ids) => {{
            {MODEL}
            let state = model.initial(), logits;
            for (const id of ids) ({{ logits, state }} = model.step(id, state));
            return Array.from(model.distribution(logits, {{ temperature: 0.8 }}));
        }}""",
        first.tolist(),
    )
    assert p == pytest.approx(expected, abs=NEAR)
    page.get_by_label("Temperature").fill("0")
    page.click("text=Write")
    until(page, "document.querySelector('.message').textContent.includes('300 symbols')")
    written = "".join(writer.generate(f"the cat {HOSTILE} unheard-of", length=300, temperature=0))
    assert page.locator(".paper").text_content() == f"the cat {HOSTILE} <unk>{written}".replace("<unk>", "<unk>", 1)
    assert page.locator("h1").inner_text() == HOSTILE and has_no_foreign_element(page)


def test_a_language_model_is_used_by_keyboard(
    writer: LanguageModelPredictor, folder: Folder, open_page: OpenPage
) -> None:
    page = open_page(folder(writer), motion="no-preference", width=390)
    until(page, "document.querySelectorAll('.paper span:not(.given)').length > 3")  # it writes itself
    page.get_by_role("button", name="Pause").press("Enter")
    count = page.locator(".paper span").count()
    page.get_by_role("button", name="One symbol").press("Enter")
    assert page.locator(".paper span").count() == count + 1
    page.locator(".bars .row").first.press("Enter")
    assert page.locator(".paper span").count() == count + 2
    page.locator(".heat").press("ArrowRight")
    page.locator(".heat").press("ArrowDown")
    assert re.match(r"Unit \d+: [+−]\d\.\d\d", page.locator(".heat + p").inner_text())
    assert page.locator(".paper span").nth(1).get_attribute("style")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_colours_follow_the_system_and_the_button(pictures: Path, folder: Folder, open_page: OpenPage) -> None:
    page = open_page(folder(pictures), scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.click("#theme")
    assert page.evaluate(ground) != dark and page.locator("html").get_attribute("data-theme") == "light"


def test_a_classifier_answers_what_is_typed(reader: Path, folder: Folder, open_page: OpenPage) -> None:
    page, predictor = open_page(folder(reader)), elman.load(reader)
    for text in ("abbb", "cdd\u00e9", "zz"):
        page.fill("#text", text)
        (answer,) = predictor.predict(text)
        probabilities = answer.fields["probabilities"]
        until(
            page,
            """([label, p]) => {
                const verdict = document.querySelector('.verdict'), { textContent: text } = verdict.lastChild;
                return verdict.textContent.startsWith(label) && Math.abs(parseFloat(text) / 100 - p) < 0.0051;
            }""",
            arg=[answer.fields["label"], max(probabilities.values())],
        )
        assert page.locator(".verdict").inner_text().startswith(answer.fields["label"])
        assert bars(page) == pytest.approx(probabilities, abs=0.0051)
        p = page.evaluate(f"async (text) => {{ {MODEL} const ids = model.reader.symbols(text).map(({{ id }}) => id); "
                          "return model.answer(model.scores(ids)[0]).probabilities; }", text)  # fmt: skip
        assert p == pytest.approx(list(probabilities.values()), abs=NEAR)
    assert "2 of 2 symbols are unknown" in page.locator(".message").inner_text()
    assert HOSTILE in page.locator(".bars").inner_text() and has_no_foreign_element(page)


def test_other_targets_are_answered(other_target: tuple[str, Path], folder: Folder, open_page: OpenPage) -> None:
    target, run = other_target
    page = open_page(folder(run))
    page.fill("#text", "the cat")
    (answer,) = elman.load(run).predict("the cat")
    if target == "tags":
        until(page, "document.querySelectorAll('.tagged small').length === 2")
        assert page.locator(".tagged small").all_inner_texts() == answer.fields["tags"]
    elif target == "classes":
        until(page, "document.querySelectorAll('.bars .row').length === 3")
        assert page.locator(".verdict").inner_text() == (", ".join(answer.fields["labels"]) or "none")
        assert bars(page) == pytest.approx(answer.fields["probabilities"], abs=0.0051)
    else:
        until(page, "/\\d/.test(document.querySelector('.verdict').textContent)")
        assert float(page.locator(".verdict").inner_text()) == pytest.approx(answer.fields["number"], abs=0.006)


def test_a_series_is_pasted(train: Callable[..., Path], folder: Folder, open_page: OpenPage, tmp_path: Path) -> None:
    rows = [f"{n},{'up' if n % 2 else 'down'},{t * (1 if n % 2 else -1)},{n}" for n in range(30) for t in range(6)]
    (tmp_path / "series.csv").write_text("sequence,label,x,y\n" + "\n".join(rows) + "\n")
    run = train("classify", tmp_path / "series.csv", steps=30, learning_rate=0.03, group_column="sequence")
    page = open_page(folder(run))
    text = "0, 1\n1; 1\n2.5 1e0\n"
    page.fill("#series", text)
    (tmp_path / "one.csv").write_text("sequence,x,y\n0,0,1\n0,1,1\n0,2.5,1\n")
    (answer,) = elman.load(run).predict(tmp_path / "one.csv")
    until(page, "label => document.querySelector('.verdict').textContent.startsWith(label)", arg=answer.fields["label"])
    assert bars(page) == pytest.approx(answer.fields["probabilities"], abs=0.0051)
    page.fill("#series", "0, 1\n1")
    until(page, "document.querySelector('.message').textContent === 'line 2 has 1 numbers, not 2'")


def pixels(page: Any) -> np.ndarray:
    """Return the picture that the model reads, (H, W) uint8."""
    rows = page.evaluate("""() => { const canvas = document.querySelector('canvas[aria-label="What the model reads"]');
        const { data, width } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return [width, Array.from(data).filter((_, n) => n % 4 === 0)]; }""")
    return np.array(rows[1], np.uint8).reshape(-1, rows[0])


@pytest.mark.parametrize("by", ["pointer", "keyboard"])
def test_a_classifier_answers_what_is_drawn(
    pictures: Path, folder: Folder, open_page: OpenPage, tmp_path: Path, by: str
) -> None:
    page = open_page(folder(pictures))
    board = page.locator("canvas.board")
    if by == "pointer":
        page.get_by_label("Fit to the frame").check()
        box = board.bounding_box()
        page.mouse.move(box["x"] + 60, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + 120, box["y"] + 160, steps=5)
        page.mouse.up()
    else:
        for key in ["Space", *["ArrowDown"] * 8, *["ArrowRight"] * 4]:
            board.press(key)
    until(page, "document.querySelector('.verdict small')?.textContent.includes('%')")
    page.wait_for_timeout(60)
    drawn = pixels(page)
    assert drawn.any()
    np.save(tmp_path / "drawn.npy", drawn.reshape(64, 1))
    (answer,) = elman.load(pictures).predict(tmp_path / "drawn.npy")
    probabilities = answer.fields["probabilities"]
    assert bars(page) == pytest.approx(probabilities, abs=0.0051)
    board.press("Delete")
    assert page.locator(".verdict").inner_text() == "Draw something." and not pixels(page).any()


def test_a_forecaster_answers_what_is_pasted(
    forecaster: Path, hourly: Path, folder: Folder, open_page: OpenPage, tmp_path: Path
) -> None:
    page, predictor = open_page(folder(forecaster)), elman.load(forecaster)
    table = [line.split(",") for line in hourly.read_text().splitlines()[1:]]
    page.fill("#series", "time, load\n" + "\n".join(f"{hour}, {load}" for hour, load, _ in table))
    answer = next(predictor.predict(hourly))
    levels = answer.fields["quantiles"]
    until(page, "first => document.querySelector('tbody th')?.textContent === first", arg=answer.fields["times"][0])
    rows = page.locator("tbody tr").all_inner_texts()
    for f, row in enumerate(rows):
        when, *numbers = row.split("\t")
        assert when == answer.fields["times"][f]
        assert [float(number) for number in numbers] == pytest.approx([row[f] for row in levels.values()], abs=0.006)
    page.fill("#series", "1\n2\nthree")
    until(page, "document.querySelector('.message').textContent.includes('line 3')")
    page.fill("#series", "1\n2")
    until(page, "document.querySelector('.message').textContent.includes('are needed')")
    page.get_by_text("A made-up wave").click()
    until(page, "document.querySelectorAll('tbody tr').length === 12")
    before = page.locator("#series").input_value()
    box = page.locator(".chart").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 60)
    page.mouse.up()
    changed = [
        a != b for a, b in zip(before.splitlines(), page.locator("#series").input_value().splitlines(), strict=True)
    ]
    assert sum(changed) == 1


def words_of(predictor: TranscriptionPredictor, samples: np.ndarray) -> list[str]:
    """Return the words that a run hears in a stream of samples, in blocks of 0.1 s."""
    blocks = np.array_split(samples.astype(np.float32), range(RATE // 10, len(samples), RATE // 10))
    answers = predictor.stream_transcriber().transcribe(iter(blocks))
    return [answer.fields["word"] for answer in answers if "word" in answer.fields]


@pytest.mark.parametrize("rate", [RATE, 22050])
def test_a_transcriber_answers_a_recording(
    listener: TranscriptionPredictor, folder: Folder, open_page: OpenPage, tmp_path: Path, rate: int
) -> None:
    import soundfile

    from elman.data.media.audio import resample

    samples = sound(3.0, rate)
    soundfile.write(tmp_path / "a.wav", samples, rate)
    page = open_page(folder(listener))
    page.set_input_files("input[type=file]", tmp_path / "a.wav")
    until(page, "document.querySelector('.message').textContent.includes('a.wav: 3.0 s')")
    expected = words_of(listener, resample(samples.astype(np.float32) / 32768, rate, RATE))
    assert len(expected) > 1 and page.locator(".words").inner_text().split() == expected
    assert has_no_foreign_element(page)


def test_a_transcriber_hears_the_microphone(
    listener: TranscriptionPredictor, folder: Folder, open_page: OpenPage, microphone: Path
) -> None:
    import soundfile

    soundfile.write(microphone, sound(4.0, 48000), 48000)
    page = open_page(folder(listener))
    page.click("text=Listen")
    until(page, "document.querySelectorAll('.words span').length > 1")
    page.click("text=Stop")
    assert page.locator(".message").inner_text() == "The microphone is off."
    assert set("".join(page.locator(".words").inner_text().split())) <= set("ab<")


def test_a_page_without_its_model_says_so(pictures: Path, folder: Folder, browser: Any, tmp_path: Path) -> None:
    index = (folder(pictures) / "index.html").read_text()
    assert "python -m http.server" in index and "script-src 'self' 'wasm-unsafe-eval'" in index
    assert not re.search(r"(src|href)=\"(https?:)?//", index)
