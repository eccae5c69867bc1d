"""Whole-column ranking measures against the plainest computation, one group at a time."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation.metrics.histogram import MAX_BINS, histogram, merged
from evaluation.metrics.ranking import rank_groups, score_bits, tie_runs

GROUPS = 4


@st.composite
def rows(draw):
    """(group, score, label) of some rows: ties, single classes, groups without rows."""
    count = draw(st.integers(0, 40))
    group = draw(hnp.arrays(np.int64, count, elements=st.integers(0, GROUPS - 1)))
    score = draw(hnp.arrays(np.float32, count, elements=st.sampled_from([0.0, 1e-30, 0.1, 0.25, 0.5, 0.999, 1.0])))
    return group, score, draw(hnp.arrays(bool, count))


def plain_auc(scores, labels) -> float:
    pairs = [(p > n) + (p == n) / 2 for p in scores[labels] for n in scores[~labels]]
    return sum(pairs) / len(pairs) if pairs else math.nan


def plain_ndcg(scores, labels, at) -> float:
    """Every position has the expected label of the ties that share it."""
    expected = np.array([labels[scores == score].mean() for score in np.sort(scores)[::-1]])
    discount = 1 / np.log2(np.arange(2, len(scores) + 2))
    best = np.sort(labels)[::-1]
    return (expected * discount)[:at].sum() / (best * discount)[:at].sum() if labels.any() else math.nan


def plain_reciprocal_rank(scores, labels) -> float:
    if not labels.any():
        return math.nan
    best = scores[labels].max()
    ties = labels[scores == best]
    return 1 / ((scores > best).sum() + (len(ties) + 1) / (ties.sum() + 1))


@given(rows(), st.integers(1, 6))
def test_each_groups_measures_equal_the_plain_ones(given_rows, at):
    group, score, label = given_rows
    ranking = rank_groups(tie_runs(group, score_bits(score), label), GROUPS, at)
    for g in range(GROUPS):
        scores, labels = score[group == g], label[group == g]
        assert ranking.positives[g] == labels.sum()
        assert ranking.negatives[g] == (~labels).sum()
        assert ranking.auc[g] == pytest.approx(plain_auc(scores, labels), abs=1e-12, nan_ok=True)
        assert ranking.ndcg[g] == pytest.approx(plain_ndcg(scores, labels, at), abs=1e-12, nan_ok=True)
        assert ranking.reciprocal_rank[g] == pytest.approx(
            plain_reciprocal_rank(scores, labels), abs=1e-12, nan_ok=True
        )


def test_by_hand():
    """Scores .9 .8 .8 .1, labels 0 1 0 1: of the 4 pairs, .8 draws one and loses one, .1 loses both."""
    ranking = rank_groups(tie_runs(np.zeros(4, int), score_bits([0.9, 0.8, 0.8, 0.1]), [0, 1, 0, 1]), 1)
    assert ranking.auc[0] == pytest.approx((0.5 + 0) / 4)
    # The positive among the ties is at rank 2 or 3: as likely.
    log = math.log2
    dcg = (1 / log(3) + 1 / log(4)) / 2 + 1 / log(5)
    assert ranking.ndcg[0] == pytest.approx(dcg / (1 + 1 / log(3)))
    assert ranking.reciprocal_rank[0] == pytest.approx(1 / 2.5)


@pytest.mark.parametrize("score", [-0.1, math.nan])
def test_what_is_no_score_is_refused(score):
    with pytest.raises(ValueError, match="expected numbers of at least 0"):
        score_bits([0.5, score])


@given(rows(), st.integers(1, 3))
def test_merged_histograms_have_the_auc_of_all_rows(given_rows, parts):
    _, score, label = given_rows
    pieces = []
    for offset in range(parts):
        runs = tie_runs(
            np.zeros(len(score[offset::parts]), int), score_bits(score[offset::parts]), label[offset::parts]
        )
        pieces.append(histogram(runs.bits, runs.positives, runs.negatives))
    assert merged(pieces).auc == pytest.approx(plain_auc(score, label), abs=1e-12, nan_ok=True)


def test_a_histogram_of_many_scores_stays_small_and_does_not_depend_on_the_order_of_merging():
    random = np.random.default_rng(0)
    label = random.random(50_000) < 0.05
    score = random.beta(1 + label, 20).astype(np.float32)
    pieces = []
    for offset in range(5):
        runs = tie_runs(np.zeros(10_000, int), score_bits(score[offset::5]), label[offset::5])
        pieces.append(histogram(runs.bits, runs.positives, runs.negatives))
    at_once, nested = merged(pieces), merged([merged(pieces[3:]), merged(pieces[:3])])
    assert len(at_once.bits) <= MAX_BINS
    np.testing.assert_array_equal(at_once.bits, nested.bits)
    np.testing.assert_array_equal(at_once.positives, nested.positives)
    exact = rank_groups(tie_runs(np.zeros(50_000, int), score_bits(score), label), 1).auc[0]
    assert at_once.auc == pytest.approx(exact, abs=3e-5)
