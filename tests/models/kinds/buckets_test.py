"""Where the buckets of a number begin, worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from models.kinds.buckets import bucket_boundaries

FEW = [0] * 32


@pytest.mark.parametrize(
    ("quantiles", "boundaries"),
    [
        # All distinct: every 16th of 63, the quartiles.
        (range(1, 64), [16, 32, 48]),
        # Half of the rows hold 0, which has a bucket to itself; the other 31 are in three of 10 or 11 each.
        ([*FEW, *range(1, 32)], [1, 11, 22]),
        # The heavy value lies in the middle, and the two runs beside it have a bucket each; the longer one the fourth.
        ([*range(-10, 0), *FEW, *range(1, 22)], [0, 1, 11]),
        # ... and at the top.
        ([*range(-31, 0), *FEW], [-21, -10, 0]),
        # Two heavy values and three runs need five buckets: all are one run, in which 2 is with 1.
        ([-1, *([0] * 30), 1, *([2] * 30), 3], [0, 1, 3]),
        # No more values than buckets.
        ([0] * 60 + [1, 2, 5], [1, 2, 5]),
        # One value, and none at all.
        ([3] * 63, []),
        ([], []),
    ],
)
def test_a_number_that_fills_a_bucket_has_one_to_itself(quantiles, boundaries):
    np.testing.assert_array_equal(bucket_boundaries(tf.constant([*quantiles], tf.float32), 4), boundaries)


@pytest.mark.parametrize("buckets", [2, 3, 10, 64])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
def test_buckets_are_at_most_as_many_and_hold_as_many_rows_each_beside_the_heavy_value(buckets, share):
    random = np.random.default_rng(1)
    numbers = np.where(random.random(50_000) < share, 0, random.normal(size=50_000)).astype(np.float32)
    quantiles = np.quantile(numbers, np.arange(1, 1_024) / 1_024, method="lower")
    boundaries = bucket_boundaries(tf.constant(quantiles, tf.float32), buckets).numpy()
    assert (np.diff(boundaries) > 0).all()
    assert len(boundaries) < buckets
    rows = np.bincount(np.searchsorted(boundaries, numbers[numbers != 0], side="right"), minlength=buckets)
    # One bucket may be 0's, and one more is lost by two runs that don't divide evenly; a quantile stands for 49 rows.
    assert rows.max() <= rows.sum() / max(buckets - 2, 1) + 2 * 49
