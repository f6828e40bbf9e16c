"""Caption baselines."""

import pytest

from elman.evaluation.baselines.captions import caption_evaluation, shuffled


@pytest.mark.parametrize("count", [2, 3, 10])
def test_no_row_keeps_its_place(count: int) -> None:
    rows = list(range(count))
    assert sorted(shuffled(rows)) == rows
    assert all(row != place for place, row in enumerate(shuffled(rows)))
    assert shuffled(rows) == shuffled(rows)


def test_captions_of_other_images_and_one_of_all() -> None:
    pytest.importorskip("sacrebleu")
    references = [["a red cat sleeps here"], ["two blue dogs run there"], ["one old cow eats grass"]]
    captions = [texts[0] for texts in references]
    metrics = caption_evaluation(captions, references, references[1:])
    assert list(metrics["baselines"]) == ["shuffled images", "constant caption"]
    assert metrics["exact"] == 1
    assert metrics["baselines"]["shuffled images"]["exact"] == 0
    assert metrics["constant_caption"] in captions[1:]
    assert metrics["baselines"]["constant caption"]["exact"] == pytest.approx(1 / 3)
    assert "cider_ratio" not in metrics  # nothing fits another image
    alone = caption_evaluation(captions, references, [])
    assert list(alone["baselines"]) == ["shuffled images"] and "constant_caption" not in alone
