"""Caption baselines."""

import pytest

from elman.evaluation.baselines.captions import caption_baselines, shuffled


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
    metrics = caption_baselines(captions, references, captions[0])
    assert list(metrics) == ["shuffled images", "constant caption"]
    assert metrics["shuffled images"]["exact"] == 0
    assert metrics["constant caption"]["exact"] == pytest.approx(1 / 3)
