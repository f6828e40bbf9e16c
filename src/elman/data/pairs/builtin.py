"""Pairs of sentences that need no download: sentences of the Python language reference, and edits of known weight.

Each edit takes so many of 5 points as its kind is worth: a slip of the pen or a lost article next to nothing, a synonym
a little, another word more, a negation most. Counting common words sees little of that.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

from elman.data.pairs.readers import ScoredPair
from elman.data.text.builtin import python_reference

HIGHEST = 5.0
PER_SENTENCE = 3  # pairs that begin with the same sentence
UNRELATED = 0.1  # share of pairs whose second sentence is another one altogether

# fmt: off
SYNONYMS = (
    ("returns", "gives"), ("called", "invoked"), ("used", "employed"), ("object", "thing"), ("must", "should"),
    ("raised", "thrown"), ("value", "result"), ("function", "routine"), ("method", "procedure"), ("name", "label"),
    ("list", "array"), ("statement", "instruction"), ("argument", "parameter"), ("default", "standard"),
    ("example", "instance"), ("defined", "specified"), ("created", "made"), ("may", "can"), ("if", "when"),
    ("module", "file"), ("string", "text"), ("integer", "number"), ("same", "identical"), ("new", "fresh"),
    ("first", "initial"), ("also", "too"), ("only", "just"), ("sequence", "series"), ("type", "kind"),
    ("attribute", "property"), ("expression", "term"), ("evaluated", "computed"), ("returned", "yielded"),
)
# fmt: on
OTHER = {word: other for pair in SYNONYMS for word, other in (pair, pair[::-1])}
ARTICLES = {"a", "an", "the"}
DENIED = {"is": "is not", "are": "are not", "can": "cannot", "may": "may not", "must": "must not", "will": "will not"}
DENIED |= {denied: word for word, denied in DENIED.items()}

Words = list[str]
Edit = Callable[[Words, random.Random, Words], Words | None]


def reference_sentences() -> list[str]:
    """Return the sentences of the language reference that have 6 to 20 words, in their order, each once."""
    text = "".join(python_reference().pieces())
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
    found = (sentence for part in paragraphs for sentence in re.findall(r"(?<!\S)[A-Z][^.:!?]*\.(?!\S)", part))
    plain = (sentence for sentence in found if re.fullmatch(r"[A-Za-z0-9,;'\"()_* -]+\.", sentence))
    return list(dict.fromkeys(sentence for sentence in plain if 6 <= len(sentence.split()) <= 20))


def edited_pairs(seed: int = 1) -> Iterator[ScoredPair]:
    """Yield a sentence, an edited one, and the points from 0 to 5 that are left; the same for the same seed."""
    rng = random.Random(seed)
    all_of_them = reference_sentences()
    every_word = sorted({word for sentence in all_of_them for word in sentence[:-1].split() if len(word) > 3})
    for sentence in all_of_them:
        for _ in range(PER_SENTENCE):
            if rng.random() < UNRELATED:
                yield ScoredPair(sentence, rng.choice(all_of_them), 0.0)
                continue
            words, points = sentence[:-1].split(), HIGHEST
            for edit, cost in rng.sample(EDITS, rng.randint(0, 4)):
                changed = edit(words, rng, every_word)
                if changed and changed != words:
                    words, points = changed, max(0.0, points - cost)
            yield ScoredPair(sentence, " ".join(words) + ".", points)


def swap_letters(words: Words, rng: random.Random, every_word: Words) -> Words | None:
    """Two letters inside a long word change places."""
    place = _some(words, rng, lambda word: len(word) > 5)
    if place is None:
        return None
    word, at = words[place], rng.randint(1, len(words[place]) - 3)
    return _put(words, place, word[:at] + word[at + 1] + word[at] + word[at + 2 :])


def drop_article(words: Words, rng: random.Random, every_word: Words) -> Words | None:
    """An article goes."""
    place = _some(words, rng, lambda word: word.lower() in ARTICLES)
    return None if place is None else words[:place] + words[place + 1 :]


def replace_by_synonym(words: Words, rng: random.Random, every_word: Words) -> Words | None:
    """A word becomes one of the same meaning."""
    place = _some(words, rng, lambda word: word in OTHER)
    return None if place is None else _put(words, place, OTHER[words[place]])


def drop_word(words: Words, rng: random.Random, every_word: Words) -> Words | None:
    """A word that says something goes."""
    place = _some(words, rng, lambda word: len(word) > 3)
    return None if place is None or len(words) < 4 else words[:place] + words[place + 1 :]


def replace_by_other(words: Words, rng: random.Random, every_word: Words) -> Words | None:
    """A word that says something becomes any other one."""
    place = _some(words, rng, lambda word: len(word) > 3)
    return None if place is None else _put(words, place, rng.choice(every_word))


def negate(words: Words, rng: random.Random, every_word: Words) -> Words | None:
    """A verb is negated, or its negation goes."""
    text = " ".join(words)
    found = list(re.finditer(r"\b(cannot|(?:is|are|may|must|will|can)(?: not)?)\b", text))
    if not found:
        return None
    match = rng.choice(found)
    return (text[: match.start()] + DENIED[match[1]] + text[match.end() :]).split() if match[1] in DENIED else None


EDITS: tuple[tuple[Edit, float], ...] = (
    (swap_letters, 0.25),
    (drop_article, 0.25),
    (replace_by_synonym, 0.5),
    (drop_word, 1.0),
    (replace_by_other, 1.5),
    (negate, 2.5),
)
"""The edits, and the points that each takes."""


def _some(words: Words, rng: random.Random, fits: Callable[[str], bool]) -> int | None:
    places = [place for place, word in enumerate(words) if fits(word)]
    return rng.choice(places) if places else None


def _put(words: Words, place: int, word: str) -> Words:
    return [*words[:place], word, *words[place + 1 :]]
