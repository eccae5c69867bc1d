"""Where the buckets of a number begin, worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from models.kinds.buckets import spread_boundaries


@pytest.mark.parametrize(
    ("quantiles", "least", "boundaries"),
    [
        # All distinct: every 16th of 63, the quartiles.
        (range(1, 64), 0, [16, 32, 48]),
        # 0 stands for 60 of 63 rows, and takes one bucket; the other numbers have one each.
        ([0] * 60 + [1, 2, 5], 0, [1, 2, 5]),
        # More of them than buckets, of which 1, 5 and 6 are chosen: the places are i (5 + 1) / 4, rounded down.
        ([0] * 58 + [1, 2, 5, 6, 7], 0, [1, 5, 6]),
        # A few rows lie below the number that most have.
        ([0] * 63, -1, [0]),
        # One value, and none at all.
        ([3] * 63, 3, []),
        ([], 0, []),
    ],
)
def test_a_number_that_most_rows_have_takes_one_bucket(quantiles, least, boundaries):
    given = tf.constant([[*quantiles]], tf.float32)
    np.testing.assert_array_equal(spread_boundaries(given, tf.constant(least, tf.float32), 4), [boundaries])
