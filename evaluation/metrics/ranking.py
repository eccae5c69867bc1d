"""How well scores rank positives before negatives, within groups (lists, slices) and on whole columns at once.

A row's group, score and label are packed into one 64-bit integer, so that one sort of integers orders the rows by group
and score; everything else is sums over runs of equal scores. Ties count as their mean over all orders (AUC, NDCG), so
that no result depends on the order of the rows.
"""

from dataclasses import dataclass, replace

import numpy as np

# Where the list is cut in NDCG.
NDCG_AT = 10


@dataclass(frozen=True)
class Runs:
    """Rows of the same group and score, by rising group, then rising score; all arrays `(runs,)`.

    `bits` are the scores as float32 bit patterns, which order as the numbers do.
    """

    group: np.ndarray
    bits: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        return self.positives + self.negatives


def score_bits(scores: np.ndarray) -> np.ndarray:
    """Returns scores, which are not negative, as integers of the same order: uint32 `(rows,)`, below 2^31.

    Raises:
      ValueError: a score is negative or NaN.
    """
    scores = np.asarray(scores, np.float32)
    if not np.all(scores >= 0):
        raise ValueError(f"scores: expected numbers of at least 0, got {scores[~(scores >= 0)][0]}")
    # Adding 0 turns -0 into 0.
    return (scores + np.float32(0)).view(np.uint32)


def tie_runs(group: np.ndarray, bits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> Runs:
    """Returns the runs of equal scores of each group.

    Args:
      group: of each row, integers from 0 and below 2^32, `(rows,)`.
      bits: `score_bits`, `(rows,)`.
      labels: true where positive, `(rows,)`.
      weights: what each row counts for, `(rows,)`, above 0; by default 1.
    """
    packed = group.astype(np.uint64) << np.uint64(32) | bits.astype(np.uint64) << np.uint64(1)
    packed |= np.asarray(labels, bool)
    order = None if weights is None else np.argsort(packed, kind="stable")
    packed = np.sort(packed) if order is None else packed[order]
    group_and_score = packed >> np.uint64(1)
    starts = (
        np.flatnonzero(np.concatenate(([True], group_and_score[1:] != group_and_score[:-1])))
        if len(packed)
        else np.zeros(0, int)
    )
    sizes = np.diff(np.append(starts, len(packed)))
    ones = np.concatenate(([0], np.cumsum(packed & np.uint64(1), dtype=np.int64)))
    positives = ones[starts + sizes] - ones[starts]
    if weights is not None and len(packed):
        of_row = weights[order].astype(np.float64)
        positives = np.add.reduceat(np.where(packed & np.uint64(1), of_row, 0.0), starts)
        sizes = positives + np.add.reduceat(np.where(packed & np.uint64(1), 0.0, of_row), starts)
    first = group_and_score[starts]
    bits_of_run = (first & np.uint64(0x7FFFFFFF)).astype(np.uint32)
    return Runs((first >> np.uint64(31)).astype(np.int64), bits_of_run, positives, sizes - positives)


@dataclass(frozen=True)
class GroupRanking:
    """Of each group `(groups,)`: its positives and negatives, and NaN where a measure is undefined.

    `auc` needs both classes; `ndcg` (at `NDCG_AT`, the label as gain) and `reciprocal_rank` (of the best positive) need
    a positive. `weight` is what the group's rows count for together, their number unless they have weights.
    """

    positives: np.ndarray
    negatives: np.ndarray
    auc: np.ndarray
    ndcg: np.ndarray
    reciprocal_rank: np.ndarray
    weight: np.ndarray

    @property
    def mean_weight(self) -> np.ndarray:
        """Returns what a row of each group counts for on the mean; 0 of none."""
        return self.weight / np.maximum(self.positives + self.negatives, 1)


def rank_groups(runs: Runs, groups: int, at: int = NDCG_AT) -> GroupRanking:
    """Returns AUC, NDCG and reciprocal rank of every group.

    Ties count as the mean over their orders (McSherry and Najork 2008); a best positive among ties has the mean rank.

    Args:
      groups: how many there are; runs name them from 0.
    """
    positives = np.bincount(runs.group, runs.positives, groups)
    negatives = np.bincount(runs.group, runs.negatives, groups)
    sizes = positives + negatives
    size, p, n = runs.sizes, runs.positives, runs.negatives
    first_of_group = np.searchsorted(runs.group, np.arange(groups))
    negatives_below = _before(n, first_of_group, runs.group)
    above = sizes[runs.group] - _before(size, first_of_group, runs.group) - size

    won = np.bincount(runs.group, p * (negatives_below + n / 2), groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        auc = won / (positives * negatives)

        # The sum of the first m discounts, cut at `at`.
        discounts = np.concatenate(([0.0], np.cumsum(1 / np.log2(np.arange(2, at + 2)))))
        discount = discounts[np.minimum(above + size, at).astype(int)] - discounts[np.minimum(above, at).astype(int)]
        gained = np.bincount(runs.group, p / np.maximum(size, 1) * discount, groups)
        ndcg = gained / discounts[np.minimum(positives, at).astype(int)]

    reciprocal = np.full(groups, np.nan)
    has = p > 0
    # Runs rise by score, and of several values for one index the last one stays: the best positive's.
    reciprocal[runs.group[has]] = 1 / (above[has] + 1 + n[has] / (p[has] + 1))
    return GroupRanking(positives, negatives, auc, ndcg, reciprocal, sizes)


def rank_weighted_groups(
    group: np.ndarray, bits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, groups: int, at: int = NDCG_AT
) -> GroupRanking:
    """Returns the ranking of every group, whose AUC is that of pairs by the product of their weights.

    NDCG and reciprocal rank go by places in a list, where a row has one whatever it counts for.

    Args:
      group, bits, labels, weights: as of `tie_runs`.
      groups, at: as of `rank_groups`.
    """
    ranking = rank_groups(tie_runs(group, bits, labels), groups, at)
    if weights is None:
        return ranking
    weighted = rank_groups(tie_runs(group, bits, labels, weights), groups, at)
    return replace(ranking, auc=weighted.auc, weight=weighted.weight)


def _before(counts: np.ndarray, first_of_group: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Returns the sum of the counts of the earlier runs of the same group, `(runs,)`."""
    total = np.concatenate(([0], np.cumsum(counts)))
    return total[:-1] - total[first_of_group[group]]
