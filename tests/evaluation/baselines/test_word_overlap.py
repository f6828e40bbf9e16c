"""Word-overlap baselines, judged by NumPy."""

from pathlib import Path

import numpy as np
import pytest

from elman.data.pairs.dataset import PairDataset
from elman.data.pairs.readers import ScoredPair
from elman.data.pairs.score_scale import ScoreScale
from elman.errors import RunError
from elman.evaluation.baselines.word_overlap import OverlapBaselines, shared_matrix, shared_words


def test_shared_words() -> None:
    assert shared_words("The cat, the dog", "the dog") == pytest.approx(2 * 2 / (4 + 2))
    assert shared_words("", "a") == shared_words("", "") == 0
    assert shared_matrix(["a b"], ["c", "a b", "a"]) == pytest.approx(np.array([[0, 1, 2 / 3]]))


def test_the_line_is_that_of_least_squares(tmp_path: Path) -> None:
    pairs = [
        ScoredPair("a b", "a b", 5.0),
        ScoredPair("a b", "a c", 2.0),
        ScoredPair("a", "c", 1.0),
        ScoredPair("a b c", "a b", 3.0),
    ]
    shared, true = np.array([shared_words(*pair[:2]) for pair in pairs]), np.array([pair.score for pair in pairs])
    slope, start = np.polyfit(shared, true, 1)
    baselines = OverlapBaselines.fit(pairs)
    assert (baselines.slope, baselines.start, baselines.mean) == pytest.approx((slope, start, true.mean()))
    table = baselines.metrics(PairDataset.write(tmp_path, "pairs", pairs), ScoreScale(1.0, 5.0, yes_no=False))
    assert table["word overlap"]["pearson"] == pytest.approx(np.corrcoef(shared, true)[0, 1])
    assert table["mean score"] == {"mse": pytest.approx(true.var())}
    flat = OverlapBaselines.fit([ScoredPair("a", "b", 1.0), ScoredPair("a", "c", 2.0)])
    assert (flat.slope, flat.start) == (0, 1.5)
    assert table["word overlap"]["mean_reciprocal_rank"] == 1
    assert table["mean score"].keys() == {"mse"}


@pytest.mark.parametrize(
    "content", ["{}", '{"trivial": {"mean": 1}}', '{"trivial": {"mean": 1, "slope": 0, "start": "x"}}']
)
def test_broken_baselines_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "scale.json").write_text(content)
    with pytest.raises(RunError, match=r"scale\.json is broken"):
        OverlapBaselines.open(tmp_path)
