"""Dates in words with their translations, for a translator that needs no download, out of Unicode's CLDR by Babel."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import numpy as np

from elman.data.translation.readers import SentencePair
from elman.errors import extra

LANGUAGES = {"German": "de", "French": "fr"}
FORMATS = ("EEEE, MMMM d, y", "MMMM d, y", "EEE, MMM d, y", "d MMMM y", "EEEE, d MMMM y")
FIRST, DAYS = datetime.date(1900, 1, 1), 73_000  # two hundred years


def dates_in_words(count: int, seed: int) -> Iterator[SentencePair]:
    """Yield pairs such as ("to German: Sunday, May 3, 1992", "Sonntag, 3. Mai 1992").

    No date stands twice in one language, so that a validation part holds dates that training never saw.

    Raises:
        MissingExtraError: Babel is not installed.
    """
    with extra("translate", "the default data of translation, dates in words,"):
        from babel.dates import format_date
    rng = np.random.default_rng(seed)
    days = rng.choice(DAYS, size=count, replace=False)
    for n, day in enumerate(days):
        date = FIRST + datetime.timedelta(days=int(day))
        name, locale = list(LANGUAGES.items())[n % len(LANGUAGES)]
        pattern = FORMATS[int(rng.integers(len(FORMATS)))]
        source = format_date(date, pattern, locale="en_US")
        # The day of the week stands in the translation where it stands in the source.
        target = format_date(date, "full" if "EEE" in pattern else "long", locale=locale)
        yield SentencePair(f"to {name}: {source}", target)
