"""Nearest-neighbour search: the same as a full sort, in chunks of any size."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.modules.nearest_neighbours import nearest


@given(st.integers(1, 7), st.integers(1, 12), st.integers(1, 5))
def test_it_is_a_full_sort(count: int, rows: int, chunk: int) -> None:
    rng = np.random.default_rng(rows)
    query, all_rows = torch.tensor(rng.normal(size=(3, 4))), rng.normal(size=(rows, 4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("elman.modules.nearest_neighbours.CHUNK", chunk)
        similarity_QK, index_QK = nearest(query, all_rows, count, lambda q, r: q @ r.T)
    expected = query.numpy() @ all_rows.T
    order = np.argsort(-expected, axis=1)[:, :count]
    assert index_QK.tolist() == order.tolist()
    np.testing.assert_allclose(similarity_QK, np.take_along_axis(expected, order, 1))


def test_no_rows() -> None:
    similarity_QK, index_QK = nearest(torch.zeros(2, 4), np.zeros((0, 4)), 3, lambda q, r: q @ r.T)
    assert similarity_QK.shape == index_QK.shape == (2, 0)
