"""Labels of plots: literal, in fonts that have their characters, numbers else; matplotlib warns of no glyph."""

from pathlib import Path

import numpy as np
import pytest

from elman.plots import labels
from elman.plots.attention_matrix import draw_attention_matrix
from elman.plots.attention_overlay import draw_attention_overlay
from elman.plots.confusion_matrix import draw_confusion_matrix
from elman.plots.forecasts import ForecastPanel, draw_series
from elman.plots.labels import installed_fonts, labels_of, legend_line

FOREIGN = ["猫は", "ไทย", "🦊", "한국", "$x^2$ \U000e0001", "\x07"]


@pytest.fixture
def without_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "installed_fonts", lambda: [])


def test_what_no_font_draws_has_a_number(without_fonts: None) -> None:
    made = labels_of(["cat$", "猫", "犬", "猫", "Ä"])
    assert made.texts == ["cat$", "#1", "#2", "#1", "Ä"]
    assert made.legend == {"#1": "猫", "#2": "犬"}
    assert made.style["parse_math"] is False
    assert "#1 is 猫, #2 is 犬; a font with them draws them: apt install fonts-noto-cjk" in legend_line(made.legend)
    assert legend_line({}) == ""
    assert "and 5 more" in legend_line({f"#{n}": "猫" for n in range(25)})


def test_an_installed_font_that_has_a_character_draws_it(tmp_path: Path) -> None:
    own = labels._characters_of(labels._default_font())
    _, path = next((f, p) for f, p in installed_fonts() if labels._characters_of(p) - own)
    character = max(c for c in labels._characters_of(path) - own if c.isprintable())
    made = labels_of([character, "x"])
    assert (made.texts, made.legend) == ([character, "x"], {})
    assert len(made.style["fontfamily"]) == 2
    draw_confusion_matrix(np.eye(2, dtype=int), [character, "x"], tmp_path / "a.png")


def test_a_file_that_is_no_font_draws_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr(labels, "installed_fonts", lambda: [("broken", str(tmp_path / "broken.ttf"))])
    assert labels_of(["猫"]).texts == ["#1"]


def test_no_plot_has_boxes(tmp_path: Path, without_fonts: None) -> None:
    """Warnings are errors here, and matplotlib warns of each glyph that it lacks."""
    count = len(FOREIGN)
    shown = draw_attention_matrix(np.eye(count), FOREIGN, ["a", *FOREIGN[1:]], tmp_path / "matrix.png")
    assert set(shown.values()) == set(FOREIGN)
    assert len(draw_confusion_matrix(np.eye(count, dtype=int), FOREIGN, tmp_path / "confusion.png")) == count
    image, maps = np.zeros((4, 4, 3), np.uint8), np.ones((count, 2, 2))
    # A control character at the end of a word is stripped only if it is white space.
    assert len(draw_attention_overlay(image, maps, FOREIGN, tmp_path / "overlay.png")) == count
    panel = ForecastPanel("5月", np.zeros(9), np.zeros((3, 3)), np.zeros(3), np.zeros(3))
    assert draw_series(tmp_path / "series.png", "売上 $a$", [panel], (0.1, 0.5, 0.9)) == {"#1": "売上 $a$", "#2": "5月"}
    draw_series(tmp_path / "dollar.png", "$\\frac{", [panel._replace(title="$x")], (0.1, 0.5, 0.9))
