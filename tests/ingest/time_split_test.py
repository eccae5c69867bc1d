"""Cut times worked out by hand, and sums of counts that don't depend on how they are merged."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.time_split import TimeCounts, cut_times, merged, split_of
from schema.spec import Split


def test_the_last_shares_by_time_are_eval_and_test():
    cuts, counts = cut_times(Split(eval=0.2, test=0.1), TimeCounts.of(np.arange(100, 110)))
    assert cuts == (107, 109)
    assert counts == {"train": 7, "eval": 2, "test": 1}
    assert split_of(np.array([106, 107, 108, 109]), cuts).tolist() == [0, 1, 1, 2]


def test_equal_times_stay_together_in_the_later_split():
    cuts, counts = cut_times(Split(eval=0.25, test=0.25), TimeCounts.of(np.array([1, 2, 2, 2, 3, 3, 3, 3])))
    assert cuts == (3, 3)
    assert counts == {"train": 4, "eval": 0, "test": 4}


def test_no_impressions_have_no_splits():
    assert cut_times(Split(), TimeCounts.of(np.zeros(0, np.int64)))[1] == {"train": 0, "eval": 0, "test": 0}


@given(st.lists(st.lists(st.integers(0, 500)), min_size=1, max_size=6), st.randoms())
def test_coarse_counts_are_the_same_for_every_order_of_merging(parts, random):
    counts = [TimeCounts.of(np.array(part, np.int64)) for part in parts]
    at_once = merged(counts, most=16)
    random.shuffle(counts)
    one_by_one = counts[0]
    for part in counts[1:]:
        one_by_one = merged([one_by_one, part], most=16)
    one_by_one = merged([one_by_one], most=16)
    assert len(at_once.values) <= 16
    assert at_once.shift == one_by_one.shift
    assert at_once.values.tolist() == one_by_one.values.tolist()
    assert at_once.counts.tolist() == one_by_one.counts.tolist()


@given(st.lists(st.integers(0, 30), min_size=1), st.floats(0.05, 0.45), st.floats(0.05, 0.45))
def test_the_counts_are_those_of_the_cut_times(times, eval_share, test_share):
    array = np.array(times)
    cuts, counts = cut_times(Split(eval=eval_share, test=test_share), TimeCounts.of(array))
    assert np.bincount(split_of(array, cuts), minlength=3).tolist() == list(counts.values())
