import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from omma.vision.vectors import l2_normalise

rows = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 5), st.integers(1, 8)),
    elements=st.floats(-(2.0**100), 2.0**100, width=32),
)


def test_three_four_becomes_a_unit_vector():
    assert l2_normalise(np.array([[3, 4]], np.float32)) == pytest.approx(np.array([[0.6, 0.8]]))


@given(rows)
def test_every_row_has_length_one_or_was_zero(vectors):
    lengths = np.linalg.norm(l2_normalise(vectors).astype(np.float64), axis=1)

    expected = (vectors != 0).any(axis=1).astype(float)
    assert lengths == pytest.approx(expected, abs=1e-5)


@given(rows)
def test_normalising_twice_changes_nothing(vectors):
    once = l2_normalise(vectors)

    assert l2_normalise(once) == pytest.approx(once, abs=1e-6)
