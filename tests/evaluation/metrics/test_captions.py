"""Caption metrics, against the numbers of the COCO evaluation's own program (pycocoevalcap 1.2)."""

import math

import pytest

from elman.evaluation.metrics.captions import bleu, caption_metrics, cider, cider_scores, constant_caption, exact_match

CAPTIONS = ["a man rides a brown horse on the beach", "two dogs play in the snow", "a girl", "the cat sat on the mat"]
REFERENCES = [
    ["a man is riding a horse on a beach", "a person rides a brown horse near the sea"],
    ["two dogs are playing in snow", "two brown dogs play in the white snow", "dogs run"],
    ["a young girl smiles at a dog"],
    ["a cat is on the mat", "the cat sat on a red mat"],
]


def test_the_numbers_of_the_coco_evaluation() -> None:
    scores = [2.883049077959371, 2.613533522910871, 0.8260928292713342, 4.458819119171941]
    assert cider_scores(CAPTIONS, REFERENCES) == pytest.approx(scores, rel=1e-12)
    assert cider(CAPTIONS, REFERENCES) == pytest.approx(2.6953736373283794, rel=1e-12)
    expected = [76.96317948529781, 67.54960220472772, 55.54097630593199, 43.08659488633984]
    assert list(bleu(CAPTIONS, REFERENCES).values()) == pytest.approx(expected, rel=1e-8)


def test_perfect_and_unrelated_captions() -> None:
    best = caption_metrics([each[0] for each in REFERENCES], [each[:1] for each in REFERENCES])
    assert best["cider"] == pytest.approx(10)
    assert best["exact"] == 1
    assert best["bleu_4"] == pytest.approx(100)
    assert caption_metrics(["z y x w"] * 4, REFERENCES) == {**dict.fromkeys(best, 0.0)}
    assert caption_metrics([""] * 4, REFERENCES)["cider"] == 0
    assert exact_match(["a", "b"], [["b", "a"], ["a"]]) == 0.5


def test_the_best_constant_caption_is_the_best() -> None:
    references = [*REFERENCES, ["two dogs play in the snow", "dogs"], ["two dogs play in the sea"]]
    result = constant_caption(references)

    def all_the_same(text: str) -> float:
        return bleu([text] * len(references), references)["bleu_4"]

    assert all_the_same(result) == max(all_the_same(text) for each in references for text in each)
    assert not math.isclose(all_the_same(result), 0)
