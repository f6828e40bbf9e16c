"""Labels of plots out of texts of users: drawn literally, in installed fonts that have their characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

LONGEST = 20
"""Characters of a label."""

MOST_NAMED = 20
INSTALL = "a font with them draws them: apt install fonts-noto-cjk fonts-noto-core, or another one"


class PlotLabels(NamedTuple):
    """Labels that can be drawn.

    Attributes:
        texts: one for each text; #1, #2 ... stand for texts with a character that no installed font has.
        style: arguments of every function of matplotlib that draws them.
        legend: what #1, #2 ... stand for.
    """

    texts: list[str]
    style: dict[str, Any]
    legend: dict[str, str]


def labels_of(texts: Sequence[str], longest: int = LONGEST) -> PlotLabels:
    """Return labels for texts, cut to `longest` characters; `$` is drawn as it is."""
    texts = [text[:longest] for text in texts]
    families = ["DejaVu Sans"]  # which comes with matplotlib
    undrawn = {character for text in texts for character in text} - _characters_of(_default_font())
    while undrawn and (font := _best_font(frozenset(undrawn))):
        family, path = font
        families.append(family)
        undrawn -= _characters_of(path)
    numbers: dict[str, str] = {}
    for text in texts:
        if not undrawn.isdisjoint(text):
            numbers.setdefault(text, f"#{len(numbers) + 1}")
    drawn = [numbers.get(text, text) for text in texts]
    return PlotLabels(drawn, {"parse_math": False, "fontfamily": families}, {n: text for text, n in numbers.items()})


def legend_line(legend: dict[str, str]) -> str:
    """Return a legend as a line, with what draws its characters; empty for none."""
    if not legend:
        return ""
    named = ", ".join(f"{number} is {text.strip()}" for number, text in list(legend.items())[:MOST_NAMED])
    more = f", and {len(legend) - MOST_NAMED} more" if len(legend) > MOST_NAMED else ""
    return f"no installed font has some characters: {named}{more}; {INSTALL}"


def _best_font(characters: frozenset[str]) -> tuple[str, str] | None:
    """Return the family and file of the font with most of the characters; None if none has any."""
    if all(unicodedata.category(character).startswith("C") for character in characters):
        return None  # control characters, which no font draws
    fonts = {path: family for family, path in installed_fonts()}
    best = max(fonts, key=lambda path: len(characters & _characters_of(path)), default=None)
    return None if best is None or not characters & _characters_of(best) else (fonts[best], best)


def installed_fonts() -> list[tuple[str, str]]:
    """Return the family and file of each installed font of regular weight."""
    from matplotlib.font_manager import fontManager

    fonts = [(font.name, font.fname) for font in fontManager.ttflist if font.style == "normal"]
    return sorted(fonts, key=lambda font: (font[0].startswith("STIX"), font))


def _default_font() -> str:
    from matplotlib.font_manager import fontManager

    return str(fontManager.findfont("DejaVu Sans"))


@cache
def _characters_of(path: str) -> frozenset[str]:
    """Return the characters that a font draws; none if it cannot be read, or has pictures alone."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        drawable = font.scalable
        points = font.get_charmap() if drawable else ()
    except (OSError, RuntimeError, ValueError):
        return frozenset()
    return frozenset(map(chr, points))
